"""What is kept of runs: receipts whole or not at all, and the states of nodes."""

import json
import shutil
import threading

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.errors import UnknownRunError
from pipeline.records import metadata


def receipt_of(run_id="20260101-000000", **values):
    """As much of a receipt as it takes to be listed; runs are in the order of their ids."""
    return {
        "schema_version": metadata.SCHEMA_VERSION,
        "run_id": run_id,
        "sequence": int(run_id.replace("-", "")),
        "pipeline": "clothes",
        "began": "2026-01-01T00:00:00+00:00",
        "status": "completed",
        "verdict": "pushed",
        "failure": None,
        **values,
    }


def keep(output_dir, run_id, pipeline="clothes", **values):
    folder = output_dir / pipeline / "runs" / run_id
    folder.mkdir(parents=True)
    metadata.write_receipt(folder, receipt_of(run_id, pipeline=pipeline, **values))
    return folder


def test_receipts_come_back_oldest_first_from_all_pipelines(tmp_path):
    keep(tmp_path, "20260102-000000", "clothes")
    keep(tmp_path, "20260101-000000", "shoes")
    keep(tmp_path, "20260103-000000", "shoes")
    found = [
        (receipt["run_id"][:8], receipt["pipeline"]) for receipt in metadata.read_receipts(tmp_path)
    ]
    assert found == [("20260101", "shoes"), ("20260102", "clothes"), ("20260103", "shoes")]


def test_without_an_output_folder_there_are_no_receipts(tmp_path):
    assert metadata.read_receipts(tmp_path / "absent") == []


def test_runs_are_in_the_order_in_which_they_began_whatever_the_clock_said(tmp_path):
    """The second run was made under a clock set to the future, the last under one set back."""
    ids = ("20260101-000000", "20991231-000000", "20260102-000000", "20200101-000000")
    for sequence, run_id in enumerate(ids, 1):
        keep(tmp_path, run_id, sequence=sequence)
    assert [r["run_id"] for r in metadata.read_receipts(tmp_path)] == list(ids)
    assert metadata.find_receipt(tmp_path, "latest")["run_id"] == ids[-1]


def test_the_next_run_comes_after_all_others_below_the_output_folder(tmp_path):
    assert metadata.next_sequence(tmp_path) == 1
    keep(tmp_path, "20260101-000000", "clothes", sequence=7)
    keep(tmp_path, "20260102-000000", "shoes", sequence=3)
    assert metadata.next_sequence(tmp_path) == 8
    keep(tmp_path, "20260103-000000", "shoes", sequence=11, schema_version=99)
    assert metadata.next_sequence(tmp_path) == 12


@pytest.mark.parametrize(
    ("version", "told"),
    [(99, "has version 99, of a later project; this one knows version 3. Update"), (1, "earlier")],
)
def test_a_receipt_of_another_version_is_told_of_in_a_sentence(tmp_path, caplog, version, told):
    folder = keep(tmp_path, "20260102-000000")
    metadata.write_receipt(folder, {"schema_version": version, "runs": "of another form"})
    keep(tmp_path, "20260101-000000")
    assert metadata.find_receipt(tmp_path, "latest")["run_id"] == "20260101-000000"
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(str(folder / "receipt.json"))
    assert told in line


@pytest.mark.parametrize(
    "content", [b"", b'{"run_id": "2026', b"\xff\xfe", b"[]", b"{}", b'{"schema_version": 2}']
)
def test_a_damaged_receipt_is_told_of_once_and_hides_no_other(tmp_path, caplog, content):
    damaged = keep(tmp_path, "20260102-000000") / "receipt.json"
    keep(tmp_path, "20260101-000000")
    damaged.write_bytes(content)
    for _ in range(2):
        assert [r["run_id"] for r in metadata.read_receipts(tmp_path)] == ["20260101-000000"]
    (line,) = [record.getMessage() for record in caplog.records]
    assert str(damaged) in line
    assert metadata.find_receipt(tmp_path, "latest")["run_id"] == "20260101-000000"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sequence", "x"),
        ("began", "yesterday"),
        ("began", "2026-01-01T00:00:00"),
        ("run_id", 7),
        ("failure", "oom"),
        ("nodes", []),
        ("gates", {}),
        ("config", None),
    ],
)
def test_a_receipt_whose_values_are_not_of_their_form_hides_no_other(tmp_path, caplog, key, value):
    damaged = keep(tmp_path, "20260102-000000")
    keep(tmp_path, "20260101-000000")
    receipt = json.loads((damaged / "receipt.json").read_text())
    (damaged / "receipt.json").write_text(json.dumps({**receipt, key: value}))
    assert [r["run_id"] for r in metadata.read_receipts(tmp_path)] == ["20260101-000000"]
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"{key} is not of its form" in line


@pytest.mark.parametrize("copied", ["clothes", "20260101-000000"])
def test_the_copy_of_a_folder_is_not_taken_for_its_runs(tmp_path, caplog, copied):
    """Or what is done with the copy, such as completing a receipt, would be done to the run."""
    folder = keep(tmp_path, "20260101-000000")
    origin = tmp_path / "clothes" if copied == "clothes" else folder
    shutil.copytree(origin, origin.with_name(f"{copied}-backup"))
    assert len(metadata.read_receipts(tmp_path)) == 1
    (line,) = [record.getMessage() for record in caplog.records]
    assert "it is that of clothes/runs/20260101-000000" in line


def test_a_receipt_is_replaced_and_leaves_nothing_beside_it(tmp_path):
    folder = keep(tmp_path, "20260101-000000")
    metadata.write_receipt(folder, receipt_of(**{"class": "Bäg"}))
    assert metadata.read_receipts(tmp_path)[0]["class"] == "Bäg"
    assert [path.name for path in folder.iterdir()] == ["receipt.json"]


def test_a_receipt_that_cannot_be_written_leaves_the_old_one(tmp_path):
    folder = keep(tmp_path, "20260101-000000")
    before = (folder / "receipt.json").read_bytes()
    with pytest.raises(TypeError):
        metadata.write_receipt(folder, {"run_id": "20260101-000000", "value": object()})
    assert (folder / "receipt.json").read_bytes() == before


def test_a_reader_never_sees_half_a_receipt(tmp_path):
    folder = keep(tmp_path, "20260101-000000")
    done = threading.Event()
    seen = []

    def read():
        while not done.is_set():
            seen.append((folder / "receipt.json").read_text(encoding="utf-8"))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        receipt = {"run_id": "20260101-000000", "number": number, "filling": "x" * 100_000}
        metadata.write_receipt(folder, receipt)
    done.set()
    reader.join()
    assert len(seen) > 1
    assert all(json.loads(text)["run_id"] == "20260101-000000" for text in set(seen))


@pytest.mark.parametrize(
    ("run", "found"),
    [
        ("20260101-000000", "20260101-000000"),
        ("20260102", "20260102-120000"),
        ("20260103-1", "20260103-100000"),
        ("latest", "20260103-200000"),
    ],
)
def test_a_run_is_found_by_its_id_its_beginning_or_as_the_latest(tmp_path, run, found):
    for run_id in ("20260103-200000", "20260101-000000", "20260102-120000", "20260103-100000"):
        keep(tmp_path, run_id)
    assert metadata.find_receipt(tmp_path, run)["run_id"] == found


def test_a_whole_id_is_found_although_another_begins_with_it(tmp_path):
    keep(tmp_path, "20260101-000000", "clothes")
    keep(tmp_path, "20260101-0000001", "shoes")
    assert metadata.find_receipt(tmp_path, "20260101-000000")["pipeline"] == "clothes"


@pytest.mark.parametrize(
    ("run", "count"), [("2025", 0), ("2026", 2), ("", 2), ("Latest", 0), ("../x", 0)]
)
def test_what_fits_no_run_or_several_is_refused(tmp_path, run, count):
    keep(tmp_path, "20260101-000000")
    keep(tmp_path, "20260102-000000")
    with pytest.raises(UnknownRunError) as caught:
        metadata.find_receipt(tmp_path, run)
    message = str(caught.value)
    assert message.startswith(f"{count} runs below {tmp_path} fit {run!r}; expected the id")
    assert "`runs` lists them" in message


def test_without_runs_there_is_no_latest(tmp_path):
    with pytest.raises(UnknownRunError, match=r"^0 runs"):
        metadata.find_receipt(tmp_path, "latest")


@pytest.fixture
def store(tmp_path):
    return metadata.open_store(tmp_path / "metadata.db")


STATES = {
    "ExampleGen": (mlmd.Execution.CACHED, metadata.CACHED, True),
    "Transform": (mlmd.Execution.COMPLETE, metadata.COMPLETE, True),
    "Trainer": (mlmd.Execution.FAILED, metadata.FAILED, False),
    "Evaluator": (mlmd.Execution.RUNNING, metadata.INTERRUPTED, False),
}


def put_execution(
    store, node, state, run="20260101-000000", type_name=None, artifacts=(), code=None
):
    """An execution as TFX records it, in the contexts of its node and its run."""
    contexts = []
    for kind, name in (("node", f"clothes.{node}"), ("pipeline_run", run)):
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
    found = metadata.read_nodes(store, "20260101-000000", [*STATES, "Pusher"])
    assert list(found) == [*STATES, "Pusher"]
    for node, (_, status, well) in STATES.items():
        assert (found[node].status, found[node].ended_well) == (status, well)
    assert found["Pusher"] == metadata.NodeRecord(metadata.NOT_RUN, 0.0, {})


def test_the_last_attempt_of_a_node_counts(store):
    put_execution(store, "Trainer", mlmd.Execution.FAILED)
    put_execution(store, "Trainer", mlmd.Execution.COMPLETE)
    assert metadata.read_nodes(store, "20260101-000000", ["Trainer"])["Trainer"].ended_well


def test_outputs_come_with_their_properties(store):
    artifacts = [("model", model(store, "/models/3"))]
    put_execution(store, "Trainer", mlmd.Execution.COMPLETE, artifacts=artifacts)
    node = metadata.read_nodes(store, "20260101-000000", ["Trainer"])["Trainer"]
    assert node.output("model").uri == "/models/3"
    assert node.output("model").properties == {"pushed_version": "17"}
    assert node.output("model_run") is None


def test_a_node_comes_with_the_fingerprint_of_its_code(store):
    put_execution(store, "Trainer", mlmd.Execution.COMPLETE, code="a" * 16)
    put_execution(store, "Resolver", mlmd.Execution.COMPLETE)
    found = metadata.read_nodes(store, "20260101-000000", ["Trainer", "Resolver"])
    assert found["Trainer"].code_fingerprint == "a" * 16
    assert found["Resolver"].code_fingerprint is None


def test_an_unknown_run_ran_nothing(store):
    found = metadata.read_nodes(store, "20260101-000000", ["Trainer"])
    assert found["Trainer"].status == metadata.NOT_RUN


def test_a_resolver_that_chooses_as_before_counts_as_cached(store):
    """It computes nothing; what follows it is cached exactly where its choice stays the same."""
    kind = "tfx.dsl.components.common.resolver.Resolver"

    def resolve(run, artifact):
        put_execution(store, "Resolver", mlmd.Execution.COMPLETE, run, kind, [("model", artifact)])
        return metadata.read_nodes(store, run, ["Resolver"])["Resolver"].status

    first, second = model(store, "/models/1"), model(store, "/models/2")
    first.id, second.id = store.put_artifacts([first, second])
    assert resolve("20260101-000000", first) == metadata.COMPLETE
    assert resolve("20260102-000000", first) == metadata.CACHED
    assert resolve("20260103-000000", second) == metadata.COMPLETE


def test_what_a_killed_run_left_running_is_closed(store):
    for node, (state, _, _) in STATES.items():
        put_execution(store, node, state)
    assert len(metadata.close_interrupted(store)) == 1
    states = {execution.type: execution.last_known_state for execution in store.get_executions()}
    assert states.pop("Evaluator") == mlmd.Execution.CANCELED
    assert states == {node: state for node, (state, _, _) in STATES.items() if node != "Evaluator"}
    assert metadata.close_interrupted(store) == []
