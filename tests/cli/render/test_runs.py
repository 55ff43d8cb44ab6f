"""What is printed of runs, for people and for programs."""

import json
from pathlib import Path

import numpy as np
import pytest

from cli.render import runs, tables
from components.quality_gates import JudgedGate
from pipeline.records import history

OUTPUTS = Path("outputs")


def printed(capsys, receipt):
    runs.print_run(receipt, OUTPUTS, as_json=False)
    return capsys.readouterr().out


def test_a_pushed_model_is_told_with_its_version_and_where_it_lies(capsys, pushed_receipt):
    text = printed(capsys, pushed_receipt)
    assert "Pushed as version 17: all 1 gates passed." in text
    assert "Test accuracy 0.9492 (0.9451 to 0.9530) on 12,000 images" in text
    assert "Results   outputs/clothes/runs/20260102-030405" in text
    assert "Go on" not in text


def test_what_looks_like_markup_or_an_emoji_is_printed_as_it_is(capsys):
    console = tables.make_console()
    console.print("/data/:bug:/[red]/x", markup=False)
    assert capsys.readouterr().out == "/data/:bug:/[red]/x\n"


def test_numbers_and_paths_are_not_looked_for():
    """That takes minutes for a long line, which a damaged file may hold."""
    assert tables.make_console().render_str("17 in /data/x, 'a'=True").spans == []


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
    runs.print_run(pushed_receipt, locations.root.parent, as_json=False)
    line = f"Pushed    {locations.serving / '17'} ({standing})\n"
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(("name", "folder"), [("clothes", ""), ("flowers", "/clothes")])
def test_the_copy_in_a_bucket_is_told_where_the_run_made_one(capsys, pushed_receipt, name, folder):
    """Of a profile that is not for production, it is in a folder below the configured one."""
    serving = {"bucket": "s3://models/flowers"}
    config = {**pushed_receipt.config, "name": name, "serving": serving}
    copied = printed(capsys, pushed_receipt.changed(config=config))
    assert f"\nCopied    s3://models/flowers{folder}/17\n" in copied
    assert "Copied" not in printed(capsys, pushed_receipt)


def test_class_names_are_shown_as_they_are(capsys, pushed_receipt):
    """Even where they look like the markup of the library that prints them."""
    text = printed(capsys, pushed_receipt)
    assert "weakest class [bold]x, recall 0.500 (0.472 to 0.528)" in text
    (line,) = [line for line in text.splitlines() if line.startswith("[bold]x ")]
    assert line.split() == ["[bold]x", "0.984", "0.500", "0.663", "1,200"]


def test_where_more_files_that_were_left_out_are_named_is_told(capsys, pushed_receipt):
    """A run that takes ExampleGen from the cache does not name them in its log."""
    left_out = [{"name": f"{number}.png", "reason": "broken."} for number in range(7)]
    reading = {
        "form": "class folders",
        "summary": "class folders with 2 classes",
        "fit": "pad",
        "background": 0,
        "border": "dark",
        "border_brightness": 3.0,
        "skipped": left_out,
        "skipped_count": 7,
    }
    text = printed(capsys, pushed_receipt.changed(reading=reading))
    assert "4.png: broken." in text and "5.png" not in text
    assert "... (log.txt of the run that read the data names more)" in text


def test_each_node_is_shown_with_its_time(capsys, pushed_receipt):
    (line,) = [line for line in printed(capsys, pushed_receipt).splitlines() if "Trainer" in line]
    assert line.split() == ["Trainer", "complete", "12.3"]


def test_a_run_of_whose_nodes_nothing_is_known_shows_no_empty_table(capsys, receipt):
    """As where the store of the metadata was lost amid it."""
    failure = {"node": None, "message": "the database is gone", "changes": []}
    text = printed(capsys, receipt.changed(status="failed", failure=failure, nodes={}))
    assert "the database is gone" in text
    assert "seconds" not in text


@pytest.mark.parametrize(("threshold", "noise"), [(0.6, False), (0.51, True)])
def test_a_refused_model_is_told_with_the_gates_that_refused_it(
    capsys, pushed_receipt, threshold, noise
):
    gates = [*pushed_receipt.gates, JudgedGate("recall", "[bold]x", 0.5, threshold, passed=False)]
    refused = pushed_receipt.changed(verdict="refused", pushed_version=None, gates=gates)
    text = printed(capsys, refused)
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
    receipt = receipt.changed(
        failure={"node": "Trainer", "message": message, "changes": []}, **changes
    )
    text = printed(capsys, receipt)
    assert headline in text
    assert "  one [red]thing[/] happened\n  and another\n" in text
    assert "Log       outputs/clothes/runs/20260102-030405/log.txt" in text
    command = "python3 pipeline_runner.py resume 20260102-030405"
    assert f"Go on     {command} (what is complete is not run again)" in text


def test_a_run_that_would_only_fail_again_goes_on_changed(capsys, receipt):
    changes = ["training.learning_rate=0.0006"]
    failure = {"node": "Trainer", "message": "the loss became nan", "changes": changes}
    receipt = receipt.changed(status="failed", failure=failure)
    text = printed(capsys, receipt)
    command = "python3 pipeline_runner.py run --set training.learning_rate=0.0006"
    assert f"Start `{command}`: complete nodes do not run again." in text
    assert f"Go on     {command} (what is complete is not run again)" in text
    assert "resume" not in text


def test_a_failure_outside_of_the_nodes_is_told_and_long_lines_are_not_cut(capsys, receipt):
    message = "word " * 100 + "end"
    failure = {"node": None, "message": message, "changes": []}
    text = printed(capsys, receipt.changed(status="failed", failure=failure))
    assert "Failed in the run itself: nothing was pushed." in text
    assert f"  {message}\n" in text


def test_a_run_that_was_killed_can_be_shown(capsys, receipt):
    """Nothing was entered after its beginning."""
    assert "Interrupted before its end." in printed(capsys, receipt)


@pytest.mark.parametrize("content", [None, '{"schema_version": 1}'])
def test_without_its_review_a_run_is_not_told_better_than_it_was(
    capsys, pushed_receipt, locations, content
):
    """As after an update of the project: the receipt has how far the accuracy fell."""
    fell = JudgedGate("accuracy against the served model", "overall", -0.004, -0.005, passed=True)
    receipt = pushed_receipt.changed(gates=[*pushed_receipt.gates, fell])
    folder = locations.runs / receipt.run_id
    folder.mkdir(parents=True)
    if content:
        (folder / "review.json").write_text(content)
    runs.print_run(receipt, locations.root.parent, as_json=False)
    text = capsys.readouterr().out
    assert "Against the served model, the accuracy changed by -0.0040. Since the answers" in text
    assert "speaks against the new version" not in text


def test_a_receipt_as_json_is_the_receipt(capsys, pushed_receipt):
    runs.print_run(pushed_receipt, OUTPUTS, as_json=True)
    assert json.loads(capsys.readouterr().out) == pushed_receipt.as_json_value()


def test_runs_are_listed_newest_first(capsys, receipt, pushed_receipt):
    older = receipt.changed(run_id="20250101-000000", pipeline="[red]shoes")
    runs.print_runs([older, pushed_receipt], {}, OUTPUTS, as_json=False)
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split()[:4] == ["run", "pipeline", "status", "verdict"]
    assert first.split()[0] == "20260102-030405"
    assert first.split()[-5:] == ["pushed", "0.9492", "61", "s", "17"]
    assert second.split()[:2] == ["20250101-000000", "[red]shoes"]
    runs.print_runs([older, pushed_receipt], {}, OUTPUTS, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert [entry["run_id"] for entry in found] == ["20260102-030405", "20250101-000000"]


def test_without_runs_it_is_said_how_to_start_one(capsys):
    runs.print_runs([], {}, OUTPUTS, as_json=False)
    assert "python3 pipeline_runner.py run" in capsys.readouterr().out
    runs.print_runs([], {}, OUTPUTS, as_json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_the_run_whose_version_is_served_is_marked(past, locations, capsys):
    first = past.run("20260101-120000", "a")
    second = past.run("20260102-120000", "b")
    output_dir = locations.root.parent
    runs.print_runs([first, second], history.served(output_dir), output_dir, as_json=False)
    _, newest, oldest = capsys.readouterr().out.splitlines()
    assert newest.split()[-2:] == [str(second.pushed_version), "served"]
    assert oldest.split()[-1] == str(first.pushed_version)


def test_a_served_version_that_no_run_pushed_is_told_of(past, capsys):
    first = past.run("20260101-120000", "a")
    runs.print_runs([first], {"clothes": 99}, OUTPUTS, as_json=False)
    assert "clothes serves version 99: `lineage 99` shows it." in capsys.readouterr().out


def test_a_run_at_work_is_shown_with_its_log(receipt, capsys):
    text = printed(capsys, receipt.changed(status="running"))
    assert "Run 20260102-030405 is at work since 2026-01-02T03:04:05+00:00." in text
    assert "outputs/clothes/runs/20260102-030405/log.txt" in text


def test_a_value_that_fails_never_looks_like_its_threshold(pushed_receipt, capsys):
    narrow = JudgedGate("accuracy", "overall", 53_999 / 60_000, 0.9, False)
    slices = {
        "shop": {
            "threshold": 0.75,
            "min_images": 5,
            "values": {"a": {"accuracy": 0.74998, "count": 50_000, "judged": True}},
        }
    }
    evaluation = {**pushed_receipt.evaluation.model_dump(), "slices": slices}
    failed = JudgedGate("slice accuracy", "shop=a", 0.74998, 0.75, False)
    text = printed(
        capsys,
        pushed_receipt.changed(
            gates=(narrow, failed),
            verdict="refused",
            evaluation=evaluation,
            config={**pushed_receipt.config, "gates": {"slices": {"shop": {"accuracy": 0.75}}}},
        ),
    )
    row = next(line for line in text.splitlines() if line.startswith("accuracy "))
    assert " 0.89998 " in row
    assert "0.90000  -0.00002  refused" in row
    row = next(line for line in text.splitlines() if line.startswith("shop=a"))
    assert (row.split()[1], row.split()[-3]) == ("0.74998", "0.75000")


def test_a_class_without_test_images_has_no_scores(pushed_receipt, capsys):
    evaluation = pushed_receipt.evaluation.model_dump()
    (name, scores), *others = evaluation["per_class"].items()
    confusion = np.array(evaluation["confusion"])
    # Nor is it ever predicted.
    confusion[0], confusion[:, 0] = 0, 0
    nothing = {**scores, "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    evaluation |= {"per_class": {name: nothing, **dict(others)}, "confusion": confusion.tolist()}
    text = printed(capsys, pushed_receipt.changed(evaluation=evaluation))
    rows = [" ".join(line.split()) for line in text.splitlines()]
    place = rows.index(f"{name} none none none 0")
    # The last of the classes, not the weakest.
    assert rows[place + 1].startswith(("balanced ", "macro "))


def test_of_many_gates_and_classes_the_worst_are_printed(pushed_receipt, tmp_path, capsys):
    right = np.arange(1, 31)
    confusion = np.diag(right) + np.diag(100 - right[:-1], 1)
    confusion[-1, 0] = 100 - right[-1]
    per_class = {
        f"class {label:02d}": {"precision": 0.5, "recall": hits / 100, "f1": 0.5, "support": 100}
        for label, hits in enumerate(right)
    }
    gates = [
        JudgedGate("recall", name, scores["recall"], 0.2, scores["recall"] >= 0.2)
        for name, scores in per_class.items()
    ]
    evaluation = pushed_receipt.evaluation.model_dump(mode="json")
    evaluation |= {"per_class": per_class, "confusion": confusion.tolist(), "count": 3_000}
    receipt = pushed_receipt.changed(evaluation=evaluation, gates=gates)
    runs.print_run(receipt, tmp_path, as_json=False)
    printed = capsys.readouterr().out
    assert "10 more gates: see the review page or receipt.json." in printed
    assert "10 more classes: see the review page or receipt.json." in printed
    assert "class 00" in printed
    assert "class 29" not in printed
