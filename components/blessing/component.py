"""Blessing: the verdict on a model, from all evaluations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import Channel, component_spec, standard_artifacts

from components import quality_gates, slices
from components.blessing import executor


class BlessingSpec(component_spec.ComponentSpec):
    """Inputs, parameters and output of Blessing."""

    PARAMETERS = {
        "gates": component_spec.ExecutionParameter(type=str),
        "slices": component_spec.ExecutionParameter(type=str),
        "is_served": component_spec.ExecutionParameter(type=int),
    }
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "robustness_evaluation": component_spec.ChannelParameter(
            type=standard_artifacts.ModelEvaluation, optional=True
        ),
    }
    OUTPUTS = {"blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing)}


class Blessing(base_component.BaseComponent):
    """Blesses a model if every declared gate was measured and passed; Pusher reads the blessing.

    TFX's Evaluator blesses a model if no measured threshold failed. It ignores thresholds on a
    class without images, and on a served model that it did not get.
    """

    SPEC_CLASS = BlessingSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: Any,
        baseline_model: Any,
        evaluation: Any,
        robustness_evaluation: Any | None,
        gates: Iterable[quality_gates.Gate],
        slicings: Iterable[slices.Slicing],
        is_served: bool,
    ):
        """Constructs the component.

        Args:
          model: New model.
          baseline_model: Served model, if any.
          evaluation: Evaluation of the test images, from Evaluator.
          robustness_evaluation: Evaluation of corrupted test images; None if no gates need it.
          gates: All declared gates.
          slicings: Columns that divide the test images into slices, with their gates.
          is_served: Whether a served model is known or expected to exist. If `baseline_model` is
            absent nevertheless, the new model is refused.
        """
        spec = BlessingSpec(
            model=model,
            baseline_model=baseline_model,
            evaluation=evaluation,
            robustness_evaluation=robustness_evaluation,
            gates=quality_gates.declared_to_json(gates),
            slices=slices.slicings_to_json(slicings),
            is_served=int(is_served),
            blessing=Channel(type=standard_artifacts.ModelBlessing),
        )
        super().__init__(spec=spec)
