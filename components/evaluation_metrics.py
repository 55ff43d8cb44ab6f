"""Precision, recall and F1 of every class, and balanced accuracy, as metrics for TFMA.

TFMA's binarized metrics process all examples once per class; for ten classes this takes two thirds
of the evaluation. These metrics derive the same values from the confusion matrix, which TFMA
computes anyway. TFMA's own `BalancedAccuracy` is one of two classes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from tensorflow_model_analysis.metrics import (
    metric_types,
    metric_util,
    multi_class_confusion_matrix_metrics,
)
from tensorflow_model_analysis.proto import config_pb2

PRECISION, RECALL, F1 = "precision", "recall", "f1"
BALANCED_ACCURACY = "balanced_accuracy"
_SCORES = (PRECISION, RECALL, F1)
# Every prediction counts, however low its probability.
_THRESHOLD = 0.0
_MACRO = metric_types.AggregationType(macro_average=True)
_WEIGHTED = metric_types.AggregationType(weighted_macro_average=True)
# Number of examples by (true class, predicted class).
_Matrix = Mapping[tuple[int, int], float]


def scores(matrix: _Matrix) -> dict[int, dict[str, float]]:
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


def balanced_accuracy(matrix: _Matrix) -> float:
    """Returns the mean recall of the classes that occur as a label; NaN without examples.

    Args:
      matrix: Number of examples by (true class, predicted class).
    """
    recalls = [own[RECALL] for own in scores(matrix).values() if own["support"]]
    return math.fsum(recalls) / len(recalls) if recalls else math.nan


class _KeyFactory:
    """Makes TFMA's keys for values."""

    def __init__(self, model_name: str, output_name: str, example_weighted: bool):
        self.common: dict[str, Any] = {
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
            name=score, sub_key=sub_key, aggregation_type=aggregation, **self.common
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


_Keys = list[metric_types.MetricKey]
_Values = dict[metric_types.MetricKey, float]


def _report_keys(key_of: _KeyFactory) -> _Keys:
    # The classes are known only from the result. TFMA accepts keys that are not declared here.
    return [key_of(score, aggregation=_MACRO) for score in _SCORES]


def _report(key_of: _KeyFactory, matrix: _Matrix) -> _Values:
    return key_of.report(scores(matrix))


def _balanced_keys(key_of: _KeyFactory) -> _Keys:
    return [key_of(BALANCED_ACCURACY)]


def _balanced(key_of: _KeyFactory, matrix: _Matrix) -> _Values:
    return {key_of(BALANCED_ACCURACY): balanced_accuracy(matrix)}


def _from_matrix(
    keys_of: Callable[[_KeyFactory], _Keys], values_of: Callable[[_KeyFactory, _Matrix], _Values]
) -> Callable[..., metric_types.MetricComputations]:
    """Returns what makes the computations of a metric that follows from the confusion matrix.

    TFMA computes the matrix once, however many metrics need it.

    Args:
      keys_of: Makes the keys that the metric declares.
      values_of: Makes the values by key.
    """

    # TFMA finds out from the names of the parameters what to hand over.
    def computations(
        name: str,
        eval_config: config_pb2.EvalConfig | None = None,
        model_name: str = "",
        output_name: str = "",
        example_weighted: bool = False,
    ) -> metric_types.MetricComputations:
        key_of = _KeyFactory(model_name, output_name, example_weighted)
        matrices = multi_class_confusion_matrix_metrics.multi_class_confusion_matrices(
            thresholds=[_THRESHOLD], eval_config=eval_config, **key_of.common
        )

        def result(metrics: dict[metric_types.MetricKey, Any]) -> _Values:
            counts = metrics[matrices[-1].keys[-1]][_THRESHOLD]
            return values_of(key_of, {tuple(key): count for key, count in counts.items()})

        return [
            *matrices,
            metric_types.DerivedMetricComputation(keys=keys_of(key_of), result=result),
        ]

    return metric_util.merge_per_key_computations(computations)


class ClassificationReport(metric_types.Metric):
    """Scores of the most probable class, as in scikit-learn's `classification_report`.

    The metric has `precision`, `recall` and `f1` for each class that occurs as a label or a
    prediction (with its number as `class_id`), and their macro and weighted averages. A division by
    0 gives 0.
    """

    def __init__(self, name: str = "classification_report"):
        """Creates the metric with its name in TFMA's configuration."""
        super().__init__(_from_matrix(_report_keys, _report), name=name)


class BalancedAccuracy(metric_types.Metric):
    """Mean recall of the classes that occur as a label, as in scikit-learn's metric of this name.

    It is a metric of its own, since TFMA puts a threshold on all values of a metric.
    """

    def __init__(self, name: str = BALANCED_ACCURACY):
        """Creates the metric with its name in TFMA's configuration."""
        super().__init__(_from_matrix(_balanced_keys, _balanced), name=name)


metric_types.register_metric(ClassificationReport)
metric_types.register_metric(BalancedAccuracy)
