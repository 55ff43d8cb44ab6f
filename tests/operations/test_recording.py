"""The receipt is true to how the nodes of a run ended, and to what they made."""

import dataclasses
import datetime
import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings, strategies

from components import quality_gates
from components.failures import ConfigurationFailure, DataGateStop
from operations import recording
from operations.preparation import prepare
from pipeline import machine
from pipeline.nodes import NODES
from pipeline.records.executions import ArtifactRecord, NodeExecution
from pipeline.records.outcomes import NodeStatus
from pipeline.records.receipt import Calibration, Failure, NodeRecord, Receipt
from tests.made_models import write_keras

PROJECT = Path(__file__).resolve().parents[2]


def nodes(pushed=True, **others):
    """How the nodes of a run ended: all well, but for `others`."""
    found = {name: NodeExecution(others.get(name, NodeStatus.COMPLETE), 1.5, {}) for name in NODES}
    properties = {"pushed": int(pushed)} | ({"pushed_version": "17"} if pushed else {})
    artifact = ArtifactRecord(1, "/pushed", properties)
    found["Pusher"].outputs["pushed_model"] = [artifact]
    return found


def test_a_run_that_has_begun_counts_as_interrupted(receipt):
    assert (receipt.status, receipt.verdict) == ("interrupted", "none")
    assert receipt.exit_code == 130


def test_the_receipt_says_what_a_run_is_made_of(receipt, prepared):
    assert receipt.run_id == "20260102-030405"
    assert receipt.began.tzinfo is not None
    assert receipt.seed == receipt.config["seed"] == 7
    assert receipt.config["profile"] == "default"
    assert receipt.data.sha256 == prepared.data.sha256s
    assert len(receipt.data.sha256) == 4
    assert receipt.environment.threads >= 1
    content = (PROJECT / "components" / "transform.py").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    files = receipt.code.files
    assert digest.startswith(files["components/transform.py"])
    assert {"pipeline/dag.py", "pipeline/records/digests.py", "pipeline_runner.py"} <= set(files)
    assert not [path for path in files if path.startswith(("tests/", "benchmarks/", "."))]
    assert {"tensorflow", "keras", "tfx", "python", "glibc"} <= set(receipt.environment.versions)


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
    receipt = recording.begun("20260102-030405", 1, began, prepared, request, "9" * 64)
    assert receipt.precision == precision
    assert receipt.config["training"]["precision"] == asked


@pytest.mark.parametrize(
    ("pushed", "verdict", "code"), [(True, "pushed", 0), (False, "refused", 3)]
)
def test_a_run_that_ended_well_was_pushed_or_refused(receipt, pushed, verdict, code):
    receipt = recording.ended(receipt, nodes(pushed), None)
    assert (receipt.status, receipt.verdict) == ("completed", verdict)
    assert receipt.pushed_version == (17 if pushed else None)
    assert receipt.failure is None
    assert receipt.exit_code == code


def test_each_node_is_entered_with_its_time(receipt):
    receipt = recording.ended(receipt, nodes(Transform=NodeStatus.CACHED), None)
    assert list(receipt.nodes) == list(NODES)
    known = {"seconds": 1.5, "code_fingerprint": None}
    assert receipt.nodes["Transform"] == NodeRecord(status=NodeStatus.CACHED, **known)
    assert receipt.nodes["Trainer"] == NodeRecord(status=NodeStatus.COMPLETE, **known)


def test_a_node_that_raised_fails_the_run(receipt):
    error = ValueError("what happened")
    ended = nodes(
        Trainer=NodeStatus.FAILED, Evaluator=NodeStatus.NOT_RUN, Pusher=NodeStatus.NOT_RUN
    )
    receipt = recording.ended(receipt, ended, error)
    assert (receipt.status, receipt.verdict) == ("failed", "none")
    assert receipt.failure == Failure(node="Trainer", message="what happened")
    assert receipt.exit_code == 1


@pytest.mark.parametrize("status", [NodeStatus.FAILED, NodeStatus.INTERRUPTED, NodeStatus.NOT_RUN])
def test_an_error_that_was_swallowed_fails_the_run_all_the_same(receipt, status):
    receipt = recording.ended(receipt, nodes(Evaluator=status), None)
    assert receipt.status == "failed"
    assert receipt.failure.node == "Evaluator"


def test_a_run_without_nodes_did_not_complete(receipt):
    receipt = recording.ended(receipt, {}, None)
    assert (receipt.status, receipt.verdict) == ("failed", "none")
    assert receipt.exit_code == 1


def test_what_the_data_gate_decides_is_a_stop(receipt):
    ended = nodes(DataGate=NodeStatus.FAILED, Trainer=NodeStatus.NOT_RUN)
    receipt = recording.ended(receipt, ended, DataGateStop("drift: the labels"))
    assert (receipt.status, receipt.verdict) == ("failed", "stopped")
    assert receipt.failure == Failure(node="DataGate", message="drift: the labels")
    assert receipt.exit_code == 1


def test_a_data_gate_that_breaks_decides_nothing(receipt):
    receipt = recording.ended(receipt, nodes(DataGate=NodeStatus.FAILED), OSError("disk full"))
    assert receipt.verdict == "none"
    assert receipt.failure.node == "DataGate"


def test_an_interrupted_run_stays_interrupted(receipt):
    receipt = recording.ended(receipt, nodes(Trainer=NodeStatus.INTERRUPTED), KeyboardInterrupt())
    assert (receipt.status, receipt.verdict) == ("interrupted", "none")
    assert receipt.failure == Failure(node=None, message="the run was interrupted")


TRACEBACK = """\
Traceback (most recent call last):
  File 'x.py', line 3, in read
IdxError: train is empty; expected images. [while running 'Read']
"""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        # The last line of a traceback, and the kind of an error without a message.
        (RuntimeError(TRACEBACK), "train is empty; expected images."),
        (RuntimeError(TRACEBACK.replace("Idx", "a.b.Other")), "train is empty; expected images."),
        (RuntimeError(TRACEBACK.replace("IdxError: ", "")), "train is empty; expected images."),
        (RuntimeError(f"{TRACEBACK}\nKeyError: 'x'"), "key error: 'x'"),
        (RuntimeError(f"{TRACEBACK}\nMemoryError"), "memory error"),
        (MemoryError(), "memory error"),
    ],
)
def test_an_error_is_told_in_a_line_without_the_name_of_its_class(receipt, error, told):
    assert recording.failed(receipt, error).failure.message == told


def test_what_has_to_be_changed_after_an_error_is_entered(receipt):
    changes = ["training.learning_rate=0.0006"]
    error = ConfigurationFailure("the loss became nan", changes)
    receipt = recording.ended(receipt, nodes(Trainer=NodeStatus.FAILED), error)
    assert receipt.failure.changes == ("training.learning_rate=0.0006",)


def write_model(folder, weights, answers, file):
    """A model artifact: weights by name, answers to golden questions, and a file of its export."""
    (folder / "Format-Serving").mkdir(parents=True)
    (folder / "Format-Serving" / "saved_model.pb").write_text(file)
    write_keras(folder, **weights)
    np.savez(folder / "golden.npz", probabilities=answers)
    return ArtifactRecord(1, str(folder), {})


@pytest.fixture
def model_digests(receipt, prepared, tmp_path):
    """The three digests that the receipt has of a model."""

    def of(name, weights, answers=0.5, file="traced"):
        ended = nodes()
        ended["Trainer"].outputs["model"] = [write_model(tmp_path / name, weights, answers, file)]
        *_, made = recording.results(receipt, ended, prepared)
        return made.digests["Trainer.model"], made.model_digest, made.export_digest

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


def test_artifacts_of_a_node_that_failed_are_not_entered(receipt, prepared, tmp_path):
    (tmp_path / "model" / "Format-Serving").mkdir(parents=True)
    ended = nodes(Trainer=NodeStatus.FAILED)
    artifact = ArtifactRecord(1, str(tmp_path / "model"), {})
    ended["Trainer"].outputs["model"] = [artifact]
    *_, receipt = recording.results(receipt, ended, prepared)
    assert receipt.digests == {}
    assert receipt.model_digest is None


def predicted(folder, status=NodeStatus.COMPLETE):
    """A run whose answers, in `folder`, are all as sure as 0.8, and three in four of them right."""
    columns = {
        "example_id": pa.array(["a", "b", "c", "d"]),
        "image": pa.array([b"an image"] * 4),
        "label": pa.array([0, 0, 0, 1]),
        "candidate": pa.array([[0.8, 0.2]] * 4, pa.list_(pa.float32())),
    }
    described = {"class_names": json.dumps(["bag", "shoe"]), "image_shape": "[2, 2, 1]"}
    pq.write_table(pa.table(columns, metadata=described), folder / "predictions.parquet")
    found = nodes(Predictions=status)
    found["Predictions"].outputs["predictions"] = [ArtifactRecord(1, str(folder), {})]
    return found


def test_the_calibration_errors_are_those_of_the_answers(receipt, prepared, tmp_path):
    receipt = receipt.changed(calibration={"temperature": 0.5, "label_smoothing": 0.0})
    *_, made = recording.results(receipt, predicted(tmp_path), prepared)
    found = made.calibration
    # At a temperature of 1, odds of 4 to 1 were 2 to 1.
    assert found.ece_before == pytest.approx(0.75 - 2 / 3)
    assert found.ece_after == pytest.approx(0.8 - 0.75)


@pytest.mark.parametrize("status", [NodeStatus.FAILED, NodeStatus.NOT_RUN])
def test_without_answers_the_calibration_errors_are_not_known(receipt, prepared, tmp_path, status):
    *_, found = recording.results(receipt, predicted(tmp_path, status), prepared)
    assert found.calibration == Calibration()


def test_what_the_verdict_rests_on_is_read_before_what_may_fail(receipt, prepared, tmp_path):
    """Here the report of the training is missing."""
    judged = quality_gates.JudgedGate("accuracy", "overall", 0.9, 0.8, passed=True)
    (tmp_path / "gates.json").write_text(quality_gates.judged_to_json([judged]))
    ended = nodes()
    ended["Trainer"].outputs["model_run"] = [ArtifactRecord(1, str(tmp_path), {})]
    ended["Blessing"].outputs["blessing"] = [ArtifactRecord(2, str(tmp_path), {})]
    read = []
    with pytest.raises(FileNotFoundError):
        read.extend(recording.results(receipt, ended, prepared))
    assert read[-1].gates == (judged,)


class LibraryError(Exception):
    """An error of a library, with an attribute that means something else there."""

    def __init__(self, message, changes):
        super().__init__(message)
        self.changes = changes


def executions():
    """Executions of nodes as ML Metadata may have them."""
    status = strategies.sampled_from(NodeStatus)
    return strategies.fixed_dictionaries(dict.fromkeys(NODES, status)).map(
        lambda statuses: nodes(**statuses)
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    message=strategies.text(strategies.characters(exclude_categories=[])),
    changes=strategies.one_of(
        strategies.none(),
        strategies.text(),
        strategies.lists(strategies.one_of(strategies.text(), strategies.integers())),
    ),
    interrupted=strategies.booleans(),
    ended=strategies.one_of(strategies.just({}), executions()),
)
def test_whatever_ended_a_run_its_receipt_reads_back(receipt, message, changes, interrupted, ended):
    error = KeyboardInterrupt() if interrupted else LibraryError(message, changes)
    for found in (
        recording.ended(receipt, ended, error),
        recording.failed_to_conclude(recording.ended(receipt, {}, error), error, error),
        recording.failed_to_conclude(recording.ended(receipt, ended, None), None, error),
        recording.ended_unfinished(receipt, ended),
    ):
        assert Receipt.from_json(found.to_json()) == found
        assert not found.failure or found.failure.changes == ()


def test_a_result_that_does_not_fit_is_named_in_one_line(receipt):
    with pytest.raises(pydantic.ValidationError) as caught:
        receipt.changed(seconds=-1.0)
    failure = recording.failed(receipt, caught.value).failure
    assert failure.message == (
        "a result does not fit into the receipt (seconds: Input should be greater than or equal "
        "to 0)"
    )
