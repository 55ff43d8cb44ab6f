"""Reads the measurements of TFMA for the gates, and its verdict on their thresholds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import tensorflow_model_analysis as tfma

from components import features

_ACCURACY = "sparse_categorical_accuracy"

# Features and values that all images of a slice share, sorted by name.
Slice = tuple[tuple[str, str], ...]


class Place(NamedTuple):
    """The place of a value in an evaluation.

    Attributes:
      slice: Slice of the images.
      change: Whether the value is the difference from the served model.
    """

    slice: Slice
    change: bool


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The result of an evaluation by TFMA.

    Attributes:
      accuracies: Accuracies of the new model, and their changes; NaN if they have no value.
      failed: Places with a failed threshold.
      missing: Slices that have a threshold but no images.
      holds: Whether all thresholds hold according to TFMA.
    """

    accuracies: dict[Place, float]
    failed: frozenset[Place]
    missing: frozenset[Slice]
    holds: bool


def slice_of(pairs: Iterable[tuple[str, Any]]) -> Slice:
    """Returns the slice of images that share these features and values."""
    return tuple(sorted((name, str(value)) for name, value in pairs))


def read(uri: str) -> Measurement:
    """Reads an evaluation artifact with thresholds.

    Args:
      uri: Folder of the artifact.
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
        if entry.key.name == _ACCURACY and _is_of_candidate(entry.key)
    }


def _number(value: Any) -> float:
    # Check the kind of the value: for another kind, such as an error, the field would be 0.
    return value.double_value.value if value.HasField("double_value") else math.nan


def _is_of_candidate(key: Any) -> bool:
    # TFMA omits the name if there is only one model. For changes it uses the name of the new model.
    return key.model_name in (features.CANDIDATE, "")


def _deserialized(slice_key: Any) -> Slice:
    return slice_of(tfma.slicer.deserialize_slice_key(slice_key))
