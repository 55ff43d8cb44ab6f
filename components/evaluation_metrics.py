"""Precision, recall and F1 of every class, as a metric for TFMA.

TFMA's binarized metrics process all examples once per class; for ten classes this takes two thirds
of the evaluation. This metric derives the same values from the confusion matrix, which TFMA
computes anyway.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tensorflow_model_analysis.metrics import (
    metric_types,
    metric_util,
    multi_class_confusion_matrix_metrics,
)
from tensorflow_model_analysis.proto import config_pb2

PRECISION, RECALL, F1 = "precision", "recall", "f1"
_SCORES = (PRECISION, RECALL, F1)
# Every prediction counts, however low its probability.
_THRESHOLD = 0.0
_MACRO = metric_types.AggregationType(macro_average=True)
_WEIGHTED = metric_types.AggregationType(weighted_macro_average=True)


class ClassificationReport(metric_types.Metric):
    """Scores of the most probable class, as in scikit-learn's `classification_report`.

    The metric has `precision`, `recall` and `f1` for each class that occurs as a label or a
    prediction (with its number as `class_id`), and their macro and weighted averages. A division by
    0 gives 0.
    """

    def __init__(self, name: str = "classification_report"):
        """Creates the metric with its name in TFMA's configuration."""
        super().__init__(metric_util.merge_per_key_computations(_computations), name=name)


metric_types.register_metric(ClassificationReport)


def scores(matrix: Mapping[tuple[int, int], float]) -> dict[int, dict[str, float]]:
    """Returns precision, recall, F1 and support of each class.

    Args:
      matrix: Number of examples by (true class, predicted class).
    """
    support: dict[int, float] = defaultdict(float)
    predicted: dict[int, float] = defaultdict(float)
    for (true, choice), count in matrix.items():
        support[true] += count
        predicted[choice] += count
    return {
        number: _class_scores(matrix.get((number, number), 0), support[number], predicted[number])
        for number in sorted({*support, *predicted})
    }


def _class_scores(right: float, support: float, predicted: float) -> dict[str, float]:
    return {
        PRECISION: right / predicted if predicted else 0.0,
        RECALL: right / support if support else 0.0,
        F1: 2 * right / (support + predicted) if support + predicted else 0.0,
        "support": support,
    }


def _computations(
    name: str = "classification_report",
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> metric_types.MetricComputations:
    key_of = _KeyFactory(model_name, output_name, example_weighted)
    matrices = multi_class_confusion_matrix_metrics.multi_class_confusion_matrices(
        thresholds=[_THRESHOLD],
        eval_config=eval_config,
        model_name=model_name,
        output_name=output_name,
        example_weighted=example_weighted,
    )

    def result(metrics: dict[metric_types.MetricKey, Any]) -> dict[metric_types.MetricKey, float]:
        matrix = {tuple(key): n for key, n in metrics[matrices[-1].keys[-1]][_THRESHOLD].items()}
        return key_of.report(scores(matrix))

    # The classes are known only from the result. TFMA accepts keys that are not declared here.
    keys = [key_of(score, aggregation=_MACRO) for score in _SCORES]
    return [*matrices, metric_types.DerivedMetricComputation(keys=keys, result=result)]


class _KeyFactory:
    """Makes TFMA's keys for values."""

    def __init__(self, model_name: str, output_name: str, example_weighted: bool):
        self._common = {
            "model_name": model_name,
            "output_name": output_name,
            "example_weighted": example_weighted,
        }

    def __call__(
        self,
        score: str,
        number: int | None = None,
        aggregation: metric_types.AggregationType | None = None,
    ) -> metric_types.MetricKey:
        sub_key = None if number is None else metric_types.SubKey(class_id=number)
        return metric_types.MetricKey(
            name=score, sub_key=sub_key, aggregation_type=aggregation, **self._common
        )

    def report(self, classes: dict[int, dict[str, float]]) -> dict[metric_types.MetricKey, float]:
        """Returns the scores of all classes and their averages by key.

        It uses `math.fsum`, since `sum` rounds differently from Python 3.12 on.
        """
        report = {self(s, number): own[s] for number, own in classes.items() for s in _SCORES}
        total = sum(own["support"] for own in classes.values())
        for score in _SCORES:
            values = [own[score] for own in classes.values()]
            weighted = math.fsum(own[score] * own["support"] for own in classes.values())
            report[self(score, aggregation=_MACRO)] = math.fsum(values) / len(values)
            report[self(score, aggregation=_WEIGHTED)] = weighted / total
        return report
