"""What is printed of runs, for people and for programs."""

import json
from pathlib import Path

import pytest

from cli.render import runs
from pipeline import config


def printed(capsys, receipt):
    runs.print_receipt(receipt, Path("outputs"), as_json=False)
    return capsys.readouterr().out


def test_a_pushed_model_is_told_with_its_version_and_where_it_lies(capsys, pushed_receipt):
    text = printed(capsys, pushed_receipt)
    assert "Pushed as version 17: all 1 gates passed." in text
    assert "Test accuracy 0.9492 (0.9451 to 0.9530) on 12,000 images" in text
    assert "Results   outputs/clothes/runs/20260102-030405" in text
    assert "Go on" not in text


def test_what_looks_like_markup_or_an_emoji_is_printed_as_it_is(capsys):
    console = runs.make_console()
    console.print("/data/:bug:/[red]/x", markup=False)
    assert capsys.readouterr().out == "/data/:bug:/[red]/x\n"


@pytest.mark.parametrize(
    ("served", "standing"),
    [
        ([16, 17], "served now"),
        ([17, 18], "version 18 is served now"),
        ([18], "removed since"),
        ([], "removed since"),
    ],
)
def test_what_became_of_a_pushed_version_is_told(
    capsys, pushed_receipt, locations, served, standing
):
    for version in served:
        (locations.serving / str(version)).mkdir(parents=True)
    runs.print_receipt(pushed_receipt, locations.root.parent, as_json=False)
    line = f"Pushed    {locations.serving / '17'} ({standing})\n"
    assert line in capsys.readouterr().out


def test_class_names_are_shown_as_they_are(capsys, pushed_receipt):
    """Even where they look like the markup of the library that prints them."""
    text = printed(capsys, pushed_receipt)
    assert "weakest class [bold]x, recall 0.500 (0.472 to 0.528)" in text
    (line,) = [line for line in text.splitlines() if line.startswith("[bold]x ")]
    assert line.split() == ["[bold]x", "0.984", "0.500", "0.663", "1,200"]


def test_each_node_is_shown_with_its_time(capsys, pushed_receipt):
    (line,) = [line for line in printed(capsys, pushed_receipt).splitlines() if "Trainer" in line]
    assert line.split() == ["Trainer", "complete", "12.3"]


@pytest.mark.parametrize(("threshold", "noise"), [(0.6, False), (0.51, True)])
def test_a_refused_model_is_told_with_the_gates_that_refused_it(
    capsys, pushed_receipt, threshold, noise
):
    failed = {
        "metric": "recall",
        "slice": "[bold]x",
        "value": 0.5,
        "threshold": threshold,
        "passed": False,
    }
    pushed_receipt.update(verdict="refused", pushed_version=None)
    pushed_receipt["gates"].append(failed)
    text = printed(capsys, pushed_receipt)
    assert "Refused: the recall of [bold]x is too low. Nothing was pushed." in text
    (sentence,) = [line for line in text.splitlines() if line.startswith("  Recall of [bold]x")]
    assert ("more than the noise" in sentence) != noise
    (line,) = [line for line in text.splitlines() if line.startswith("recall ")]
    assert "refused" in line
    assert ("within the noise" in line) == noise
    assert "Pushed " not in text


@pytest.mark.parametrize(
    ("changes", "headline"),
    [
        ({"status": "failed", "verdict": "stopped"}, "Stopped by DataGate before training"),
        ({"status": "failed"}, "Failed in Trainer: nothing was pushed."),
        ({"status": "interrupted"}, "Interrupted before its end."),
    ],
)
def test_a_failure_is_told_with_its_reason_and_how_to_go_on(capsys, receipt, changes, headline):
    message = "one [red]thing[/] happened\nand another"
    receipt.update(failure={"node": "Trainer", "message": message, "changes": []}, **changes)
    text = printed(capsys, receipt)
    assert headline in text
    assert "  one [red]thing[/] happened\n  and another\n" in text
    assert "Log       outputs/clothes/runs/20260102-030405/log.txt" in text
    command = "python3 pipeline_runner.py resume 20260102-030405"
    assert f"Go on     {command} (what is complete is not run again)" in text


def test_a_run_that_would_only_fail_again_goes_on_changed(capsys, receipt):
    changes = ["training.learning_rate=0.0006"]
    failure = {"node": "Trainer", "message": "the loss became nan", "changes": changes}
    receipt.update(status="failed", failure=failure)
    text = printed(capsys, receipt)
    command = "python3 pipeline_runner.py run --set training.learning_rate=0.0006"
    assert f"Start `{command}`: what is complete is not run again." in text
    assert f"Go on     {command} (what is complete is not run again)" in text
    assert "resume" not in text


def test_a_failure_outside_of_the_nodes_is_told(capsys, receipt):
    receipt.update(
        status="failed", failure={"node": None, "message": "no space left", "changes": []}
    )
    assert "Failed in the run itself: nothing was pushed." in printed(capsys, receipt)


def test_a_run_that_was_killed_can_be_shown(capsys, receipt):
    """Nothing was entered after its beginning."""
    assert "Interrupted before its end." in printed(capsys, receipt)


def test_long_lines_are_not_cut_where_no_terminal_is(capsys, receipt):
    message = "word " * 100 + "end"
    receipt.update(status="failed", failure={"node": None, "message": message, "changes": []})
    assert f"  {message}\n" in printed(capsys, receipt)


def test_a_receipt_as_json_is_the_receipt(capsys, pushed_receipt):
    runs.print_receipt(pushed_receipt, Path("outputs"), as_json=True)
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(pushed_receipt))


def test_runs_are_listed_newest_first(capsys, receipt, pushed_receipt):
    older = {**receipt, "run_id": "20250101-000000", "pipeline": "[red]shoes"}
    older.update(verdict="none", test_accuracy=None, seconds=None, pushed_version=None)
    runs.print_runs([older, pushed_receipt], {}, as_json=False)
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split()[:4] == ["run", "pipeline", "status", "verdict"]
    assert first.split()[0] == "20260102-030405"
    assert first.split()[-5:] == ["pushed", "0.9492", "61", "s", "17"]
    assert second.split()[:2] == ["20250101-000000", "[red]shoes"]


def test_runs_as_json_are_receipts_newest_first(capsys, receipt, pushed_receipt):
    runs.print_runs([{**receipt, "run_id": "1"}, pushed_receipt], {}, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert [entry["run_id"] for entry in found] == ["20260102-030405", "1"]


def test_without_runs_it_is_said_how_to_start_one(capsys):
    runs.print_runs([], {}, as_json=False)
    assert "python3 pipeline_runner.py run" in capsys.readouterr().out
    runs.print_runs([], {}, as_json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_every_key_is_listed_with_its_default(capsys):
    runs.print_keys(as_json=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    listed = {line[0] for line in lines}
    assert set(config.known_keys()) <= listed
    assert ["training.widths", "[48,", "96,", "192]"] in [line[:4] for line in lines]


def test_every_key_is_listed_as_json(capsys):
    runs.print_keys(as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert set(found) == set(config.known_keys())
    assert found["training.augmentation.flip"]["default"] is True
    assert all(entry["about"] for entry in found.values())
