"""The graph, compiled, against its checked-in form: nodes, edges, parameters.

A change of the graph or of a profile shows here. Where it is meant, write the forms anew and read
what changed: `pytest tests/graph/test_golden.py --write-golden`, then `git diff`.
"""

import json
from pathlib import Path

import pytest
from tfx.dsl.compiler import compiler
from tfx.proto.orchestration import executable_spec_pb2, pipeline_pb2

from components.example_gen.idx import IdxPair
from pipeline import config, dag, data
from pipeline.locations import Locations
from pipeline.nodes import expected_nodes

PROJECT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).with_name("golden")
# What changes with every edit of the code, and so says nothing of the graph's form.
HASHES = {"code_fingerprint", "identity"}
ENGINE_ARGUMENTS = ["--runner=SomeEngine"]
# Each profile, and the default one with what is off by default.
CONFIGURATIONS = {
    **{profile: (profile, []) for profile in config.PROFILES},
    "tuner": ("default", ["tuner.enabled=true"]),
    "robustness": ("default", ["robustness.enabled=true", "robustness.accuracy_1=0.8"]),
}


def compiled(configured):
    """The graph of a configuration for data and folders that do not exist."""
    schema, _ = data.read_schema(str(PROJECT / configured.schema_file))
    pairs = {
        name: IdxPair(
            name,
            f"/data/{name}-images-idx3-ubyte",
            f"/data/{name}-labels-idx1-ubyte",
            f"images of {name}",
            f"labels of {name}",
            count,
        )
        for name, count in (("train", 60000), ("t10k", 10000))
    }
    graph = dag.create_pipeline(
        config.pipeline_name(configured, sample=False),
        configured,
        data.DataSet("data", False, pairs["train"], pairs["t10k"], "the schema's content"),
        schema,
        Locations(Path("/outputs")),
        "float32",
        ENGINE_ARGUMENTS,
    )
    return compiler.Compiler().compile(graph)


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
    if isinstance(content, str) and content[:1] in ("{", "["):
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


@pytest.fixture(scope="module", params=sorted(CONFIGURATIONS))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def configured(name):
    return config.load(*CONFIGURATIONS[name])


@pytest.fixture(scope="module")
def form(configured):
    return normalised(compiled(configured))


def test_it_is_the_golden_form(name, form, request):
    path = GOLDEN / f"{name}.json"
    text = json.dumps(form, indent=1, sort_keys=True) + "\n"
    if request.config.getoption("--write-golden"):
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"{path} is missing; write it with --write-golden"
    assert json.loads(text) == json.loads(path.read_text(encoding="utf-8"))


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


def test_what_robustness_refuses_is_not_pushed(name, form):
    robustness = name == "robustness"
    source = "Blessing.blessing" if robustness else "Evaluator.blessing"
    assert form["nodes"]["Pusher"]["inputs"]["model_blessing"]["from"] == [source]
    if robustness:
        blessings = form["nodes"]["Blessing"]["inputs"].values()
        assert [channel for entry in blessings for channel in entry["from"]] == [
            "Evaluator.blessing",
            "RobustnessEvaluator.blessing",
        ]
        assert "DataGate" in form["nodes"]["Corruption"]["after"]


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
