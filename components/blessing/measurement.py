"""Reads the measurements of TFMA for the gates, and its verdict on their thresholds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import tensorflow_model_analysis as tfma

from components import evaluation_metrics, features, tfma_values
from components.quality_gates import ACCURACY, BALANCED_ACCURACY

# Metrics of gates, by TFMA's names.
_METRICS = {
    tfma_values.ACCURACY: ACCURACY,
    evaluation_metrics.BALANCED_ACCURACY: BALANCED_ACCURACY,
}

# Features and values that all images of a slice share, sorted by name.
Slice = tuple[tuple[str, str], ...]


class Place(NamedTuple):
    """The place of a value in an evaluation.

    Attributes:
      metric: Metric, `ACCURACY` or `BALANCED_ACCURACY`.
      slice: Slice of the images.
      change: Whether the value is the difference from the served model.
    """

    metric: str
    slice: Slice
    change: bool


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The result of an evaluation by TFMA.

    Attributes:
      values: Values of the new model, and their changes; NaN if they have no value.
      counts: Number of images of each slice.
      failed: Places with a failed threshold.
      missing: Slices that have a threshold but no images.
      holds: Whether all thresholds hold according to TFMA.
    """

    values: dict[Place, float]
    counts: dict[Slice, int]
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
        _place(of_slice.slice_key, failure.metric_key)
        for of_slice in validation.metric_validations_per_slice
        for failure in of_slice.failures
    }
    missing = {slice_of(spec.feature_values.items()) for spec in validation.missing_slices}
    values: dict[Place, float] = {}
    counts: dict[Slice, int] = {}
    for metrics in tfma.load_metrics(uri):
        for entry in metrics.metric_keys_and_values:
            if not _is_of_candidate(entry.key):
                continue
            if entry.key.name in _METRICS:
                values[_place(metrics.slice_key, entry.key)] = _number(entry.value)
            elif entry.key.name == tfma_values.EXAMPLE_COUNT and not entry.key.is_diff:
                counts[_deserialized(metrics.slice_key)] = round(_number(entry.value))
    return Measurement(
        values, counts, frozenset(failed), frozenset(missing), validation.validation_ok
    )


def _place(slice_key: Any, metric_key: Any) -> Place:
    # A threshold on a metric that no gate knows must not pass unseen either.
    metric = _METRICS.get(metric_key.name, metric_key.name)
    return Place(metric, _deserialized(slice_key), metric_key.is_diff)


def _number(value: Any) -> float:
    # Check the kind of the value: for another kind, such as an error, the field would be 0.
    return value.double_value.value if value.HasField("double_value") else math.nan


def _is_of_candidate(key: Any) -> bool:
    # TFMA omits the name if there is only one model. For changes it uses the name of the new model.
    return key.model_name in (features.CANDIDATE, "")


def _deserialized(slice_key: Any) -> Slice:
    return slice_of(tfma.slicer.deserialize_slice_key(slice_key))
