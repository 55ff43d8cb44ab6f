"""Predictions: what the new and the served model answer to each test image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import Channel, component_spec, standard_artifacts

from components.predictions import executor


class PredictionsSpec(component_spec.ComponentSpec):
    """Inputs and output of Predictions."""

    PARAMETERS = {"columns": component_spec.ExecutionParameter(type=str)}
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {"predictions": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class Predictions(base_beam_component.BaseBeamComponent):
    """Keeps each answer: TFMA keeps sums, and BulkInferrer knows neither labels nor a baseline.

    The output is examples, so that Evaluator can read them: of each test image the label and the
    answers, and of each column that divides them into slices the value.
    """

    SPEC_CLASS = PredictionsSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self, examples: Any, model: Any, baseline_model: Any, schema: Any, columns: Sequence[str]
    ):
        """Constructs the component from channels.

        Args:
          examples: of which the split `test` is used.
          model: the new model.
          baseline_model: the model now served, if any.
          schema: the shape of the images and the class names.
          columns: columns of the data that divide the images into slices.
        """
        spec = PredictionsSpec(
            examples=examples,
            model=model,
            baseline_model=baseline_model,
            schema=schema,
            columns=json.dumps(columns),
            predictions=Channel(type=standard_artifacts.Examples),
        )
        super().__init__(spec=spec)
