"""Names of TFMA, and the form in which it returns values. Needs only the standard library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Metrics, by TFMA's names.
ACCURACY = "sparse_categorical_accuracy"
EXAMPLE_COUNT = "example_count"

# Features and values that all images of a slice share.
SliceKey = tuple[tuple[str, str | int], ...]
# The slice of all images.
OVERALL: SliceKey = ()


def metric_value(value: Mapping[str, Any]) -> float:
    """Returns the number in a metric's value of an evaluation result."""
    return float(value["doubleValue"])
