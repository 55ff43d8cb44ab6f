"""Chooses the validation examples: exact in number, stratified, the same in every run."""

from __future__ import annotations

import hashlib

import numpy as np


class SplitError(ValueError):
    """More validation examples were asked for than a class can give."""


def example_ids(name: str, count: int) -> list[str]:
    """Stable ids of the examples of an IDX file: its name and the position in it."""
    return [f"{name}-{position:08d}" for position in range(count)]


def choose_validation(ids: list[str], labels: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Chooses `per_class` examples of each class by a seeded hash of their ids.

    An example's place depends on its own id and class alone: adding examples of one class moves
    none of another.

    Args:
      ids: one id per example.
      labels: integer labels of shape [count].
      per_class: number of validation examples of each class.
      seed: another seed chooses other examples.

    Returns:
      bool of shape [count], True for validation.

    Raises:
      SplitError: where a class has no more than `per_class` examples.
    """
    check_enough(labels, per_class)
    keys = np.array([_key(seed, example_id) for example_id in ids], dtype=np.uint64)
    chosen = np.zeros(len(ids), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen[members[np.argsort(keys[members], kind="stable")[:per_class]]] = True
    return chosen


def check_enough(labels: np.ndarray, per_class: int) -> None:
    """Checks that each class has an example left beside `per_class` of validation.

    Args:
      labels: integer labels of shape [count].
      per_class: number of validation examples of each class.

    Raises:
      SplitError: where a class has no more than `per_class` examples.
    """
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if count <= per_class:
            raise SplitError(
                f"class {label} has {count} training images; expected more than "
                f"split.validation_per_class={per_class}, which are set aside for validation. "
                "Set a smaller split.validation_per_class."
            )


def _key(seed: int, example_id: str) -> int:
    digest = hashlib.sha256(f"{seed}:{example_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
