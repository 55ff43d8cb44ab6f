"""Augmentation: random changes of the training images, as Keras layers."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras

from components.trainer.settings import Augmentation


def augmentation_layers(augmentation: Augmentation, seed: int) -> list[keras.layers.Layer]:
    """The augmentation as Keras layers, active in training alone.

    What moves into the image is black, the background of the garments; what is erased becomes
    noise (Zhong et al. 2017, arXiv:1708.04896), which no garment looks like. The layers compute in
    float32 whatever the rest of the network computes in: pixels have 256 steps, and
    bfloat16 has no more than that between 0 and 1.

    Args:
      augmentation: the random changes; what is 0 or false is no layer.
      seed: from which each layer's own follows.
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
        build(seed=seed + number, dtype="float32")
        for number, (wanted, build) in enumerate(builders, start=1)
        if wanted
    ]


def _random_erasing(probability: float, **arguments: Any) -> keras.layers.Layer:
    # A single number would be the upper end of a range from which the probability is drawn.
    factor = (probability, probability)
    return keras.layers.RandomErasing(factor, value_range=(0.0, 1.0), name="erasing", **arguments)
