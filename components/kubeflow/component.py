"""Nodes that only a cluster has.

ServedModel replaces a node that queries ML Metadata, since a cluster cannot run that one.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.kubeflow.decorators import FinalStatusStr
from tfx.types import Channel, component_spec, standard_artifacts

from components.image_schema import ImageSchema
from components.images import Preparation
from components.kubeflow import notification, served_model
from components.kubeflow.placeholders import RUN_ID, RUN_NAME


class ServedModelSpec(component_spec.ComponentSpec):
    """Parameters and output of ServedModel."""

    PARAMETERS = {
        "serving": component_spec.ExecutionParameter(type=str),
        "schema": component_spec.ExecutionParameter(type=str),
        "preparation": component_spec.ExecutionParameter(type=str),
        "run": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict[str, Any] = {}
    OUTPUTS = {"model": component_spec.ChannelParameter(type=standard_artifacts.Model)}


class ServedModel(base_component.BaseComponent):
    """Provides the served model, if any; on one machine, TFX's Resolver does this."""

    SPEC_CLASS = ServedModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(served_model.Executor)

    def __init__(self, serving: str, schema: ImageSchema, preparation: Preparation | None):
        """Constructs the component.

        Args:
          serving: Folder of the served versions.
          schema: Schema of the data; the served model must have the same image size and classes.
          preparation: How image files are prepared; the served model must do the same. None for
            data without image files.
        """
        model = Channel(type=standard_artifacts.Model)
        super().__init__(
            spec=ServedModelSpec(
                serving=serving,
                schema=json.dumps(dataclasses.asdict(schema)),
                preparation=json.dumps(preparation and dataclasses.asdict(preparation)),
                # Some clients switch the cache on for every node. With the run among its
                # parameters, this one finds nothing there.
                run=RUN_ID,
                model=model,
            )
        )


class NotificationSpec(component_spec.ComponentSpec):
    """Parameters of Notification."""

    PARAMETERS = {
        name: component_spec.ExecutionParameter(type=str)
        for name in ("final_status", "pipeline", "run_name", "run", "run_url")
    }
    INPUTS: dict[str, Any] = {}
    OUTPUTS: dict[str, Any] = {}


class Notification(base_component.BaseComponent):
    """Tells people how the run ended; an exit handler, which gets no artifacts."""

    SPEC_CLASS = NotificationSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(notification.Executor)

    def __init__(self, pipeline: str, run_url: str):
        """Constructs the component.

        Args:
          pipeline: Name of the pipeline.
          run_url: Address of a run in the dashboard, up to the id of the run; may be empty.
        """
        super().__init__(
            spec=NotificationSpec(
                final_status=FinalStatusStr(),
                pipeline=pipeline,
                run_name=RUN_NAME,
                run=RUN_ID,
                run_url=run_url,
            )
        )
