"""Trainer for images: TFX's Trainer with additional values for the training.

These values are the seed, the digest of the data and the folders of some inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfx.components.trainer import component
from tfx.components.trainer import executor as trainer_executor
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.dsl.components.base import executor_spec
from tfx.proto import trainer_pb2
from tfx.types import artifact_utils, standard_component_specs

from components import features
from components.trainer.settings import with_run_parameters


class Executor(trainer_executor.GenericExecutor):
    """Passes on values for which `FnArgs` has no field."""

    def _GetFnArgs(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> FnArgs:
        result = super()._GetFnArgs(input_dict, output_dict, exec_properties)
        inputs = {
            features.EXAMPLES_FOLDER: standard_component_specs.EXAMPLES_KEY,
            features.STATISTICS_FOLDER: standard_component_specs.STATISTICS_KEY,
            features.BASE_MODEL_FOLDER: standard_component_specs.BASE_MODEL_KEY,
        }
        folders = {name: _folder(input_dict.get(key)) for name, key in inputs.items()}
        settings = with_run_parameters(
            result.custom_config, exec_properties["seed"], exec_properties["data_digest"]
        )
        result.custom_config = {**settings, **folders}
        return result


def _folder(artifacts: list[Any] | None) -> str | None:
    return artifact_utils.get_single_uri(artifacts) if artifacts else None


class ImageTrainer(component.Trainer):
    """Trains on the split `train`, and chooses the best epoch on `val`."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: Any,
        transform_graph: Any,
        schema: Any,
        statistics: Any,
        base_model: Any | None,
        hyperparameters: Any | None,
        settings: Mapping[str, object],
        seed: int,
        data_digest: str,
    ):
        """Constructs the component from channels.

        Args:
          examples: Examples from ExampleGen.
          transform_graph: Graph from Transform.
          schema: Schema from ImportSchemaGen.
          statistics: Statistics of the examples; they become part of the model.
          base_model: Model for a warm start; None starts from random weights.
          hyperparameters: Hyperparameters from Tuner, which override the settings; None keeps the
            settings.
          settings: `settings.Settings` as a dict without the seed; its identity covers only the
            code.
          seed: Random seed.
          data_digest: Digest of the training data.
        """
        super().__init__(
            examples=examples,
            transform_graph=transform_graph,
            schema=schema,
            statistics=statistics,
            base_model=base_model,
            hyperparameters=hyperparameters,
            run_fn="components.trainer.training.run_fn",
            train_args=trainer_pb2.TrainArgs(splits=[features.TRAIN_SPLIT]),
            eval_args=trainer_pb2.EvalArgs(splits=[features.VALIDATION_SPLIT]),
            custom_config=dict(settings),
        )
        # Separate parameters: they are runtime parameters of a compiled graph.
        self.spec.exec_properties |= {"seed": seed, "data_digest": data_digest}
