"""Reads what TFMA measured into plain numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

from components import evaluation_results

ACCURACY = "sparse_categorical_accuracy"
_OVERALL: tuple = ()
_SCORES = ("precision", "recall", "f1")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The evaluation on the test split.

    Attributes:
      accuracy: share of images whose first choice is right.
      cross_entropy: mean negative log likelihood, in nats.
      top_2_accuracy: share of images whose label is among the first two choices.
      count: number of images.
      per_class: precision, recall, f1 and support by class name.
      macro_avg: plain means of the classes' scores.
      weighted_avg: means of the classes' scores, weighted by support.
      confusion: counts, row by true and column by predicted class.
    """

    accuracy: float
    cross_entropy: float
    top_2_accuracy: float
    count: int
    per_class: dict[str, dict[str, float]]
    macro_avg: dict[str, float]
    weighted_avg: dict[str, float]
    confusion: list[list[int]]


def read_evaluation(uri: str, class_names: tuple[str, ...]) -> Evaluation:
    """Reads the evaluation artifact at `uri`.

    Args:
      uri: folder of the artifact.
      class_names: in label order.
    """
    result = evaluation_results.load(uri, baseline=False)
    overall = dict(result.slicing_metrics)[_OVERALL][""]
    metrics = overall[""]
    count = int(metric_value(metrics["example_count"]))
    confusion = evaluation_results.confusion(metrics["confusion_matrix"], len(class_names))
    per_class = {
        name: _class_scores(overall, number, sum(confusion[number]))
        for number, name in enumerate(class_names)
    }
    return Evaluation(
        accuracy=metric_value(metrics[ACCURACY]),
        cross_entropy=metric_value(metrics["sparse_categorical_crossentropy"]),
        top_2_accuracy=metric_value(metrics["top_2_accuracy"]),
        count=count,
        per_class=per_class,
        macro_avg=_averages(metrics, "macro_average", count),
        weighted_avg=_averages(metrics, "weighted_macro_average", count),
        confusion=confusion,
    )


def metric_value(value: dict[str, Any]) -> float:
    """A metric's value out of what TFMA wraps it in."""
    return float(value["doubleValue"])


def _class_scores(overall: dict[str, Any], number: int, support: int) -> dict[str, float]:
    # A class that is neither in the test split nor ever predicted has no entry.
    scores = overall.get(f"classId:{number}", {})
    found = {name: metric_value(scores[name]) if name in scores else 0.0 for name in _SCORES}
    return {**found, "support": support}


def _averages(metrics: dict[str, Any], kind: str, count: int) -> dict[str, float]:
    # The name that TFMA gives to an aggregated metric.
    found = {name: metric_value(metrics[f"{kind}: true\n_{name}"]) for name in _SCORES}
    return {**found, "support": count}
