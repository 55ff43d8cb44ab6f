"""Adapts TFX's entry point of a container to Kubeflow.

TFX's entry point opens artifacts by their URIs and expects TFX types from the cluster. Kubeflow
Pipelines has only its own types, and provides artifacts as local folders: it copies or mounts a
bucket below /gcs, /s3 or /minio. So the types are an argument, and this module translates URIs to
local folders and back. It also unpacks long parameters, and notes on each artifact how the node
ran: nothing else tells the nodes after it. Snapshots of a training stay in the container.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format
from kfp.dsl.types import artifact_types
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.dsl.io import fileio
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor
from tfx.utils import import_utils

from components.features import CODE_FINGERPRINT, SNAPSHOTS_VARIABLE
from components.kubeflow import packing
from components.kubeflow.artifacts import (
    ABSENT,
    NODE_BEGAN,
    NODE_CODE_FINGERPRINT,
    NODE_SECONDS,
    File,
)


def run(arguments: list[str]) -> None:
    """Runs the executor of a node.

    Args:
      arguments: Arguments of the command line, without the program.
    """
    options, beam_arguments = _parser().parse_known_args(arguments)
    task = json_format.Parse(
        options.json_serialized_invocation_args,
        pipeline_spec_pb2.ExecutorInput(),
        ignore_unknown_fields=True,
    )
    prepare(task, json.loads(options.artifact_types), with_absent=options.with_absent)
    _unpack(task, json.loads(options.packed_parameters))
    options.json_serialized_invocation_args = json_format.MessageToJson(task)
    began, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.environ[SNAPSHOTS_VARIABLE] = folder
        kubeflow_v2_run_executor.main((options, beam_arguments))
    facts: dict[str, str | float] = {
        NODE_BEGAN: began.isoformat(),
        NODE_SECONDS: round(time.monotonic() - clock, 3),
    }
    if CODE_FINGERPRINT in task.inputs.parameter_values:
        facts[NODE_CODE_FINGERPRINT] = task.inputs.parameter_values[CODE_FINGERPRINT].string_value
    _complete(task.outputs.output_file, facts)


def prepare(
    task: pipeline_spec_pb2.ExecutorInput, types: Mapping[str, str], with_absent: bool
) -> None:
    """Changes the task of a cluster in place, so that TFX can run it.

    Args:
      task: Inputs, outputs and parameters of a node.
      types: Full class names of the artifacts by the key of the input or output.
      with_absent: Whether the node also takes artifacts that are marked as absent.
    """
    if not with_absent:
        _drop_absent(task.inputs.artifacts)
    # Kubeflow may add an output for the log, which the node does not have.
    _drop(task.outputs.artifacts, set(task.outputs.artifacts) - set(types))
    for artifacts in (task.inputs.artifacts, task.outputs.artifacts):
        for key, entry in artifacts.items():
            for artifact in entry.artifacts:
                # TFX distinguishes models by name; not every cluster provides names.
                artifact.name = artifact.name or artifact.uri
                artifact.uri = artifact_types.Artifact(uri=artifact.uri).path
                # TFX imports the class with this name, since it is not one of its own titles.
                artifact.type.schema_title = types[key]
    for key, entry in task.outputs.artifacts.items():
        is_file = issubclass(import_utils.import_class_by_path(types[key]), File)
        uri = entry.artifacts[0].uri
        fileio.makedirs(os.path.dirname(uri) if is_file else uri)


def _unpack(task: pipeline_spec_pb2.ExecutorInput, packed: Iterable[str]) -> None:
    for name in packed:
        value = task.inputs.parameter_values[name]
        value.string_value = packing.unpack(value.string_value)


def _drop_absent(artifacts: Any) -> None:
    """Drops artifacts marked as absent: on a cluster a node cannot omit an output."""
    absent = {
        key
        for key, entry in artifacts.items()
        if any(ABSENT in artifact.metadata for artifact in entry.artifacts)
    }
    _drop(artifacts, absent)


def _drop(artifacts: Any, keys: set[str]) -> None:
    for key in keys:
        del artifacts[key]


def _complete(output_file: str, facts: Mapping[str, str | float]) -> None:
    """Restores the URIs of the outputs, and adds facts about the node to each."""
    output = pipeline_spec_pb2.ExecutorOutput()
    with fileio.open(output_file, "r") as file:
        json_format.Parse(file.read(), output)
    for entry in output.artifacts.values():
        for artifact in entry.artifacts:
            artifact.uri = artifact_types.convert_local_path_to_remote_path(artifact.uri)
            artifact.metadata.update(facts)
    with fileio.open(output_file, "w") as file:
        file.write(json_format.MessageToJson(output))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--artifact_types", required=True)
    parser.add_argument("--packed_parameters", default="[]")
    parser.add_argument("--with_absent", action="store_true")
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument("--json_serialized_invocation_args", required=True)
    parser.add_argument("--json_serialized_inputs_spec_args", required=True)
    return parser
