"""What a reader is told first, for each way in which a run can end."""

import dataclasses

import numpy as np
import pytest

from components.quality_gates import (
    ACCURACY,
    BALANCED_CHANGE,
    CHANGE,
    CORRUPTION,
    RECALL,
    SLICE,
    JudgedGate,
)
from review import worst


def test_a_pushed_model(made_run):
    found = made_run.collect().verdict
    assert found.headline == "Pushed as version 17: all 12 gates passed."
    assert len(found.reasons) == 1
    assert "better by more than chance explains" in found.reasons[0]
    assert found.advice == (
        "No gate and no comparison with the served model speaks against the new version."
    )
    assert found.accuracy.hits == (made_run.choices == made_run.labels).sum()
    assert found.worst_class.name == "Shirt"
    assert found.change.value > 0


def test_a_model_that_was_served_already(made_run):
    """Such a run publishes nothing: after a rollback, say. Chance has no part in its change."""
    made_run.baseline = made_run.candidate.copy()
    made_run.write_predictions()
    made_run.judge(drop=0.005)
    made_run.receipt = made_run.receipt.changed(served_before=17)
    summary = made_run.collect()
    found = summary.verdict
    assert found.headline == "Version 17 stays: it is the same model, and all 12 gates passed."
    assert found.reasons == []
    assert found.advice == "Nothing changed in what is served."
    assert (found.change.value, found.change.interval) == (0.0, None)
    assert found.change_note == "it is the same model"
    assert [(g.interval, g.noise) for g in summary.gates if g.metric == CHANGE] == [(None, False)]
    assert "the model that was served when it began" in summary.missing["comparison"]


def test_a_model_that_passed_narrowly(made_run):
    made_run.judge(accuracy=made_run.receipt.evaluation.accuracy - 0.005)
    summary = made_run.collect()
    assert summary.verdict.headline == (
        "Pushed as version 17: all 12 gates passed, 1 of them within the noise."
    )
    assert summary.verdict.reasons[0] == summary.gates[0].sentence
    assert "passed narrowly" in summary.verdict.advice


def test_the_first_model(make_run):
    found = make_run(served=False).collect().verdict
    assert found.headline == "Pushed as version 17: all 11 gates passed."
    assert found.reasons == []
    assert (found.change, found.change_note) == (None, "nothing to compare with")
    assert found.advice.startswith("No model was served when the run began")


def test_a_new_line_of_models(make_run):
    made = make_run(served=False)
    made.change(request={"new_line": True})
    summary = made.collect()
    assert summary.verdict.advice.startswith("The run began a new line of models")
    assert summary.missing["comparison"].startswith("This run began a new line of models, so")


def test_a_model_that_is_worse_but_pushed(made_run):
    swap(made_run)
    made_run.judge(drop=1.0)
    found = made_run.collect().verdict
    assert found.headline.startswith("Pushed")
    assert "worse by more than chance explains" in found.reasons[-1]
    assert found.advice.startswith("By accuracy, the new version is worse than the one that it")


def test_a_balanced_accuracy_that_fell_clearly_is_told_though_the_gate_allows_it(made_run):
    """A rare class is lost, and the accuracy hardly shows it."""
    shirts = made_run.labels == made_run.classes.index("Shirt")
    kept = np.flatnonzero(~shirts | (np.cumsum(shirts) <= 8))
    made_run.labels, made_run.images = made_run.labels[kept], made_run.images[kept]
    right = np.eye(10, dtype=np.float32)[made_run.labels]
    wrong = np.roll(right, 1, axis=1)
    rare = shirts[kept][:, np.newaxis]
    made_run.candidate, made_run.baseline = np.where(rare, wrong, right), right
    made_run.evaluate()
    made_run.write_predictions()
    made_run.judge(recall=0.0, drop=0.5)
    balanced = JudgedGate(BALANCED_CHANGE, "overall", -0.1, -0.5, passed=True)
    made_run.change(gates=[made_run.receipt.gates[-1], balanced])
    advice = made_run.collect().verdict.advice
    assert advice.startswith("By accuracy, the new version is worse")
    made_run.baseline[np.flatnonzero(~rare)[::40]] = wrong[np.flatnonzero(~rare)[::40]]
    made_run.judge(recall=0.0, drop=0.5)
    made_run.write_predictions()
    made_run.change(gates=[made_run.receipt.gates[-1], balanced])
    summary = made_run.collect()
    assert summary.comparison.change.value > 0
    assert summary.verdict.advice.startswith("By balanced accuracy, the new version is worse")


def test_a_class_that_fell_clearly_is_named_though_all_others_gained(made_run):
    dresses = made_run.labels == made_run.classes.index("Dress")
    right = np.eye(10, dtype=np.float32)[made_run.labels]
    wrong = np.roll(right, 1, axis=1)
    of_class = np.arange(len(dresses)) // 10
    worse, better = dresses & (of_class % 2 == 0), ~dresses & (of_class % 4 == 0)
    made_run.candidate = np.where(worse[:, np.newaxis], wrong, right)
    made_run.baseline = np.where(better[:, np.newaxis], wrong, right)
    made_run.evaluate()
    made_run.write_predictions()
    made_run.judge(recall=0.1)
    summary = made_run.collect()
    assert summary.comparison.change.interval.low > 0
    fell = next(each for each in summary.comparison.classes if each.name == "Dress")
    told = f"The recall of Dress fell from 1.000 to {fell.candidate.value:.3f}, by more than chance"
    assert told in summary.verdict.reasons[-1]
    assert summary.verdict.advice.startswith("The gate of Dress allows that its recall fell")
    # A gate that passed narrowly comes first in the advice, and hides no class.
    made_run.judge(accuracy=made_run.receipt.evaluation.accuracy - 0.001, recall=0.1)
    narrow = made_run.collect().verdict
    assert narrow.advice.startswith("Other test images could have decided otherwise")
    assert told in narrow.reasons[-1]


def test_one_image_of_a_class_is_no_fall(made_run):
    """Chance explains it, and among ten classes it explains more."""
    right = np.eye(10, dtype=np.float32)[made_run.labels]
    dresses = np.flatnonzero(made_run.labels == made_run.classes.index("Dress"))
    made_run.candidate, made_run.baseline = right.copy(), np.roll(right, 1, axis=1)
    made_run.baseline[dresses] = right[dresses]
    made_run.candidate[dresses[:6]] = np.roll(right[dresses[:6]], 1, axis=1)
    made_run.evaluate()
    made_run.write_predictions()
    made_run.judge(recall=0.0)
    found = made_run.collect().verdict
    assert found.advice.startswith("No gate and no comparison")
    assert "The recall of" not in found.reasons[-1]


def test_without_the_answers_the_change_is_that_of_the_gate_and_chance_stays_open(made_run):
    """As `runs show` tells it of a run whose review was written by an earlier version."""
    swap(made_run)
    made_run.judge(drop=1.0)
    made_run.nodes = {}
    found = made_run.collect().verdict
    (change,) = [gate.value for gate in made_run.receipt.gates if gate.metric == CHANGE]
    assert change < 0
    assert (found.change.value, found.change.interval) == (change, None)
    assert found.change_note == "no interval: the answers to each image are not available"
    assert found.advice == (
        f"Against the served model, the accuracy changed by {change:+.4f}. Since the answers to "
        "each image are not available, nothing shows whether chance could explain that."
    )


def test_without_the_answers_a_refusal_for_the_change_may_be_chance(made_run):
    swap(made_run)
    made_run.judge(accuracy=0.5, recall=0.0, drop=0.0)
    made_run.nodes = {}
    advice = made_run.collect().verdict.advice
    assert advice.startswith("Keep the served model. Since the answers to each image are not")


def test_without_gates_and_answers_it_is_not_said_that_there_was_nothing_to_compare(made_run):
    made_run.end_in("Blessing", "disk full", evaluation=made_run.receipt.evaluation)
    made_run.nodes = {}
    made_run.change(served_before=16)
    found = made_run.collect().verdict
    assert (found.change, found.change_note) == (
        None,
        "the answers to each image are not available",
    )


def swap(made):
    """Makes the worse model the new one."""
    made.candidate, made.baseline = made.baseline, made.candidate
    made.evaluate()
    made.write_predictions()


def test_a_model_that_is_clearly_worse_than_the_served_one(made_run):
    swap(made_run)
    made_run.judge(accuracy=0.5, recall=0.0, drop=0.0)
    found = made_run.collect().verdict
    assert found.headline == (
        "Refused: the accuracy fell by more than is allowed. Nothing was pushed."
    )
    assert found.reasons[0].startswith("Against the served model, the accuracy changed by -0.")
    assert "more than the noise of 400 images" in found.reasons[0]
    assert found.advice.startswith("Keep the served model.")


def test_the_headline_names_the_metric_that_fell(made_run):
    balanced = JudgedGate(BALANCED_CHANGE, "overall", -0.04, -0.02, passed=False)
    gates = [*made_run.receipt.gates, balanced]
    made_run.change(gates=gates, verdict="refused", pushed_version=None)
    found = made_run.collect().verdict
    assert found.headline == (
        "Refused: the balanced accuracy fell by more than is allowed. Nothing was pushed."
    )
    assert found.change.value > 0
    assert "by accuracy, the new model is better" in found.reasons[-1]


def test_a_single_gate_that_refuses_clearly_is_the_headline(made_run):
    made_run.judge(accuracy=0.99)
    found = made_run.collect().verdict
    assert found.headline == "Refused: the accuracy is too low. Nothing was pushed."
    assert "more than the noise" in found.reasons[0]
    assert "confusion matrix" in found.advice


def test_a_class_that_is_refused_within_the_noise(made_run):
    made_run.judge_shirts()
    found = made_run.collect().verdict
    assert found.headline == "Refused: the recall of Shirt is too low. Nothing was pushed."
    assert "within the noise of 40 images" in found.reasons[0]
    assert found.advice.startswith("The shortfall may be chance: more test images would tell.")


def test_a_class_called_overall_is_not_taken_for_the_whole(make_run):
    names = (f"class {number}" for number in range(10))
    classes = tuple("overall" if name == "class 6" else name for name in names)
    made = make_run(classes=classes)
    made.judge_shirts()
    found = made.collect().verdict
    assert found.headline == "Refused: the recall of overall is too low. Nothing was pushed."


def test_of_many_gates_a_class_called_overall_comes_by_its_margin():
    named = JudgedGate(RECALL, "overall", 0.5, 0.6, passed=False)
    worse = JudgedGate(RECALL, "Shirt", 0.1, 0.6, passed=False)
    whole = JudgedGate(ACCURACY, "overall", 0.7, 0.8, passed=False)
    assert sorted([named, worse, whole], key=worst.urgency) == [whole, worse, named]


def test_several_gates_that_refuse_are_counted(made_run):
    made_run.judge(accuracy=0.99, recall=0.99)
    found = made_run.collect().verdict
    failed = sum(not gate.passed for gate in made_run.receipt.gates)
    assert failed > 1
    assert found.headline == f"Refused: {failed} of 12 gates failed. Nothing was pushed."
    assert len(found.reasons) == failed + 1


def test_a_corruption_that_refuses(made_run):
    made_run.add_robustness()
    gates = made_run.with_gate(CORRUPTION, threshold=0.8, passed=False)
    made_run.change(gates=gates, verdict="refused")
    found = made_run.collect().verdict
    assert found.headline == (
        "Refused: the accuracy under noise, strength 2, is too low. Nothing was pushed."
    )
    assert found.advice.startswith("The model is good on clean images and weak on changed ones")


def test_what_failed_within_the_noise_is_not_praised(made_run):
    """A corruption or slice that failed clearly does not make the rest good."""
    made_run.judge(accuracy=made_run.receipt.evaluation.accuracy + 0.005)
    made_run.add_robustness()
    made_run.change(gates=made_run.with_gate(CORRUPTION, threshold=0.8, passed=False))
    summary = made_run.collect()
    failed = {gate.metric: gate.noise for gate in summary.gates if not gate.passed}
    assert failed == {ACCURACY: True, CORRUPTION: False}
    assert summary.verdict.advice.startswith("The model is weak on changed images: the robustness")


def test_slices_that_refuse(made_run):
    made_run.slice_by_shop()
    gates = [
        dataclasses.replace(gate, threshold=1.1, passed=False) if gate.metric == SLICE else gate
        for gate in made_run.receipt.gates
        if gate.value is not None
    ]
    made_run.change(gates=gates, verdict="refused")
    advice = made_run.collect().verdict.advice
    assert advice.startswith("The model is good on the whole and weak in some slices")
    narrow = made_run.receipt.evaluation.accuracy + 0.005
    made_run.change(gates=made_run.with_gate(ACCURACY, threshold=narrow, passed=False))
    advice = made_run.collect().verdict.advice
    assert advice.startswith("The model is weak in some slices: the section of the slices shows")


def test_a_refusal_by_no_gate(made_run):
    made_run.change(verdict="refused")
    found = made_run.collect().verdict
    assert found.headline == "Refused, although every gate passed: nothing was pushed."


def test_a_model_that_differs_by_chance_alone(made_run):
    made_run.baseline = made_run.candidate.copy()
    right = np.flatnonzero(made_run.choices == made_run.labels)[:2]
    made_run.baseline[right] = made_run.baseline[right][:, ::-1]
    made_run.evaluate()
    made_run.write_predictions()
    (reason,) = made_run.collect().verdict.reasons
    assert reason == (
        "Compared with the served model, 2 of 400 images became right and 0 wrong: chance alone "
        "could explain that (p = 0.50)."
    )


def test_a_run_that_the_data_gate_stopped(made_run):
    made_run.end_in("DataGate", "drift: labels moved\nduplicates: 3 images", verdict="stopped")
    found = made_run.collect().verdict
    assert found.headline == "Stopped by DataGate before training: the data is not fit for it."
    assert found.reasons == ["drift: labels moved", "duplicates: 3 images"]
    assert (found.accuracy, found.change, found.worst_class) == (None, None, None)


@pytest.mark.parametrize("node", ["Trainer", None])
def test_a_run_that_failed(made_run, node):
    made_run.end_in("Trainer", "the loss became nan")
    made_run.change(failure={"node": node})
    found = made_run.collect().verdict
    assert found.headline == f"Failed in {node or 'the run itself'}: nothing was pushed."
    assert found.reasons == ["the loss became nan"]
    assert made_run.receipt.command in found.advice


@pytest.mark.parametrize("served", [17, 15], ids=["another", "an earlier one"])
def test_a_failed_run_after_which_another_version_is_served_claims_neither_push_nor_none(
    made_run, served
):
    """It may have published it, or another run or a rollback did."""
    made_run.end_in("Trainer", "metadata.db cannot be used")
    made_run.change(failure={"node": None}, served_before=16, served_version=served)
    headline = made_run.collect().verdict.headline
    assert headline == f"Failed in the run itself: version {served} is served now."


def test_a_failed_run_that_kept_the_served_model_says_that_it_stays(made_run):
    failure = {"node": None, "message": "a result does not fit into the receipt"}
    made_run.change(
        status="failed", verdict="none", failure=failure, served_before=17, served_version=17
    )
    assert made_run.receipt.kept_served_version
    headline = made_run.collect().verdict.headline
    assert headline == "Failed in the run itself: version 17 stays."


def test_a_run_that_would_only_fail_again_is_to_be_changed(made_run):
    made_run.end_in("Trainer", "the loss became nan")
    made_run.change(
        command="python3 pipeline_runner.py run --no-cache",
        failure={"changes": ["training.learning_rate=0.0006"]},
    )
    found = made_run.collect()
    assert found.run.failure.message == "the loss became nan"
    assert found.verdict.advice == (
        "Unchanged, it would fail again. Start `python3 pipeline_runner.py run --set "
        "training.learning_rate=0.0006`: complete nodes do not run again."
    )


def test_a_run_that_failed_after_its_push_does_not_deny_it(made_run):
    failure = {"node": None, "message": "disk full"}
    made_run.change(status="failed", verdict="none", failure=failure)
    found = made_run.collect().verdict
    assert found.headline == "Failed in the run itself: version 17 was pushed before."


@pytest.mark.parametrize("failure", [None, {"node": None, "message": "the run was interrupted"}])
def test_a_run_that_was_interrupted(made_run, failure):
    made_run.end_in("Trainer", "interrupted")
    made_run.change(status="interrupted", failure=failure)
    found = made_run.collect().verdict
    assert found.headline == "Interrupted before its end."
    assert len(found.reasons) == 1


def test_a_run_on_the_sample_says_so(made_run):
    made_run.change(data={"name": "sample"})
    summary = made_run.collect()
    assert summary.run.is_sample
    assert summary.verdict.advice.endswith("its results say nothing about real images.")
