"""Reads what TFMA measured for the gates, and what it says of their thresholds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import tensorflow_model_analysis as tfma

from components import features

_ACCURACY = "sparse_categorical_accuracy"

# Features and values that all images of a slice share, in the order of their names.
Slice = tuple[tuple[str, str], ...]


class Place(NamedTuple):
    """Where a value stands in an evaluation.

    Attributes:
      slice: of the images.
      change: whether the value is the difference from the served model.
    """

    slice: Slice
    change: bool


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What TFMA found.

    Attributes:
      accuracies: of the new model, and their changes; NaN where they have no value.
      failed: where a threshold does not hold.
      missing: slices that have a threshold and no images.
      holds: whether TFMA found all thresholds to hold, of those that it was given.
    """

    accuracies: dict[Place, float]
    failed: frozenset[Place]
    missing: frozenset[Slice]
    holds: bool


def slice_of(pairs: Iterable[tuple[str, Any]]) -> Slice:
    """The slice of images that share these features and values."""
    return tuple(sorted((name, str(value)) for name, value in pairs))


def read(uri: str) -> Measurement:
    """Reads an evaluation artifact of which thresholds were asked.

    Args:
      uri: folder of the artifact.
    """
    validation = tfma.load_validation_result(uri)
    failed = {
        Place(_deserialized(of_slice.slice_key), failure.metric_key.is_diff)
        for of_slice in validation.metric_validations_per_slice
        for failure in of_slice.failures
    }
    missing = {slice_of(spec.feature_values.items()) for spec in validation.missing_slices}
    return Measurement(
        _accuracies(uri), frozenset(failed), frozenset(missing), validation.validation_ok
    )


def _accuracies(uri: str) -> dict[Place, float]:
    return {
        Place(_deserialized(metrics.slice_key), entry.key.is_diff): _number(entry.value)
        for metrics in tfma.load_metrics(uri)
        for entry in metrics.metric_keys_and_values
        if entry.key.name == _ACCURACY and _tells_of_candidate(entry.key)
    }


def _number(value: Any) -> float:
    # Of another kind, such as an error that TFMA wrote down, the field would read as 0.
    return value.double_value.value if value.HasField("double_value") else math.nan


def _tells_of_candidate(key: Any) -> bool:
    # TFMA drops the name of a model that is the only one, and gives changes that of the new one.
    return key.model_name in (features.CANDIDATE, "")


def _deserialized(slice_key: Any) -> Slice:
    return slice_of(tfma.slicer.deserialize_slice_key(slice_key))
