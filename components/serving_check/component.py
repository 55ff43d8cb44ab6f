"""ServingCheck: what is exported must answer as what was trained."""

from __future__ import annotations

from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import Channel, component_spec, standard_artifacts

from components.serving_check import executor


class ServingCheckSpec(component_spec.ComponentSpec):
    """Inputs and output of ServingCheck."""

    PARAMETERS: dict[str, Any] = {}
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {"blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing)}


class ServingCheck(base_component.BaseComponent):
    """Gives the infra blessing; TFX's own InfraValidator needs Docker or Kubernetes for it."""

    SPEC_CLASS = ServingCheckSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, model: Any, schema: Any):
        """Constructs the component from the channels of the model and the schema."""
        blessing = Channel(type=standard_artifacts.InfraBlessing)
        super().__init__(spec=ServingCheckSpec(model=model, schema=schema, blessing=blessing))
