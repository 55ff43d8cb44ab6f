"""Chooses the validation examples: an exact number per class, the same in every run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

# Maximum number of classes in a message.
_NAMED = 10


class SplitError(ValueError):
    """A class has too few images for a split, or none."""


def example_ids(name: str, count: int) -> list[str]:
    """Stable ids of the examples of an IDX file: its name and the position in it."""
    return [f"{name}-{position:08d}" for position in range(count)]


def class_counts(labels: np.ndarray, class_count: int) -> list[int]:
    """Number of examples of each class, in label order."""
    return np.bincount(labels, minlength=class_count).tolist()


def choose_validation(ids: list[str], labels: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Chooses `per_class` examples of each class by a seeded hash of their ids.

    Call `check_classes` first. Adding examples of one class does not change the choice in another.

    Args:
      ids: one id per example.
      labels: integer labels of shape [count].
      per_class: number of validation examples of each class.
      seed: random seed.

    Returns:
      bool of shape [count], True for validation.
    """
    keys = np.array([_key(seed, example_id) for example_id in ids], dtype=np.uint64)
    chosen = np.zeros(len(ids), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen[members[np.argsort(keys[members], kind="stable")[:per_class]]] = True
    return chosen


def check_classes(
    train_counts: Sequence[int],
    test_counts: Sequence[int],
    per_class: int,
    class_names: Sequence[str],
) -> None:
    """Checks that every class has images in `train`, `val` and `test`.

    Otherwise a model would be tested on a class it could not learn, or learn a class that is never
    tested.

    Args:
      train_counts: number of images of each class for `train` and `val` together.
      test_counts: number of test images of each class.
      per_class: number of validation examples of each class.
      class_names: names of the classes, in label order.

    Raises:
      SplitError: a class has at most `per_class` training images, or no test image.
    """
    counts, tested = np.array(train_counts), np.array(test_counts)
    if not counts.all():
        raise SplitError(
            f"{_listed(counts == 0, counts, 'training', class_names)}; expected some of every "
            "class of the schema. Add images, or remove the class from the schema."
        )
    if counts.min() <= per_class:
        raise SplitError(
            f"{_listed(counts <= per_class, counts, 'training', class_names)}; expected more than "
            f"split.validation_per_class={per_class}, which are set aside for validation. "
            "Set a smaller split.validation_per_class."
        )
    if not tested.all():
        raise SplitError(
            f"{_listed(tested == 0, tested, 'test', class_names)}; expected some of every class of "
            "the schema, or no model can be judged on it. Add images, or remove the class from the "
            "schema."
        )


def _listed(chosen: np.ndarray, counts: np.ndarray, kind: str, class_names: Sequence[str]) -> str:
    """Names the chosen classes with their numbers of images."""
    labels = np.flatnonzero(chosen)
    names = [f"{class_names[label]} (label {label})" for label in labels[:_NAMED]]
    if len(labels) == 1:
        return f"class {names[0]} has {counts[labels[0]] or 'no'} {kind} images"
    each = [f"{name} {counts[label]}" for name, label in zip(names, labels, strict=False)]
    more = ", ..." if len(labels) > _NAMED else ""
    return f"{len(labels)} classes have too few {kind} images: {', '.join(each)}{more}"


def _key(seed: int, example_id: str) -> int:
    digest = hashlib.sha256(f"{seed}:{example_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
