"""Augmentation: random changes of the training images, as Keras layers."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras

from components.trainer.settings import Augmentation


def augmentation_layers(augmentation: Augmentation, seed: int) -> list[keras.layers.Layer]:
    """Returns the augmentation as Keras layers, which are active only in training.

    Pixels that move into the image are black, like the background of the garments. Erased
    rectangles become noise (Zhong et al. 2017, arXiv:1708.04896), which looks like no garment. The
    layers compute in float32, whatever the precision of the network: bfloat16 has too few values
    between 0 and 1 for the 256 values of a pixel.

    Args:
      augmentation: Random changes; a change that is 0 or false gets no layer.
      seed: Base seed; each layer gets a seed of its own.
    """
    layers = keras.layers
    rotation, shift = augmentation.rotation, augmentation.shift
    shear, zoom = augmentation.shear, augmentation.zoom
    # Without interpolation: four interpolating layers in a row would blur the training images, but
    # not the others.
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
    # One seed per layer: layers with the same seed would draw the same numbers.
    return [
        build(seed=seed + number, dtype="float32")
        for number, (wanted, build) in enumerate(builders, start=1)
        if wanted
    ]


def _random_erasing(probability: float, **arguments: Any) -> keras.layers.Layer:
    # Keras draws the probability from a range; both ends are equal here.
    factor = (probability, probability)
    return keras.layers.RandomErasing(factor, value_range=(0.0, 1.0), name="erasing", **arguments)
