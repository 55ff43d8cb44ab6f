"""Refused models: the run completes, exit code 3, and what was served stays served."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow


def failed_gates(run):
    return {(gate["metric"], gate["slice"]) for gate in run.receipt["gates"] if not gate["passed"]}


def assert_refused(run):
    assert (run.receipt["status"], run.receipt["verdict"]) == ("completed", "refused")
    assert run.receipt["failure"] is None
    assert run.receipt["pushed_version"] is None
    assert "Nothing was pushed." in run.outcome.output
    for gate in run.receipt["gates"]:
        assert gate["passed"] == (gate["value"] >= gate["threshold"]), gate


def test_shuffled_labels_are_refused(
    few_images, few_run, run_graph, undemanding, set_values, digest_of, tmp_path
):
    """As many of each class as before, so that nothing drifted: it is the model that is bad."""
    labels = np.random.default_rng(1).permutation(few_images.train_labels)
    folder = few_images.change(train_labels=labels).write(tmp_path / "data")
    output_dir = few_run.copy(tmp_path / "outputs")
    serving = output_dir / few_run.receipt["pipeline"] / "serving"
    before = digest_of(serving)
    run = run_graph(output_dir, *undemanding(folder), *set_values(gates__accuracy=0.8), code=3)
    assert_refused(run)
    assert ("accuracy", "overall") in failed_gates(run)
    assert run.evaluation["accuracy"] < 0.5
    assert digest_of(serving) == before


def test_a_class_trained_away_is_refused_although_the_rest_is_good(
    sample_images, run_graph, set_values, tmp_path
):
    """All but a handful of the boots are called bags. What is overall good is not good enough."""
    labels = sample_images.train_labels.copy()
    boots = np.flatnonzero(labels == 9)
    labels[boots[110:]] = 8
    folder = sample_images.change(train_labels=labels).write(tmp_path / "data")
    run = run_graph(
        tmp_path / "outputs",
        *("--data", folder, "--profile", "smoke"),
        *set_values(split__validation_per_class=100, gates__accuracy=0.8, gates__class_recall=0.3),
        *set_values(training__batch_size=50, training__epochs=3),
        code=3,
    )
    assert_refused(run)
    assert failed_gates(run) == {("recall", "Ankle boot")}
    assert run.evaluation["accuracy"] >= 0.8
    assert not (run.root / "serving").exists()
    assert "Refused: the recall of Ankle boot is too low." in run.outcome.output


def test_a_model_worse_than_the_served_one_is_refused(
    sample_run, run_graph, set_values, digest_of, tmp_path
):
    """It would pass every gate that looks at it alone."""
    output_dir = sample_run.copy(tmp_path / "outputs")
    serving = output_dir / sample_run.receipt["pipeline"] / "serving"
    before = digest_of(serving)
    run = run_graph(
        output_dir,
        *("--data", "sample"),
        *set_values(training__widths="[2]", training__epochs=1),
        *set_values(gates__accuracy=0, gates__class_recall=0),
        code=3,
    )
    assert_refused(run)
    assert failed_gates(run) == {("accuracy against the served model", "overall")}
    drop = run.evaluation["accuracy"] - sample_run.evaluation["accuracy"]
    assert run.receipt["gates"][-1]["value"] == pytest.approx(drop, abs=1e-6)
    assert digest_of(serving) == before


def test_a_refused_model_is_never_compared_with(few_run, run_few, set_values, nodes_of, tmp_path):
    output_dir = few_run.copy(tmp_path / "outputs")
    # Nor does the record of either need the pictures of an augmentation.
    plain = set_values(training__augmentation__flip="false", training__augmentation__shift=0)
    refused = run_few(output_dir, "--seed", "2", *plain, *set_values(gates__accuracy=1), code=3)
    assert_refused(refused)
    following = run_few(output_dir, "--seed", "3", *plain)
    assert following.receipt["status"] == "completed"
    compared_with = nodes_of(following)["Resolver"].output("model").uri
    assert compared_with == nodes_of(few_run)["Trainer"].output("model").uri
    assert compared_with != nodes_of(refused)["Trainer"].output("model").uri
