"""The nodes that a cluster has in place of those that ask the ML Metadata of one machine."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import Channel, component_spec, standard_artifacts

from components.image_schema import ImageSchema
from components.kubeflow import served_model


class ServedModelSpec(component_spec.ComponentSpec):
    """Parameters and output of ServedModel."""

    PARAMETERS = {
        "serving": component_spec.ExecutionParameter(type=str),
        "schema": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict[str, Any] = {}
    OUTPUTS = {"model": component_spec.ChannelParameter(type=standard_artifacts.Model)}


class ServedModel(base_component.BaseComponent):
    """The model now served, if any: stands where TFX's Resolver does on one machine."""

    SPEC_CLASS = ServedModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(served_model.Executor)

    def __init__(self, serving: str, schema: ImageSchema):
        """Constructs the component.

        Args:
          serving: folder of the served versions.
          schema: of the data; a served model must be for the same task.
        """
        model = Channel(type=standard_artifacts.Model)
        described = json.dumps(dataclasses.asdict(schema))
        super().__init__(spec=ServedModelSpec(serving=serving, schema=described, model=model))
