"""Blessing: one verdict out of several evaluations."""

from __future__ import annotations

from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import Channel, component_spec, standard_artifacts

from components.blessing import executor


class BlessingSpec(component_spec.ComponentSpec):
    """Inputs and output of Blessing."""

    PARAMETERS: dict[str, Any] = {}
    INPUTS = {
        "evaluation_blessing": component_spec.ChannelParameter(
            type=standard_artifacts.ModelBlessing
        ),
        "robustness_blessing": component_spec.ChannelParameter(
            type=standard_artifacts.ModelBlessing, optional=True
        ),
    }
    OUTPUTS = {"blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing)}


class Blessing(base_component.BaseComponent):
    """Blesses a model where every evaluation that has gates does; Pusher reads one blessing."""

    SPEC_CLASS = BlessingSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, evaluation_blessing: Any, robustness_blessing: Any | None):
        """Constructs the component from channels.

        Args:
          evaluation_blessing: from Evaluator.
          robustness_blessing: from the evaluation under corruptions; None where that has no gates,
            since TFX's Evaluator then decides nothing.
        """
        spec = BlessingSpec(
            evaluation_blessing=evaluation_blessing,
            robustness_blessing=robustness_blessing,
            blessing=Channel(type=standard_artifacts.ModelBlessing),
        )
        super().__init__(spec=spec)
