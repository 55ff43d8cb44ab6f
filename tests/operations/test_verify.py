"""Two runs held against each other, digest by digest."""

import copy
import json

import pytest

from operations import verify
from operations.notifications.notifying import ADDRESSES_VARIABLE
from pipeline.errors import ConfigurationError, LockHeldError
from pipeline.nodes import NODES
from pipeline.records import metadata


@pytest.fixture
def receipts(pushed_receipt):
    """Two receipts of equal runs, of all nodes."""
    pushed_receipt["nodes"] = {
        node: {"status": "complete", "seconds": 1.0, "cached": False} for node in NODES
    }
    names = ("Trainer.model", "ExampleGen.examples", "Predictions.predictions")
    pushed_receipt["digests"] = dict.fromkeys(names, "e" * 64)
    return pushed_receipt, copy.deepcopy(pushed_receipt)


def test_equal_runs_are_identical_and_differ_in_nothing(receipts):
    found = verify.compare(*receipts)
    assert found["identical"]
    assert found["first_difference"] is None
    assert found["reasons"] == []


def test_the_first_difference_is_the_first_in_the_graph(receipts):
    receipt, again = receipts
    again["digests"] = dict.fromkeys(again["digests"], "0" * 64)
    found = verify.compare(receipt, again)
    assert not found["identical"]
    assert found["first_difference"] == "ExampleGen.examples"
    assert list(found["artifacts"]) == [
        "ExampleGen.examples",
        "Trainer.model",
        "Predictions.predictions",
    ]


def test_an_artifact_that_is_missing_differs(receipts):
    receipt, again = receipts
    del again["digests"]["Trainer.model"]
    assert verify.compare(receipt, again)["first_difference"] == "Trainer.model"
    assert verify.compare(again, receipt)["first_difference"] == "Trainer.model"


def test_what_may_be_the_reason_is_named(receipts):
    receipt, again = receipts
    again["data"]["sha256"] = {**again["data"]["sha256"], "train-images.gz": "0" * 64}
    again["code"] = {**again["code"], "revision": "1234", "dirty": True, "sha256": "0" * 64}
    again["config"]["training"]["epochs"] = 99
    again["versions"] = {**again["versions"], "keras": "0.0", "python": "3.99.1"}
    again["lock"], again["lock_sha256"] = None, "0" * 64
    again["cpu_features"] = []
    again["threads"] = 99
    again["onednn"] = not again["onednn"]
    reasons = "\n".join(verify.compare(receipt, again)["reasons"])
    for words in (
        "data: train-images.gz holds something else",
        "1234 now; with uncommitted changes",
        "configuration: training: epochs: ",
        "installed versions: python: ",
        '; keras: "',
        f"lock: {json.dumps(receipt['lock'])} then, null now",
        "content of the lock: ",
        "features of the processor: ",
        "threads: ",
        "oneDNN: ",
    ):
        assert words in reasons


@pytest.fixture
def edited(receipts):
    """Two receipts, the second of which is of a run of edited code."""
    _, again = receipts
    again["code"]["sha256"] = "0" * 64
    for each in receipts:
        for name, node in each["nodes"].items():
            node["code_fingerprint"] = None if name == "Resolver" else "a" * 16
    for name in ("Evaluator", "Trainer"):
        again["nodes"][name]["code_fingerprint"] = "b" * 16
    return receipts


def test_the_source_files_that_differ_are_named_and_the_first_node_that_runs_them(edited):
    receipt, again = edited
    files = again["code"]["files"]
    files["components/trainer/model.py"] = "0" * 12
    files["components/trainer/new.py"] = "0" * 12
    del files["pipeline/gates.py"]
    revision = receipt["code"]["revision"]
    again["code"]["dirty"] = receipt["code"]["dirty"] = False
    assert verify.compare(*edited)["reasons"] == [
        "code: components/trainer/model.py holds something else than then",
        "code: components/trainer/new.py was not there then",
        "code: pipeline/gates.py is there no more",
        "code: Trainer is the first node that runs other code",
        f"code: revision {revision} then, {revision} now",
    ]


@pytest.mark.parametrize("path", ["pipeline/records/digests.py", "pipeline_runner.py"])
def test_an_edit_outside_of_what_a_graph_computes_is_named_too(receipts, path):
    """What digests artifacts, or sets up a run, may make two runs differ all the same."""
    receipt, again = receipts
    again["code"]["files"][path] = "0" * 12
    assert verify.compare(receipt, again)["reasons"][0] == (
        f"code: {path} holds something else than then"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lock_sha256", "0" * 64),
        ("threads", 99),
        ("cpu_features", ["other"]),
        ("versions", {"python": "3.99.1"}),
    ],
)
def test_no_node_is_named_where_its_fingerprint_differs_for_another_reason_too(edited, key, value):
    receipt, again = edited
    again["code"]["files"]["components/trainer/model.py"] = "0" * 12
    again[key] = value
    reasons = verify.compare(receipt, again)["reasons"]
    assert "code: components/trainer/model.py holds something else than then" in reasons
    assert not [reason for reason in reasons if "first node" in reason]


def test_another_patch_version_of_python_is_in_no_fingerprint(edited):
    receipt, again = edited
    again["code"]["files"]["components/trainer/model.py"] = "0" * 12
    minor = ".".join(receipt["versions"]["python"].split(".")[:2])
    again["versions"] = {**again["versions"], "python": f"{minor}.99"}
    reasons = verify.compare(receipt, again)["reasons"]
    assert "code: Trainer is the first node that runs other code" in reasons


def test_a_schema_of_other_content_is_named(receipts):
    receipt, again = receipts
    again["data"]["schema_sha256"] = "0" * 64
    assert verify.compare(receipt, again)["reasons"] == [
        "schema: the file holds something else than then"
    ]


def test_a_node_that_only_one_of_the_runs_has_differs(receipts):
    receipt, again = receipts
    again["nodes"]["Tuner"] = {"status": "complete", "seconds": 1.0, "cached": False}
    again["digests"]["Tuner.best_hyperparameters"] = "f" * 64
    for pair in ((receipt, again), (again, receipt)):
        assert verify.compare(*pair)["first_difference"] == "Tuner.best_hyperparameters"


@pytest.fixture
def verified(receipts, locations, progress, monkeypatch):
    """Verifies a run whose repetition is made up; returns where and how it was asked for."""
    receipt, again = receipts
    folder = locations.runs / receipt["run_id"]
    folder.mkdir(parents=True)
    metadata.write_receipt(folder, receipt)
    output_dir = locations.root.parent

    def verify_with(repeat, as_json=True):
        def run(request, _, notifier):
            repeat(request, notifier)
            return again

        monkeypatch.setattr(verify.running, "run", run)
        return verify.main("latest", output_dir, as_json, progress)

    return verify_with


def test_a_run_that_is_not_complete_says_how_to_go_on(locations, receipt, progress):
    folder = locations.runs / receipt["run_id"]
    folder.mkdir(parents=True)
    metadata.write_receipt(folder, receipt)
    output_dir = locations.root.parent
    command = f"python3 pipeline_runner.py resume {receipt['run_id']} --output-dir {output_dir}"
    with pytest.raises(ConfigurationError, match="is interrupted; expected a complete") as caught:
        verify.main("latest", output_dir, True, progress)
    assert str(caught.value).endswith(f"Go on first, with: {command}")


def test_nobody_is_told_of_a_verification(verified, monkeypatch, caplog):
    # Nothing listens on the discard port: a message to it would be missed, and a line logged.
    monkeypatch.setenv(ADDRESSES_VARIABLE, "json://127.0.0.1:9")
    assert verified(lambda request, notifier: notifier.alarm("title", "text")) == 0
    assert not caplog.records


def test_other_libraries_are_named_also_where_they_changed_nothing(verified, receipts, capsys):
    _, again = receipts
    again["lock"] = "another.txt"
    assert verified(lambda request, notifier: None, as_json=False) == 0
    printed = capsys.readouterr().out
    assert "is reproduced, to the bit." in printed
    assert printed.rstrip().endswith('then, "another.txt" now')


def test_what_a_killed_verification_left_is_removed(verified, locations):
    left = locations.root.parent / ".verify-left"
    (left / "clothes").mkdir(parents=True)
    seen = []
    assert verified(lambda request, notifier: seen.append(request.output_dir)) == 0
    assert seen[0].name.startswith(".verify-")
    assert not list(locations.root.parent.glob(".verify-*"))


def test_one_verification_at_a_time(verified, locations, progress):
    def again(request, notifier):
        with pytest.raises(LockHeldError, match="held by verify"):
            verify.main("latest", locations.root.parent, True, progress)
        assert request.output_dir.exists()

    assert verified(again) == 0


def test_files_of_another_revision_with_equal_sources_are_no_reason(receipts):
    receipt, again = receipts
    again["code"] = {**again["code"], "revision": "1234", "dirty": True}
    assert verify.compare(receipt, again)["reasons"] == []
