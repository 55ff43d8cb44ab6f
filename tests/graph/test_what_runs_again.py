"""Which nodes run again after an edit: those that it concerns, and those that take their results.

No graph is run here. TFX's cache compares the name of the pipeline, the parameters of a node and
the artifacts that it takes; so the graphs of a project as it was and as it was edited are built and
held against each other. `test_cache.py` sees that runs come to the same.
"""

import contextlib
import dataclasses
import fnmatch
import functools
import json
import modulefinder
import re
import shutil
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from components.image_schema import ImageSchema
from pipeline import config, dag, fingerprint
from pipeline.installation.packages import Packages
from pipeline.locations import Locations, RemoteLocations
from pipeline.machine import Arithmetic
from pipeline.nodes import expected_nodes
from tests.made_data import made_dataset, made_remote_data

PROJECT = Path(__file__).resolve().parents[2]
FILES = sorted(
    path.relative_to(PROJECT).as_posix() for path in (PROJECT / "components").rglob("*.py")
)
WHOLE = ("tuner.enabled=true", "robustness.enabled=true")
# The Resolver computes nothing, and asks anew in every run.
NODES = set(expected_nodes(tuner=True, robustness=True)) - {"Resolver"}
SCHEMA = ImageSchema(28, 28, 1, ("shirt", "boot"))
ARITHMETIC = Arithmetic(threads=2, cpu_features=("avx2",), onednn=True)
LIBRARIES = Packages("3.12", "glibc-2.39.txt", "a" * 64)
# Its sources are started as a file, in a process that knows no packages.
STARTED_BY_PATH = {"ServingCheck": "components.serving_check.probe"}
# On a busy machine an example may take its time.
PATIENT = hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
# What starts a node on a cluster, as TFX does on one machine: no result depends on either.
# What a process starts with, before any node: it takes settings away and computes nothing.
OF_NO_NODE = {
    "components/kubeflow/entrypoint.py",
    "components/kubeflow/adapter.py",
    "components/kubeflow/packing.py",
    # Sends the message of an exit handler, which is no node.
    "components/notifications/delivery.py",
    "components/worker_pool.py",
}


def graph(
    assignments=WHOLE,
    digest="d" * 64,
    location="/data",
    schema=SCHEMA,
    schema_sha256="the schema's content",
    output_dir="/outputs",
    precision="float32",
    arithmetic=ARITHMETIC,
    libraries=LIBRARIES,
):
    """The graph for data and folders that do not exist."""
    configured = config.load_config("default", assignments)
    name = config.pipeline_name(configured, sample=False)
    found = made_dataset(
        configured, schema, digest=digest, location=location, schema_sha256=schema_sha256
    )
    places, engine = Locations(Path(output_dir)), ["--runner=SomeEngine"]
    return dag.create_pipeline(
        name, configured, found, schema, places, precision, arithmetic, libraries, engine
    )


def cluster_graph(libraries=LIBRARIES):
    """The graph that is compiled for a cluster, with nodes of its own."""
    places = RemoteLocations("s3://artifacts", "/mnt/serving")
    configured = config.load_config("default", WHOLE)
    found = made_remote_data(configured, SCHEMA)
    return dag.create_pipeline(
        "clothes", configured, found, SCHEMA, places, "float32", {}, libraries, []
    )


def compared(built):
    """What TFX's cache compares, by node."""
    return {
        component.id: {
            "pipeline": built.pipeline_info.pipeline_name,
            "executor": component.executor_spec.class_path,
            "parameters": dict(component.exec_properties),
            "inputs": {
                key: (channel.producer_component_id, channel.output_key)
                for key, channel in component.inputs.items()
            },
        }
        for component in built.components
        if component.id in NODES or component.type.endswith("ServedModel")
    }


@functools.cache
def as_it_is(assignments=WHOLE):
    """The unedited graph of a configuration."""
    return compared(graph(assignments))


def concerned(before, after):
    """The nodes that are new, or of which the cache would say that something changed."""
    return {node for node in after if after[node] != before.get(node)}


def with_dependants(nodes, nodes_of_graph):
    """These nodes, and all that take an artifact of theirs or of their dependants."""
    found = set(nodes)
    for _ in nodes_of_graph:
        for node, form in nodes_of_graph.items():
            if found.intersection(producer for producer, _ in form["inputs"].values()):
                found.add(node)
    return found


# The code.


@functools.cache
def imported_files(module):
    """The files of `components` that a module imports, by what its bytecode says."""
    # Found nowhere but here, so that what the stack imports is left alone.
    finder = modulefinder.ModuleFinder(path=[str(PROJECT)])
    finder.import_hook(module)
    return {
        Path(found.__file__).relative_to(PROJECT).as_posix()
        for name, found in finder.modules.items()
        if name.partition(".")[0] == "components"
    }


def module_of(dotted_name):
    """The module that a dotted name is, or is in."""
    while not (PROJECT / (dotted_name.replace(".", "/") + ".py")).is_file():
        dotted_name = dotted_name.rpartition(".")[0]
        assert dotted_name, "a dotted name that is in no module"
    return dotted_name


def reached_files(component):
    """The sources that a node runs: of its component, its executor, and whatever it is told."""
    told = re.findall(r"components(?:\.\w+)+", str(component.exec_properties))
    names = [type(component).__module__, component.executor_spec.class_path, *told]
    modules = {module_of(name) for name in names if name.startswith("components.")}
    modules |= {STARTED_BY_PATH[component.id]} if component.id in STARTED_BY_PATH else set()
    return set().union(*map(imported_files, modules))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the sources to edit, of which the fingerprints are taken."""
    copy = tmp_path_factory.mktemp("edited") / "project"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "components", copy / "components", ignore=ignored)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprint, "_ROOT", copy)
        yield copy


@contextlib.contextmanager
def edited(path):
    """A comment more in a file, for as long as it lasts: the cache cannot know that it is none."""
    content = path.read_bytes()
    path.write_bytes(content + b"# edited\n")
    try:
        yield
    finally:
        path.write_bytes(content)


@pytest.fixture(scope="module", params=["one machine", "a cluster"])
def build(request):
    """Builds the graph for one machine, or that for a cluster."""
    return graph if request.param == "one machine" else cluster_graph


@pytest.fixture(scope="module")
def before(build):
    """What the cache compares of the unedited project."""
    return compared(build())


@pytest.fixture(scope="module")
def after_edit(project, build):
    """What the cache compares once a file is edited."""

    @functools.cache
    def built(file):
        with edited(project / file):
            return compared(build())

    return built


@pytest.fixture(scope="module")
def reached(build, before):
    """The sources that each node runs."""
    return {
        component.id: reached_files(component)
        for component in build().components
        if component.id in before
    }


def test_every_source_is_of_some_node():
    built = [*graph().components, *cluster_graph().components]
    found = set().union(*(reached_files(component) for component in built))
    assert found == set(FILES) - OF_NO_NODE
    # What is looked for by name alone, and what is started by its path.
    nodes = {component.id: reached_files(component) for component in graph().components}
    assert "components/trainer/optimizer.py" in nodes["Trainer"] & nodes["Tuner"]
    assert "components/evaluation_metrics.py" in nodes["Evaluator"]
    assert "components/serving_check/probe.py" in nodes["ServingCheck"]


@pytest.mark.parametrize("file", FILES)
def test_an_edited_source_runs_again_the_nodes_that_reach_it(file, before, after_edit, reached):
    after = after_edit(file)
    told = {
        node
        for node in after
        if after[node]["parameters"]["code_fingerprint"]
        != before[node]["parameters"]["code_fingerprint"]
    }
    assert told == {node for node, files in reached.items() if file in files}
    dependants = with_dependants(told, after)
    # A training also counts the code of what it begins on, which runs before it.
    assert told <= concerned(before, after) <= dependants


def identity(form):
    """By which a training that was cut off finds its snapshots."""
    return json.loads(form["Trainer"]["parameters"]["custom_config"])["identity"]


@pytest.mark.slow
def test_a_training_goes_on_where_it_would_have_come_to_the_same(before, after_edit):
    """Its snapshots go by the code of all that a training begins on."""
    begins_on = ("trainer.training", "example_gen.component", "transform")
    counted = {file for file in FILES if identity(after_edit(file)) != identity(before)}
    assert counted == set().union(*(imported_files(f"components.{name}") for name in begins_on))


@pytest.mark.parametrize("other", [{"sha256": "b" * 64}, {"python": "3.13"}])
def test_other_libraries_run_every_node_again(before, build, other):
    """Another lock, and another Python, for which the same lock may have other versions."""
    after = compared(build(libraries=dataclasses.replace(LIBRARIES, **other)))
    assert concerned(before, after) == set(before)
    assert identity(after) != identity(before)


def test_the_name_of_the_lock_runs_nothing_again(before, build):
    renamed = dataclasses.replace(LIBRARIES, lock="renamed.txt")
    assert not concerned(before, compared(build(libraries=renamed)))


# The configuration.

LEARNING = {"Tuner", "Trainer"}
# Which nodes are told of a key; the first pattern that fits it counts. Those of `spans` decide
# which data is found, before the graph; the precision is told once it has been settled. The path of
# the schema and the bound on memory decide nothing, and yet the nodes must know them: TFX has no
# parameter that does not count. A trial of the Tuner has epochs of its own, and no patience; its
# network is not exported.
OF_TRAINER = (
    "epochs",
    "minutes",
    "plateau_*",
    "early_stopping_patience",
    "*_averaging",
    "warm_start",
)
TOLD = {
    "name": NODES,
    "schema_file": {"ImportSchemaGen"},
    "seed": {"ExampleGen", "Corruption", *LEARNING},
    "serving.bucket": {"Pusher"},
    "spans.*": set(),
    # Which images are read, how they look, and which of them are trained on.
    "data.*": {"ExampleGen", *LEARNING},
    "images.*": {"ExampleGen", *LEARNING},
    "split.*": {"ExampleGen", *LEARNING},
    "data_gate.*": {"DataGate"},
    "training.precision": set(),
    **{f"training.{key}": {"Trainer"} for key in OF_TRAINER},
    "training.*": LEARNING,
    # Trainer takes what Tuner found, or no longer does.
    "tuner.enabled": LEARNING,
    "tuner.*": {"Tuner"},
    # DataGate looks for the columns, and Predictions writes them down.
    "gates.slices": {"DataGate", "Predictions", "Evaluator", "Blessing"},
    "gates.required_slices": {"Blessing"},
    "gates.*": {"Evaluator", "Blessing"},
    # No result depends on the place of the metadata.
    "metadata.uri": set(),
    # Without a threshold, Blessing reads nothing of what is measured there.
    "robustness.enabled": {"Corruption", "RobustnessEvaluator"},
    "robustness.accuracy_?": {"RobustnessEvaluator", "Blessing"},
    # No result depends on the engine.
    "beam.*": set(),
}


def told_of(key):
    return next(nodes for pattern, nodes in TOLD.items() if fnmatch.fnmatchcase(key, pattern))


SWITCHES = {"tuner.enabled", "robustness.enabled"}
# What others would be refused beside, or without.
ALONE = {"split.group", "gates.required_slices"}
# What must be set beside a key.
NEEDED = {"split.group": ("split.validation=0.5",)}
NEEDED["gates.required_slices"] = ('gates.slices={"shop": {"accuracy": 0.5}}',)
NEEDED |= {f"robustness.accuracy_{strength}": WHOLE for strength in (1, 2, 3)}
# Values of which the form of the configuration does not say enough.
SHARES = strategies.floats(0, 1, exclude_min=True, exclude_max=True)
VALUES = {
    "data.form": strategies.sampled_from([None, "manifest", "class folders"]),
    "serving.bucket": strategies.sampled_from(["s3://models/flowers", "s3://other"]),
    "split.validation": strategies.integers(1, 10**6) | SHARES,
    "gates.slices": strategies.sampled_from([{"shop": {}}, {"a": {"accuracy": 0.5}, "b": {}}]),
    "gates.required_slices": strategies.sampled_from([["shop=07"], ["shop=7", "shop=(missing)"]]),
    "training.class_weights": strategies.sampled_from(["none", "balanced"]),
    "metadata.uri": strategies.sampled_from([None, "postgresql://a@b/c"]),
    **dict.fromkeys(
        ("beam.job_endpoint", "beam.flink_master", "beam.worker_pool"),
        strategies.sampled_from(["localhost:8099", "10.0.0.7:50000"]),
    ),
    "beam.flink_job_server_jar": strategies.sampled_from(["job-server.jar", "other.jar"]),
    "beam.prism_location": strategies.sampled_from(["bin/prism", "prism"]),
    "beam.worker_image": strategies.sampled_from(["pipeline:1", "pipeline:2"]),
    "beam.options": strategies.sampled_from([["--a=1"], ["--a=1", "--b"]]),
}
CONFIG_SCHEMA = config.Config.model_json_schema()


def form_of(key):
    """What the configuration takes for a key, as JSON Schema has it."""
    form = CONFIG_SCHEMA
    for part in key.split("."):
        form = form["properties"][part]
        if "$ref" in form:
            form = CONFIG_SCHEMA["$defs"][form["$ref"].rpartition("/")[2]]
    return form


def bound(form, name, short_name, otherwise):
    """A bound of numbers; pydantic calls it by its own name where a check of ours comes first."""
    exclusive = f"exclusive{name.capitalize()}"
    names = [key for key in (name, exclusive, short_name) if key in form]
    return form[names[0]] if names else otherwise


def values(form):
    """Draws what a form allows."""
    if "anyOf" in form:
        return strategies.one_of(*map(values, form["anyOf"]))
    if "enum" in form:
        return strategies.sampled_from(form["enum"])
    lowest, highest = bound(form, "minimum", "ge", 0), bound(form, "maximum", "le", 10**6)
    match form["type"]:
        case "null":
            return strategies.none()
        case "boolean":
            return strategies.booleans()
        case "integer":
            return strategies.integers(lowest, highest - ("exclusiveMaximum" in form))
        case "number":
            return strategies.floats(
                lowest,
                highest,
                exclude_min="exclusiveMinimum" in form,
                exclude_max="exclusiveMaximum" in form,
            )
        case "array":
            sizes = {"min_size": form["minItems"], "max_size": form["maxItems"]}
            return strategies.lists(values(form["items"]), **sizes)
        case "string":
            return strategies.from_regex(r"[a-z0-9][a-z0-9-]{0,20}x", fullmatch=True)
    raise AssertionError(f"a form unknown here: {form}")


def values_of(key):
    """Draws what a key takes."""
    return VALUES[key] if key in VALUES else values(form_of(key))


def value_of(assignments, key):
    found = config.load_config("default", assignments)
    return functools.reduce(getattr, key.split("."), found)


def assigned(drawn):
    return tuple(f"{key}={json.dumps(value)}" for key, value in drawn.items())


def changed_keys(base, assignments, keys):
    return {key for key in keys if value_of(base, key) != value_of(assignments, key)}


def check_configuration(base, drawn):
    """Exactly the nodes that are told of what was changed would run again, and their dependants."""
    assignments = (*base, *assigned(drawn))
    changed = changed_keys(base, assignments, drawn)
    hypothesis.assume(changed)
    before, after = as_it_is(base), compared(graph(assignments))
    told = set().union(*map(told_of, changed)).intersection(after)
    assert concerned(before, after) == told


@pytest.mark.parametrize("key", config.known_keys())
@hypothesis.settings(PATIENT, max_examples=2)
@hypothesis.given(drawn=strategies.data())
def test_another_value_concerns_the_nodes_that_are_told_of_it(key, drawn):
    base = NEEDED.get(key) or drawn.draw(strategies.sampled_from([(), WHOLE]))
    check_configuration(base, {key: drawn.draw(values_of(key))})


@hypothesis.settings(PATIENT, max_examples=10)
@hypothesis.given(drawn=strategies.data())
def test_several_values_concern_the_nodes_that_each_of_them_does(drawn):
    keys = strategies.sampled_from(sorted(config.known_keys().keys() - SWITCHES - ALONE))
    some = strategies.sets(keys, min_size=2)
    keys = sorted(drawn.draw(some))
    check_configuration(WHOLE, {key: drawn.draw(values_of(key)) for key in keys})


def test_what_takes_a_result_runs_again_with_the_node_that_made_it():
    """The order alone counts for nothing: Transform waits for DataGate, and takes nothing of it."""
    after = as_it_is()
    assert with_dependants({"DataGate"}, after) == {"DataGate"}
    assert with_dependants({"ServingCheck"}, after) == {"ServingCheck", "Pusher"}
    judged = {"Evaluator", "RobustnessEvaluator", "Blessing", "Pusher"}
    after_training = {"Trainer", "ServingCheck", "Predictions", *judged}
    assert with_dependants({"Trainer"}, after) == after_training
    assert with_dependants({"Tuner"}, after) == {"Tuner"} | after_training
    assert with_dependants({"Transform"}, after) == {"Transform", "Tuner"} | after_training
    assert with_dependants({"ExampleGen"}, after) == NODES - {"ImportSchemaGen"}
    assert with_dependants({"ImportSchemaGen"}, after) == NODES - {"ExampleGen"}


# Data, schema, folders and the machine.


@hypothesis.settings(PATIENT, max_examples=10)
@hypothesis.given(digest=strategies.text("0123456789abc", min_size=64, max_size=64))
def test_other_data_concerns_what_reads_it_and_what_goes_by_its_digest(digest):
    after = compared(graph(digest=digest))
    assert concerned(as_it_is(), after) == {"ExampleGen", *LEARNING}


def test_an_edited_schema_concerns_whoever_takes_it_in():
    after = compared(graph(schema_sha256="other content"))
    assert concerned(as_it_is(), after) == {"ImportSchemaGen"}


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (ImageSchema(28, 28, 3, SCHEMA.class_names), {"ExampleGen"}),
        (ImageSchema(14, 28, 1, SCHEMA.class_names), {"ExampleGen"}),
        # There is a gate for each class.
        (
            ImageSchema(28, 28, 1, (*SCHEMA.class_names, "bag")),
            {"ExampleGen", "Evaluator", "Blessing"},
        ),
        # Which bears the name of the class.
        (ImageSchema(28, 28, 1, (*SCHEMA.class_names[:-1], "bag")), {"Blessing"}),
    ],
)
def test_another_shape_or_other_classes_also_concern_what_goes_by_them(schema, told):
    after = compared(graph(schema=schema, schema_sha256="other content"))
    assert concerned(as_it_is(), after) == {"ImportSchemaGen", *told}


def test_other_folders_concern_whoever_is_told_of_them():
    """TFX has both as parameters: data that moved is read again, and a model pushed there anew."""
    assert concerned(as_it_is(), compared(graph(location="/moved"))) == {"ExampleGen"}
    assert concerned(as_it_is(), compared(graph(output_dir="/elsewhere"))) == {"Pusher"}


@hypothesis.settings(PATIENT, max_examples=10)
@hypothesis.given(
    threads=strategies.integers(1, 64),
    features=strategies.sets(strategies.sampled_from(["avx2", "avx512f", "amx_bf16"])),
    onednn=strategies.booleans(),
)
def test_another_processor_concerns_what_tensorflow_computes(threads, features, onednn):
    """Its sums differ in their last digits; what is copied and counted stays."""
    arithmetic = Arithmetic(threads, tuple(sorted(features)), onednn)
    hypothesis.assume(arithmetic != ARITHMETIC)
    computing = {"Predictions", "Evaluator", "RobustnessEvaluator", *LEARNING}
    assert concerned(as_it_is(), compared(graph(arithmetic=arithmetic))) == computing


def test_another_precision_concerns_what_learns():
    assert concerned(as_it_is(), compared(graph(precision="bfloat16"))) == LEARNING


def test_the_background_moves_into_augmented_images():
    after = as_it_is((*WHOLE, "images.background=255"))
    told = {node: json.loads(after[node]["parameters"]["custom_config"]) for node in LEARNING}
    assert told["Trainer"]["background"] == told["Tuner"]["settings"]["background"] == 255
