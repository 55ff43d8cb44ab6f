"""The graph, compiled, against its checked-in form: nodes, edges, parameters.

A change of the graph or of a profile shows here. Where it is meant, write the forms anew and read
what changed: `pytest tests/graph/test_golden.py --write-golden`, then `git diff`.

Whatever runs it, the graph is the same: the forms that the local runner, the Beam runner and a
cluster are given differ in what `DIFFERENCES` lists, and in nothing else.
"""

import fnmatch
import importlib
import json
from pathlib import Path

import pytest
from tfx.dsl.compiler import compiler
from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.proto.orchestration import executable_spec_pb2, pipeline_pb2

from components.kubeflow import packing
from operations.compile_request import SCHEMA_IN_IMAGE
from pipeline import config, dag
from pipeline.datasets.schema_file import read_schema
from pipeline.installation import packages
from pipeline.locations import Locations, RemoteLocations
from pipeline.nodes import REVIEW, expected_nodes
from pipeline.profiles import PROFILES
from pipeline.runners import dag_runners, kubeflow
from pipeline.runners.resources import Resources
from review.cluster.compiled import CompiledRun
from review.cluster.component import Review
from tests.made_data import made_dataset, made_remote_data

PROJECT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).with_name("golden")
# What changes with every edit of the code, and so says nothing of the graph's form.
HASHES = {"code_fingerprint", "identity"}
ENGINE_ARGUMENTS = ["--runner=SomeEngine"]
# Each profile, and the default one with what is off by default.
CONFIGURATIONS = {
    **{profile: (profile, []) for profile in PROFILES},
    "tuner": ("default", ["tuner.enabled=true"]),
    "robustness": ("default", ["robustness.enabled=true", "robustness.accuracy_1=0.8"]),
}
# All that is off by default: the graph with every node that it can have.
WHOLE = ["tuner.enabled=true", "robustness.enabled=true", "robustness.accuracy_1=0.8"]

# Where the graph for a cluster differs from that for one machine, and why; `*` is any name.
AT_EACH_RUN = "a compiled graph takes it anew with each run"
FOUND = "one machine knows the labels before the graph starts, and here they are numbers"
SERVED = "a cluster's metadata cannot be asked for the served model, so the node asks the folder"
DIFFERENCES = {
    "ExampleGen.parameters.location": AT_EACH_RUN,
    "*.parameters.data_digest": AT_EACH_RUN,
    "*.parameters.seed": AT_EACH_RUN,
    "ExampleGen.parameters.request.class_names": FOUND,
    "ImportSchemaGen.parameters.schema_file": "the schema of a cluster's nodes is in their image",
    "Resolver.*": SERVED,
    "Review.*": "on one machine, the command writes page and receipt after the graph",
    "Pusher.parameters.push_destination.filesystem": "the folder lies on a volume of the cluster",
    "*.type": "KFP knows components by their names alone",
    "*.inputs.*.at_least": "KFP does not count artifacts",
    "*.executor.engine_arguments": "TFX hands them to each container, also where no Beam is",
}


def compiled(configured):
    return compiler.Compiler().compile(local_graph(configured))


def local_graph(configured):
    """The graph of a configuration for data and folders that do not exist."""
    schema, _ = read_schema(str(PROJECT / "schema" / "schema.pbtxt"))
    found = made_dataset(configured, schema, schema_sha256="the schema's content")
    return create_graph(configured, found, Locations(Path("/outputs")))


def job_for_a_cluster(configured):
    """What a cluster is given for the same configuration, with data and folders of its own."""
    schema, _ = read_schema(str(PROJECT / "schema" / "schema.pbtxt"))
    found = made_remote_data(configured, schema)
    in_image = configured.model_copy(update={"schema_file": SCHEMA_IN_IMAGE})
    locations = RemoteLocations("s3://artifacts", "/mnt/serving")
    graph = create_graph(in_image, found, locations, review_of(configured, found))
    resources = {node.id: Resources("2", "4Gi") for node in graph.components}
    job = kubeflow.translate(graph, "registry.example.org/clothes:1", resources, None)
    return json.loads(job.for_vertex())


def review_of(configured, found):
    """Makes the final node, for nothing that is known when a graph is compiled."""
    compiled = CompiledRun(
        pipeline="",
        profile="",
        assignments=(),
        config={},
        precision="float32",
        schema_sha256="c" * 64,
        parts=(),
        revision=None,
        dirty=None,
    )

    def make(nodes):
        return Review(
            nodes=nodes,
            compiled=compiled,
            slicings=configured.gates.slicings(),
            serving="/mnt/serving",
            location=found.location,
            data_digest=found.digest,
            seed=configured.seed,
        )

    return make


def create_graph(configured, found, locations, final_node=None):
    schema, _ = read_schema(str(PROJECT / "schema" / "schema.pbtxt"))
    name, libraries = config.pipeline_name(configured, sample=False), packages.of_image()
    return dag.create_pipeline(
        *(name, configured, found, schema, locations, "float32", {}, libraries, ENGINE_ARGUMENTS),
        final_node=final_node,
    )


def normalised(ir):
    """The form of the graph as plain JSON: no hashes, no identifiers of this run."""
    executors = pipeline_pb2.IntermediateDeploymentConfig()
    ir.deployment_config.Unpack(executors)
    nodes = [entry.pipeline_node for entry in ir.nodes]
    return {
        "pipeline": ir.pipeline_info.id,
        "nodes": {node.node_info.id: node_form(node, executors) for node in nodes},
    }


def node_form(node, executors):
    return {
        "type": node.node_info.type.name,
        "executor": executor_form(executors.executor_specs.get(node.node_info.id)),
        "cached": node.execution_options.caching_options.enable_cache,
        "after": sorted(node.upstream_nodes),
        "inputs": {key: input_form(value) for key, value in sorted(node.inputs.inputs.items())},
        "outputs": {
            key: value.artifact_spec.type.name
            for key, value in sorted(node.outputs.outputs.items())
        },
        "parameters": {
            key: parameter_form(value)
            for key, value in sorted(node.parameters.parameters.items())
            if key not in HASHES
        },
    }


def input_form(value):
    channels = [f"{c.producer_node_query.id}.{c.output_key}" for c in value.channels]
    return {"from": channels, "at_least": value.min_count}


def parameter_form(value):
    kind = value.WhichOneof("value")
    content = getattr(value, kind)
    if kind != "field_value":
        return f"{kind}: {content}".strip()
    return opened(getattr(content, content.WhichOneof("value")))


def opened(content):
    """Turns JSON inside of JSON into what it says, without hashes."""
    # Two braces are a placeholder of a cluster.
    if isinstance(content, str) and content[:1] in ("{", "[") and content[:2] != "{{":
        return opened(json.loads(content))
    if isinstance(content, dict):
        return {key: opened(value) for key, value in content.items() if key not in HASHES}
    if isinstance(content, list):
        return [opened(value) for value in content]
    return content


def executor_form(packed):
    if packed is None:
        return None
    python = executable_spec_pb2.PythonClassExecutableSpec()
    if packed.Unpack(python):
        return {"class": python.class_path}
    beam = executable_spec_pb2.BeamExecutableSpec()
    assert packed.Unpack(beam), f"an executor of a kind unknown here: {packed.type_url}"
    return {
        "class": beam.python_executor_spec.class_path,
        "engine_arguments": list(beam.beam_pipeline_args),
    }


def normalised_job(job):
    """The form of a graph for a cluster, as `normalised` has it."""
    specification = job["pipelineSpec"]
    tasks = specification["root"]["dag"]["tasks"]
    return {
        "pipeline": specification["pipelineInfo"]["name"],
        "nodes": {name: task_form(task, specification) for name, task in tasks.items()},
    }


def task_form(task, specification):
    component = specification["components"][task["componentRef"]["name"]]
    executor = specification["deploymentSpec"]["executors"][component["executorLabel"]]
    arguments = executor["container"]["args"]
    # The entry point's own come in pairs, the engine's name their value themselves.
    own = {key: arguments[n + 1] for n, key in enumerate(arguments) if key in ENTRY_POINT}
    engine = [text for text in arguments if text.startswith("--") and "=" in text]
    switches = [text for text in arguments if text in SWITCHES]
    assert len(arguments) == 2 * len(own) + len(engine) + len(switches)
    types = json.loads(own["--artifact_types"])
    packed = json.loads(own.get("--packed_parameters", "[]"))
    inputs = task.get("inputs", {})
    outputs = component["outputDefinitions"]["artifacts"]
    return {
        "executor": {"class": own["--executor_class_path"], "engine_arguments": engine},
        **({"switches": switches} if switches else {}),
        "cached": task.get("cachingOptions", {}).get("enableCache", False),
        "after": sorted(task.get("dependentTasks", [])),
        "inputs": {key: source_form(found) for key, found in inputs.get("artifacts", {}).items()},
        "outputs": {key: type_name(types[key]) for key in outputs},
        "parameters": {
            key: value_form(found, key in packed)
            for key, found in inputs.get("parameters", {}).items()
            if key not in HASHES
        },
    }


ENTRY_POINT = (
    "--executor_class_path",
    "--json_serialized_invocation_args",
    "--json_serialized_inputs_spec_args",
    "--artifact_types",
    "--packed_parameters",
)
SWITCHES = ("--with_absent",)


def type_name(path):
    """The name of an artifact's type by the path of its class."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name).TYPE_NAME


def source_form(found):
    source = found["taskOutputArtifact"]
    return {"from": [f"{source['producerTask']}.{source['outputArtifactKey']}"]}


def value_form(found, packed):
    if "componentInputParameter" in found:
        return f"runtime parameter: {found['componentInputParameter']}"
    value = found["runtimeValue"]["constant"]
    return opened(packing.unpack(value) if packed else in_whole_numbers(value))


def in_whole_numbers(value):
    """KFP has no whole numbers; TFX gives them back by the type of the parameter."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def differences(first, second):
    """Where two forms of the nodes differ: node and key, or node, section, name and so on."""

    def leaves(value, path):
        if isinstance(value, dict) and len(path) < 4:
            return [leaf for key in value for leaf in leaves(value[key], (*path, key))]
        return [(".".join(path), json.dumps(value, sort_keys=True))]

    changed = set(leaves(first, ())) ^ set(leaves(second, ()))
    return {path for path, _ in changed}


@pytest.fixture(scope="module", params=sorted(CONFIGURATIONS))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def configured(name):
    return config.load_config(*CONFIGURATIONS[name])


@pytest.fixture(scope="module")
def form(configured):
    return normalised(compiled(configured))


def check_golden(name, form, options):
    """Compares a form with its file, which `--write-golden` writes anew."""
    path = GOLDEN / f"{name}.json"
    text = json.dumps(form, indent=1, sort_keys=True) + "\n"
    if options.getoption("--write-golden"):
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"{path} is missing; write it with --write-golden"
    assert json.loads(text) == json.loads(path.read_text(encoding="utf-8"))


def test_it_is_the_golden_form(name, form, request):
    check_golden(name, form, request.config)


def test_it_runs_the_named_nodes_each_after_what_it_needs(form, configured):
    nodes = expected_nodes(configured.tuner.enabled, configured.robustness.enabled)
    assert set(form["nodes"]) == set(nodes)
    for name, node in form["nodes"].items():
        sources = {channel.split(".")[0] for i in node["inputs"].values() for channel in i["from"]}
        # What the Resolver looks for comes from earlier runs, from no node of this one.
        assert sources - {""} <= set(node["after"]), name


def test_nothing_is_trained_before_the_gate_nor_pushed_before_the_checks(form):
    def all_before(name):
        direct = form["nodes"][name]["after"]
        return set(direct).union(*(all_before(node) for node in direct))

    assert "DataGate" in all_before("Transform")
    assert {"DataGate", "Resolver"} <= all_before("Trainer")
    assert "ServingCheck" in all_before("Evaluator")
    assert {"ServingCheck", "Evaluator"} <= all_before("Pusher")


def test_what_one_evaluation_refuses_is_not_pushed(name, form):
    """Pusher goes by the one verdict over all evaluations, not by one that TFX gives by itself."""
    nodes = form["nodes"]
    assert nodes["Pusher"]["inputs"]["model_blessing"]["from"] == ["Blessing.blessing"]
    assert nodes["Blessing"]["inputs"]["evaluation"]["from"] == ["Evaluator.evaluation"]
    served = nodes["Evaluator"]["inputs"]["baseline_model"]["from"]
    assert nodes["Blessing"]["inputs"]["baseline_model"]["from"] == served
    if name == "robustness":
        corrupted = nodes["Blessing"]["inputs"]["robustness_evaluation"]["from"]
        assert corrupted == ["RobustnessEvaluator.evaluation"]
        assert "DataGate" in nodes["Corruption"]["after"]


def test_every_declared_gate_has_a_threshold_in_the_evaluation(configured, form):
    """One that TFMA is not asked for would be judged by nobody."""
    schema, _ = read_schema(str(PROJECT / "schema" / "schema.pbtxt"))
    declared = form["nodes"]["Blessing"]["parameters"]["gates"]
    slices = [gate["slice"] for gate in declared if gate["metric"] == "recall"]
    assert slices == list(schema.class_names)
    asked = [
        entry
        for node in ("Evaluator", "RobustnessEvaluator")
        if node in form["nodes"]
        for metrics in form["nodes"][node]["parameters"]["eval_config"]["metrics_specs"]
        for metric in metrics["metrics"]
        for entry in metric.get("per_slice_thresholds", [])
    ]
    assert len(asked) == len(declared)
    for gate, entry in zip(declared, asked, strict=True):
        (part,) = entry["slicing_specs"]
        # TFMA says that a slice is missing where it is named by value, never by its key alone.
        assert part.get("feature_values", {}) == {key: str(v) for key, v in gate["features"]}
        assert "feature_keys" not in part


def test_what_the_tuner_chose_goes_to_the_trainer(name, form):
    inputs = form["nodes"]["Trainer"]["inputs"]
    source = inputs.get("hyperparameters", {}).get("from")
    assert source == (["Tuner.best_hyperparameters"] if name == "tuner" else None)


def test_every_node_that_computes_knows_its_code(configured):
    """Without a hash of its code as a parameter, the cache would answer for an edited node."""
    for entry in compiled(configured).nodes:
        node = entry.pipeline_node
        if node.node_info.id != "Resolver":
            assert "code_fingerprint" in node.parameters.parameters, node.node_info.id


def test_two_compilations_are_equal(configured):
    assert compiled(configured) == compiled(configured)


def given_to(runner, configured, monkeypatch):
    """The form of the graph that a runner of this machine is given."""
    given = []
    for runner_class in (LocalDagRunner, BeamDagRunner):
        monkeypatch.setattr(runner_class, "run_with_ir", lambda self, ir, options: given.append(ir))
    dag_runners.run(
        runner, local_graph(configured), "20260102-030405", ["--runner=Other"], lambda: None
    )
    return normalised(given[0])


# TFX asks protobuf for what protobuf deprecates, in C, where no exception can come of it.
@pytest.mark.filterwarnings("ignore:label:DeprecationWarning")
def test_the_local_and_the_beam_runner_are_given_the_same_graph(configured, form, monkeypatch):
    assert given_to("local", configured, monkeypatch) == form
    assert given_to("beam", configured, monkeypatch) == form


def test_a_cluster_is_given_the_same_graph_but_for_the_differences_listed(configured, form):
    cluster = normalised_job(job_for_a_cluster(configured))
    assert set(cluster["nodes"]) == {*form["nodes"], REVIEW}
    found = differences(form["nodes"], cluster["nodes"])
    listed = {pattern: set(fnmatch.filter(found, pattern)) for pattern in DIFFERENCES}
    assert found == set().union(*listed.values())
    assert not [pattern for pattern, matching in listed.items() if not matching]


def test_what_a_cluster_is_given_has_the_golden_form(request):
    """With every node that the graph can have."""
    job = job_for_a_cluster(config.load_config("default", WHOLE))
    form = normalised_job(job) | {"parameters": job["pipelineSpec"]["root"]["inputDefinitions"]}
    check_golden("kubeflow", form, request.config)
