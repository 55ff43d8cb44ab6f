"""Nodes that replace those which query ML Metadata, since a cluster cannot run these."""

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
    """Provides the served model, if any; on one machine, TFX's Resolver does this."""

    SPEC_CLASS = ServedModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(served_model.Executor)

    def __init__(self, serving: str, schema: ImageSchema):
        """Constructs the component.

        Args:
          serving: Folder of the served versions.
          schema: Schema of the data; the served model must have the same image size and classes.
        """
        model = Channel(type=standard_artifacts.Model)
        described = json.dumps(dataclasses.asdict(schema))
        super().__init__(spec=ServedModelSpec(serving=serving, schema=described, model=model))
