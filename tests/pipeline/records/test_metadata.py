"""What ML Metadata has of the nodes of a run."""

import sqlite3
from pathlib import Path

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.database.address import parse
from pipeline.records import metadata
from pipeline.records.outcomes import NodeStatus

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["file", "database"])
def store(request, tmp_path):
    if request.param == "file":
        return metadata.open_store(tmp_path / "metadata.db")
    server, name = map(request.getfixturevalue, ("postgresql", "database"))
    return metadata.open_store(parse(server.uri(name)))


STATES = {
    "ExampleGen": (mlmd.Execution.CACHED, NodeStatus.CACHED, True),
    "Transform": (mlmd.Execution.COMPLETE, NodeStatus.COMPLETE, True),
    "Trainer": (mlmd.Execution.FAILED, NodeStatus.FAILED, False),
    "Evaluator": (mlmd.Execution.RUNNING, NodeStatus.INTERRUPTED, False),
}


def put_execution(
    store,
    node,
    state,
    run="20260101-000000",
    type_name=None,
    artifacts=(),
    code=None,
    pipeline="clothes",
):
    """An execution as TFX records it, in the contexts of its pipeline, its node and its run."""
    contexts = []
    names = (("pipeline", pipeline), ("node", f"{pipeline}.{node}"), ("pipeline_run", run))
    for kind, name in names:
        type_id = store.put_context_type(mlmd.ContextType(name=kind))
        contexts.append(mlmd.Context(type_id=type_id, name=name))
    type_id = store.put_execution_type(mlmd.ExecutionType(name=type_name or node))
    execution = mlmd.Execution(type_id=type_id, last_known_state=state)
    if code:
        execution.custom_properties["code_fingerprint"].string_value = code
    pairs = [(artifact, output_event(key)) for key, artifact in artifacts]
    return store.put_execution(execution, pairs, contexts, reuse_context_if_already_exist=True)[0]


def output_event(key):
    event = mlmd.Event(type=mlmd.Event.OUTPUT)
    event.path.steps.add().key = key
    event.path.steps.add().index = 0
    return event


def model(store, uri):
    type_id = store.put_artifact_type(mlmd.ArtifactType(name="Model"))
    artifact = mlmd.Artifact(type_id=type_id, uri=uri)
    artifact.custom_properties["pushed_version"].string_value = "17"
    return artifact


def test_each_node_of_a_run_ended_as_the_store_says(store):
    for node, (state, _, _) in STATES.items():
        put_execution(store, node, state)
    put_execution(store, "Pusher", mlmd.Execution.COMPLETE, run="20260102-000000")
    found = metadata.read_nodes(store, "clothes", "20260101-000000", [*STATES, "Pusher"])
    assert list(found) == [*STATES, "Pusher"]
    for node, (_, status, well) in STATES.items():
        assert (found[node].status, found[node].ended_well) == (status, well)
    assert found["Pusher"] == metadata.NodeExecution(NodeStatus.NOT_RUN, 0.0, {})


def test_the_last_attempt_of_a_node_counts(store):
    put_execution(store, "Trainer", mlmd.Execution.FAILED)
    put_execution(store, "Trainer", mlmd.Execution.COMPLETE)
    assert metadata.read_nodes(store, "clothes", "20260101-000000", ["Trainer"])[
        "Trainer"
    ].ended_well


def test_outputs_come_with_their_properties(store):
    artifacts = [("model", model(store, "/models/3"))]
    put_execution(store, "Trainer", mlmd.Execution.COMPLETE, artifacts=artifacts)
    node = metadata.read_nodes(store, "clothes", "20260101-000000", ["Trainer"])["Trainer"]
    assert node.output("model").uri == "/models/3"
    assert node.output("model").properties == {"pushed_version": "17"}
    assert node.output("model_run") is None


def test_a_node_comes_with_the_fingerprint_of_its_code(store):
    put_execution(store, "Trainer", mlmd.Execution.COMPLETE, code="a" * 16)
    put_execution(store, "Resolver", mlmd.Execution.COMPLETE)
    found = metadata.read_nodes(store, "clothes", "20260101-000000", ["Trainer", "Resolver"])
    assert found["Trainer"].code_fingerprint == "a" * 16
    assert found["Resolver"].code_fingerprint is None


def test_an_unknown_run_ran_nothing(store):
    found = metadata.read_nodes(store, "clothes", "20260101-000000", ["Trainer"])
    assert found["Trainer"].status == NodeStatus.NOT_RUN


def test_a_resolver_that_chooses_as_before_counts_as_cached(store):
    """It computes nothing; what follows it is cached exactly where its choice stays the same."""
    kind = "tfx.dsl.components.common.resolver.Resolver"

    def resolve(run, artifact):
        put_execution(store, "Resolver", mlmd.Execution.COMPLETE, run, kind, [("model", artifact)])
        return metadata.read_nodes(store, "clothes", run, ["Resolver"])["Resolver"].status

    first, second = model(store, "/models/1"), model(store, "/models/2")
    first.id, second.id = store.put_artifacts([first, second])
    assert resolve("20260101-000000", first) == NodeStatus.COMPLETE
    assert resolve("20260102-000000", first) == NodeStatus.CACHED
    assert resolve("20260103-000000", second) == NodeStatus.COMPLETE


def test_what_a_killed_run_left_running_is_closed(store):
    for node, (state, _, _) in STATES.items():
        put_execution(store, node, state)
    assert len(metadata.close_interrupted(store, "clothes")) == 1
    states = {execution.type: execution.last_known_state for execution in store.get_executions()}
    assert states.pop("Evaluator") == mlmd.Execution.CANCELED
    assert states == {node: state for node, (state, _, _) in STATES.items() if node != "Evaluator"}
    assert metadata.close_interrupted(store, "clothes") == []


def test_a_clock_that_is_set_back_during_a_node_makes_no_negative_time(tmp_path):
    store = metadata.open_store(tmp_path / "metadata.db")
    put_execution(store, "Trainer", mlmd.Execution.COMPLETE)
    with sqlite3.connect(tmp_path / "metadata.db") as database:
        database.execute("UPDATE Execution SET last_update_time_since_epoch = 1")
    nodes = metadata.read_nodes(store, "clothes", "20260101-000000", ["Trainer"])
    assert nodes["Trainer"].seconds == 0


def test_a_run_of_another_pipeline_with_the_same_id_is_another_run(store):
    """Pipelines that share a database may begin in the same second."""
    put_execution(store, "Trainer", mlmd.Execution.COMPLETE)
    put_execution(store, "Trainer", mlmd.Execution.RUNNING, pipeline="shoes")
    found = metadata.read_nodes(store, "clothes", "20260101-000000", ["Trainer"])
    assert found["Trainer"].status == NodeStatus.COMPLETE
    assert metadata.close_interrupted(store, "clothes") == []
    assert len(metadata.close_interrupted(store, "shoes")) == 1


def test_a_run_of_thousands_is_read_without_the_others(store, monkeypatch):
    """ML Metadata takes longer for each execution of a context that it is asked for."""
    kind = "tfx.dsl.components.common.resolver.Resolver"
    for day in range(1, 6):
        for node, type_name in (("Trainer", None), ("Resolver", kind)):
            put_execution(store, node, mlmd.Execution.COMPLETE, f"2026010{day}-000000", type_name)
    put_execution(store, "Evaluator", mlmd.Execution.RUNNING)
    monkeypatch.setattr(metadata, "_ROWS_AT_FIRST", 2)
    handed, whole = [], metadata_store.MetadataStore.get_executions_by_context

    def counted(*arguments, **options):
        executions = whole(*arguments, **options)
        handed.extend(executions)
        return executions

    monkeypatch.setattr(metadata_store.MetadataStore, "get_executions_by_context", counted)
    found = metadata.read_nodes(store, "clothes", "20260105-000000", ["Trainer", "Resolver"])
    assert [node.status for node in found.values()] == [NodeStatus.COMPLETE, NodeStatus.CACHED]
    assert len(metadata.close_interrupted(store, "clothes")) == 1
    # Two of the run, the last two resolvers, and the last two executions of all.
    assert len(handed) == 6


def test_the_resolver_of_an_old_run_is_compared_with_the_one_before_it(store, monkeypatch):
    monkeypatch.setattr(metadata, "_ROWS_AT_FIRST", 2)
    kind = "tfx.dsl.components.common.resolver.Resolver"
    models = [model(store, f"/models/{number}") for number in range(2)]
    for artifact, number in zip(models, store.put_artifacts(models), strict=True):
        artifact.id = number
    runs = [f"2026010{day}-000000" for day in range(1, 8)]
    for run, choice in zip(runs, (0, 0, 1, 1, 1, 0, 0), strict=True):
        made = [("model", models[choice])]
        put_execution(store, "Resolver", mlmd.Execution.COMPLETE, run, kind, made)
    chosen = [metadata.read_nodes(store, "clothes", run, ["Resolver"])["Resolver"] for run in runs]
    cached = [node.status == NodeStatus.CACHED for node in chosen]
    assert cached == [False, True, False, True, True, False, True]


@pytest.mark.parametrize("number", [0, 1, 99, 100, 101, 500, 501])
def test_rows_come_once_and_the_newest_first(tmp_path, number):
    store = metadata.open_store(tmp_path / "metadata.db")
    artifacts = [model(store, f"/models/{i}") for i in range(number)]
    ids = store.put_artifacts(artifacts) if artifacts else []
    assert [row.id for row in metadata.newest_first(store.get_artifacts)] == sorted(ids)[::-1]


def test_a_row_that_is_added_meanwhile_moves_no_other(store):
    first = store.put_artifacts([model(store, f"/models/{i}") for i in range(150)])
    rows = metadata.newest_first(store.get_artifacts)
    seen = [next(rows).id]
    store.put_artifacts([model(store, f"/models/later-{i}") for i in range(20)])
    assert [*seen, *(row.id for row in rows)] == sorted(first)[::-1]


def test_nothing_asks_for_what_later_releases_of_ml_metadata_lack():
    """ML Metadata 1.21, which Python 3.12 and later get, answers no query of this kind."""
    folders = ("pipeline", "components", "operations", "review", "cli", "benchmarks")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 100
    assert [path for path in sources if "filter_query=" in path.read_text()] == []
