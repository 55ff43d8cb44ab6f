"""Runs the checks of DataGate, and stops the run where one says so."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components import examples, features, image_schema
from components.data_gate import checks

# After TFX, which puts a module in place that TFDV misses.
import tensorflow_data_validation as tfdv  # isort: skip

REPORT_FILE = "report.json"
STOP = "stop"

logger = logging.getLogger(__name__)


class DataGateStop(RuntimeError):
    """The data is not fit to train on; each line of the message is a finding."""


class Executor(base_executor.BaseExecutor):
    """Reads what the nodes before it found, and looks for duplicates itself."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the report, or stops the run.

        Raises:
          DataGateStop: where a check of severity `stop` found something.
        """
        uris = {key: found[0].uri for key, found in input_dict.items() if found}
        severities = json.loads(exec_properties["severities"])
        findings = (
            _anomaly_findings(uris["anomalies"])
            + _drift_findings(uris)
            + _duplicate_findings(uris["examples"], exec_properties["max_duplicates"])
        )
        for finding in findings:
            logger.warning("%s: %s", finding.check, finding.line)
        stopping = [f"{f.check}: {f.line}" for f in findings if severities[f.check] == STOP]
        if stopping:
            raise DataGateStop("\n".join(stopping))
        _write_report(artifact_utils.get_single_uri(output_dict["report"]), findings, uris)


def _anomaly_findings(uri: str) -> list[checks.Finding]:
    found = []
    for split in features.SPLITS:
        anomalies = anomalies_pb2.Anomalies()
        with fileio.open(os.path.join(uri, f"Split-{split}", "SchemaDiff.pb"), "rb") as file:
            anomalies.ParseFromString(file.read())
        found += checks.anomaly_findings(anomalies, split)
    return found


def _drift_findings(uris: dict[str, str]) -> list[checks.Finding]:
    if "baseline_model" not in uris:
        return []
    reference = os.path.join(uris["baseline_model"], features.REFERENCE_STATISTICS_FILE)
    if not fileio.exists(reference):
        # A served model whose artifact is gone is registered again from its export alone.
        logger.warning("the served model has no statistics of its data: drift is not judged")
        return []
    current = os.path.join(uris["statistics"], f"Split-{features.TRAIN_SPLIT}", "FeatureStats.pb")
    schema = io_utils.parse_pbtxt_file(
        os.path.join(uris["schema"], image_schema.SCHEMA_FILE), schema_pb2.Schema()
    )
    return checks.drift_findings(
        tfdv.load_stats_binary(current), tfdv.load_stats_binary(reference), schema
    )


def _duplicate_findings(examples_uri: str, bound: int) -> list[checks.Finding]:
    splits = {name: examples.read_split(examples_uri, name) for name in features.SPLITS}
    test = splits.pop(features.TEST_SPLIT)
    training = [(split.images, split.ids) for split in splits.values()]
    return checks.duplicate_findings(training, test.images, test.ids, bound)


def _write_report(folder: str, findings: list[checks.Finding], uris: dict[str, str]) -> None:
    report = {
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "compared_with": uris.get("baseline_model"),
    }
    with fileio.open(os.path.join(folder, REPORT_FILE), "w") as file:
        file.write(json.dumps(report, indent=1))
