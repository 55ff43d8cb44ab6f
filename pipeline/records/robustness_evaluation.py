"""Reads what TFMA measured on corrupted images into plain numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow_model_analysis as tfma

from components import features
from pipeline.records.evaluation import ACCURACY, metric_value

# The metrics of a slice, by the key of the slice.
_SliceMetrics = dict[tuple, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class CorruptedScores:
    """What was measured under one corruption at one strength.

    Attributes:
      corruption: its name.
      strength: 1 to 3.
      amount: in words and units.
      accuracy: share of images whose first choice is right.
      count: number of images.
      per_class: recall and support by class name.
    """

    corruption: str
    strength: int
    amount: str
    accuracy: float
    count: int
    per_class: dict[str, dict[str, float]]


def read_robustness(
    uri: str,
    class_names: tuple[str, ...],
    amounts: dict[tuple[str, int], str],
) -> list[CorruptedScores]:
    """Reads the evaluation artifact at `uri`: scores for each corruption and strength.

    Args:
      uri: folder of the artifact.
      class_names: in label order.
      amounts: in words, by corruption and strength; the scores come in this order.
    """
    measured = tfma.load_eval_result(uri).slicing_metrics
    slices = {key: metrics[""][""] for key, metrics in measured}
    return [
        _scores(slices, corruption, strength, amount, class_names)
        for (corruption, strength), amount in amounts.items()
    ]


def _scores(
    slices: _SliceMetrics,
    corruption: str,
    strength: int,
    amount: str,
    class_names: tuple[str, ...],
) -> CorruptedScores:
    overall = slices[_key(corruption, strength)]
    per_class = {
        name: _class_scores(slices.get(_key(corruption, strength, label)))
        for label, name in enumerate(class_names)
    }
    accuracy, count = metric_value(overall[ACCURACY]), _count(overall)
    return CorruptedScores(corruption, strength, amount, accuracy, count, per_class)


def _key(corruption: str, strength: int, label: int | None = None) -> tuple:
    """The key of a slice: TFMA sorts its features by name."""
    values = {features.CORRUPTION: corruption, features.STRENGTH: strength}
    labels = {} if label is None else {features.LABEL: label}
    return tuple(sorted({**values, **labels}.items()))


def _class_scores(metrics: dict[str, Any] | None) -> dict[str, float]:
    # A class without test images has no slice.
    if metrics is None:
        return {"recall": 0.0, "support": 0}
    return {"recall": metric_value(metrics[ACCURACY]), "support": _count(metrics)}


def _count(metrics: dict[str, Any]) -> int:
    return int(metric_value(metrics["example_count"]))
