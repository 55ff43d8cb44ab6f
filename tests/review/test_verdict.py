"""What a reader is told first, for each way in which a run can end."""

import dataclasses

import numpy as np
import pytest

from components.quality_gates import CORRUPTION, SLICE


def test_a_pushed_model(made_run):
    found = made_run.collect().verdict
    assert found.headline == "Pushed as version 17: all 12 gates passed."
    assert len(found.reasons) == 1
    assert "better by more than chance explains" in found.reasons[0]
    assert found.advice == "Nothing that was measured speaks against the new version."
    assert found.accuracy.hits == (made_run.choices == made_run.labels).sum()
    assert found.worst_class.name == "Shirt"
    assert found.change.value > 0


def test_a_model_that_was_served_already(made_run):
    """Such a run publishes nothing: after a rollback, say."""
    made_run.receipt = made_run.receipt.changed(served_before=17)
    found = made_run.collect().verdict
    assert found.headline == "Version 17 stays: it is the same model, and all 12 gates passed."


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
    assert found.change is None
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
    assert "worse than the one that it replaced" in found.advice


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
        "Refused: the new model is worse than the served one. Nothing was pushed."
    )
    assert found.reasons[0].startswith("Against the served model, the accuracy changed by -0.")
    assert "more than the noise of 400 images" in found.reasons[0]
    assert found.advice.startswith("Keep the served model.")


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
    assert "robustness section" in found.advice


def test_slices_that_refuse(made_run):
    made_run.slice_by_shop()
    gates = [
        dataclasses.replace(gate, threshold=1.1, passed=False) if gate.metric == SLICE else gate
        for gate in made_run.receipt.gates
        if gate.value is not None
    ]
    made_run.change(gates=gates, verdict="refused")
    advice = made_run.collect().verdict.advice
    assert "the section of the slices" in advice


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
        "explains that (p = 0.50)."
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


def test_a_run_that_failed_after_its_push_does_not_say_that_nothing_was_pushed(made_run):
    made_run.end_in("Trainer", "metadata.db cannot be used. Version 17 was published by then")
    made_run.change(failure={"node": None}, served_before=16, served_version=17)
    headline = made_run.collect().verdict.headline
    assert headline == "Failed in the run itself: version 17 was pushed before."


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
