"""The quality gates of a run, and the TFMA configurations that measure their metrics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from tensorflow_model_analysis.proto import config_pb2

from components import features
from components.quality_gates import (
    ACCURACY,
    BALANCED,
    BALANCED_ACCURACY,
    BALANCED_CHANGE,
    CHANGE,
    CHANGES,
    CORRUPTION,
    OVERALL,
    RECALL,
    Gate,
)
from components.robustness import corruptions
from pipeline.config import Config

_OWN_METRICS = "components.evaluation_metrics"


def declared(config: Config, class_names: Sequence[str]) -> list[Gate]:
    """Returns every gate of a run; those of `CHANGES` apply if a model is served.

    Args:
      config: Configuration of the run.
      class_names: Class names in label order.
    """
    return [
        Gate(ACCURACY, OVERALL, config.gates.accuracy),
        *_optional(BALANCED_ACCURACY, config.gates.balanced_accuracy),
        *(
            # The accuracy on the images of one class is the recall of this class.
            Gate(RECALL, name, config.gates.class_recall, ((features.LABEL, number),))
            for number, name in enumerate(class_names)
        ),
        Gate(CHANGE, OVERALL, -config.gates.accuracy_drop),
        *_optional(BALANCED_CHANGE, _negative(config.gates.balanced_accuracy_drop)),
        *_under_corruption(config.robustness.thresholds()),
    ]


def _optional(metric: str, threshold: float | None) -> list[Gate]:
    return [] if threshold is None else [Gate(metric, OVERALL, threshold)]


def _negative(drop: float | None) -> float | None:
    return None if drop is None else -drop


def _under_corruption(thresholds: dict[int, float]) -> Iterator[Gate]:
    for name, strength in corruptions.amounts():
        if strength in thresholds:
            images = ((features.CORRUPTION, name), (features.STRENGTH, strength))
            yield Gate(CORRUPTION, f"{name}, strength {strength}", thresholds[strength], images)


def evaluation_config(gates: Iterable[Gate], columns: Iterable[str]) -> config_pb2.EvalConfig:
    """Returns the evaluation of the test images: metrics, slices, and thresholds.

    There is a slice per class and per value of a column. Those of columns have no thresholds here:
    Blessing judges only values with enough images, which TFMA cannot tell apart.

    Args:
      gates: All declared gates.
      columns: Columns that divide the test images into slices.
    """
    gates = list(gates)
    balanced = [gate for gate in gates if gate.metric in BALANCED]
    of_accuracy = [gate for gate in gates if gate.metric not in (*BALANCED, CORRUPTION)]
    return config_pb2.EvalConfig(
        model_specs=[_answered(features.CANDIDATE), _answered(features.BASELINE)],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=[features.LABEL]),
            *(config_pb2.SlicingSpec(feature_keys=[column]) for column in columns),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[_accuracy(of_accuracy), _balanced_accuracy(balanced), *_overall_metrics()]
            ),
        ],
    )


def robustness_evaluation_config(gates: Iterable[Gate]) -> config_pb2.EvalConfig:
    """Returns the evaluation on corrupted images: accuracy per corruption, overall and per class.

    Args:
      gates: All declared gates.
    """
    slices = [features.CORRUPTION, features.STRENGTH]
    accuracy = _accuracy(gate for gate in gates if gate.metric == CORRUPTION)
    count = config_pb2.MetricConfig(class_name="ExampleCount")
    return config_pb2.EvalConfig(
        model_specs=[_asked()],
        slicing_specs=[
            config_pb2.SlicingSpec(feature_keys=slices),
            config_pb2.SlicingSpec(feature_keys=[*slices, features.LABEL]),
        ],
        metrics_specs=[config_pb2.MetricsSpec(metrics=[accuracy, count])],
    )


def _answered(name: str) -> config_pb2.ModelSpec:
    """Returns a model with stored predictions: TFMA reads them from the column with its name."""
    return config_pb2.ModelSpec(
        name=name,
        model_type="materialized_prediction",
        label_key=features.LABEL,
        prediction_key=name,
        is_baseline=name == features.BASELINE,
    )


def _asked() -> config_pb2.ModelSpec:
    return config_pb2.ModelSpec(
        name=features.CANDIDATE,
        model_type="tf_generic",
        signature_name=features.SERVING_DEFAULT,
        label_key=features.LABEL,
        prediction_key=features.PROBABILITIES,
    )


def _accuracy(gates: Iterable[Gate]) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(
        class_name="SparseCategoricalAccuracy", per_slice_thresholds=_thresholds(gates)
    )


def _balanced_accuracy(gates: Iterable[Gate]) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(
        class_name="BalancedAccuracy",
        module=_OWN_METRICS,
        per_slice_thresholds=_thresholds(gates),
    )


def _thresholds(gates: Iterable[Gate]) -> list[config_pb2.PerSliceMetricThreshold]:
    return [
        config_pb2.PerSliceMetricThreshold(
            slicing_specs=[_slice_of(gate)], threshold=_threshold(gate)
        )
        for gate in gates
    ]


def _slice_of(gate: Gate) -> config_pb2.SlicingSpec:
    # Name each slice by its value: TFMA then reports a slice without images as missing. With only
    # the key, TFMA would check just the slices that have images.
    values = {name: str(value) for name, value in gate.features}
    return config_pb2.SlicingSpec(feature_values=values)


def _threshold(gate: Gate) -> config_pb2.MetricThreshold:
    if gate.metric not in CHANGES:
        bound = config_pb2.GenericValueThreshold(lower_bound={"value": gate.bound})
        return config_pb2.MetricThreshold(value_threshold=bound)
    change = config_pb2.GenericChangeThreshold(
        direction=config_pb2.MetricDirection.HIGHER_IS_BETTER, absolute={"value": gate.bound}
    )
    return config_pb2.MetricThreshold(change_threshold=change)


def _overall_metrics() -> list[config_pb2.MetricConfig]:
    return [
        config_pb2.MetricConfig(class_name="ExampleCount"),
        config_pb2.MetricConfig(class_name="SparseCategoricalCrossentropy"),
        config_pb2.MetricConfig(
            class_name="SparseTopKCategoricalAccuracy",
            config=json.dumps({"k": 2, "name": "top_2_accuracy"}),
        ),
        config_pb2.MetricConfig(
            class_name="MultiClassConfusionMatrixAtThresholds",
            config=json.dumps({"thresholds": [0.0], "name": "confusion_matrix"}),
        ),
        config_pb2.MetricConfig(class_name="ClassificationReport", module=_OWN_METRICS),
    ]
