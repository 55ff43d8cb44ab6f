"""Tricks that the recipe does without, so that the ablation can say what each would be worth.

None is a setting: production code carries nothing that did not earn its place. Each trick changes
a compiled network before its training begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from benchmarks.trainings import HARDEST_CLASS
from components.image_schema import ImageSchema
from components.trainer import training
from components.trainer.settings import Settings

if TYPE_CHECKING:
    from benchmarks.trainings import Trick

# The hardest class and those that it is most often confused with.
_CONFUSABLE = ("T-shirt/top", "Pullover", "Coat", "Dress", HARDEST_CLASS)
_WEIGHT = 1.5


def black_erasing(network: keras.Model, settings: Settings, schema: ImageSchema) -> None:
    """Erases to black, the colour of the background, instead of noise."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.RandomErasing):
            layer.fill_value = 0.0


def class_weight(network: keras.Model, settings: Settings, schema: ImageSchema) -> None:
    """Counts errors on the hardest class one and a half times."""
    weights = np.ones(len(schema.class_names), np.float32)
    weights[schema.class_names.index(HARDEST_CLASS)] = _WEIGHT

    class Weighted(keras.losses.CategoricalCrossentropy):
        def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
            return super().call(y_true, y_pred) * ops.sum(y_true * weights, axis=-1)

    loss = Weighted(from_logits=True, label_smoothing=settings.label_smoothing)
    _compile(network, settings, loss)


def focal(network: keras.Model, settings: Settings, schema: ImageSchema) -> None:
    """Counts sure answers less: focal loss (Lin et al. 2017, arXiv:1708.02002) with gamma 1."""
    loss = keras.losses.CategoricalFocalCrossentropy(
        alpha=1.0, gamma=1.0, from_logits=True, label_smoothing=settings.label_smoothing
    )
    _compile(network, settings, loss)


def confusion_aware(network: keras.Model, settings: Settings, schema: ImageSchema) -> None:
    """Smooths the labels of easily confused classes among these classes alone."""
    names, share = schema.class_names, settings.label_smoothing
    alike = np.eye(len(names), dtype=np.float32)
    group = [number for number, name in enumerate(names) if name in _CONFUSABLE]
    alike[np.ix_(group, group)] = 1
    alike /= alike.sum(axis=1, keepdims=True)

    class Smoothed(keras.losses.CategoricalCrossentropy):
        def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
            targets = (1 - share) * y_true + share * ops.matmul(y_true, alike)
            return super().call(targets, y_pred)

    _compile(network, settings, Smoothed(from_logits=True))


def _compile(network: keras.Model, settings: Settings, loss: keras.losses.Loss) -> None:
    training.compile_network(network, settings, loss, network.steps_per_execution)


TRICKS: dict[str, Trick] = {
    "erased to black": black_erasing,
    "Shirt counts 1.5": class_weight,
    "focal loss": focal,
    "confusion-aware smoothing": confusion_aware,
}
