"""A run in which nothing changed says so at once; a run that did not end is resumed."""

import json

import pytest


@pytest.fixture
def outputs(sample_run, tmp_path):
    """A copy of the outputs of the sample's run."""
    return sample_run.copy(tmp_path / "outputs")


def test_where_nothing_changed_the_verdict_stands_and_nothing_heavy_is_imported(
    light_command, outputs, sample_run, digest_of
):
    before = digest_of(outputs / sample_run.root.name / "runs")
    asked = ("run", "--data", "sample", "--output-dir", outputs, "--json")
    ended = light_command(*asked)
    assert ended.code == 0, ended.errors
    assert ended.json == sample_run.receipt
    assert f"Nothing changed since run {sample_run.receipt['run_id']}" in ended.errors
    assert "--force" in ended.errors
    assert digest_of(outputs / sample_run.root.name / "runs") == before


@pytest.mark.parametrize(
    "arguments",
    [("--seed", "2"), ("--set", "gates.accuracy=0.81"), ("--force",), ("--no-cache",)],
    ids=lambda arguments: arguments[0],
)
def test_where_something_changed_the_graph_is_run(light_command, outputs, arguments):
    asked = ("run", "--data", "sample", "--output-dir", outputs, *arguments)
    ended = light_command(*asked)
    assert "Nothing changed" not in ended.errors
    # It comes as far as the import that the tripwire refuses.
    assert "heavy import" in ended.errors


@pytest.fixture
def schedule_once(light_command, outputs):
    """Has a scheduler run the sample once, where something changed, with further arguments."""
    usual = ("schedule", "--once", "--on-change", "--data", "sample", "--output-dir", outputs)
    return lambda *arguments: light_command(*usual, *arguments)


def test_a_schedule_runs_nothing_where_nothing_changed(schedule_once, outputs, sample_run):
    ended = schedule_once()
    assert ended.code == 0, ended.errors
    run = sample_run.receipt["run_id"]
    assert ended.output.endswith(f"skipped: nothing changed since run {run}\n")
    assert [path.name for path in (outputs / sample_run.root.name / "runs").iterdir()] == [run]


def test_a_schedule_sees_what_changed(schedule_once, outputs, sample_run):
    ended = schedule_once("--seed", "7")
    # It goes as far as the import that ends it.
    assert ended.code == 1
    assert "the run of" in ended.output
    assert "alarm: a run broke off" in ended.output
    (log,) = (outputs / sample_run.root.name / "schedule").glob("*.log")
    assert "heavy import" in log.read_text()


def test_a_refusal_that_stands_is_a_refusal(light_command, outputs, sample_run):
    (path,) = outputs.glob("*/runs/*/receipt.json")
    served = sample_run.receipt["served_version"]
    judged = {"verdict": "refused", "served_before": served, "pushed_version": None}
    refused = {**sample_run.receipt, **judged}
    path.write_text(json.dumps(refused))
    ended = light_command("run", "--data", "sample", "--output-dir", outputs)
    assert ended.code == 3, ended.errors


def test_what_is_complete_is_not_resumed(light_command, outputs, sample_run):
    ended = light_command("resume", "latest", "--output-dir", outputs)
    assert (ended.code, ended.output) == (2, "")
    (line,) = ended.errors.splitlines()
    assert line.startswith(f"error: run {sample_run.receipt['run_id']} is complete (pushed); ")


@pytest.mark.slow
def test_an_interrupted_run_is_resumed_with_what_it_was_asked_for(
    quick_command, run_graph, few, set_values, tmp_path
):
    outputs = tmp_path / "outputs"
    values = set_values(gates__accuracy=1)
    refused = run_graph(outputs, *few, *values, "--seed", "5", code=3)
    # As if it had been killed right before its end.
    (path,) = outputs.glob("*/runs/*/receipt.json")
    killed = {**json.loads(path.read_text()), "status": "interrupted", "verdict": "none"}
    path.write_text(json.dumps(killed))

    ended = quick_command("resume", "latest", "--output-dir", outputs, "--json")
    assert ended.code == 3, ended.errors
    assert ended.json["request"] == refused.receipt["request"]
    assert ended.json["config"] == refused.receipt["config"]
    assert ended.json["config"]["seed"] == 5
    assert ended.json["nodes"]["Trainer"]["status"] == "cached"

    # A run that was forced is continued though an equal one has ended before it.
    forced = run_graph(outputs, *few, *values, "--seed", "5", "--force", code=3)
    path = path.parent.parent / forced.receipt["run_id"] / path.name
    killed = {**json.loads(path.read_text()), "status": "interrupted", "verdict": "none"}
    path.write_text(json.dumps(killed))
    again = quick_command("resume", "latest", "--output-dir", outputs, "--json")
    assert again.code == 3, again.errors
    assert again.json["run_id"] > forced.receipt["run_id"]
