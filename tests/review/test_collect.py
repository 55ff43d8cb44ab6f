"""Every kind of run has a review: what cannot be told is missing for a reason, and alone."""

import shutil
import subprocess
import sys

import pytest

from components import features
from pipeline.records.executions import NodeExecution
from pipeline.records.outcomes import NodeStatus

ANSWERED = {"calibration", "suspects", "inside", "comparison"}
PREDICTED = {"sheet", *ANSWERED}
EVALUATED = {"gates", "report", "confusion"}
# Only a run that asks for it measures robustness.
UNASKED = {"robustness"}
ARTIFACTS = {
    "ImportSchemaGen.schema": set(),
    "StatisticsGen.statistics": {"data"},
    "DataGate.report": {"data", "suspects.similar"},
    "Trainer.model_run": {"training", "inside.feature_maps"},
    "Predictions.predictions": PREDICTED,
}


def missing(summary):
    """The names of what is missing, each of which has a reason that is a sentence."""
    for name, reason in summary.missing.items():
        assert reason.endswith("."), (name, reason)
        assert "." in name or not getattr(summary, name)
    return set(summary.missing)


def test_a_whole_run_misses_nothing(made_run):
    made_run.add_robustness()
    summary = made_run.collect()
    assert missing(summary) == set()
    assert summary.class_names == list(made_run.classes)
    assert summary.sheet.count == len(summary.images)
    assert summary.calibration.temperature == 0.8
    assert summary.robustness.examples_about == ["clean", "noise, strength 2"]
    assert summary.robustness.clean == summary.report.accuracy
    shirts = summary.robustness.scores[1].classes["Shirt"]
    assert (shirts.hits, shirts.total) == (20, 40)


def test_the_sections_agree_with_each_other(full):
    summary = full
    hits, total = summary.report.accuracy.hits, summary.report.accuracy.total
    assert summary.verdict.accuracy == summary.report.accuracy == summary.comparison.candidate
    assert sum(b.accuracy.hits for b in summary.calibration.bins) == hits
    assert sum(b.accuracy.total for b in summary.calibration.bins) == total
    assert summary.calibration.coverage[0].accuracy == pytest.approx(hits / total)
    assert summary.confusion.confident_errors.count == total - hits
    assert summary.gates[0].value == pytest.approx(hits / total)
    assert summary.history[-1].accuracy == summary.report.accuracy
    assert dict(summary.verdict.change) == dict(summary.comparison.change)


def test_a_run_has_the_same_review_each_time(made_run):
    assert made_run.collect() == made_run.collect()


def positions(part):
    """Every position that a gallery anywhere in the summary shows."""
    if isinstance(part, dict):
        found = part.get("images", []) if set(part) == {"count", "images"} else []
        return found + [place for value in part.values() for place in positions(value)]
    if isinstance(part, list):
        return [place for value in part for place in positions(value)]
    return []


def test_each_image_is_kept_once_and_shown_somewhere(full):
    shown = set(positions(full.model_dump()))
    assert shown == set(range(full.sheet.count))
    ids = [image.example_id for image in full.images]
    assert len(set(ids)) == len(ids) == full.sheet.count


@pytest.mark.parametrize(("output", "lost"), ARTIFACTS.items())
def test_artifacts_that_were_removed_take_their_own_sections_alone(made_run, output, lost):
    for path in made_run.file(output).rglob("*.*"):
        path.unlink()
    summary = made_run.collect()
    assert missing(summary) == lost | UNASKED
    for name in lost:
        assert "is not there: it was removed" in summary.missing[name]


@pytest.mark.parametrize("kept", [0, 7, 300])
@pytest.mark.parametrize(("output", "lost"), ARTIFACTS.items())
def test_damaged_artifacts_take_their_own_sections_alone(made_run, output, lost, kept):
    for path in made_run.file(output).rglob("*.*"):
        path.write_bytes(b"\xff" + path.read_bytes()[:kept])
    summary = made_run.collect()
    assert missing(summary) == lost | UNASKED
    for name in lost:
        assert "is damaged (" in summary.missing[name]


def test_a_file_of_another_form_is_damaged(made_run):
    made_run.file("Trainer.model_run", features.HISTORY_FILE).write_text('{"loss": 1}')
    summary = made_run.collect()
    assert missing(summary) == {"training"} | UNASKED
    assert "history.json is damaged (ValidationError" in summary.missing["training"]


def test_a_file_with_other_content_than_expected_takes_its_own_section_alone(made_run):
    made_run.file("Trainer.model_run", features.HISTORY_FILE).write_text("[]")
    summary = made_run.collect()
    assert missing(summary) == {"training"} | UNASKED
    assert summary.missing["training"].startswith("This could not be made from the files of the")


def test_a_folder_in_the_place_of_a_file_is_no_file(made_run):
    path = made_run.file("Trainer.model_run", features.HISTORY_FILE)
    path.unlink()
    path.mkdir()
    assert "cannot be read: Is a directory." in made_run.collect().missing["training"]


def test_what_ml_metadata_no_longer_knows_is_missing(made_run):
    made_run.nodes = {name: NodeExecution(NodeStatus.NOT_RUN, 0, {}) for name in made_run.nodes}
    summary = made_run.collect()
    assert missing(summary) == {"data", "training"} | PREDICTED | UNASKED
    assert summary.missing["training"] == (
        "ML Metadata no longer knows what Trainer made in this run."
    )
    assert summary.report and summary.confusion and summary.gates


@pytest.mark.parametrize(
    ("node", "also", "told"),
    [
        ("ExampleGen", {"data", "training", *EVALUATED, *PREDICTED}, "the run failed in"),
        ("DataGate", {"data", "training", *EVALUATED, *PREDICTED}, "the run failed in"),
        ("Trainer", {"training", *EVALUATED, *PREDICTED}, "the run failed in"),
        ("Predictions", {*EVALUATED, *PREDICTED}, ""),
        ("Evaluator", {*EVALUATED, *PREDICTED}, ""),
    ],
)
def test_a_run_that_failed_tells_what_it_came_to(made_run, node, also, told):
    made_run.end_in(node, "disk full")
    summary = made_run.collect()
    assert missing(summary) == also | UNASKED
    assert summary.run.failure.node == node
    assert f"{told} {node}".strip() in summary.missing["calibration"]


def test_what_was_removed_is_told_from_what_never_was(made_run):
    assert made_run.finished.lost() == []
    shutil.rmtree(made_run.file("Predictions.predictions"))
    assert made_run.finished.lost() == ["Predictions"]
    made_run.nodes["DataGate"] = NodeExecution(NodeStatus.COMPLETE, 1.0, {})
    assert made_run.finished.lost() == ["DataGate", "Predictions"]
    made_run.end_in("DataGate", "drift: labels moved", verdict="stopped")
    assert made_run.finished.lost() == []
    made_run.nodes.clear()
    assert made_run.finished.lost() == ["ImportSchemaGen", "StatisticsGen"]


def test_what_a_node_left_that_failed_is_not_read(made_run):
    outputs = made_run.nodes["Trainer"].outputs
    made_run.end_in("Trainer", "disk full")
    made_run.nodes["Trainer"] = NodeExecution(NodeStatus.FAILED, 1.0, outputs)
    summary = made_run.collect()
    assert summary.training is None
    assert summary.missing["training"] == "Trainer failed, so it left nothing to show."


def test_a_run_that_failed_after_its_evaluation_keeps_it(made_run):
    evaluated = made_run.receipt
    made_run.end_in("Pusher", "disk full", evaluation=evaluated.evaluation, gates=evaluated.gates)
    summary = made_run.collect()
    assert missing(summary) == UNASKED
    assert summary.verdict.accuracy is not None


def test_a_run_that_the_data_gate_stopped(made_run):
    made_run.end_in("DataGate", "drift: labels moved", verdict="stopped")
    summary = made_run.collect()
    assert missing(summary) == {"training", "data.drifts", *EVALUATED, *PREDICTED} | UNASKED
    assert summary.missing["training"] == (
        "Trainer did not run: DataGate stopped the run before training."
    )
    assert summary.data.findings[0].line == "labels moved"


def test_a_run_that_was_killed_before_anything_was_recorded(made_run):
    made_run.end_in("ImportSchemaGen", "killed")
    made_run.kill()
    made_run.nodes = {}
    summary = made_run.collect()
    assert missing(summary) == {"class_names", "data", "training", *EVALUATED, *PREDICTED} | UNASKED
    assert summary.missing["training"] == "Trainer left no trace: the run was interrupted."
    assert summary.class_names == []
    assert summary.lineage.parameters


def test_a_killed_run_shows_what_ml_metadata_has_of_it(made_run):
    made_run.end_in("Evaluator", "killed")
    made_run.nodes["Evaluator"] = NodeExecution(NodeStatus.INTERRUPTED, 1.0, {})
    made_run.kill()
    summary = made_run.collect()
    assert missing(summary) == {*EVALUATED, *PREDICTED} | UNASKED
    assert summary.missing["report"] == "Evaluator did not end: the run was interrupted."
    assert summary.missing["sheet"] == "Evaluator did not end: the run was interrupted."
    assert summary.training.chosen_epoch == 3


def test_robustness_that_was_asked_for_and_failed_says_so(made_run):
    failed = NodeExecution(NodeStatus.FAILED, 1.0, {}).record
    made_run.change(config={"robustness": {"enabled": True}}, nodes={"RobustnessEvaluator": failed})
    reason = made_run.collect().missing["robustness"]
    assert reason == "RobustnessEvaluator failed, so it left nothing to show."


def test_robustness_without_examples_keeps_its_scores(made_run):
    made_run.add_robustness()
    made_run.file("Corruption.examples", features.PREVIEW_FILE).unlink()
    summary = made_run.collect()
    assert missing(summary) == {"robustness.examples"}
    assert (summary.robustness.examples, summary.robustness.examples_about) == (None, [])
    assert len(summary.robustness.scores) == 21


def test_colour_images_have_a_review_too(made_run):
    """Not all of it: similar images and feature maps are those of the grayscale run."""
    made_run.images = made_run.images.repeat(3, axis=3)
    made_run.write_predictions()
    summary = made_run.collect()
    assert summary.sheet.count == len(summary.images) > 100
    assert missing(summary) == {"suspects.similar"} | UNASKED


def test_the_review_of_ten_thousand_images_is_small(default_run):
    """At an accuracy of about 0.90, and of images of noise, which no format makes smaller."""
    assert default_run.report.accuracy.total == 10_000
    assert default_run.report.accuracy.value == pytest.approx(0.90, abs=0.02)
    assert len(default_run.model_dump_json()) < 2_000_000


def test_collecting_needs_neither_tensorflow_nor_tfx():
    code = "import review.collect, review.versus, sys; print([*sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ended.stdout.replace("'", "").split(", ")}
    heavy = {"apache_beam", "keras", "tensorflow", "tensorflow_data_validation", "tfx"}
    assert not loaded & (heavy | {"tensorflow_model_analysis"})
