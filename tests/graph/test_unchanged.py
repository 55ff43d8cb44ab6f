"""A run in which nothing changed says so at once; a run that did not end is resumed."""

import json

import pytest

from pipeline.records import metadata


@pytest.fixture
def outputs(sample_run, tmp_path):
    """A copy of the outputs of the sample's run."""
    return sample_run.copy(tmp_path / "outputs")


def test_where_nothing_changed_the_verdict_stands_and_nothing_heavy_is_imported(
    command, outputs, sample_run, tripwires, digest_of
):
    before = digest_of(outputs / sample_run.root.name / "runs")
    ended = command(
        "run", "--data", "sample", "--output-dir", outputs, "--json", PYTHONPATH=tripwires
    )
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
def test_where_something_changed_the_graph_is_run(command, outputs, tripwires, arguments):
    asked = ("run", "--data", "sample", "--output-dir", outputs, *arguments)
    ended = command(*asked, PYTHONPATH=tripwires)
    assert "Nothing changed" not in ended.errors
    # It comes as far as the import that the tripwire refuses.
    assert "heavy import" in ended.errors


def test_a_refusal_that_stands_is_a_refusal(command, outputs, sample_run, tripwires):
    (path,) = outputs.glob("*/runs/*/receipt.json")
    refused = {**sample_run.receipt, "verdict": "refused", "pushed_version": None}
    metadata.write_receipt(path.parent, refused)
    ended = command("run", "--data", "sample", "--output-dir", outputs, PYTHONPATH=tripwires)
    assert ended.code == 3, ended.errors


def test_what_is_complete_is_not_resumed(command, outputs, sample_run, tripwires):
    ended = command("resume", "latest", "--output-dir", outputs, PYTHONPATH=tripwires)
    assert (ended.code, ended.output) == (2, "")
    (line,) = ended.errors.splitlines()
    assert line.startswith(f"error: run {sample_run.receipt['run_id']} is complete (pushed); ")


@pytest.mark.slow
def test_an_interrupted_run_is_resumed_with_what_it_was_asked_for(
    quick_command, run_graph, few, set_values, tmp_path
):
    outputs = tmp_path / "outputs"
    values = set_values(gates__accuracy=1)
    refused = run_graph(outputs, *few, *values, "--seed", "5")
    assert refused.outcome.code == 3, refused.outcome.errors
    # As if it had been killed right before its end.
    (path,) = outputs.glob("*/runs/*/receipt.json")
    killed = {**json.loads(path.read_text()), "status": "interrupted", "verdict": "none"}
    metadata.write_receipt(path.parent, killed)

    ended = quick_command("resume", "latest", "--output-dir", outputs, "--json")
    assert ended.code == 3, ended.errors
    assert ended.json["request"] == refused.receipt["request"]
    assert ended.json["config"] == refused.receipt["config"]
    assert ended.json["seed"] == 5
    assert ended.json["nodes"]["Trainer"]["cached"]
