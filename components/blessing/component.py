"""Blessing: one verdict out of all evaluations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import Channel, component_spec, standard_artifacts

from components import quality_gates as declared_gates
from components.blessing import executor


class BlessingSpec(component_spec.ComponentSpec):
    """Inputs, parameters and output of Blessing."""

    PARAMETERS = {
        "gates": component_spec.ExecutionParameter(type=str),
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
    """Blesses a model where every declared gate was judged and passed; Pusher reads it.

    TFX's Evaluator blesses where no threshold that it judged failed: of a class without images, or
    of a served model that it was not given, it judges nothing.
    """

    SPEC_CLASS = BlessingSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: Any,
        baseline_model: Any,
        evaluation: Any,
        robustness_evaluation: Any | None,
        gates: Iterable[declared_gates.Gate],
        is_served: bool,
    ):
        """Constructs the component.

        Args:
          model: the new model.
          baseline_model: the model now served, if any.
          evaluation: of the test images, from Evaluator.
          robustness_evaluation: of corrupted test images; None where there are no gates on them.
          gates: every gate that is declared.
          is_served: whether a model is known to be served. Where `baseline_model` is absent all the
            same, the new model is refused.
        """
        spec = BlessingSpec(
            model=model,
            baseline_model=baseline_model,
            evaluation=evaluation,
            robustness_evaluation=robustness_evaluation,
            gates=declared_gates.declared_to_json(gates),
            is_served=int(is_served),
            blessing=Channel(type=standard_artifacts.ModelBlessing),
        )
        super().__init__(spec=spec)
