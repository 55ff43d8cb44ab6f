"""Translates the graph for Kubeflow Pipelines and Vertex AI, to a specification of KFP version 2.

TFX's runner makes a specification for Vertex AI only. This module changes it so that both accept
it. docs/decisions/0010-one-graph-on-a-cluster.md gives the reason for each change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml
from tfx.dsl.components.base import base_component
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner
from tfx.types import Artifact, standard_artifacts
from tfx.utils import name_utils

from components.kubeflow.component import ServedModel
from pipeline.runners.resources import Resources

_COMMAND = ["python", "-m", "components.kubeflow.entrypoint"]
# Runtime parameters of a compiled graph, by the names of the nodes' parameters.
_RUNTIME_PARAMETERS = {
    "location": "data_location",
    "data_digest": "data_digest",
    "seed": "seed",
}
# Kubeflow has few artifact types, so the arguments of a container name the TFX types.
_KUBEFLOW_TYPES = {
    standard_artifacts.Model: "system.Model",
    standard_artifacts.Examples: "system.Dataset",
}
_ANY_ARTIFACT = {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}


class Job:
    """A translated graph."""

    def __init__(self, message: dict[str, Any]):
        """Takes KFP's `PipelineJob` as JSON has it."""
        self._message = message

    def for_vertex(self) -> str:
        """The file for Vertex AI: the whole job, as JSON."""
        return json.dumps(self._message, indent=1, sort_keys=True) + "\n"

    def for_kubeflow(self, volumes: Mapping[str, str]) -> str:
        """The file for Kubeflow Pipelines: the specification and the mounted volumes, as YAML.

        Args:
          volumes: The claim of each volume, by its mount path.
        """
        specification = self._message["pipelineSpec"]
        # Older installations refuse the newer field `pvcNameParameter`.
        mounts = [{"constant": claim, "mountPath": path} for path, claim in volumes.items()]
        executors = {
            label: {"pvcMount": mounts} for label in specification["deploymentSpec"]["executors"]
        }
        platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
        text: str = yaml.safe_dump_all([specification, platform] if mounts else [specification])
        return text


def translate(graph: tfx_pipeline.Pipeline, image: str, resources: Mapping[str, Resources]) -> Job:
    """Translates the graph.

    Args:
      graph: A graph for a cluster. Some parameters of its nodes are replaced by runtime parameters,
        which have their values as defaults.
      image: Image of all containers.
      resources: Resources by node id.
    """
    defaults = _make_runtime_parameters(graph)
    config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
        default_image=image, default_commands=_COMMAND, use_pipeline_spec_2_1=True
    )
    job = kubeflow_v2_dag_runner.KubeflowV2DagRunner(config).run(graph, write_out=False)
    specification = job["pipelineSpec"]
    parameters = specification["root"]["inputDefinitions"]["parameters"]
    for name, value in defaults.items():
        parameters[name]["defaultValue"] = value
    specification["defaultPipelineRoot"] = graph.pipeline_info.pipeline_root
    for node in graph.components:
        _amend(specification, node, resources[node.id])
    return Job(job)


def _make_runtime_parameters(graph: tfx_pipeline.Pipeline) -> dict[str, str | int]:
    """Replaces values with runtime parameters; returns the values by parameter."""
    defaults = {}
    for node in graph.components:
        for key in _RUNTIME_PARAMETERS.keys() & node.exec_properties.keys():
            name, value = _RUNTIME_PARAMETERS[key], node.exec_properties[key]
            node.exec_properties[key] = RuntimeParameter(name, ptype=type(value), default=value)
            defaults[name] = value
    return defaults


def _amend(
    specification: dict[str, Any], node: base_component.BaseComponent, resources: Resources
) -> None:
    component = specification["components"][node.id]
    executor = specification["deploymentSpec"]["executors"][component["executorLabel"]]
    container = executor["container"]
    # TFX would take its own fingerprint of the data; here a parameter has the digest.
    container.pop("lifecycle", None)
    container["resources"] = _resources(resources)
    types = {key: channel.type for key, channel in {**node.inputs, **node.outputs}.items()}
    paths = {key: name_utils.get_full_name(kind) for key, kind in types.items()}
    container["args"] += ["--artifact_types", json.dumps(paths, sort_keys=True)]
    for definitions in ("inputDefinitions", "outputDefinitions"):
        for key, artifact in component.get(definitions, {}).get("artifacts", {}).items():
            artifact["artifactType"] = _kubeflow_type(types[key])
    if isinstance(node, ServedModel):
        # The served model changes, but this node has no inputs that would change with it.
        del specification["root"]["dag"]["tasks"][node.id]["cachingOptions"]


def _kubeflow_type(kind: type[Artifact]) -> dict[str, str]:
    return {**_ANY_ARTIFACT, "schemaTitle": _KUBEFLOW_TYPES.get(kind, "system.Artifact")}


def _resources(resources: Resources) -> dict[str, str | float]:
    """The bounds as KFP's own compiler writes them: as texts and, for older backends, numbers."""
    return {
        "resourceCpuLimit": resources.cpu,
        "cpuLimit": resources.cores,
        "resourceMemoryLimit": resources.memory,
        "memoryLimit": resources.gigabytes,
    }
