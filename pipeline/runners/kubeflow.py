"""The graph as Kubeflow Pipelines and Vertex AI take it: a specification of KFP's version 2.

TFX's runner translates the graph. What it makes was meant for Vertex AI alone; here it becomes what
both understand. docs/decisions/0010-one-graph-on-a-cluster.md says why each change is needed.
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
# What a compiled graph takes anew with each run, by the name of a parameter of its nodes.
_RUNTIME_PARAMETERS = {
    "input_base": "data_location",
    "data_digest": "data_digest",
    "seed": "seed",
}
# Kubeflow's types of artifacts are few; what a container needs to know stands in its arguments.
_KUBEFLOW_TYPES = {
    standard_artifacts.Model: "system.Model",
    standard_artifacts.Examples: "system.Dataset",
}
_ANY_ARTIFACT = {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}


def pipeline_job(
    graph: tfx_pipeline.Pipeline, image: str, resources: Mapping[str, Resources]
) -> dict[str, Any]:
    """Translates the graph.

    Args:
      graph: built for a cluster; some parameters of its nodes are replaced, whose values become
        the defaults of the runtime parameters.
      image: of all containers.
      resources: by the id of a node.

    Returns:
      KFP's `PipelineJob` as JSON has it: what Vertex AI takes. Its `pipelineSpec` is what Kubeflow
      Pipelines takes.
    """
    defaults = _make_runtime_parameters(graph)
    config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
        default_image=image, default_commands=_COMMAND, use_pipeline_spec_2_1=True
    )
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(config)
    job = runner.run(graph, write_out=False)
    specification = job["pipelineSpec"]
    parameters = specification["root"]["inputDefinitions"]["parameters"]
    for name, value in defaults.items():
        parameters[name]["defaultValue"] = value
    specification["defaultPipelineRoot"] = graph.pipeline_info.pipeline_root
    for node in graph.components:
        _amend(specification, node, resources[node.id])
    return job


def as_yaml(specification: Mapping[str, Any], volumes: Mapping[str, str]) -> str:
    """What Kubeflow Pipelines takes: the specification, and which volumes each container mounts.

    Args:
      specification: the `pipelineSpec` of a job.
      volumes: the claim of each volume by the path that it is mounted at.
    """
    # The newer field `pvcNameParameter` is one that older installations refuse.
    mounts = [{"constant": claim, "mountPath": path} for path, claim in volumes.items()]
    executors = {
        label: {"pvcMount": mounts} for label in specification["deploymentSpec"]["executors"]
    }
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
    documents = [specification, platform] if mounts else [specification]
    return yaml.safe_dump_all(documents)


def _make_runtime_parameters(graph: tfx_pipeline.Pipeline) -> dict[str, Any]:
    """Puts runtime parameters in the place of values; returns these by the parameter's name."""
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
    # TFX's own fingerprint of the data; the digest of its content is a parameter here.
    container.pop("lifecycle", None)
    container["resources"] = _resources(resources)
    types = {key: channel.type for key, channel in {**node.inputs, **node.outputs}.items()}
    paths = {key: name_utils.get_full_name(found) for key, found in types.items()}
    container["args"] += ["--artifact_types", json.dumps(paths, sort_keys=True)]
    for definitions in ("inputDefinitions", "outputDefinitions"):
        for key, found in component.get(definitions, {}).get("artifacts", {}).items():
            found["artifactType"] = _kubeflow_type(types[key])
    if isinstance(node, ServedModel):
        # What is served changes while the inputs of this node, which has none, stay the same.
        del specification["root"]["dag"]["tasks"][node.id]["cachingOptions"]


def _kubeflow_type(found: type[Artifact]) -> dict[str, str]:
    return {**_ANY_ARTIFACT, "schemaTitle": _KUBEFLOW_TYPES.get(found, "system.Artifact")}


def _resources(resources: Resources) -> dict[str, Any]:
    """As KFP's own compiler writes them: texts, and numbers for those that know no texts."""
    return {
        "resourceCpuLimit": resources.cpu,
        "cpuLimit": resources.cores,
        "resourceMemoryLimit": resources.memory,
        "memoryLimit": resources.gigabytes,
    }
