"""The network: a Keras functional CNN that includes its augmentation."""

from __future__ import annotations

import keras

from components.trainer.augmentation import augmentation_layers
from components.trainer.calibration import CalibratedSoftmax
from components.trainer.convolution import SmallMapConvolution
from components.trainer.normalization import FusedBatchNormalization
from components.trainer.settings import Settings

# Dtype policy of the layers between the augmentation and the head; weights are always float32.
_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}

WHITENING = "whitening"


def build_network(
    image_shape: tuple[int, int, int], class_count: int, settings: Settings
) -> keras.Model:
    """Builds the untrained network.

    With `settings.whitening`, a frozen convolution comes first; `whitening.begin` sets its filters
    to whiten patches of the images. Each stage consists of a convolution, pooling, normalisation,
    ReLU, and a residual block with one convolution (He et al. 2015, arXiv:1512.03385). Pooling
    comes before normalisation, which then has only a quarter of the pixels: on a CPU it costs as
    much as a convolution.

    Args:
      image_shape: Height, width and channels.
      class_count: Number of classes.
      settings: Settings of the network.

    Returns:
      A model from images, float32 [N, height, width, channels] in [0, 1], to logits, float32
      [N, class_count]. Every layer has a fixed name, so that its output can be selected.
    """
    images = keras.Input(image_shape, name="pixels")
    features = images
    for layer in augmentation_layers(settings, image_shape[2]):
        features = layer(features)
    if settings.whitening:
        features = _whitened(features, settings)
    for number, width in enumerate(settings.widths, start=1):
        features = _stage(features, f"block{number}", width, settings)
    policy = _POLICIES[settings.precision]
    features = keras.layers.GlobalMaxPooling2D(name="features", dtype=policy)(features)
    features = keras.layers.Dropout(
        settings.dropout, seed=settings.seed, name="dropout", dtype=policy
    )(features)
    # The kernel starts at zero. With random values, the first steps would only correct the scale of
    # the logits.
    logits = keras.layers.Dense(
        class_count,
        kernel_initializer="zeros",
        kernel_regularizer=_penalty(settings),
        dtype="float32",
        name="logits",
    )(features)
    return keras.Model(images, logits, name="network")


def build_classifier(network: keras.Model, settings: Settings) -> keras.Model:
    """Adds averaging and calibrated probabilities to a network.

    Args:
      network: Network from `build_network`.
      settings: Settings of the network. They say which shifted or mirrored views of an image to
        average (as in arXiv:2404.00498), each at the cost of a forward pass. They also name the
        label smoothing of the training.

    Returns:
      A model from images to probabilities, float32 [N, class_count]. Its layer `probabilities`
      has the temperature; its layer `network` is the network.
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
        bordered = _bordered(images, settings)
        # One view moved down and right by a pixel, one moved up and left.
        views += [bordered[:, :height, :width], bordered[:, 2:, 2:]]
    if settings.flip_averaging:
        views += [keras.ops.flip(view, axis=2) for view in views]
    return views


def _bordered(images: keras.KerasTensor, settings: Settings) -> keras.KerasTensor:
    """Adds a border of one pixel, with what moves into augmented images."""
    border = ((0, 0), (1, 1), (1, 1), (0, 0))
    if settings.augmentation.fill == "background":
        return keras.ops.pad(images, border, constant_values=settings.background / 255)
    # A mirrored image begins with its outermost pixel: of a single pixel, that is the nearest one.
    return keras.ops.pad(images, border, mode="symmetric")


def _whitened(features: keras.KerasTensor, settings: Settings):
    filters = settings.whitening_filters(features.shape[-1])
    features = _convolution(features, WHITENING, filters, settings, learns=False)
    relu = keras.layers.ReLU(name=f"{WHITENING}_relu", dtype=_POLICIES[settings.precision])
    return relu(features)


def _stage(features: keras.KerasTensor, name: str, width: int, settings: Settings):
    policy = _POLICIES[settings.precision]
    features = _convolution(features, f"{name}_conv1", width, settings)
    pool = keras.layers.MaxPooling2D(padding="same", name=f"{name}_pool", dtype=policy)
    shortcut = features = _normalise(pool(features), f"{name}_1", policy)
    features = _convolution(features, f"{name}_conv2", width, settings)
    features = _normalise(features, f"{name}_2", policy)
    return keras.layers.Add(name=f"{name}_add", dtype=policy)([shortcut, features])


def _convolution(
    features: keras.KerasTensor, name: str, width: int, settings: Settings, learns: bool = True
):
    layer = SmallMapConvolution(
        width,
        3,
        padding="same",
        use_bias=False,
        kernel_regularizer=_penalty(settings),
        dtype=_POLICIES[settings.precision],
        trainable=learns,
        name=name,
    )
    return layer(features)


def _normalise(features: keras.KerasTensor, name: str, policy: str):
    # The running averages must converge within the few epochs of a short run. With Keras's default
    # of 0.99 they need hundreds of steps. Each half of a batch counts as a step.
    layer = FusedBatchNormalization(momentum=0.9, name=f"{name}_norm", dtype=policy)
    return keras.layers.ReLU(name=f"{name}_relu", dtype=policy)(layer(features))


def _penalty(settings: Settings) -> keras.regularizers.Regularizer | None:
    # Keras would compute a penalty of 0, and its gradients, in every step.
    return keras.regularizers.L2(settings.l2) if settings.l2 else None
