"""DataGate: what stops a run before training, under both runners, and what it then leaves alone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

RUNNERS = ("local", "beam")
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def output_dir(few_run, tmp_path):
    """An output folder in which a model is served."""
    return few_run.copy(tmp_path / "outputs")


@pytest.fixture
def stopped(output_dir, few_run, run_graph, undemanding, nodes_of, digest_of):
    """Runs on a folder, checks that the run was stopped, and returns the findings, a line each."""

    def check(folder, *arguments):
        root = output_dir / few_run.receipt["pipeline"]
        served = digest_of(root / "serving")
        run = run_graph(output_dir, *undemanding(folder), *arguments, code=1)
        assert (run.receipt["status"], run.receipt["verdict"]) == ("failed", "stopped")
        assert run.receipt["failure"]["node"] == "DataGate"
        assert run.receipt["pushed_version"] is None
        assert digest_of(root / "serving") == served
        nodes = nodes_of(run)
        assert nodes["DataGate"].status == "failed"
        for name in ("Transform", "Trainer", "ServingCheck", "Evaluator", "Pusher"):
            assert nodes[name].status == "not run", name
        message = run.receipt["failure"]["message"]
        assert "Traceback" not in run.outcome.output + run.outcome.errors + message
        for line in message.splitlines():
            assert line in run.outcome.output
        return message.splitlines()

    return check


def with_drift(images):
    """Half of the first class bears the name of the second."""
    labels = images.train_labels.copy()
    labels[np.flatnonzero(labels == 0)[::2]] = 1
    return images.change(train_labels=labels)


def with_duplicate(images):
    """A training image is also a test image."""
    tested = images.test_images.copy()
    tested[3] = images.train_images[5]
    return images.change(test_images=tested)


@pytest.fixture
def drifted(few_images, tmp_path):
    return with_drift(few_images).write(tmp_path / "drifted")


@pytest.fixture
def duplicated(few_images, tmp_path):
    return with_duplicate(few_images).write(tmp_path / "duplicated")


@pytest.mark.parametrize("runner", RUNNERS)
def test_drifted_labels_stop_the_run(runner, drifted, stopped):
    (finding,) = stopped(drifted, "--runner", runner)
    assert finding.startswith("drift: feature label drifted")
    assert "data_gate.drift=warn" in finding


def test_a_duplicate_stops_the_run(duplicated, stopped):
    (finding,) = stopped(duplicated)
    assert finding.startswith("duplicates: 1 test images are also in train or val")
    assert "train-00000005 = t10k-00000003" in finding
    assert "expected at most 0" in finding


def test_data_unlike_the_schema_stops_the_run(few_images, stopped, tmp_path):
    """A schema that asks for a feature which the data has not."""
    schema = (PROJECT / "schema" / "schema.pbtxt").read_text()
    wanted = 'feature { name: "season" type: INT presence { min_fraction: 1.0 min_count: 1 } }\n'
    path = tmp_path / "schema.pbtxt"
    path.write_text(wanted + schema)
    folder = few_images.write(tmp_path / "data")
    findings = stopped(folder, "--set", f"schema_file={path}")
    assert len(findings) == 3
    for finding, split in zip(findings, ("train", "val", "test"), strict=True):
        assert finding.startswith(f"anomalies: split {split}, feature season")


def test_all_findings_are_told_at_once(few_images, stopped, tmp_path):
    findings = stopped(with_duplicate(with_drift(few_images)).write(tmp_path / "both"))
    assert [finding.split(":")[0] for finding in findings] == ["drift", "duplicates"]


def test_constant_images_and_a_gross_change_of_brightness_stop_the_run(
    few_images, stopped, tmp_path
):
    images = few_images.train_images.copy()
    images[few_images.train_labels == 9] = few_images.train_images[-1]
    spoilt = few_images.change(train_images=images, test_images=255 - few_images.test_images)
    constant, brightness = stopped(spoilt.write(tmp_path / "data"))
    assert constant.startswith("constant_class: all training images are equal, byte by byte, in 1")
    assert "Ankle boot (90 images)" in constant
    assert brightness.startswith("brightness: the mean brightness of the training images is ")


@pytest.mark.parametrize("setting", ["data_gate.duplicates=warn", "data_gate.max_duplicates=1"])
def test_what_is_tolerated_passes(
    setting, duplicated, output_dir, run_graph, undemanding, nodes_of
):
    run = run_graph(output_dir, *undemanding(duplicated), "--set", setting)
    assert run.receipt["verdict"] == "pushed"
    report = Path(nodes_of(run)["DataGate"].output("report").uri) / "report.json"
    findings = json.loads(report.read_text())["findings"]
    # What is only warned of is reported; what is within the bound is no finding.
    assert len(findings) == ("warn" in setting)


def test_drift_that_cannot_be_judged_stops_the_run(
    drifted, output_dir, few_run, stopped, run_graph, undemanding
):
    """As where `serving` was restored without its hidden folders."""
    root = output_dir / few_run.receipt["pipeline"]
    shutil.rmtree(root / "serving" / ".kept")
    shutil.rmtree(root / "artifacts")
    (root / "metadata.db").unlink()
    (finding,) = stopped(drifted)
    assert finding.startswith("drift: drift cannot be judged: no statistics are kept")
    run_graph(output_dir, *undemanding(drifted), "--set", "data_gate.drift=warn")


def test_without_a_served_model_nothing_can_drift(drifted, run_graph, undemanding, tmp_path):
    """The first run has nothing to compare with."""
    run_graph(tmp_path / "fresh", *undemanding(drifted))
