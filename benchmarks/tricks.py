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
from components.trainer.settings import Settings

HARDEST_CLASS = "Shirt"
# Those that it is most often taken for, and that are most often taken for it.
_CONFUSABLE = ("T-shirt/top", "Pullover", "Coat", "Dress", HARDEST_CLASS)
_WEIGHT = 1.5
_PATCH = 3
_WHITENING_IMAGES = 2_000

Trick = Callable[[ImageSchema, Split], contextlib.AbstractContextManager]


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


@contextlib.contextmanager
def whitening(schema: ImageSchema, split: Split) -> Iterator[None]:
    """The first convolution whitens patches and is frozen, as in cifar10-airbench.

    Keller Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv:2404.00498. The filters
    that are left over mix the whitening ones at random.
    """
    images = split.images[:_WHITENING_IMAGES].reshape(-1, *schema.shape).astype(np.float32) / 255
    filters = _whitening_filters(images)
    build = model.build_network

    def whitened(image_shape: tuple[int, int, int], class_count: int, settings: Settings):
        network = build(image_shape, class_count, settings)
        layer = network.get_layer("block1_conv1")
        layer.kernel.assign(_extended(filters, layer.filters, settings.seed))
        layer.trainable = False
        return network

    with mock.patch.object(model, "build_network", whitened):
        yield


def _whitening_filters(images: np.ndarray) -> np.ndarray:
    """Eigenvectors of the patches' covariance, scaled to unit variance, each with both signs.

    Returns:
      float32 [_PATCH, _PATCH, channels, filters].
    """
    windows = np.lib.stride_tricks.sliding_window_view(images, (_PATCH, _PATCH), axis=(1, 2))
    patches = np.moveaxis(windows, 3, -1).reshape(-1, _PATCH * _PATCH * images.shape[3])
    variances, vectors = np.linalg.eigh(np.cov(patches, rowvar=False))
    scaled = vectors / np.sqrt(variances + 1e-2)
    both = np.concatenate([scaled, -scaled], axis=1)
    return both.reshape(_PATCH, _PATCH, images.shape[3], -1).astype(np.float32)


def _extended(filters: np.ndarray, count: int, seed: int) -> np.ndarray:
    given = filters.shape[-1]
    mixing = np.random.default_rng(seed).normal(size=(given, max(count - given, 0)))
    mixed = filters @ (mixing / np.sqrt(given)).astype(np.float32)
    return np.concatenate([filters, mixed], axis=-1)[..., :count]


def _replaced_loss(loss: Callable) -> contextlib.AbstractContextManager:
    return mock.patch.object(training, "loss_function", loss)


TRICKS: dict[str, Trick] = {
    "Shirt counts 1.5": class_weight,
    "focal loss": focal,
    "confusion-aware smoothing": confusion_aware,
    "frozen whitening": whitening,
}
