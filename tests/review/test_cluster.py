"""The final node of a cluster, where the page or a result cannot be made.

`tests/graph/test_kubeflow.py` runs it in its container, and compares page and receipt.
"""

import json

import pytest
from tfx.types import artifact

from components import features
from components.kubeflow import artifacts
from pipeline.nodes import PREDICTIONS, PUSHER
from pipeline.records import provenance
from pipeline.records.receipt import Receipt
from review import page as review_page
from review.cluster.compiled import CompiledRun
from review.cluster.executor import Executor, input_name


class Anything(artifact.Artifact):
    """An artifact whose type is of no account."""

    TYPE_NAME = "Anything"


@pytest.fixture
def review(made_run, tmp_path):
    """Runs the node after a run that pushed version 7; returns receipt and page."""
    report = {
        "precision": "float32",
        "calibration": {"temperature": 1.1, "label_smoothing": 0.0},
        "hyperparameters": None,
        "warm_start_from": None,
        "settled_epochs": None,
    }
    report_file = made_run.file("Trainer.model_run", features.TRAINING_REPORT_FILE)
    report_file.write_text(json.dumps(report))
    inputs = {}
    for node, execution in made_run.nodes.items():
        for key in execution.outputs or {"made": None}:
            made = Anything()
            made.uri = str(made_run.folder / f"{node}.{key}")
            made.set_float_custom_property(artifacts.NODE_SECONDS, 1.5)
            made.set_string_custom_property(artifacts.NODE_BEGAN, "2026-01-01T00:00:00+00:00")
            inputs[input_name(node, key)] = [made]
    # What the run reads of these two.
    resolved = inputs.pop(input_name("Resolver", "made"))
    pushed = inputs.pop(input_name(PUSHER, "made"))
    pushed[0].set_int_custom_property("pushed", 1)
    pushed[0].set_string_custom_property("pushed_version", "7")
    inputs |= {input_name("Resolver", "model"): resolved}
    inputs |= {input_name(PUSHER, "pushed_model"): pushed}
    like = made_run.receipt
    compiled = CompiledRun(
        pipeline="clothes",
        profile="default",
        assignments=(),
        config=like.config,
        precision="float32",
        schema_sha256="c" * 64,
        parts=(),
        revision=provenance.code().revision,
        dirty=False,
    )
    parameters = {
        "compiled": compiled.model_dump_json(),
        "slices": "[]",
        "serving": str(tmp_path / "serving"),
        "run": "b6f0",
        "location": "/mnt/clothes",
        "data_digest": "0a" * 32,
        "seed": 1,
    }

    def run():
        outputs = {"page": [artifacts.Page()], "receipt": [artifacts.Record()]}
        for key, (made,) in outputs.items():
            made.uri = str(tmp_path / key)
        Executor().Do(inputs, outputs, parameters)
        receipt = Receipt.from_json((tmp_path / "receipt").read_text("utf-8"))
        return receipt, (tmp_path / "page").read_text("utf-8")

    return run


def test_it_writes_page_and_receipt(review):
    receipt, page = review()
    assert (receipt.verdict, receipt.pushed_version) == ("pushed", 7)
    assert receipt.calibration.ece_after is not None and 'id="verdict"' in page


def test_a_page_that_cannot_be_made_costs_no_receipt(review, monkeypatch, caplog):
    def fail(*_, **__):
        raise ZeroDivisionError("a <b> of nothing")

    expected, _ = review()
    monkeypatch.setattr(review_page, "render", fail)
    receipt, page = review()
    assert receipt.changed(seconds=expected.seconds) == expected
    assert "Version 7 was pushed. The review page could not be made: a &lt;b&gt; of nothing" in page
    assert "ZeroDivisionError" in caplog.text


def test_a_result_that_cannot_be_read_costs_no_receipt(review, made_run, caplog):
    made_run.file(f"{PREDICTIONS}.predictions", "predictions.parquet").write_bytes(b"no table")
    receipt, page = review()
    assert (receipt.verdict, receipt.pushed_version) == ("pushed", 7)
    assert "Version 7 was pushed. The review page could not be made: " in page
    assert "Traceback" in caplog.text
