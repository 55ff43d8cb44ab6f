"""Two runs held against each other, digest by digest."""

import copy

import pytest

from operations import verify
from pipeline.nodes import NODES


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
    again["code"] = {"revision": "1234", "dirty": True, "sha256": "0" * 64}
    again["config"]["training"]["epochs"] = 99
    again["versions"] = {**again["versions"], "keras": "0.0"}
    again["cpu_features"] = []
    again["threads"] = 99
    again["onednn"] = not again["onednn"]
    reasons = "\n".join(verify.compare(receipt, again)["reasons"])
    for words in (
        "data: train-images.gz holds something else",
        "1234 now; with uncommitted changes",
        "configuration: training: epochs: ",
        "installed versions: keras: ",
        "features of the processor: ",
        "threads: ",
        "oneDNN: ",
    ):
        assert words in reasons


def test_files_of_another_revision_with_equal_sources_are_no_reason(receipts):
    receipt, again = receipts
    again["code"] = {**again["code"], "revision": "1234", "dirty": True}
    assert verify.compare(receipt, again)["reasons"] == []
