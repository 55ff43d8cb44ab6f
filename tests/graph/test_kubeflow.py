"""The file that `compile` writes: Kubeflow and Vertex AI take it, and what it says can be run."""

import ast
import hashlib
import http.server
import json
import os
import random
import re
import shlex
import shutil
import string
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from unittest import mock

import kfp
import pytest
import yaml
from google.protobuf import json_format
from kfp.dsl.types import artifact_types
from kfp.local import graph_utils
from kfp.pipeline_spec import pipeline_spec_pb2

from components.kubeflow import packing
from components.pusher import versions
from operations import compile as compiling
from operations.compile_request import SCHEMA_IN_IMAGE, Request
from operations.targets import Target
from pipeline import config
from pipeline.installation import package_installers, packages
from pipeline.nodes import NOTIFICATION, REVIEW, expected_nodes
from pipeline.records.receipt import Receipt
from tests.components.example_gen.readers import made

PROJECT = Path(__file__).resolve().parents[2]
SERVER = Path(__file__).with_name("container_server.py")
IMAGE = "registry.example.org/clothes:1"
DIGEST = "0a" * 32
WHOLE = {"tuner__enabled": "true", "robustness__enabled": "true", "robustness__accuracy_1": 0}
NODES = (*expected_nodes(tuner=True, robustness=True), REVIEW)
NOTIFY = (
    "--notify-secret",
    "clothes-notify=addresses",
    "--dashboard-url",
    "https://kf.example.org",
)
INNER = "tfx-dag"


@pytest.fixture(scope="module")
def compile_graph(quick_command):
    """Compiles with further arguments, and returns how the command ended."""

    def run(output, *further, data="/mnt/clothes/data", serving="/mnt/clothes/serving"):
        places = ["--pipeline-root", "gs://artifacts/clothes", "--serving-dir", serving]
        asked = ["--image", IMAGE, "--data", data, *places, *further]
        return quick_command("compile", "-o", output, *asked)

    return run


@pytest.fixture(scope="module")
def whole_file(compile_graph, set_values, tmp_path_factory):
    """The graph with every node that it can have, for Kubeflow Pipelines."""
    path = tmp_path_factory.mktemp("compiled") / "clothes.yaml"
    options = ["--volume", "clothes=/mnt/clothes", "--resources", "Trainer=8,16Gi", "--seed", 7]
    outcome = compile_graph(path, "--data-digest", DIGEST, *options, *set_values(**WHOLE))
    assert outcome.code == 0, outcome.errors
    return path


@pytest.fixture(scope="module")
def notified_file(compile_graph, set_values, tmp_path_factory):
    """The same with an exit handler."""
    path = tmp_path_factory.mktemp("compiled") / "clothes.yaml"
    options = ["--volume", "clothes=/mnt/clothes", "--seed", 7, *NOTIFY]
    outcome = compile_graph(path, "--data-digest", DIGEST, *options, *set_values(**WHOLE))
    assert outcome.code == 0, outcome.errors
    return path


@pytest.fixture(scope="module")
def vertex_file(compile_graph, set_values, tmp_path_factory):
    """The same for Vertex AI."""
    path = tmp_path_factory.mktemp("compiled") / "clothes.json"
    options = ["--target", "vertex", "--resources", "Trainer=8,16Gi", "--seed", 7]
    outcome = compile_graph(path, "--data-digest", DIGEST, *options, *set_values(**WHOLE))
    assert outcome.code == 0, outcome.errors
    return path


@pytest.fixture
def asked(set_values):
    """What the command of `whole_file` asks for, with another file to write."""

    def make(output):
        return Request(
            target=Target.KUBEFLOW,
            output=output,
            image=IMAGE,
            pipeline_root="gs://artifacts/clothes",
            data="/mnt/clothes/data",
            data_digest=DIGEST,
            digest_options=(),
            serving_dir="/mnt/clothes/serving",
            schema_location=None,
            profile="default",
            assignments=tuple(set_values(**WHOLE)[1::2]),
            seed=7,
            use_cache=True,
            expect_served=False,
            default_resources=("4", "8Gi"),
            resources=("Trainer=8,16Gi",),
            volumes=("clothes=/mnt/clothes",),
            notify_secret=None,
            dashboard_url=None,
        )

    return make


def documents(path):
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def containers(specification):
    """The container of each node."""
    executors = specification["deploymentSpec"]["executors"]
    return {
        name: executors[component["executorLabel"]]["container"]
        for name, component in specification["components"].items()
        if name != INNER
    }


def graphs(specification):
    """Each graph of a file, with the parameters and the tasks that it has."""
    for component in (specification["root"], *specification["components"].values()):
        if "dag" in component:
            parameters = component.get("inputDefinitions", {}).get("parameters", {})
            yield set(parameters), component["dag"]["tasks"]


# What the kfp package says of it.


def test_kfp_loads_it_and_finds_its_parameters(whole_file):
    loaded = kfp.components.load_component_from_file(str(whole_file))
    assert loaded.component_spec.inputs.keys() == {"data_location", "data_digest", "seed"}
    assert loaded.component_spec.inputs["seed"].default == 7
    assert loaded.component_spec.inputs["data_location"].type == "String"
    assert loaded.platform_spec.platforms["kubernetes"].deployment_spec.executors


def test_it_names_every_node(whole_file):
    specification, _ = documents(whole_file)
    parsed = json_format.ParseDict(specification, pipeline_spec_pb2.PipelineSpec())
    assert set(parsed.root.dag.tasks) == set(parsed.components) == set(NODES)
    assert {task.task_info.name for task in parsed.root.dag.tasks.values()} == set(NODES)
    # What the backend of Kubeflow Pipelines takes; it refuses all others.
    assert parsed.schema_version == "2.1.0"
    assert parsed.pipeline_info.name == "fashion-mnist"


def test_every_node_is_a_container_of_the_image(whole_file):
    """Kubeflow Pipelines refuses a graph with TFX's Resolver, which is none."""
    specification, _ = documents(whole_file)
    parsed = json_format.ParseDict(
        specification["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig()
    )
    assert len(parsed.executors) == len(NODES)
    for executor in parsed.executors.values():
        assert executor.WhichOneof("spec") == "container"
        assert executor.container.image == IMAGE
        assert not executor.container.HasField("lifecycle")


def test_artifacts_have_types_that_kubeflow_knows(whole_file):
    specification, _ = documents(whole_file)
    known = {"system.Artifact", "system.Dataset", "system.HTML", "system.Model"}
    for component in specification["components"].values():
        for definitions in ("inputDefinitions", "outputDefinitions"):
            for found in component.get(definitions, {}).get("artifacts", {}).values():
                assert found["artifactType"]["schemaTitle"] in known


def test_each_container_has_its_resources_and_the_volume(whole_file):
    specification, platform = documents(whole_file)
    found = {name: container["resources"] for name, container in containers(specification).items()}
    assert found.pop("Trainer") == {
        "cpuLimit": 8.0,
        "memoryLimit": 16 * 2**30 / 10**9,
        "resourceCpuLimit": "8",
        "resourceMemoryLimit": "16Gi",
    }
    assert {each["resourceMemoryLimit"] for each in found.values()} == {"8Gi"}
    mounts = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert mounts.keys() == specification["deploymentSpec"]["executors"].keys()
    for executor in mounts.values():
        assert executor["pvcMount"] == [{"constant": "clothes", "mountPath": "/mnt/clothes"}]


def test_what_is_about_this_run_alone_is_never_taken_from_the_cache(whole_file):
    specification, _ = documents(whole_file)
    tasks = specification["root"]["dag"]["tasks"]
    uncached = {name for name, task in tasks.items() if not task.get("cachingOptions")}
    assert uncached == {"Resolver", REVIEW}
    # Also where kfp's client, or that of Vertex AI, switches the cache on for every node.
    for name in uncached:
        run = tasks[name]["inputs"]["parameters"]["run"]
        assert run == {"runtimeValue": {"constant": "{{$.pipeline_job_uuid}}"}}


@pytest.mark.parametrize(("options", "asked"), [([], 0), (["--expect-served"], 1)])
def test_a_file_can_expect_that_a_model_is_served(options, asked, compile_graph, tmp_path):
    """Blessing then refuses a model that could not be compared."""
    path = tmp_path / "clothes.yaml"
    outcome = compile_graph(path, "--data-digest", DIGEST, *options)
    assert outcome.code == 0, outcome.errors
    task = documents(path)[0]["root"]["dag"]["tasks"]["Blessing"]
    found = task["inputs"]["parameters"]["is_served"]["runtimeValue"]["constant"]
    assert found == asked


def test_a_graph_can_be_compiled_to_run_without_the_cache(compile_graph, tmp_path):
    path = tmp_path / "clothes.yaml"
    outcome = compile_graph(path, "--data-digest", DIGEST, "--no-cache", *NOTIFY)
    assert outcome.code == 0, outcome.errors
    specification = documents(path)[0]
    for _, tasks in graphs(specification):
        assert not [name for name, task in tasks.items() if task.get("cachingOptions")]


@pytest.mark.parametrize("kind", ["whole_file", "notified_file"])
def test_each_parameter_that_a_task_takes_is_one_of_the_graph_around_it(kind, request):
    specification = documents(request.getfixturevalue(kind))[0]
    found = list(graphs(specification))
    for parameters, tasks in found:
        for task in tasks.values():
            takes = task.get("inputs", {}).get("parameters", {})
            asked = {value.get("componentInputParameter") for value in takes.values()} - {None}
            assert asked <= parameters
            # Nor does a task take from, or wait for, a node of another graph.
            sources = task.get("inputs", {}).get("artifacts", {}).values()
            before = {source["taskOutputArtifact"]["producerTask"] for source in sources}
            assert before | set(task.get("dependentTasks", [])) <= set(tasks)
            # What the component wants without a default, the task gives.
            component = specification["components"][task["componentRef"]["name"]]
            wanted = component.get("inputDefinitions", {}).get("parameters", {})
            assert {name for name, p in wanted.items() if not p.get("isOptional")} <= set(takes)
    assert len(found) == (2 if kind == "notified_file" else 1)


def test_the_page_is_shown_by_the_dashboard_and_needs_all_other_nodes(whole_file):
    specification, _ = documents(whole_file)
    outputs = specification["components"][REVIEW]["outputDefinitions"]["artifacts"]
    titles = {key: found["artifactType"]["schemaTitle"] for key, found in outputs.items()}
    assert titles == {"page": "system.HTML", "receipt": "system.Artifact"}
    task = specification["root"]["dag"]["tasks"][REVIEW]
    sources = task["inputs"]["artifacts"].values()
    assert {s["taskOutputArtifact"]["producerTask"] for s in sources} == set(NODES) - {REVIEW}


def test_the_exit_handler_runs_after_the_graph_however_it_ended(notified_file):
    loaded = kfp.components.load_component_from_file(str(notified_file))
    assert loaded.component_spec.inputs.keys() == {"data_location", "data_digest", "seed"}
    specification, platform = documents(notified_file)
    assert set(specification["root"]["dag"]["tasks"]) == {INNER, NOTIFICATION}
    assert set(specification["components"][INNER]["dag"]["tasks"]) == set(NODES)
    task = specification["root"]["dag"]["tasks"][NOTIFICATION]
    assert task["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert task["dependentTasks"] == [INNER]
    status = task["inputs"]["parameters"]["final_status"]
    assert status == {"taskFinalStatus": {"producerTask": INNER}}
    definitions = specification["components"][NOTIFICATION]["inputDefinitions"]
    assert definitions["parameters"]["final_status"]["parameterType"] == "TASK_FINAL_STATUS"
    assert not definitions.get("artifacts") and not task["inputs"].get("artifacts")
    # As kfp-kubernetes writes it; the secret goes to this container alone.
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    secret = executors.pop(f"{NOTIFICATION}_executor")
    assert secret == {
        "secretAsEnv": [
            {
                "secretName": "clothes-notify",
                "secretNameParameter": {"runtimeValue": {"constant": "clothes-notify"}},
                "keyToEnv": [{"secretKey": "addresses", "envVar": "IMAGE_PIPELINE_NOTIFY"}],
            }
        ]
    }
    assert {key for executor in executors.values() for key in executor} == {"pvcMount"}
    assert len(executors) == len(NODES)


def test_without_an_exit_handler_the_graph_is_as_before(whole_file, notified_file):
    """The nodes are the same, wherever they are."""
    plain, notified = documents(whole_file)[0], documents(notified_file)[0]
    tasks = notified["components"][INNER]["dag"]["tasks"]
    assert tasks == plain["root"]["dag"]["tasks"]


def test_vertex_is_given_the_same_specification_as_a_job(whole_file, vertex_file):
    job = json.loads(vertex_file.read_text(encoding="utf-8"))
    parsed = json_format.ParseDict(job, pipeline_spec_pb2.PipelineJob())
    assert parsed.runtime_config.gcs_output_directory == "gs://artifacts/clothes"
    assert job["pipelineSpec"] == documents(whole_file)[0]


def test_two_compilations_are_equal(whole_file, compile_graph, set_values, tmp_path):
    path = tmp_path / "again.yaml"
    options = ["--volume", "clothes=/mnt/clothes", "--resources", "Trainer=8,16Gi", "--seed", 7]
    compile_graph(path, "--data-digest", DIGEST, *options, *set_values(**WHOLE))
    assert path.read_text("utf-8") == whole_file.read_text("utf-8")


# What the command says.


def test_it_tells_what_was_written_and_how_to_go_on(compile_graph, tmp_path):
    path = tmp_path / "clothes 'ü\" 😀.yaml"
    asked = ["--profile", "smoke", "--data-digest", DIGEST]
    outcome = compile_graph(path, *asked, "--json")
    told = outcome.json
    assert told["file"] == str(path)
    assert told["pipeline"] == "fashion-mnist-smoke"
    assert told["parameters"] == {
        "data_location": "/mnt/clothes/data",
        "data_digest": DIGEST,
        "seed": config.load_config("smoke").seed,
    }
    assert list(told["nodes"]) == [*expected_nodes(tuner=False, robustness=False), REVIEW]
    program, flag, code = shlex.split(told["submit"])
    assert (program, flag) == (".venv/bin/python", "-c")
    compile(code, "submit", "exec")
    # As Python reads it.
    assert str(path) in [
        node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)
    ]
    shown = compile_graph(path, *asked).output
    for text in ("Trainer", "8Gi", DIGEST, told["submit"], str(path)):
        assert text in shown


def test_what_was_there_stays_where_nothing_can_be_compiled(compile_graph, tmp_path):
    path = tmp_path / "clothes.yaml"
    path.write_text("as it was", encoding="utf-8")
    outcome = compile_graph(path, "--data-digest", DIGEST, "--resources", "Trainer=much")
    assert outcome.code == 2
    assert "NODE=CPU,MEMORY" in outcome.errors
    assert path.read_text("utf-8") == "as it was"
    assert list(tmp_path.iterdir()) == [path]


def digest_of(folder):
    """The digest of a data set, from its lines."""
    reader = made.opened(folder)
    lines = reader.digest_lines(made.hashed(reader))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_the_digest_is_read_where_the_data_can_be(compile_graph, few_images, tmp_path):
    folder = few_images.write(tmp_path / "data")
    few = ("--set", "split.validation=1")
    outcome = compile_graph(tmp_path / "clothes.yaml", *few, "--json", data=folder)
    assert outcome.json["parameters"]["data_digest"] == digest_of(folder)


def test_the_digest_is_what_the_command_prints(quick_command, few_images, tmp_path):
    folder = few_images.write(tmp_path / "data")
    few = ("--set", "split.validation=1")
    outcome = quick_command("digest", "--data", folder, *few, "--json")
    assert outcome.json["digest"] == digest_of(folder)


def test_a_schema_of_ones_own_is_read_where_it_was_put(compile_graph, tmp_path):
    schema = tmp_path / "schema.pbtxt"
    text = (PROJECT / "schema" / "schema.pbtxt").read_text("utf-8")
    schema.write_text(text.replace('"Coat"', '"Parka"'), encoding="utf-8")
    (tmp_path / "pipeline.toml").write_text(
        'data = "here"\nschema_file = "schema.pbtxt"\nname = "parkas"\n', encoding="utf-8"
    )
    path, place = tmp_path / "clothes.yaml", "/mnt/clothes/schema.pbtxt"
    options = ("--config", tmp_path / "pipeline.toml", "--schema-location", place)
    outcome = compile_graph(path, "--data-digest", DIGEST, *options, "--json")
    assert outcome.code == 0, outcome.errors
    assert (outcome.json["pipeline"], outcome.json["schema"]) == ("parkas", place)
    compiled = path.read_text("utf-8")
    assert place in compiled and SCHEMA_IN_IMAGE not in compiled
    assert hashlib.sha256(schema.read_bytes()).hexdigest() in compiled
    assert "Parka" in compiled


def many_classes(folder, letters):
    """Options for a schema of 1,000 classes with random names, which compress badly."""
    made = random.Random(7)
    names = ["".join(made.choices(string.ascii_letters, k=letters)) for _ in range(1000)]
    domain = "".join(f'  value: "{name}"\n' for name in names)
    text = (PROJECT / "schema" / "schema.pbtxt").read_text("utf-8")
    text = re.sub(r'(  value: "[^"]*"\n)+', domain, text).replace("max: 9 ", "max: 999 ")
    schema = folder / "schema.pbtxt"
    schema.write_text(text, encoding="utf-8")
    place = ("--schema-location", "/mnt/clothes/schema.pbtxt")
    return ("--set", f"schema_file={schema}", *place, "--data-digest", DIGEST)


def test_a_thousand_classes_fit_into_the_arguments_of_the_driver(compile_graph, tmp_path):
    path = tmp_path / "clothes.yaml"
    outcome = compile_graph(path, *many_classes(tmp_path, letters=20))
    assert outcome.code == 0, outcome.errors
    Cluster(tmp_path / "cluster", server=None).run(path, only=())
    (specification,) = documents(path)
    unpack(specification)
    path.write_text(yaml.safe_dump(specification), encoding="utf-8")
    with pytest.raises(OSError, match="Argument list too long"):
        Cluster(tmp_path / "cluster", server=None).run(path, only=())


def unpack(specification):
    """Puts the parameters of all nodes into a file as they were before they were packed."""
    tasks = specification["root"]["dag"]["tasks"]
    for name, container in containers(specification).items():
        arguments = container["args"]
        if "--packed_parameters" in arguments:
            for key in json.loads(arguments[arguments.index("--packed_parameters") + 1]):
                value = tasks[name]["inputs"]["parameters"][key]["runtimeValue"]
                value["constant"] = packing.unpack(value["constant"])


def test_a_graph_that_is_too_large_for_the_driver_is_refused(compile_graph, tmp_path):
    path = tmp_path / "clothes.yaml"
    outcome = compile_graph(path, *many_classes(tmp_path, letters=40), *NOTIFY)
    assert outcome.code == 2
    (line,) = [line for line in outcome.errors.splitlines() if "expected" in line]
    for fragment in ("Blessing", "1,000 classes", "114,688", "Shorten the names"):
        assert fragment in line
    assert not path.exists()


def test_the_documented_command_compiles(quick_command, tmp_path):
    text = (PROJECT / "docs" / "kubeflow.md").read_text(encoding="utf-8")
    (command,) = re.findall(
        r"^    \S*python3? pipeline_runner.py (compile (?:.*\\\n)*.*)", text, re.M
    )
    path = tmp_path / "fashion.yaml"
    asked = command.replace("\\\n", "").replace("4f0c...", DIGEST)
    arguments = [str(path) if part == path.name else part for part in shlex.split(asked)]
    outcome = quick_command(*arguments)
    assert outcome.code == 0, outcome.errors
    # All that is said is what takes time: the example's folders lie on its volume.
    assert outcome.errors.splitlines() == [outcome.errors.strip()]
    assert path.is_file()


def documented(*names):
    """The Python code of the docs that calls each of these."""
    text = (PROJECT / "docs" / "kubeflow.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (block,) = [block for block in blocks if all(name in block for name in names)]
    return block


def test_the_documented_recurring_run_waits_for_the_one_before_and_catches_nothing_up(
    whole_file, monkeypatch
):
    """By kfp's own client, which reads the file; what it would send is looked at."""
    client = object.__new__(kfp.Client)
    client._recurring_run_api = mock.Mock()
    monkeypatch.setattr(client, "create_experiment", mock.Mock(), raising=False)
    monkeypatch.setattr(kfp, "Client", lambda host: client)
    monkeypatch.chdir(whole_file.parent)
    shutil.copy(whole_file, "fashion.yaml")
    exec(documented("create_recurring_run"), {})
    create = client._recurring_run_api.recurring_run_service_create_recurring_run
    sent = create.call_args.kwargs["recurring_run"]
    assert (sent.max_concurrency, sent.no_catchup) == (1, True)
    assert len(sent.trigger.cron_schedule.cron.split()) == 6
    tasks = sent.pipeline_spec["pipeline_spec"]["root"]["dag"]["tasks"]
    assert set(tasks) == set(NODES)
    assert sent.pipeline_spec["platform_spec"]["platforms"]
    assert sent.runtime_config.parameters.keys() <= {"data_location", "data_digest", "seed"}


@pytest.mark.slow
def test_vertex_reads_the_job_and_its_documented_schedule_runs_one_at_a_time(
    vertex_file, monkeypatch
):
    from google.cloud import aiplatform
    from google.cloud.aiplatform.utils import pipeline_utils

    job = json.loads(vertex_file.read_text("utf-8"))
    built = pipeline_utils.PipelineRuntimeConfigBuilder.from_job_spec_json(job)
    built.update_runtime_parameters({"seed": 2, "data_location": "/gcs/clothes/data"})
    assert built.build()["parameterValues"] == {"seed": 2, "data_location": "/gcs/clothes/data"}
    pipeline_job = mock.create_autospec(aiplatform.PipelineJob)
    monkeypatch.setattr(aiplatform, "PipelineJob", pipeline_job)
    monkeypatch.setattr(aiplatform, "init", mock.create_autospec(aiplatform.init))
    exec(documented("create_schedule"), {})
    asked = pipeline_job.return_value.create_schedule.call_args.kwargs
    assert (asked["max_concurrent_run_count"], asked["allow_queueing"]) == (1, False)


# The image.


@pytest.fixture(scope="module")
def image_steps():
    """The instructions of the Containerfile, each on a line, with its name."""
    text = (PROJECT / "Containerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", "")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines()]


def test_the_image_is_built_from_files_that_are_there(image_steps):
    ignored = (PROJECT / ".containerignore").read_text(encoding="utf-8")
    sent = {line[1:] for line in ignored.splitlines() if line.startswith("!")}
    copied = set()
    for name, rest in image_steps:
        if name == "COPY" and not rest.startswith("--from"):
            copied |= set(rest.split()[:-1])
    assert all((PROJECT / source).exists() for source in copied)
    assert {source.split("/")[0] for source in copied} == sent
    assert {"setup.py", "components", "schema"} <= copied


def test_the_image_holds_the_locked_stack_and_what_a_node_is_told(image_steps, whole_file):
    text = "\n".join(" ".join(step) for step in image_steps)
    # The installer, and the lock.
    assert text.count("--require-hashes") == 2
    installs = re.findall(r"pip install ([^&\n]*)", text)
    assert installs and all("--no-deps" in install for install in installs)
    assert re.search(r"TF_USE_LEGACY_KERAS=0\b", text)
    assert f"schema/schema.pbtxt {SCHEMA_IN_IMAGE}" in text
    entry_points = [json.loads(rest) for name, rest in image_steps if name == "ENTRYPOINT"]
    commands = [c["command"] for c in containers(documents(whole_file)[0]).values()]
    assert all([command] == entry_points for command in commands)


def test_the_image_runs_as_a_user_who_can_change_nothing_of_it(image_steps):
    names = [name for name, _ in image_steps]
    # Kubernetes tells from a number alone that a user is not root.
    users = [rest for name, rest in image_steps if name == "USER"]
    assert len(users) == 1 and re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[0])
    # Whatever is built before belongs to root.
    assert names[names.index("USER") :] == ["USER", "ENTRYPOINT"]
    text = "\n".join(" ".join(step) for step in image_steps)
    # But all can read it, whatever the umask of the checkout.
    readable = "RUN chmod --recursive a+rX /opt/venv /pipeline\nFROM "
    assert readable in text
    kept = {rest for name, rest in image_steps if name == "COPY" and "--from=build" in rest}
    assert kept == {f"--from=build {folder} {folder}" for folder in ("/opt/venv", "/pipeline")}
    changed = text.replace(readable, "")
    assert not re.search(r"--ch(own|mod)|\bch(own|mod)\b|\bsudo\b", changed)
    # Beside /tmp, the folders that the launcher of a cluster writes to.
    last_stage = image_steps[len(names) - names[::-1].index("FROM") :]
    assert [rest for name, rest in last_stage if name == "RUN"] == [
        "mkdir --mode=1777 /gcs /minio /s3"
    ]
    mounted = ("_GCS", "_MINIO", "_S3")
    prefixes = [getattr(artifact_types, f"{name}_LOCAL_MOUNT_PREFIX") for name in mounted]
    assert prefixes == ["/gcs/", "/minio/", "/s3/"]
    assert ("WORKDIR", "/tmp") in last_stage
    assert environment_of(image_steps)["HOME"] == "/tmp"


def test_the_image_holds_no_secret_and_loads_nothing_but_packages(image_steps):
    """A value of a build or of the environment can be read by everyone who has the image."""
    assert not [rest for name, rest in image_steps if name in ("ADD", "ARG")]
    kept = environment_of(image_steps)
    assert not [name for name in kept if re.search("TOKEN|PASSWORD|SECRET|KEY|INDEX|PROXY", name)]
    commands = " ".join(rest for name, rest in image_steps if name == "RUN")
    assert not re.search(r"://|curl|wget|apt-get|git ", commands)


def environment_of(steps):
    """The variables that all stages of the image set."""
    parts = [part for name, rest in steps if name == "ENV" for part in shlex.split(rest)]
    return dict(part.split("=", 1) for part in parts)


def test_the_image_has_the_python_and_the_lock_that_a_graph_is_compiled_for(image_steps):
    image = packages.of_image()
    bases = [rest for name, rest in image_steps if name == "FROM"]
    assert bases
    assert all(re.match(rf"docker\.io/library/python:{image.python}-", base) for base in bases)
    text = "\n".join(" ".join(step) for step in image_steps)
    assert set(re.findall(r"glibc-\S+\.txt", text)) == {image.lock}
    assert f"--requirement {image.lock}" in " ".join(text.split())
    # As `make setup` installs it: nothing that needs a compiler, nothing without a hash.
    told = package_installers.options(Path(image.lock))
    assert f" {' '.join(told)}" in " ".join(text.split())
    # By it, the doctor and receipts know what is installed.
    assert f"COPY requirements/{image.lock} /opt/venv/{packages.RECORDS}/" in text


def test_the_graph_is_the_same_whatever_is_installed_where_it_is_compiled(
    whole_file, asked, monkeypatch, tmp_path
):
    """In the environment that compiles, the lock and the Python are others than in the image."""
    again = tmp_path / "again.yaml"
    there = packages.Packages("3.99", "another.txt", "a" * 64)
    monkeypatch.setattr(packages, "installed", lambda: there)
    compiling.compile_graph(asked(again), lambda line: None)
    assert again.read_bytes() == whole_file.read_bytes()
    monkeypatch.setattr(packages, "of_image", lambda: there)
    compiling.compile_graph(asked(again), lambda line: None)
    assert again.read_bytes() != whole_file.read_bytes()


# As much of a cluster as a run needs.

# Containers run as a user without a name, as some clusters choose one. Of root's rights it has the
# one to read everything, since the checkout and its environment may lie in the home of root.
USER = 12_345
READING = "-all,+dac_read_search"
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")
# Without it, access() would deny that right to who is not root.
AS_USER += ("--securebits=+no_setuid_fixup",)
AS_USER += tuple(f"--{which}={READING}" for which in ("bounding-set", "inh-caps", "ambient-caps"))


def user():
    """The user that containers run as: root can become another, others stay who they are."""
    return USER if os.getuid() == 0 else os.getuid()


def give(folder):
    """Gives a folder, and all that is in it, to the user of the containers."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user(), -1)


def start(*arguments):
    """Starts a program, which Linux refuses where an argument is too long."""
    subprocess.run(["true", *arguments], check=True)


def as_json(message):
    """A message as the backend passes it."""
    return json_format.MessageToJson(message, indent=None, ensure_ascii=False)


class Cluster:
    """Does with each task what the driver and the launcher of Kubeflow Pipelines do.

    Buckets are folders below `root`. A container sees those artifacts alone that it was given, in a
    folder of its own, and nothing of the project but the worker package.
    """

    RUN = "b6f0c0de-0000-4000-8000-000000000001"

    def __init__(self, root, server):
        self.root = root
        self._server = server
        self._made = {}

    def run(self, path, only=None, secret=None, **arguments):
        """Runs a compiled graph, or some nodes of it on what others made before.

        An exit handler runs after that with the value of its secret.

        Returns:
          The last lines of the log of the node that failed; None where none did.
        """
        specification = json_format.ParseDict(documents(path)[0], pipeline_spec_pb2.PipelineSpec())
        given = {
            name: json_format.MessageToDict(parameter.default_value)
            for name, parameter in specification.root.input_definitions.parameters.items()
        } | arguments
        tasks = specification.root.dag.tasks
        if INNER not in tasks:
            return self._run_graph(specification.root, only, specification, given)
        # The graph inside has the parameters that it was handed, and no others.
        takes = tasks[INNER].inputs.parameters.items()
        handed = {name: given[value.component_input_parameter] for name, value in takes}
        inner = specification.components[tasks[INNER].component_ref.name]
        failure = self._run_graph(inner, only, specification, handed)
        # As the backend tells it: which node failed, it does not say.
        state = {"state": "FAILED" if failure else "COMPLETE", "pipelineTaskName": INNER}
        status = {**state, "pipelineJobResourceName": "clothes-x7f2k", "error": {}}
        task, variables = tasks[NOTIFICATION], {"IMAGE_PIPELINE_NOTIFY": secret}
        told = self._run_task(NOTIFICATION, task, specification, {"status": status}, variables)
        assert told is None, told
        return failure

    def _run_graph(self, component, only, specification, arguments):
        start("--component", as_json(component))
        tasks = component.dag.tasks
        waiting = graph_utils.topological_sort_tasks(tasks)
        while waiting:
            name = waiting.pop()
            if only is None or name in only:
                failure = self._run_task(name, tasks[name], specification, arguments)
                if failure:
                    return f"{name}: {failure}"
        return None

    def artifact(self, node, key):
        """Where an artifact is."""
        return self._folder(self._made[node, key].uri)

    def _run_task(self, name, task, specification, arguments, variables=None):
        folder = self.root / "pods" / uuid.uuid4().hex
        mount = folder / "s3"
        mount.mkdir(parents=True)
        executor_input = self._input(task, specification, arguments, folder)
        component = specification.components[task.component_ref.name]
        executor = json_format.ParseDict(
            json_format.MessageToDict(
                specification.deployment_spec["executors"][component.executor_label]
            ),
            pipeline_spec_pb2.PipelineDeploymentConfig.ExecutorSpec(),
        )
        inputs = executor_input.inputs.artifacts.values()
        for artifact in (found.artifacts[0] for found in inputs):
            stored = self._folder(artifact.uri)
            if stored.exists():
                shutil.copytree(stored, mount / artifact.uri.removeprefix("s3://"))
        give(folder)
        told = as_json(executor_input)
        request = {
            "arguments": [part.replace("{{$}}", told) for part in executor.container.args],
            "mount": f"{mount}/",
            "log": str(folder / "log.txt"),
            "environment": variables or {},
        }
        start("--task", as_json(task))
        start("--executor_input", told, *request["arguments"])
        print(json.dumps(request), file=self._server.stdin, flush=True)
        if int(self._server.stdout.readline()):
            return "\n".join((folder / "log.txt").read_text("utf-8").splitlines()[-8:])
        self._take(name, executor_input, mount)
        # A bucket may be mounted here that cannot rename a folder.
        assert not list(mount.rglob("backups"))
        shutil.rmtree(folder)
        return None

    def _input(self, task, specification, arguments, folder):
        component = specification.components[task.component_ref.name]
        found = pipeline_spec_pb2.ExecutorInput()
        placeholders = {"{{$.pipeline_job_uuid}}": self.RUN, "{{$.pipeline_job_name}}": "nightly"}
        for key, parameter in task.inputs.parameters.items():
            value = found.inputs.parameter_values[key]
            kind = parameter.WhichOneof("kind")
            if kind == "runtime_value":
                value.CopyFrom(parameter.runtime_value.constant)
                if value.string_value in placeholders:
                    value.string_value = placeholders[value.string_value]
            else:
                asked = parameter.component_input_parameter or "status"
                json_format.ParseDict(arguments[asked], value)
        for key, source in task.inputs.artifacts.items():
            output = source.task_output_artifact
            made = self._made[output.producer_task, output.output_artifact_key]
            found.inputs.artifacts[key].artifacts.add().CopyFrom(made)
        for key, output in component.output_definitions.artifacts.items():
            uri = f"s3://artifacts/clothes/{folder.name}/{key}"
            found.outputs.artifacts[key].artifacts.add(uri=uri, type=output.artifact_type)
        found.outputs.output_file = str(folder / "output_metadata.json")
        return found

    def _take(self, name, executor_input, mount):
        """Uploads what a container made, and notes what it says of it."""
        text = Path(executor_input.outputs.output_file).read_text("utf-8")
        said = json_format.Parse(text, pipeline_spec_pb2.ExecutorOutput())
        for key, found in executor_input.outputs.artifacts.items():
            (artifact,), (told,) = found.artifacts, said.artifacts[key].artifacts
            assert told.uri == artifact.uri
            artifact.metadata.MergeFrom(told.metadata)
            # Of types, a cluster keeps its own alone, and it gives no names.
            self._made[name, key] = artifact
            made, stored = mount / artifact.uri.removeprefix("s3://"), self._folder(artifact.uri)
            if made.is_file():
                stored.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(made, stored)
            else:
                shutil.copytree(made, stored)

    def _folder(self, uri):
        return self.root / "buckets" / uri.removeprefix("s3://")


@pytest.fixture
def cluster(tmp_path, image_steps):
    packages = tmp_path / "packages"
    for name in ("components", "pipeline", "review", "schema"):
        shutil.copytree(
            PROJECT / name, packages / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    # Stands for /tmp, which is all that the user of the image may write to.
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    give(temporary)
    of_image = environment_of(image_steps)
    del of_image["PATH"]
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            [
                *(AS_USER if os.getuid() == 0 else ()),
                *(sys.executable, "-I", str(SERVER), str(packages)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=temporary,
            env={
                **os.environ,
                **of_image,
                "HOME": str(temporary),
                "TMPDIR": str(temporary),
                "no_proxy": "127.0.0.1",
            },
        )
    yield Cluster(tmp_path / "cluster", server)
    server.stdin.close()
    server.wait(timeout=60)
    server.stdout.close()


SECRET = "hunter2secret"


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes messages."""

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(json.loads(text))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture
def receiver():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.received = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def sections(page):
    """The sections of a page, by their names."""
    found = re.findall(r'<section id="(\w+)".*?</section>', page, re.DOTALL)
    texts = re.findall(r'<section id="\w+".*?</section>', page, re.DOTALL)
    return dict(zip(found, texts, strict=True))


@pytest.mark.slow
def test_each_node_runs_as_its_container_would(
    cluster,
    compile_graph,
    few_images,
    undemanding,
    set_values,
    receiver,
    run_graph,
    check_receipt,
    tmp_path,
):
    folder = few_images.write(tmp_path / "data")
    serving = tmp_path / "serving"
    serving.mkdir()
    give(serving)
    path = tmp_path / "clothes.yaml"
    _, _, *settings = undemanding(folder)
    robustness = {"robustness__enabled": "true", "robustness__accuracy_1": 0}
    more = set_values(**robustness, training__precision="float32")
    volume = ("--volume", f"clothes={tmp_path}")
    options = (*settings, *more, *NOTIFY, *volume)
    outcome = compile_graph(path, *options, data=folder, serving=serving)
    assert outcome.code == 0, outcome.errors
    local_schema(path)

    secret = f"json://127.0.0.1:{receiver.server_port}/{SECRET}"
    first = {"ImportSchemaGen", "ExampleGen"}
    wrong = cluster.run(path, only=first, secret=secret, data_digest=DIGEST)
    assert "data_digest" in wrong and DIGEST in wrong
    assert_told(receiver, "failure", "FAILED")

    assert cluster.run(path, secret=secret, seed=5) is None
    (version,) = versions.served_versions(serving)
    assert (serving / str(version)).stat().st_uid == user() != 0
    assert (cluster.artifact("Predictions", "predictions") / "predictions.parquet").is_file()
    assert_told(receiver, "success", "SUCCEEDED")
    receipt = receipt_of(cluster, check_receipt)
    assert receipt.export_digest == versions.content_digest(serving / str(version))
    assert (receipt.pushed_version, receipt.served_version) == (version, version)
    # It names the command that computes the same on one machine.
    assert shlex.split(receipt.command)[:3] == ["python3", "pipeline_runner.py", "run"]
    local = run_graph(tmp_path / "outputs", *shlex.split(receipt.command)[3:])
    assert_as_on_one_machine(cluster, receipt, local)

    # The next run is compared with what this one pushed.
    report = cluster.artifact("DataGate", "report") / "report.json"
    assert json.loads(report.read_text("utf-8"))["compared_with"] is None
    again = {"Resolver", "DataGate", "Predictions", "Evaluator", "Blessing", REVIEW}
    assert cluster.run(path, only=again, secret=secret, seed=5) is None
    report = cluster.artifact("DataGate", "report") / "report.json"
    found = json.loads(report.read_text("utf-8"))
    assert found["compared_with"] and found["drifts"]
    judged = json.loads(
        (cluster.artifact("Blessing", "blessing") / "gates.json").read_text("utf-8")
    )
    (change,) = [gate for gate in judged if gate["metric"] == "accuracy against the served model"]
    assert (change["value"], change["passed"]) == (0, True)
    export = cluster.artifact("Resolver", "model") / "Format-Serving"
    assert versions.content_digest(export) == versions.content_digest(serving / str(version))
    receipt = receipt_of(cluster, check_receipt)
    assert receipt.served_before == version
    (change,) = [gate for gate in receipt.gates if gate.metric == change["metric"]]
    assert (change.value, change.passed) == (0, True)
    page = cluster.artifact(REVIEW, "page").read_text("utf-8")
    assert "This run made the model that was served" in sections(page)["comparison"]

    # A model that appears before Pusher runs was not compared with.
    other = tmp_path / "other"
    shutil.copytree(serving / str(version), other)
    (other / "note.txt").write_text("another model")
    published = versions.publish(other, serving)
    give(serving)
    refused = cluster.run(path, only={"Pusher"}, secret=secret, seed=5)
    assert f"version {published} (digest" in refused and f"expected version {version}" in refused
    assert versions.served_versions(serving) == [version, published]


def receipt_of(cluster, check_receipt):
    """The receipt of the last run, which has the documented schema."""
    text = cluster.artifact(REVIEW, "receipt").read_text("utf-8")
    check_receipt(json.loads(text))
    return Receipt.from_json(text)


def assert_told(receiver, kind, state):
    """The last message is of this kind, and no message repeats the address."""
    message = receiver.received[-1]
    assert (message["type"], message["title"]) == (kind, f"fashion-mnist-smoke: {state}")
    assert f"https://kf.example.org/#/runs/details/{Cluster.RUN}" in message["message"]
    assert f"nightly ({Cluster.RUN})" in message["message"]
    assert SECRET not in json.dumps(receiver.received)


# What only the run itself decides: when it was, where, and how long it took.
ABOUT_ONE_RUN = {"verdict", "training", "history", "lineage"}


def assert_as_on_one_machine(cluster, receipt, local):
    """Receipt and page are those of a run on one machine."""
    there = Receipt.from_json(json.dumps(local.receipt))
    assert (receipt.status, receipt.verdict) == (there.status, there.verdict)
    assert receipt.attempt == Cluster.RUN
    for name in (
        *("digests", "evaluation", "gates", "reading", "calibration", "robustness"),
        *("model_digest", "input_digest", "precision", "served_before", "config"),
    ):
        assert getattr(receipt, name) == getattr(there, name), name
    assert list(receipt.nodes) == list(there.nodes)
    for name, node in receipt.nodes.items():
        assert node.status == "complete"
        assert node.seconds > 0 and (node.code_fingerprint or name == "Resolver")
    page = cluster.artifact(REVIEW, "page").read_text("utf-8")
    here = (local.root / "runs" / there.run_id / "review.html").read_text("utf-8")
    found, expected = sections(page), sections(here)
    assert found.keys() == expected.keys()
    for name in expected.keys() - ABOUT_ONE_RUN:
        assert found[name] == expected[name], name
    # Nothing that is not there is linked to.
    assert not re.findall(r'href="(?!#|data:)', page)


def local_schema(path):
    """Names the schema of the project in the place of the image's."""
    text = path.read_text(encoding="utf-8")
    assert SCHEMA_IN_IMAGE in text
    path.write_text(text.replace(SCHEMA_IN_IMAGE, str(PROJECT / "schema" / "schema.pbtxt")))
