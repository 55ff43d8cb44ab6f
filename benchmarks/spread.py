"""Groups of repeated measurements, their means and their spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, standard deviation (of a sample; 0 for a single value), median, minimum, maximum."""
    return {
        "mean": statistics.fmean(values),
        "standard_deviation": statistics.stdev(values) if len(values) > 1 else 0.0,
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
    }


def grouped(repeats: Sequence[dict[str, Any]], key: str) -> dict[str, list[dict[str, Any]]]:
    """Groups the raw figures of measurements by their value of a key, in order."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for repeat in repeats:
        groups.setdefault(repeat[key], []).append(repeat)
    return groups
