"""The network: a Keras Functional CNN with its augmentation inside."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras

from components.trainer.settings import Augmentation, Settings


def build_model(
    image_shape: tuple[int, int, int], class_count: int, settings: Settings
) -> keras.Model:
    """Builds the untrained network.

    Each stage is convolution, pooling, normalisation, ReLU, and a residual block of one
    convolution: pooling before normalising leaves a quarter of the pixels to normalise, which is
    what costs on a CPU.

    Args:
      image_shape: height, width and channels.
      class_count: size of the softmax.
      settings: widths, dropout, L2 and augmentation.

    Returns:
      A model from float32 [N, height, width, channels] in [0, 1] to probabilities, float32
      [N, class_count]. Every layer has a name that stays, so that feature maps can be taken.
    """
    images = keras.Input(image_shape, name="pixels")
    features = images
    for layer in augmentation_layers(settings.augmentation, settings.seed):
        features = layer(features)
    for number, width in enumerate(settings.widths, start=1):
        features = _stage(features, f"block{number}", width, settings)
    features = keras.layers.GlobalMaxPooling2D(name="features")(features)
    features = keras.layers.Dropout(settings.dropout, seed=settings.seed, name="dropout")(features)
    probabilities = keras.layers.Dense(
        class_count,
        activation="softmax",
        kernel_regularizer=keras.regularizers.L2(settings.l2),
        dtype="float32",
        name="probabilities",
    )(features)
    return keras.Model(images, probabilities, name="image_classifier")


def _stage(features: keras.KerasTensor, name: str, width: int, settings: Settings):
    features = _convolution(features, f"{name}_conv1", width, settings)
    features = keras.layers.MaxPooling2D(padding="same", name=f"{name}_pool")(features)
    shortcut = features = _normalise(features, f"{name}_1")
    features = _convolution(features, f"{name}_conv2", width, settings)
    features = _normalise(features, f"{name}_2")
    return keras.layers.Add(name=f"{name}_add")([shortcut, features])


def _convolution(features: keras.KerasTensor, name: str, width: int, settings: Settings):
    return keras.layers.Conv2D(
        width,
        3,
        padding="same",
        use_bias=False,
        kernel_regularizer=keras.regularizers.L2(settings.l2),
        name=name,
    )(features)


def _normalise(features: keras.KerasTensor, name: str):
    # The moving averages must settle within the few epochs of a short run: Keras's default of
    # 0.99 needs hundreds of steps.
    features = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(features)
    return keras.layers.ReLU(name=f"{name}_relu")(features)


def augmentation_layers(augmentation: Augmentation, seed: int) -> list[keras.layers.Layer]:
    """The augmentation as Keras layers, active in training alone.

    What moves out of the image is filled with black, the background of the garments.
    """
    layers = keras.layers
    rotation, shift = augmentation.rotation, augmentation.shift
    shear, zoom = augmentation.shear, augmentation.zoom
    # Interpolated, four layers in a row would blur what is trained on, and that alone.
    fill: dict[str, Any] = {
        "fill_mode": "constant",
        "fill_value": 0.0,
        "interpolation": "nearest",
    }
    builders = [
        (augmentation.flip, partial(layers.RandomFlip, "horizontal", name="flip")),
        (rotation, partial(layers.RandomRotation, rotation / 360, name="rotation", **fill)),
        (shift, partial(layers.RandomTranslation, shift, shift, name="shift", **fill)),
        (shear, partial(layers.RandomShear, shear, 0.0, name="shear", **fill)),
        (zoom, partial(layers.RandomZoom, zoom, name="zoom", **fill)),
        (augmentation.erasing, partial(_random_erasing, augmentation.erasing)),
    ]
    # A seed for each: layers of one seed would draw the same numbers and move together.
    return [
        build(seed=seed + number)
        for number, (wanted, build) in enumerate(builders, start=1)
        if wanted
    ]


def _random_erasing(probability: float, seed: int) -> keras.layers.Layer:
    # A single number would be the upper end of a range from which the probability is drawn.
    factor = (probability, probability)
    return keras.layers.RandomErasing(
        factor, fill_value=0.0, value_range=(0.0, 1.0), seed=seed, name="erasing"
    )
