"""Reads what TFMA measured into the values of a receipt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from components import features
from components.slices import Slicing, value_of
from components.tfma_values import ACCURACY, EXAMPLE_COUNT, OVERALL, SliceKey, metric_value
from pipeline.records.receipt import (
    CorruptionScores,
    Evaluation,
    Recall,
    Scores,
    SlicedColumn,
    SliceScores,
)

# The metrics of a slice, by the key of the slice.
_SliceMetrics = dict[SliceKey, dict[str, Any]]


def read_evaluation(
    uri: str, class_names: tuple[str, ...], slicings: Sequence[Slicing]
) -> Evaluation:
    """Reads the evaluation artifact at `uri`.

    Args:
      uri: folder of the artifact.
      class_names: in label order.
      slicings: columns that divide the images into slices.
    """
    # Here and not above: it imports TensorFlow.
    from components import evaluation_results

    result = evaluation_results.load(uri, baseline=False)
    slices = {key: found[""] for key, found in result.slicing_metrics}
    overall = slices[OVERALL]
    metrics = overall[""]
    count = int(metric_value(metrics[EXAMPLE_COUNT]))
    confusion = evaluation_results.confusion(metrics["confusion_matrix"], len(class_names))
    per_class = {
        name: _class_scores(overall, number, sum(confusion[number]))
        for number, name in enumerate(class_names)
    }
    cross_entropy = metric_value(metrics["sparse_categorical_crossentropy"])
    return Evaluation(
        accuracy=metric_value(metrics[ACCURACY]),
        balanced_accuracy=metric_value(metrics["balanced_accuracy"]),
        cross_entropy=cross_entropy if math.isfinite(cross_entropy) else None,
        top_2_accuracy=metric_value(metrics["top_2_accuracy"]),
        count=count,
        per_class=per_class,
        macro_avg=_averages(metrics, "macro_average", count),
        weighted_avg=_averages(metrics, "weighted_macro_average", count),
        confusion=tuple(map(tuple, confusion)),
        slices={slicing.column: _sliced(slicing, slices) for slicing in slicings},
    )


def _sliced(slicing: Slicing, slices: Mapping[SliceKey, dict[str, Any]]) -> SlicedColumn:
    values = {}
    for key, metrics in slices.items():
        if [name for name, _ in key] == [slicing.column]:
            count = _count(metrics[""])
            values[value_of(str(key[0][1]))] = SliceScores(
                accuracy=metric_value(metrics[""][ACCURACY]),
                count=count,
                judged=slicing.is_judged(count),
            )
    return SlicedColumn(
        threshold=slicing.threshold,
        min_images=slicing.min_images,
        values=dict(sorted(values.items())),
    )


def _class_scores(overall: dict[str, Any], number: int, support: int) -> Scores:
    # A class that is neither in the test split nor ever predicted has no entry.
    scores = overall.get(f"classId:{number}", {})

    def score(name: str) -> float:
        return metric_value(scores[name]) if name in scores else 0.0

    return Scores(
        precision=score("precision"), recall=score("recall"), f1=score("f1"), support=support
    )


def _averages(metrics: dict[str, Any], kind: str, count: int) -> Scores:
    def score(name: str) -> float:
        # The name that TFMA gives to an aggregated metric.
        return metric_value(metrics[f"{kind}: true\n_{name}"])

    return Scores(
        precision=score("precision"), recall=score("recall"), f1=score("f1"), support=count
    )


def read_robustness(
    uri: str,
    class_names: tuple[str, ...],
    amounts: dict[tuple[str, int], str],
) -> list[CorruptionScores]:
    """Reads the evaluation artifact at `uri`: scores for each corruption and strength.

    Args:
      uri: folder of the artifact.
      class_names: in label order.
      amounts: in words, by corruption and strength; the scores come in this order.
    """
    # Here and not above: it imports TensorFlow.
    import tensorflow_model_analysis as tfma

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
) -> CorruptionScores:
    overall = slices[_key(corruption, strength)]
    per_class = {
        name: _recall(slices.get(_key(corruption, strength, label)))
        for label, name in enumerate(class_names)
    }
    accuracy, count = metric_value(overall[ACCURACY]), _count(overall)
    return CorruptionScores(
        corruption=corruption,
        strength=strength,
        amount=amount,
        accuracy=accuracy,
        count=count,
        per_class=per_class,
    )


def _key(corruption: str, strength: int, label: int | None = None) -> SliceKey:
    """The key of a slice: TFMA sorts its features by name."""
    values: dict[str, str | int] = {
        features.CORRUPTION: corruption,
        features.STRENGTH: strength,
    }
    labels = {} if label is None else {features.LABEL: label}
    return tuple(sorted({**values, **labels}.items()))


def _recall(metrics: dict[str, Any] | None) -> Recall:
    # A class without test images has no slice.
    if metrics is None:
        return Recall(recall=0.0, support=0)
    return Recall(recall=metric_value(metrics[ACCURACY]), support=_count(metrics))


def _count(metrics: dict[str, Any]) -> int:
    return int(metric_value(metrics[EXAMPLE_COUNT]))
