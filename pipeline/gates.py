"""What is measured on the test split, over which slices, and what a model must reach."""

from __future__ import annotations

import json

from tensorflow_model_analysis.proto import config_pb2

from components import features
from components.robustness import corruptions
from pipeline.config import GatesConfig, RobustnessConfig

ACCURACY = "sparse_categorical_accuracy"


def evaluation_config(gates: GatesConfig) -> config_pb2.EvalConfig:
    """The evaluation: metrics, a slice per class, and the gates.

    Args:
      gates: thresholds; on a class's slice the accuracy is that class's recall.
    """
    return config_pb2.EvalConfig(
        model_specs=[_answered(features.CANDIDATE), _answered(features.BASELINE)],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=[features.LABEL]),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(metrics=[_accuracy(gates), *_overall_metrics()]),
        ],
    )


def robustness_evaluation_config(robustness: RobustnessConfig) -> config_pb2.EvalConfig:
    """The evaluation on corrupted images: accuracy under each corruption, overall and per class.

    Args:
      robustness: thresholds; without any, TFX's Evaluator blesses nothing and refuses nothing.
    """
    slices = [features.CORRUPTION, features.STRENGTH]
    accuracy = config_pb2.MetricConfig(
        class_name="SparseCategoricalAccuracy",
        per_slice_thresholds=[
            _on_slices(
                _corrupted(name, strength),
                config_pb2.MetricThreshold(value_threshold=_at_least(least)),
            )
            for name in corruptions.CORRUPTIONS
            for strength, least in robustness.thresholds().items()
        ],
    )
    count = config_pb2.MetricConfig(class_name="ExampleCount")
    return config_pb2.EvalConfig(
        model_specs=[_asked()],
        slicing_specs=[
            config_pb2.SlicingSpec(feature_keys=slices),
            config_pb2.SlicingSpec(feature_keys=[*slices, features.LABEL]),
        ],
        metrics_specs=[config_pb2.MetricsSpec(metrics=[accuracy, count])],
    )


def _corrupted(name: str, strength: int) -> config_pb2.SlicingSpec:
    return config_pb2.SlicingSpec(
        feature_values={features.CORRUPTION: name, features.STRENGTH: str(strength)}
    )


def _answered(name: str) -> config_pb2.ModelSpec:
    """A model whose answers TFMA finds in the column of its name, and need not ask for."""
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


def _accuracy(gates: GatesConfig) -> config_pb2.MetricConfig:
    # A plain `threshold` would hold for the class slices too.
    return config_pb2.MetricConfig(
        class_name="SparseCategoricalAccuracy",
        per_slice_thresholds=[
            _on_slices(config_pb2.SlicingSpec(), _overall_threshold(gates)),
            _on_slices(
                config_pb2.SlicingSpec(feature_keys=[features.LABEL]),
                config_pb2.MetricThreshold(value_threshold=_at_least(gates.class_recall)),
            ),
        ],
    )


def _overall_threshold(gates: GatesConfig) -> config_pb2.MetricThreshold:
    return config_pb2.MetricThreshold(
        value_threshold=_at_least(gates.accuracy),
        change_threshold=config_pb2.GenericChangeThreshold(
            direction=config_pb2.MetricDirection.HIGHER_IS_BETTER,
            absolute={"value": -gates.accuracy_drop},
        ),
    )


def _on_slices(
    spec: config_pb2.SlicingSpec, threshold: config_pb2.MetricThreshold
) -> config_pb2.PerSliceMetricThreshold:
    return config_pb2.PerSliceMetricThreshold(slicing_specs=[spec], threshold=threshold)


def _at_least(value: float) -> config_pb2.GenericValueThreshold:
    return config_pb2.GenericValueThreshold(lower_bound={"value": value})


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
        config_pb2.MetricConfig(
            class_name="ClassificationReport", module="components.evaluation_metrics"
        ),
    ]
