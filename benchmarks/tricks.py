"""Tricks that the recipe does without, for the ablation to say what each would be worth.

None is a setting: what did not earn its place is not carried along by what runs in production.
Each replaces one function of the training for as long as it lasts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from unittest import mock

import keras
import numpy as np
from keras import ops

from components.examples import Split
from components.image_schema import ImageSchema
from components.trainer import model, training
from components.trainer.augmentation import augmentation_layers
from components.trainer.settings import Augmentation, Settings

HARDEST_CLASS = "Shirt"
# Those that it is most often taken for, and that are most often taken for it.
_CONFUSABLE = ("T-shirt/top", "Pullover", "Coat", "Dress", HARDEST_CLASS)
_WEIGHT = 1.5

Trick = Callable[[ImageSchema, Split], contextlib.AbstractContextManager]


@contextlib.contextmanager
def black_erasing(schema: ImageSchema, split: Split) -> Iterator[None]:
    """What is erased becomes black, as the background is, in place of noise."""

    def layers(augmentation: Augmentation, seed: int) -> list[keras.layers.Layer]:
        found = augmentation_layers(augmentation, seed)
        for layer in found:
            if isinstance(layer, keras.layers.RandomErasing):
                layer.fill_value = 0.0
        return found

    with mock.patch.object(model, "augmentation_layers", layers):
        yield


@contextlib.contextmanager
def class_weight(schema: ImageSchema, split: Split) -> Iterator[None]:
    """Errors on the hardest class count half as much again."""
    weights = np.ones(len(schema.class_names), np.float32)
    weights[schema.class_names.index(HARDEST_CLASS)] = _WEIGHT

    def loss(settings: Settings) -> Callable:
        def weighted(labels: keras.KerasTensor, logits: keras.KerasTensor):
            each = keras.losses.categorical_crossentropy(
                labels, logits, from_logits=True, label_smoothing=settings.label_smoothing
            )
            return each * ops.sum(labels * weights, axis=-1)

        return weighted

    with _replaced_loss(loss):
        yield


@contextlib.contextmanager
def focal(schema: ImageSchema, split: Split) -> Iterator[None]:
    """Focal loss (Lin et al. 2017, arXiv:1708.02002): sure answers count less; gamma 1."""

    def loss(settings: Settings) -> keras.losses.Loss:
        return keras.losses.CategoricalFocalCrossentropy(
            alpha=1.0, gamma=1.0, from_logits=True, label_smoothing=settings.label_smoothing
        )

    with _replaced_loss(loss):
        yield


@contextlib.contextmanager
def confusion_aware(schema: ImageSchema, split: Split) -> Iterator[None]:
    """Labels of classes that are taken for each other are smoothed among these alone."""
    names = schema.class_names
    alike = np.eye(len(names), dtype=np.float32)
    group = [number for number, name in enumerate(names) if name in _CONFUSABLE]
    alike[np.ix_(group, group)] = 1
    alike /= alike.sum(axis=1, keepdims=True)

    def loss(settings: Settings) -> Callable:
        share = settings.label_smoothing

        def smoothed(labels: keras.KerasTensor, logits: keras.KerasTensor):
            targets = (1 - share) * labels + share * ops.matmul(labels, alike)
            return keras.losses.categorical_crossentropy(targets, logits, from_logits=True)

        return smoothed

    with _replaced_loss(loss):
        yield


def _replaced_loss(loss: Callable) -> contextlib.AbstractContextManager:
    return mock.patch.object(training, "loss_function", loss)


TRICKS: dict[str, Trick] = {
    "erased to black": black_erasing,
    "Shirt counts 1.5": class_weight,
    "focal loss": focal,
    "confusion-aware smoothing": confusion_aware,
}
