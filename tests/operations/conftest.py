"""What the tests of the operations share: a run that is prepared, and its receipt."""

import datetime

import pytest

from components.example_gen.idx import IdxPair
from components.image_schema import ImageSchema
from operations import receipts
from operations.run import Prepared
from pipeline import config
from pipeline.data import DataSet
from pipeline.locations import Locations

CLASSES = ("[bold]x", "Boot")


@pytest.fixture
def locations(tmp_path):
    return Locations(tmp_path / "outputs" / "clothes")


@pytest.fixture
def prepared(locations):
    """A run that is about to begin; a class name of it looks like markup."""
    pairs = [
        IdxPair(name, f"/data/{name}-images.gz", f"/data/{name}-labels.gz", "a" * 64, "b" * 64, 9)
        for name in ("train", "t10k")
    ]
    data = DataSet("/data", False, *pairs, schema_sha256="c" * 64)
    schema = ImageSchema(28, 28, 1, CLASSES)
    configured = config.load("default", ["seed=7"])
    return Prepared("clothes", configured, data, schema, locations, "float32")


@pytest.fixture
def receipt(prepared):
    """The receipt of a run that has just begun."""
    began = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    return receipts.begun("20260102-030405", began, prepared, "python pipeline_runner.py run")


@pytest.fixture
def pushed_receipt(receipt):
    """The receipt of a run that pushed a model."""
    # As of the confusion matrix below.
    first = {"precision": 600 / 610, "recall": 0.5, "f1": 1200 / 1810, "support": 1200}
    second = {
        "precision": 10_790 / 11_390,
        "recall": 10_790 / 10_800,
        "f1": 0.9725,
        "support": 10_800,
    }
    accuracy = 11_390 / 12_000
    gate = {"metric": "accuracy", "slice": "overall", "value": accuracy, "threshold": 0.8}
    receipt.update(
        status="completed",
        verdict="pushed",
        seconds=61.4,
        nodes={"Trainer": {"status": "complete", "seconds": 12.34, "cached": False}},
        gates=[{**gate, "passed": True}],
        test_accuracy=accuracy,
        test_count=12_000,
        cross_entropy=0.3,
        top_2_accuracy=0.97,
        confusion=[[600, 600], [10, 10_790]],
        per_class={CLASSES[0]: first, CLASSES[1]: second},
        macro_avg={**first, "support": 12_000},
        weighted_avg={**second, "support": 12_000},
        model_digest="d" * 64,
        digests={"Trainer.model": "e" * 64},
        pushed_version=17,
    )
    return receipt
