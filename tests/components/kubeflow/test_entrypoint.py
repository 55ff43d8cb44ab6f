"""The entry point of a container translates the task of a cluster for TFX's entry point."""

import json
import subprocess
import sys
import types
from pathlib import Path

import pytest
from google.protobuf import json_format
from kfp.dsl.types import artifact_types
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import standard_artifacts

from components.kubeflow import entrypoint

PROJECT = Path(__file__).resolve().parents[3]
TYPES = {
    "examples": "tfx.types.standard_artifacts.Examples",
    "baseline_model": "tfx.types.standard_artifacts.Model",
    "report": "components.data_gate.component.DataGateReport",
}
BUCKETS = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}


class Executor(base_executor.BaseExecutor):
    """Records its arguments; writes a file and a property."""

    called = None

    def Do(self, input_dict, output_dict, exec_properties):
        type(self).called = input_dict, output_dict, exec_properties
        (report,) = output_dict["report"]
        report.set_int_custom_property("findings", 3)
        with fileio.open(f"{report.uri}/report.json", "w") as file:
            file.write("{}")


@pytest.fixture(params=sorted(BUCKETS))
def scheme(request):
    return request.param


@pytest.fixture
def mounted(monkeypatch, tmp_path):
    """The folder of the mounted buckets, instead of the root folder."""
    for name in ("GCS", "S3", "MINIO"):
        monkeypatch.setattr(
            artifact_types, f"_{name}_LOCAL_MOUNT_PREFIX", f"{tmp_path}/{name.lower()}/"
        )
    return tmp_path


def task_for(scheme, tmp_path):
    """A task in the form of a cluster: with its own types and properties, without names."""
    task = pipeline_spec_pb2.ExecutorInput()
    add = task.inputs.artifacts["examples"].artifacts.add
    examples = add(uri=f"{scheme}bucket/root/examples")
    examples.type.schema_title = "system.Dataset"
    examples.metadata.update({"split_names": '["train", "val"]', "span": 0.0})
    baseline = task.inputs.artifacts["baseline_model"].artifacts.add(uri=f"{scheme}bucket/model")
    baseline.type.schema_title = "Model"
    task.inputs.parameter_values["seed"].number_value = 5
    for key in ("report", "executor-logs"):
        output = task.outputs.artifacts[key].artifacts.add(uri=f"{scheme}bucket/root/{key}")
        output.type.schema_title = "system.Artifact"
    task.outputs.output_file = str(tmp_path / "outputs" / "output_metadata.json")
    return task


def run(task):
    inputs = {"parameters": {"seed": {"parameterType": "NUMBER_INTEGER"}}}
    entrypoint.main(
        [
            *("--executor_class_path", f"{Executor.__module__}.{Executor.__name__}"),
            *("--json_serialized_invocation_args", json_format.MessageToJson(task)),
            *("--json_serialized_inputs_spec_args", json.dumps(inputs)),
            *("--artifact_types", json.dumps(TYPES)),
            "--runner=SomeEngine",
        ]
    )
    return json.loads(Path(task.outputs.output_file).read_text("utf-8"))


@pytest.fixture
def importable(monkeypatch):
    """Makes the executor importable by name."""
    module = types.ModuleType("executors_of_the_test")
    module.Executor = Executor
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Executor, "__module__", module.__name__)
    monkeypatch.setattr(Executor, "called", None)


IN_A_CONTAINER = """
import os, runpy, sys, types
from pathlib import Path
from components import control_groups

os.sched_getaffinity = lambda process: set(range(64))
control_groups.MEMBERSHIPS = control_groups.ROOT = Path(sys.argv[1])

def run(arguments):
    import tensorflow as tf
    print(tf.config.threading.get_intra_op_parallelism_threads())
    print(tf.config.threading.get_inter_op_parallelism_threads())

sys.modules["components.kubeflow.adapter"] = types.SimpleNamespace(run=run)
runpy.run_module("components.kubeflow.entrypoint", run_name="__main__")
"""


@pytest.mark.slow
def test_a_node_uses_the_cores_that_its_container_may_use(tmp_path):
    """Not all those of the machine, under a quota of four."""
    (tmp_path / "cpu.max").write_text("400000 100000\n")
    command = [sys.executable, "-c", IN_A_CONTAINER, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)
    assert ended.stdout.split() == ["4", "4"], ended.stderr


def test_an_executor_is_given_folders_types_and_whole_numbers(scheme, mounted, importable):
    run(task_for(scheme, mounted))
    inputs, outputs, properties = Executor.called
    (examples,) = inputs["examples"]
    assert isinstance(examples, standard_artifacts.Examples)
    assert examples.split_names == '["train", "val"]'
    folder = mounted / BUCKETS[scheme].strip("/") / "bucket" / "root"
    assert examples.uri == str(folder / "examples")
    assert outputs.keys() == {"report"}
    assert type(outputs["report"][0]).__name__ == "DataGateReport"
    assert properties == {"seed": 5} and isinstance(properties["seed"], int)
    assert (folder / "report" / "report.json").is_file()


def test_a_cluster_gets_its_own_uris(scheme, mounted, importable):
    output = run(task_for(scheme, mounted))
    (report,) = output["artifacts"]["report"]["artifacts"]
    assert report["uri"] == f"{scheme}bucket/root/report"
    assert report["metadata"]["findings"] == 3


def test_an_absent_model_is_not_passed_on(scheme, mounted, importable):
    task = task_for(scheme, mounted)
    run(task)
    assert Executor.called[0].keys() == {"examples", "baseline_model"}
    task.inputs.artifacts["baseline_model"].artifacts[0].metadata.update({"absent": 1})
    run(task)
    assert Executor.called[0].keys() == {"examples"}


def test_artifacts_without_names_get_distinct_ones(mounted, importable):
    run(task_for("s3://", mounted))
    inputs, _, _ = Executor.called
    ids = {inputs[key][0].id for key in inputs}
    assert len(ids) == 2 and 0 not in ids
