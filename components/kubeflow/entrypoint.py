"""What each container starts on a cluster: TFX's entry point, led to what the cluster provides.

    python -m components.kubeflow.entrypoint --artifact_types JSON [what TFX's entry point takes]

TFX's entry point opens artifacts by their URIs and takes their TFX types from the cluster. Kubeflow
Pipelines knows types of its own alone, and hands a container local folders: what is in a bucket
lies below /gcs, /s3 or /minio, copied or mounted there. So the types come as an argument, and the
URIs are turned into those folders and back.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from components import environment

# Before TFX imports TensorFlow.
environment.enter()

from google.protobuf import json_format
from kfp.dsl.types import artifact_types
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.dsl.io import fileio
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

from components.kubeflow.served_model import ABSENT


def main(arguments: list[str]) -> None:
    """Runs the executor of a node.

    Args:
      arguments: those of the command line, without the program.
    """
    options, beam_arguments = _parser().parse_known_args(arguments)
    task = json_format.Parse(
        options.json_serialized_invocation_args,
        pipeline_spec_pb2.ExecutorInput(),
        ignore_unknown_fields=True,
    )
    prepare(task, json.loads(options.artifact_types))
    options.json_serialized_invocation_args = json_format.MessageToJson(task)
    kubeflow_v2_run_executor.main((options, beam_arguments))
    _restore_uris(task.outputs.output_file)


def prepare(task: pipeline_spec_pb2.ExecutorInput, types: Mapping[str, str]) -> None:
    """Makes of the task, as a cluster puts it, one that TFX can run; changes it in place.

    Args:
      task: inputs, outputs and parameters of a node.
      types: the class of the artifacts by the key of the input or output, with its module.
    """
    _drop_absent(task.inputs.artifacts)
    # Kubeflow may ask for one more output, the log, which is none of the node's.
    _drop(task.outputs.artifacts, set(task.outputs.artifacts) - set(types))
    for artifacts in (task.inputs.artifacts, task.outputs.artifacts):
        for key, found in artifacts.items():
            for artifact in found.artifacts:
                # TFX keeps models apart by their names, which not every cluster gives.
                artifact.name = artifact.name or artifact.uri
                artifact.uri = artifact_types.Artifact(uri=artifact.uri).path
                # TFX imports the class that a title names where the title is none of its own.
                artifact.type.schema_title = types[key]
    for found in task.outputs.artifacts.values():
        fileio.makedirs(found.artifacts[0].uri)


def _drop_absent(artifacts: Any) -> None:
    """A node of a cluster always makes its outputs; this one says that there is none."""
    absent = {
        key
        for key, found in artifacts.items()
        if any(ABSENT in artifact.metadata for artifact in found.artifacts)
    }
    _drop(artifacts, absent)


def _drop(artifacts: Any, keys: set[str]) -> None:
    for key in keys:
        del artifacts[key]


def _restore_uris(output_file: str) -> None:
    output = pipeline_spec_pb2.ExecutorOutput()
    with fileio.open(output_file, "r") as file:
        json_format.Parse(file.read(), output)
    for found in output.artifacts.values():
        for artifact in found.artifacts:
            artifact.uri = artifact_types.convert_local_path_to_remote_path(artifact.uri)
    with fileio.open(output_file, "w") as file:
        file.write(json_format.MessageToJson(output))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--artifact_types", required=True)
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument("--json_serialized_invocation_args", required=True)
    parser.add_argument("--json_serialized_inputs_spec_args", required=True)
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
