"""The receipt: of the form that its schema gives, and true to how the nodes ended."""

import dataclasses
import datetime
import hashlib
import io
import json
import zipfile
from pathlib import Path

import h5py
import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operations import receipts
from operations.run import exit_code, prepare
from pipeline import machine
from pipeline.nodes import NODES
from pipeline.records import metadata

PROJECT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((PROJECT / "pipeline/records/receipt.schema.json").read_text(encoding="utf-8"))


def check(receipt):
    """Holds a receipt, as it comes back from its file, against the schema."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(receipt)))


def nodes(pushed=True, **others):
    """How the nodes of a run ended: all well, but for `others`."""
    found = {
        name: metadata.NodeRecord(others.get(name, metadata.COMPLETE), 1.5, {}) for name in NODES
    }
    properties = {"pushed": int(pushed)} | ({"pushed_version": "17"} if pushed else {})
    artifact = metadata.ArtifactRecord(1, "/pushed", properties)
    found["Pusher"].outputs["pushed_model"] = [artifact]
    return found


class DataGateStop(RuntimeError):
    """Bears the name of the error with which the gate stops a run."""


def test_a_run_that_has_begun_counts_as_interrupted(receipt):
    check(receipt)
    assert (receipt["status"], receipt["verdict"]) == ("interrupted", "none")
    assert exit_code(receipt) == 130


def test_the_receipt_says_what_a_run_is_made_of(receipt, prepared):
    assert receipt["run_id"] == "20260102-030405"
    assert datetime.datetime.fromisoformat(receipt["began"]).tzinfo is not None
    assert receipt["seed"] == receipt["config"]["seed"] == 7
    assert receipt["config"]["profile"] == "default"
    assert receipt["data"]["sha256"] == prepared.data.sha256s
    assert len(receipt["data"]["sha256"]) == 4
    assert receipt["threads"] >= 1
    content = (PROJECT / "components" / "transform.py").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    files = receipt["code"]["files"]
    assert digest.startswith(files["components/transform.py"])
    assert {"pipeline/dag.py", "pipeline/records/digests.py", "pipeline_runner.py"} <= set(files)
    assert not [path for path in files if path.startswith(("tests/", "benchmarks/", "."))]
    assert {"tensorflow", "keras", "tfx", "python", "glibc"} <= set(receipt["versions"])


@pytest.mark.parametrize(
    ("asked", "cpu_features", "precision"),
    [
        ("auto", ["avx2"], "float32"),
        ("auto", ["avx2", "amx_bf16"], "bfloat16"),
        ("float32", ["avx2", "amx_bf16"], "float32"),
    ],
)
def test_the_precision_is_the_one_that_was_decided_on(
    asked, cpu_features, precision, request_, progress, monkeypatch
):
    monkeypatch.setattr(machine, "cpu_features", lambda: cpu_features)
    request = dataclasses.replace(
        request_, data="sample", assignments=(f"training.precision={asked}",)
    )
    began = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    prepared = prepare(request, progress)
    receipt = receipts.begun("20260102-030405", 1, began, prepared, request, "9" * 64)
    check(receipt)
    assert receipt["precision"] == precision
    assert receipt["config"]["training"]["precision"] == asked


def test_a_whole_receipt_fits_the_schema(pushed_receipt):
    check(pushed_receipt)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("status", "done"),
        ("verdict", "accepted"),
        ("run_id", "yesterday"),
        ("pushed_version", "17"),
        ("test_accuracy", 91.2),
        ("lock", 1),
        ("lock_sha256", "abc"),
        ("surprise", 1),
    ],
)
def test_the_schema_refuses_what_is_no_receipt(pushed_receipt, key, value):
    with pytest.raises(jsonschema.ValidationError):
        check({**pushed_receipt, key: value})


def test_the_schema_describes_every_key_and_asks_for_all(receipt):
    assert set(SCHEMA["required"]) == set(SCHEMA["properties"]) == set(receipt)


@pytest.mark.parametrize(
    ("pushed", "verdict", "code"), [(True, "pushed", 0), (False, "refused", 3)]
)
def test_a_run_that_ended_well_was_pushed_or_refused(receipt, pushed, verdict, code):
    receipts.end(receipt, nodes(pushed), None)
    check(receipt)
    assert (receipt["status"], receipt["verdict"]) == ("completed", verdict)
    assert receipt["pushed_version"] == (17 if pushed else None)
    assert receipt["failure"] is None
    assert exit_code(receipt) == code


def test_each_node_is_entered_with_its_time(receipt):
    receipts.end(receipt, nodes(Transform=metadata.CACHED), None)
    assert list(receipt["nodes"]) == list(NODES)
    known = {"seconds": 1.5, "code_fingerprint": None}
    assert receipt["nodes"]["Transform"] == {"status": "cached", "cached": True, **known}
    assert receipt["nodes"]["Trainer"] == {"status": "complete", "cached": False, **known}


def test_a_node_that_raised_fails_the_run(receipt):
    error = ValueError("what happened")
    ended = nodes(Trainer=metadata.FAILED, Evaluator=metadata.NOT_RUN, Pusher=metadata.NOT_RUN)
    receipts.end(receipt, ended, error)
    check(receipt)
    assert (receipt["status"], receipt["verdict"]) == ("failed", "none")
    assert receipt["failure"] == {
        "node": "Trainer",
        "message": "what happened",
        "changes": [],
    }
    assert exit_code(receipt) == 1


@pytest.mark.parametrize("status", [metadata.FAILED, metadata.INTERRUPTED, metadata.NOT_RUN])
def test_an_error_that_was_swallowed_fails_the_run_all_the_same(receipt, status):
    receipts.end(receipt, nodes(Evaluator=status), None)
    check(receipt)
    assert receipt["status"] == "failed"
    assert receipt["failure"]["node"] == "Evaluator"


def test_a_run_without_nodes_did_not_complete(receipt):
    receipts.end(receipt, {}, None)
    assert (receipt["status"], receipt["verdict"]) == ("failed", "none")
    assert exit_code(receipt) == 1


def test_what_the_data_gate_decides_is_a_stop(receipt):
    ended = nodes(DataGate=metadata.FAILED, Trainer=metadata.NOT_RUN)
    receipts.end(receipt, ended, DataGateStop("drift: the labels"))
    check(receipt)
    assert (receipt["status"], receipt["verdict"]) == ("failed", "stopped")
    assert (receipt["failure"]["node"], receipt["failure"]["message"]) == (
        "DataGate",
        "drift: the labels",
    )
    assert exit_code(receipt) == 1


def test_a_data_gate_that_breaks_decides_nothing(receipt):
    receipts.end(receipt, nodes(DataGate=metadata.FAILED), OSError("disk full"))
    assert receipt["verdict"] == "none"
    assert receipt["failure"]["node"] == "DataGate"


def test_an_interrupted_run_stays_interrupted(receipt):
    receipts.end(receipt, nodes(Trainer=metadata.INTERRUPTED), KeyboardInterrupt())
    check(receipt)
    assert (receipt["status"], receipt["verdict"]) == ("interrupted", "none")
    assert receipt["failure"] == {
        "node": None,
        "message": "the run was interrupted",
        "changes": [],
    }


def test_an_error_that_came_as_a_traceback_is_told_in_its_last_line(receipt):
    text = (
        "Traceback (most recent call last):\n  File 'x.py', line 3, in read\n"
        "IdxError: train is empty; expected images. [while running 'Read']\n"
    )
    receipts.fail(receipt, RuntimeError(text))
    assert receipt["failure"]["message"] == "IdxError: train is empty; expected images."


def test_what_has_to_be_changed_after_an_error_is_entered(receipt):
    error = RuntimeError("the loss became nan")
    error.changes = ["training.learning_rate=0.0006"]
    receipts.end(receipt, nodes(Trainer=metadata.FAILED), error)
    check(receipt)
    assert receipt["failure"]["changes"] == ["training.learning_rate=0.0006"]


def test_an_error_without_a_message_is_told_by_its_name(receipt):
    receipts.fail(receipt, MemoryError())
    check(receipt)
    assert receipt["failure"]["message"] == "MemoryError"


def write_model(folder, weights, answers, file):
    """A model artifact: weights by name, answers to golden questions, and a file of its export."""
    (folder / "Format-Serving").mkdir(parents=True)
    (folder / "Format-Serving" / "saved_model.pb").write_text(file)
    content = io.BytesIO()
    with h5py.File(content, "w") as stored:
        for name, values in weights.items():
            stored[name] = values
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("model.weights.h5", content.getvalue())
    np.savez(folder / "golden.npz", probabilities=answers)
    return metadata.ArtifactRecord(1, str(folder), {})


@pytest.fixture
def model_digests(receipt, tmp_path):
    """The three digests that the receipt has of a model."""

    def of(name, weights, answers=0.5, file="traced"):
        ended = nodes()
        ended["Trainer"].outputs["model"] = [write_model(tmp_path / name, weights, answers, file)]
        receipts.add_artifacts(receipt, ended)
        check(receipt)
        return (
            receipt["digests"]["Trainer.model"],
            receipt["model_digest"],
            receipt["export_digest"],
        )

    return of


def test_a_model_is_its_weights_in_whatever_order_and_files(model_digests):
    first = model_digests("first", {"a/kernel": [1.0, 2.0], "b/bias": [0.5]})
    second = model_digests("second", {"b/bias": [0.5], "a/kernel": [1.0, 2.0]}, file="otherwise")
    assert second[:2] == first[:2]
    assert second[2] != first[2]


@pytest.mark.parametrize(
    "weights",
    [
        {"a/kernel": [1.0, 2.1], "b/bias": [0.5]},
        {"a/kernel": [1.0, 2.0], "b/gain": [0.5]},
        {"a/kernel": [[1.0], [2.0]], "b/bias": [0.5]},
    ],
    ids=["value", "name", "shape"],
)
def test_other_weights_are_another_model(model_digests, weights):
    first = model_digests("first", {"a/kernel": [1.0, 2.0], "b/bias": [0.5]})
    second = model_digests("second", weights)
    assert second[0] != first[0]
    assert second[1] != first[1]


def test_other_answers_are_another_artifact_of_the_same_weights(model_digests):
    first = model_digests("first", {"kernel": [1.0]})
    second = model_digests("second", {"kernel": [1.0]}, answers=0.6)
    assert second[0] != first[0]
    assert second[1] == first[1]


def test_artifacts_of_a_node_that_failed_are_not_entered(receipt, tmp_path):
    (tmp_path / "model" / "Format-Serving").mkdir(parents=True)
    ended = nodes(Trainer=metadata.FAILED)
    artifact = metadata.ArtifactRecord(1, str(tmp_path / "model"), {})
    ended["Trainer"].outputs["model"] = [artifact]
    receipts.add_artifacts(receipt, ended)
    assert receipt["digests"] == {}
    assert receipt["model_digest"] is None


def predicted(folder, status=metadata.COMPLETE):
    """A run whose answers, in `folder`, are all as sure as 0.8, and three in four of them right."""
    columns = {
        "label": pa.array([0, 0, 0, 1]),
        "candidate": pa.array([[0.8, 0.2]] * 4, pa.list_(pa.float32())),
    }
    described = {"class_names": json.dumps(["bag", "shoe"])}
    pq.write_table(pa.table(columns, metadata=described), folder / "predictions.parquet")
    found = nodes(Predictions=status)
    found["Predictions"].outputs["predictions"] = [metadata.ArtifactRecord(1, str(folder), {})]
    return found


def test_the_calibration_errors_are_those_of_the_answers(receipt, tmp_path):
    receipt["calibration"] |= {"temperature": 0.5, "label_smoothing": 0.0}
    receipts.add_calibration(receipt, predicted(tmp_path))
    check(receipt)
    # At a temperature of 1, odds of 4 to 1 were 2 to 1.
    assert receipt["calibration"]["ece_before"] == pytest.approx(0.75 - 2 / 3)
    assert receipt["calibration"]["ece_after"] == pytest.approx(0.8 - 0.75)


def test_without_answers_the_calibration_errors_are_not_known(receipt, tmp_path):
    receipts.add_calibration(receipt, predicted(tmp_path, metadata.FAILED))
    receipts.add_calibration(receipt, nodes())
    check(receipt)
    assert set(receipt["calibration"].values()) == {None}
