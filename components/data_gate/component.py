"""DataGate: stops a run before it trains on bad data."""

from __future__ import annotations

import json
from typing import Any

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import Artifact, Channel, component_spec, standard_artifacts

from components.data_gate import executor


class DataGateReport(Artifact):
    """Findings that DataGate let pass, in `report.json`."""

    # Kubeflow's compiler accepts only names of this form.
    TYPE_NAME = "components.DataGateReport"


class DataGateSpec(component_spec.ComponentSpec):
    """Inputs, parameters and output of DataGate."""

    PARAMETERS = {
        "severities": component_spec.ExecutionParameter(type=str),
        "max_duplicates": component_spec.ExecutionParameter(type=int),
        "min_images": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "baseline_model": component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
    }
    OUTPUTS = {"report": component_spec.ChannelParameter(type=DataGateReport)}


class DataGate(base_beam_component.BaseBeamComponent):
    """Stops the run before training if the data fails one of the `checks`.

    ExampleValidator only records anomalies and does not check drift. No component of TFX fails a
    run because of them.
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: Any,
        statistics: Any,
        schema: Any,
        anomalies: Any,
        baseline_model: Any,
        severities: dict[str, str],
        max_duplicates: int,
        min_images: dict[str, int],
    ):
        """Constructs the component.

        Args:
          examples: all splits.
          statistics: statistics of each split.
          schema: the schema, with the bounds of drift.
          anomalies: anomalies of each split, from ExampleValidator.
          baseline_model: the served model, if any, with its training statistics.
          severities: `stop` or `warn` for each of `checks.CHECKS`.
          max_duplicates: maximum number of test images that are also in train or val.
          min_images: number of test images that there must be at least, by the column of the data
            that divides them into slices.
        """
        spec = DataGateSpec(
            examples=examples,
            statistics=statistics,
            schema=schema,
            anomalies=anomalies,
            baseline_model=baseline_model,
            severities=json.dumps(severities, sort_keys=True),
            max_duplicates=max_duplicates,
            min_images=json.dumps(min_images, sort_keys=True),
            report=Channel(type=DataGateReport),
        )
        super().__init__(spec=spec)
