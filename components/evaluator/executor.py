"""Evaluates over all classes that the schema names."""

from __future__ import annotations

from typing import Any

import tensorflow_model_analysis as tfma
from tfx.components.evaluator import executor as evaluator_executor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components import image_schema


class Executor(evaluator_executor.Executor):
    """TFX's Evaluator, told the classes by the schema artifact.

    TFMA wants every class that a per-class metric is computed for by its number. Which classes
    there are stands in the schema alone, so the configuration leaves them open.
    """

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Fills the classes in and evaluates."""
        schema_uri = artifact_utils.get_single_uri(
            input_dict[standard_component_specs.SCHEMA_KEY]
        )
        config = tfma.EvalConfig()
        key = standard_component_specs.EVAL_CONFIG_KEY
        proto_utils.json_to_proto(exec_properties[key], config)
        name_classes(config, len(image_schema.read_artifact(schema_uri).class_names))
        super().Do(
            input_dict, output_dict, {**exec_properties, key: proto_utils.proto_to_json(config)}
        )


def name_classes(config: tfma.EvalConfig, class_count: int) -> None:
    """Fills all classes into the metrics that are binarized, in place."""
    for spec in config.metrics_specs:
        if spec.binarize.HasField("class_ids"):
            spec.binarize.class_ids.values[:] = range(class_count)
