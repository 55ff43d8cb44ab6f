"""The network: a Keras Functional CNN with its augmentation inside."""

from __future__ import annotations

import keras

from components.trainer.augmentation import augmentation_layers
from components.trainer.calibration import CalibratedSoftmax
from components.trainer.normalization import FusedBatchNormalization
from components.trainer.settings import Settings

# What the layers between the augmentation and the head compute in; weights are always float32.
_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}

FIRST_CONVOLUTION = "block1_conv1"


def build_network(
    image_shape: tuple[int, int, int], class_count: int, settings: Settings
) -> keras.Model:
    """Builds the untrained network.

    Each stage is convolution, pooling, normalisation, ReLU, and a residual block of one
    convolution (He et al. 2015, arXiv:1512.03385). Pooling comes before normalisation, which then
    has a quarter of the pixels to work on: on a CPU it costs as much as a convolution.

    Args:
      image_shape: height, width and channels.
      class_count: number of logits.
      settings: widths, whether the first convolution is one that whitens, dropout, L2, augmentation
        and precision. `whitening.begin` sets the filters of such a one; training leaves them.

    Returns:
      A model from float32 [N, height, width, channels] in [0, 1] to logits, float32
      [N, class_count]. Every layer has a name that stays, so that feature maps can be taken.
    """
    images = keras.Input(image_shape, name="pixels")
    features = images
    for layer in augmentation_layers(settings.augmentation, settings.seed):
        features = layer(features)
    for number, width in enumerate(settings.widths, start=1):
        features = _stage(features, f"block{number}", width, settings)
    policy = _POLICIES[settings.precision]
    features = keras.layers.GlobalMaxPooling2D(name="features", dtype=policy)(features)
    features = keras.layers.Dropout(
        settings.dropout, seed=settings.seed, name="dropout", dtype=policy
    )(features)
    # From zero, so that the first steps teach the head what the features mean rather than to
    # unlearn how large they are.
    logits = keras.layers.Dense(
        class_count,
        kernel_initializer="zeros",
        kernel_regularizer=keras.regularizers.L2(settings.l2),
        dtype="float32",
        name="logits",
    )(features)
    return keras.Model(images, logits, name="network")


def build_classifier(network: keras.Model, settings: Settings) -> keras.Model:
    """Adds to a network what turns its logits into probabilities.

    Args:
      network: from `build_network`.
      settings: over which views of an image logits are averaged, each at the cost of an answer
        (as in arXiv:2404.00498); the label smoothing with which the network was trained, of which
        its answers are freed.

    Returns:
      A model from images to probabilities, float32 [N, class_count]. Its layer `probabilities`
      holds the temperature; its layer `network` is the network.
    """
    images = keras.Input(network.input_shape[1:], name="images")
    logits = [network(view) for view in _views(images, settings)]
    mean = keras.layers.Average(name="average")(logits) if len(logits) > 1 else logits[0]
    softmax = CalibratedSoftmax(settings.label_smoothing, name="probabilities", dtype="float32")
    return keras.Model(images, softmax(mean), name="image_classifier")


def _views(images: keras.KerasTensor, settings: Settings) -> list[keras.KerasTensor]:
    views = [images]
    if settings.shift_averaging:
        height, width = images.shape[1:3]
        bordered = keras.ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
        # Down and to the right by a pixel; up and to the left.
        views += [bordered[:, :height, :width], bordered[:, 2:, 2:]]
    if settings.flip_averaging:
        views += [keras.ops.flip(view, axis=2) for view in views]
    return views


def _stage(features: keras.KerasTensor, name: str, width: int, settings: Settings):
    policy = _POLICIES[settings.precision]
    features = _convolution(features, f"{name}_conv1", width, settings)
    pool = keras.layers.MaxPooling2D(padding="same", name=f"{name}_pool", dtype=policy)
    shortcut = features = _normalise(pool(features), f"{name}_1", policy)
    features = _convolution(features, f"{name}_conv2", width, settings)
    features = _normalise(features, f"{name}_2", policy)
    return keras.layers.Add(name=f"{name}_add", dtype=policy)([shortcut, features])


def _convolution(features: keras.KerasTensor, name: str, width: int, settings: Settings):
    layer = keras.layers.Conv2D(
        width,
        3,
        padding="same",
        use_bias=False,
        kernel_regularizer=keras.regularizers.L2(settings.l2),
        dtype=_POLICIES[settings.precision],
        trainable=not (settings.whitening and name == FIRST_CONVOLUTION),
        name=name,
    )
    return layer(features)


def _normalise(features: keras.KerasTensor, name: str, policy: str):
    # The running averages must settle within the few epochs of a short run: Keras's default of
    # 0.99 needs hundreds of steps.
    layer = FusedBatchNormalization(momentum=0.9, name=f"{name}_norm", dtype=policy)
    return keras.layers.ReLU(name=f"{name}_relu", dtype=policy)(layer(features))
