"""Trainer for images: TFX's own, which also learns where examples and statistics lie."""

from __future__ import annotations

from typing import Any

from tfx.components.trainer import component
from tfx.components.trainer import executor as trainer_executor
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.dsl.components.base import executor_spec
from tfx.proto import trainer_pb2
from tfx.types import artifact_utils, standard_component_specs

from components import features


class Executor(trainer_executor.GenericExecutor):
    """Hands the folders of examples and statistics on, which `FnArgs` has no field for."""

    def _GetFnArgs(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> FnArgs:
        result = super()._GetFnArgs(input_dict, output_dict, exec_properties)
        folders = {
            "examples_uri": input_dict[standard_component_specs.EXAMPLES_KEY],
            "statistics_uri": input_dict[standard_component_specs.STATISTICS_KEY],
        }
        uris = {name: artifact_utils.get_single_uri(found) for name, found in folders.items()}
        result.custom_config = {**result.custom_config, **uris}
        return result


class ImageTrainer(component.Trainer):
    """Trains on the split `train`, chooses the epoch on `val`."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: Any,
        transform_graph: Any,
        schema: Any,
        statistics: Any,
        settings: dict[str, Any],
    ):
        """Constructs the component from channels; `settings` are `settings.Settings` as a dict."""
        super().__init__(
            examples=examples,
            transform_graph=transform_graph,
            schema=schema,
            statistics=statistics,
            run_fn="components.trainer.training.run_fn",
            train_args=trainer_pb2.TrainArgs(splits=[features.TRAIN_SPLIT]),
            eval_args=trainer_pb2.EvalArgs(splits=[features.VALIDATION_SPLIT]),
            custom_config=settings,
        )
