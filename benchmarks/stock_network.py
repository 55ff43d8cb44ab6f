"""The layers of our network as a notebook writes them, in stock Keras and float32.

Widths, convolutions and residual additions are those of `components.trainer.model`. The order of a
stage is the usual one, convolution, normalisation, ReLU, pooling, with Keras's own normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import keras


def build(
    image_shape: tuple[int, int, int],
    class_count: int,
    widths: Sequence[int],
    dropout: float,
    whitening_filters: int,
    library: ModuleType = keras,
) -> keras.Model:
    """Builds and compiles the network as Keras's tutorials do.

    Args:
      image_shape: height, width and channels.
      class_count: number of classes.
      widths: filters of each stage.
      dropout: before the head.
      whitening_filters: of the convolution before the first stage, which learns here; 0 for none.
      library: Keras 3, or the Keras 2 that TensorFlow has as `tf.keras` where it is asked to.

    Returns:
      A model from float32 [N, height, width, channels] to probabilities, to be fitted to integer
      labels [N].
    """
    layers = library.layers
    images = library.Input(image_shape)
    features = images
    if whitening_filters:
        features = _convolution(layers, features, whitening_filters)
        features = layers.ReLU()(features)
    for width in widths:
        features = _normalised_convolution(layers, features, width)
        features = layers.MaxPooling2D(padding="same")(features)
        features = layers.Add()([features, _normalised_convolution(layers, features, width)])
    features = layers.GlobalMaxPooling2D()(features)
    features = layers.Dropout(dropout)(features)
    probabilities = layers.Dense(class_count, activation="softmax")(features)
    network = library.Model(images, probabilities)
    network.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return network


def _normalised_convolution(layers: ModuleType, features: Any, width: int) -> Any:
    features = layers.BatchNormalization()(_convolution(layers, features, width))
    return layers.ReLU()(features)


def _convolution(layers: ModuleType, features: Any, width: int) -> Any:
    return layers.Conv2D(width, 3, padding="same", use_bias=False)(features)
