"""Tuner for images: TFX's Tuner with additional values for the search.

These values are the seed, the digest of the data and the folder of the examples.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

from tfx.components.tuner import component
from tfx.components.tuner import executor as tuner_executor
from tfx.dsl.components.base import executor_spec
from tfx.proto import trainer_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import json_utils

from components import features
from components.trainer.settings import with_run_parameters


class Executor(tuner_executor.Executor):
    """Passes on values for which `FnArgs` has no field."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Searches in a temporary working folder, and writes the best hyperparameters."""
        key = standard_component_specs.CUSTOM_CONFIG_KEY
        examples = input_dict[standard_component_specs.EXAMPLES_KEY]
        config = json_utils.loads(exec_properties[key])
        config[features.EXAMPLES_FOLDER] = artifact_utils.get_single_uri(examples)
        config["settings"] = with_run_parameters(
            config["settings"], exec_properties["seed"], exec_properties["data_digest"]
        )
        properties = {**exec_properties, key: json_utils.dumps(config)}
        with tempfile.TemporaryDirectory() as folder:
            tuner = tuner_executor.search(
                input_dict, properties, folder, print_tuning_summary=False
            )
        tuner_executor.write_best_hyperparameters(tuner, output_dict)


class ImageTuner(component.Tuner):
    """Trains with hyperparameters on the split `train`, and chooses the best on `val`."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: Any,
        transform_graph: Any,
        schema: Any,
        settings: Mapping[str, object],
        bounds: Mapping[str, float],
        seed: int,
        data_digest: str,
    ):
        """Constructs the component from channels.

        Args:
          examples: Examples from ExampleGen.
          transform_graph: Graph from Transform.
          schema: Schema from ImportSchemaGen.
          settings: `settings.Settings` of a trial, as a dict without the seed; its identity covers
            only the code.
          bounds: `search.Bounds` as a dict.
          seed: Random seed.
          data_digest: Digest of the training data.
        """
        super().__init__(
            examples=examples,
            transform_graph=transform_graph,
            schema=schema,
            tuner_fn="components.tuner.search.tuner_fn",
            train_args=trainer_pb2.TrainArgs(splits=[features.TRAIN_SPLIT]),
            eval_args=trainer_pb2.EvalArgs(splits=[features.VALIDATION_SPLIT]),
            custom_config={"settings": dict(settings), "bounds": dict(bounds)},
        )
        self.spec.exec_properties |= {"seed": seed, "data_digest": data_digest}
