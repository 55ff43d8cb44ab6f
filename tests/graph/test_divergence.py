"""A training that diverges: it pushes nothing, is not resumed, and says what to run instead."""

import shlex

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def diverged_run(run_few, set_values, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("diverged_run") / "outputs"
    return run_few(output_dir, *set_values(training__learning_rate=1e30), code=1)


def test_it_fails_and_nothing_is_pushed(diverged_run, check_receipt):
    receipt = diverged_run.receipt
    check_receipt(receipt)
    assert (receipt["status"], receipt["verdict"]) == ("failed", "none")
    assert receipt["failure"]["node"] == "Trainer"
    assert receipt["nodes"]["Pusher"]["status"] == "not run"
    assert not list(diverged_run.root.glob("serving/*"))
    message = receipt["failure"]["message"]
    assert message.startswith("the loss became ")
    assert " in epoch 1 at learning rate " in message
    assert "There is no good checkpoint" in message


def test_it_is_said_what_to_run_instead(diverged_run):
    receipt, text = diverged_run.receipt, diverged_run.outcome.output
    assert receipt["failure"]["changes"] == ["training.learning_rate=1e+29"]
    command = f"{receipt['command']} --set training.learning_rate=1e+29"
    assert f"Go on     {command} (what is complete is not run again)" in text
    assert "resume" not in text


def test_it_is_not_resumed(diverged_run, command, tripwires, digest_of):
    before = digest_of(diverged_run.root)
    output_dir = diverged_run.output_dir
    ended = command("resume", "latest", "--output-dir", output_dir, PYTHONPATH=tripwires)
    assert (ended.code, ended.output) == (2, "")
    (line,) = ended.errors.splitlines()
    assert line.startswith(f"error: run {diverged_run.receipt['run_id']} would only fail again: ")
    assert line.endswith("--set training.learning_rate=1e+29")
    assert digest_of(diverged_run.root) == before


def test_what_is_said_to_run_goes_on_from_what_is_complete(diverged_run, quick_command, tmp_path):
    """Here with a rate at which nothing diverges: a tenth of this one is not yet small enough."""
    output_dir = diverged_run.copy(tmp_path / "outputs")
    _, _, *arguments = shlex.split(diverged_run.receipt["command"])
    changes = ("--output-dir", output_dir, "--set", "training.learning_rate=0.006", "--json")
    ended = quick_command(*arguments, *changes)
    assert ended.code == 0, ended.errors
    assert ended.json["nodes"]["ExampleGen"]["status"] == "cached"
    assert ended.json["nodes"]["Trainer"]["status"] != "cached"
