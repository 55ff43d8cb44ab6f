"""The nodes that a cluster has in place of those that ask the ML Metadata of one machine."""

from __future__ import annotations

from typing import Any

from tfx.components.pusher import component as pusher_component
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import Channel, component_spec, standard_artifacts

from components.kubeflow import served_model


class ServedModelSpec(component_spec.ComponentSpec):
    """Parameter and output of ServedModel."""

    PARAMETERS = {"serving": component_spec.ExecutionParameter(type=str)}
    INPUTS: dict[str, Any] = {}
    OUTPUTS = {"model": component_spec.ChannelParameter(type=standard_artifacts.Model)}


class ServedModel(base_component.BaseComponent):
    """The model now served, if any: stands where TFX's Resolver does on one machine."""

    SPEC_CLASS = ServedModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(served_model.Executor)

    def __init__(self, serving: str):
        """Constructs the component; `serving` is the folder of the served versions."""
        model = Channel(type=standard_artifacts.Model)
        super().__init__(spec=ServedModelSpec(serving=serving, model=model))


class KeepingPusher(pusher_component.Pusher):
    """TFX's Pusher with an executor that keeps what ServedModel hands on."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(served_model.KeepingPusher)
