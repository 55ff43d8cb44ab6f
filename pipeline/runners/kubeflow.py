"""Translates the graph for Kubeflow Pipelines and Vertex AI, to a specification of KFP version 2.

TFX's runner makes a specification for Vertex AI only. This module changes it so that both accept
it. docs/decisions/0010-one-graph-on-a-cluster.md gives the reason for each change.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import yaml
from tfx.dsl.components.base import base_component
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.kubeflow.utils import TFX_DAG_NAME
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner
from tfx.types import Artifact, standard_artifacts
from tfx.utils import name_utils

from components.kubeflow import packing
from components.kubeflow.artifacts import Page
from components.kubeflow.component import Notification, ServedModel
from components.notifications.sending import ADDRESSES_VARIABLE
from pipeline.errors import ConfigurationError
from pipeline.nodes import NOTIFICATION, REVIEW
from pipeline.runners.notify_secret import NotifySecret
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
    # The dashboard shows it.
    Page: "system.HTML",
}
# Longer texts are packed; bytes.
_LONGEST_PARAMETER = 4 * 1024
# Linux starts no program with an argument of more bytes (MAX_ARG_STRLEN).
_LONGEST_ARGUMENT = 128 * 1024
# For what a run adds to the parameters of a node: places and metadata of its artifacts.
_RESERVE = 16 * 1024
_ANY_ARTIFACT = {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}


class Job:
    """A translated graph."""

    def __init__(self, message: dict[str, Any]):
        """Takes KFP's `PipelineJob` as JSON has it."""
        self._message = message

    def check_size(self, class_count: int) -> None:
        """Checks that Linux can start the programs that get the parameters of the nodes.

        The driver of Kubeflow Pipelines gets the graph, with the parameters of all nodes, as one
        argument. So what fits there also fits where a node gets its own.

        Args:
          class_count: Number of classes of the data.

        Raises:
          ConfigurationError: The graph is too large.
        """
        graph = _graph(self._message["pipelineSpec"])
        size, limit = _json_size(graph), _LONGEST_ARGUMENT - _RESERVE
        if size <= limit:
            return
        sizes = {name: _json_size(task) for name, task in graph["dag"]["tasks"].items()}
        largest = max(sizes, key=lambda name: sizes[name])
        raise ConfigurationError(
            f"the compiled graph has {size:,} bytes with the parameters of all nodes, most of them "
            f"in {largest} ({sizes[largest]:,} bytes), for {class_count:,} classes; expected at "
            f"most {limit:,}, since Kubeflow Pipelines passes it as one argument of a program, and "
            "Linux refuses a longer one. Shorten the names of the classes, or leave out settings "
            "for single classes."
        )

    def for_vertex(self) -> str:
        """The file for Vertex AI: the whole job, as JSON."""
        return json.dumps(self._message, indent=1, sort_keys=True) + "\n"

    def for_kubeflow(self, volumes: Mapping[str, str], secret: NotifySecret | None) -> str:
        """The file for Kubeflow Pipelines: the specification, the volumes and the secret, as YAML.

        Args:
          volumes: The claim of each volume, by its mount path.
          secret: Secret with the addresses to notify; only the exit handler gets it.
        """
        specification = self._message["pipelineSpec"]
        # Older installations refuse the newer field `pvcNameParameter`.
        mounts = [{"constant": claim, "mountPath": path} for path, claim in volumes.items()]
        labels = {
            name: component["executorLabel"]
            for name, component in specification["components"].items()
            if "executorLabel" in component
        }
        executors: dict[str, Any] = {}
        if mounts:
            nodes = labels.keys() - {NOTIFICATION}
            executors |= {labels[name]: {"pvcMount": mounts} for name in nodes}
        if secret:
            executors[labels[NOTIFICATION]] = {"secretAsEnv": [_secret_as_variable(secret)]}
        platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
        text: str = yaml.safe_dump_all([specification, platform] if executors else [specification])
        return text


def _secret_as_variable(secret: NotifySecret) -> dict[str, Any]:
    """What kfp-kubernetes writes for `use_secret_as_env`, but for `optional`.

    The oldest backends with a final status (2.14) refuse that field.
    """
    return {
        "secretName": secret.name,
        "secretNameParameter": {"runtimeValue": {"constant": secret.name}},
        "keyToEnv": [{"secretKey": secret.key, "envVar": ADDRESSES_VARIABLE}],
    }


def translate(
    graph: tfx_pipeline.Pipeline,
    image: str,
    resources: Mapping[str, Resources],
    notification: Notification | None,
) -> Job:
    """Translates the graph.

    Args:
      graph: A graph for a cluster. Some parameters of its nodes are replaced by runtime parameters,
        which have their values as defaults.
      image: Image of all containers.
      resources: Resources by node id.
      notification: Exit handler; runs after all nodes, also where one failed.
    """
    defaults = _make_runtime_parameters(graph)
    config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
        default_image=image, default_commands=_COMMAND, use_pipeline_spec_2_1=True
    )
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(config)
    nodes = [*graph.components]
    if notification:
        runner.set_exit_handler(notification)
        nodes.append(notification)
    job = runner.run(graph, write_out=False)
    specification = job["pipelineSpec"]
    if notification:
        _hand_parameters_on(specification)
        _amend_status(specification["components"][NOTIFICATION])
    parameters = specification["root"]["inputDefinitions"]["parameters"]
    for name, value in defaults.items():
        parameters[name]["defaultValue"] = value
    specification["defaultPipelineRoot"] = graph.pipeline_info.pipeline_root
    for node in nodes:
        _amend(specification, node, resources[node.id])
    for name, task in _tasks(specification).items():
        packed = _pack_parameters(task)
        if packed:
            arguments = _container(specification, name)["args"]
            arguments += ["--packed_parameters", json.dumps(packed)]
    return Job(job)


def _hand_parameters_on(specification: dict[str, Any]) -> None:
    """Gives the parameters of a run to the graph of all nodes.

    With an exit handler, TFX moves all nodes into a graph inside the graph, and gives it none.
    """
    parameters = specification["root"]["inputDefinitions"]["parameters"]
    inner = specification["components"][TFX_DAG_NAME]
    inner["inputDefinitions"] = {"parameters": copy.deepcopy(parameters)}
    specification["root"]["dag"]["tasks"][TFX_DAG_NAME]["inputs"] = {
        "parameters": {name: {"componentInputParameter": name} for name in parameters}
    }


def _amend_status(component: dict[str, Any]) -> None:
    """Gives the final status the type that KFP's own compiler gives it; TFX has it as a text."""
    component["inputDefinitions"]["parameters"]["final_status"] = {
        "parameterType": "TASK_FINAL_STATUS",
        "isOptional": True,
    }


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
    container = _container(specification, node.id)
    # TFX would take its own fingerprint of the data; here a parameter has the digest.
    container.pop("lifecycle", None)
    container["resources"] = _resources(resources)
    types = {key: channel.type for key, channel in {**node.inputs, **node.outputs}.items()}
    paths = {key: name_utils.get_full_name(kind) for key, kind in types.items()}
    container["args"] += ["--artifact_types", json.dumps(paths, sort_keys=True)]
    if node.id == REVIEW:
        container["args"].append("--with_absent")
    for definitions in ("inputDefinitions", "outputDefinitions"):
        for key, artifact in component.get(definitions, {}).get("artifacts", {}).items():
            artifact["artifactType"] = _kubeflow_type(types[key])
    if isinstance(node, ServedModel) or node.id == REVIEW:
        # The served model changes, but the one has no inputs that would change with it. The other
        # is about one run.
        _tasks(specification)[node.id].pop("cachingOptions", None)


def _container(specification: dict[str, Any], name: str) -> dict[str, Any]:
    """The container of a node."""
    label = specification["components"][name]["executorLabel"]
    container: dict[str, Any] = specification["deploymentSpec"]["executors"][label]["container"]
    return container


def _pack_parameters(task: dict[str, Any]) -> list[str]:
    """Packs the long parameters of a task; returns their names."""
    packed = []
    for name, parameter in task["inputs"]["parameters"].items():
        # One that each run sets has no constant.
        value = parameter.get("runtimeValue", {}).get("constant")
        if isinstance(value, str) and len(value.encode()) > _LONGEST_PARAMETER:
            parameter["runtimeValue"]["constant"] = packing.pack(value)
            packed.append(name)
    return sorted(packed)


def _tasks(specification: dict[str, Any]) -> dict[str, Any]:
    """The tasks of all nodes but the exit handler."""
    tasks: dict[str, Any] = _graph(specification)["dag"]["tasks"]
    return tasks


def _graph(specification: dict[str, Any]) -> dict[str, Any]:
    """The component that has the tasks of all nodes but the exit handler."""
    graph: dict[str, Any] = specification["components"].get(TFX_DAG_NAME, specification["root"])
    return graph


def _json_size(message: dict[str, Any]) -> int:
    """Bytes of a message as JSON; the backend's own form, without blanks, is shorter."""
    return len(json.dumps(message))


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
