"""Runs the checks of DataGate, and stops the run if one of them fails."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components import features, image_schema, reading_report, shards, slices
from components.arrays import write_arrays
from components.data_gate import catalogue, checks, similarity
from components.failures import DataGateStop

# After TFX, which puts a module in place that TFDV misses.
import tensorflow_data_validation as tfdv  # isort: skip

STOP = "stop"
# Maximum number of pairs in the report, and of bytes of their images: the page shows them.
_SHOWN_PAIRS, _SHOWN_BYTES = 24, 2**26

# Folder of what is known of each shard, until the report is written.
_WORK = "shards"

logger = logging.getLogger(__name__)


class Executor(base_beam_executor.BaseBeamExecutor):
    """Reads the findings of earlier nodes, and looks for duplicates itself."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the report, or stops the run.

        Raises:
          DataGateStop: a check of severity `stop` found something.
          SliceError: the data has no such slices as the configuration asks for.
        """
        uris = {key: found[0].uri for key, found in input_dict.items() if found}
        _check_slices(uris["examples"], json.loads(exec_properties["min_images"]))
        severities = json.loads(exec_properties["severities"])
        schema = image_schema.read_artifact(uris["schema"])
        folder = artifact_utils.get_single_uri(output_dict["report"])
        workers = shards.Workers(self._make_beam_pipeline, os.path.join(folder, _WORK))
        found = catalogue.read(workers, uris["examples"], schema.shape, similarity.SEARCHED)
        first_equal = found.first_equal()
        reference = _reference(uris)
        drift = _drift(uris, reference) if reference else anomalies_pb2.Anomalies()
        unjudged = [checks.NO_REFERENCE] if "baseline_model" in uris and not reference else []
        findings = (
            _anomaly_findings(uris["anomalies"])
            + checks.drift_findings(drift)
            + unjudged
            + checks.duplicate_findings(found, first_equal, exec_properties["max_duplicates"])
            + checks.validation_duplicate_findings(found, first_equal)
            + checks.conflicting_label_findings(found, first_equal, schema.class_names)
            + checks.constancy_findings(found.trained, schema.class_names)
            + checks.brightness_findings(found.brightness)
        )
        for finding in findings:
            logger.warning("%s: %s", finding.check, finding.line)
        stopping = [f"{f.check}: {f.line}" for f in findings if severities[f.check] == STOP]
        if stopping:
            raise DataGateStop("\n".join(stopping))
        _write_report(folder, findings, checks.drifts(drift), uris.get("baseline_model"))
        shown = min(_SHOWN_PAIRS, max(_SHOWN_BYTES // (2 * schema.bytes_per_image), 1))
        _write_similar(folder, *similarity.report(found, first_equal, shown))


def _check_slices(examples_uri: str, min_images: Mapping[str, int]) -> None:
    # Before a run on one machine, the same was checked; on a cluster, this is the first to know.
    if not min_images:
        return
    path = os.path.join(examples_uri, features.COLUMNS_FILE)
    table = None
    if fileio.exists(path):
        with fileio.open(path, "rb") as file:
            table = pq.read_table(pa.BufferReader(file.read()))
    test_count = reading_report.read(examples_uri).examples[features.TEST_SPLIT]
    slices.check(table, test_count, min_images)


def _anomaly_findings(uri: str) -> list[checks.Finding]:
    found = []
    for split in features.SPLITS:
        anomalies = anomalies_pb2.Anomalies()
        path = os.path.join(uri, features.split_folder(split), "SchemaDiff.pb")
        with fileio.open(path, "rb") as file:
            anomalies.ParseFromString(file.read())
        found += checks.anomaly_findings(anomalies, split)
    return found


def _reference(uris: dict[str, str]) -> str | None:
    """The training statistics of the served model; None without a model or statistics.

    A version that somebody copied there by hand has only the export.
    """
    if "baseline_model" not in uris:
        return None
    path = os.path.join(uris["baseline_model"], features.REFERENCE_STATISTICS_FILE)
    return path if fileio.exists(path) else None


def _drift(uris: dict[str, str], reference: str) -> anomalies_pb2.Anomalies:
    """TFDV's comparison of the training split with that of the served model."""
    current = os.path.join(
        uris["statistics"], features.split_folder(features.TRAIN_SPLIT), features.STATISTICS_FILE
    )
    schema = io_utils.parse_pbtxt_file(
        os.path.join(uris["schema"], image_schema.SCHEMA_FILE), schema_pb2.Schema()
    )
    return tfdv.validate_statistics(
        tfdv.load_stats_binary(current),
        schema,
        previous_statistics=tfdv.load_stats_binary(reference),
    )


def _write_report(
    folder: str,
    findings: list[checks.Finding],
    drifts: list[checks.Drift],
    compared_with: str | None,
) -> None:
    report = {
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "drifts": [dataclasses.asdict(drift) for drift in drifts],
        "compared_with": compared_with,
    }
    _write_json(os.path.join(folder, features.DATA_GATE_REPORT_FILE), report)


def _write_similar(
    folder: str, report: similarity.Report, first: np.ndarray, second: np.ndarray
) -> None:
    _write_json(os.path.join(folder, features.SIMILAR_FILE), dataclasses.asdict(report))
    path = os.path.join(folder, features.SIMILAR_IMAGES_FILE)
    write_arrays(path, first=first, second=second)


def _write_json(path: str, content: Mapping[str, object]) -> None:
    with fileio.open(path, "w") as file:
        file.write(json.dumps(content, indent=1))
