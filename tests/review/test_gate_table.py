"""How gates are told: what was measured, where it stands, and whether that may be noise."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from components.quality_gates import BALANCED_CHANGE, CHANGE, JudgedGate


def gate_of(summary, metric, part="overall"):
    return next(g for g in summary.gates if (g.metric, g.slice) == (metric, part))


def test_every_gate_of_the_receipt_is_told(made_run):
    found = made_run.collect().gates
    for gate, judged in zip(found, made_run.receipt.gates, strict=True):
        expected = dataclasses.asdict(judged)
        assert gate.model_dump(include=set(expected)) == expected
        assert gate.margin == pytest.approx(judged.value - judged.threshold)
        assert gate.interval.low <= gate.value <= gate.interval.high
        assert gate.noise == (gate.interval.low < gate.threshold <= gate.interval.high)


def test_the_interval_of_a_recall_is_that_of_its_images(made_run):
    gate = gate_of(made_run.collect(), "recall", "Shirt")
    members = made_run.labels == made_run.classes.index("Shirt")
    hits = int((made_run.choices == made_run.labels)[members].sum())
    expected = stats.binomtest(hits, int(members.sum())).proportion_ci(0.95, "wilson")
    assert (gate.interval.low, gate.interval.high) == pytest.approx((expected.low, expected.high))


def test_the_interval_of_the_change_is_that_of_the_comparison(made_run):
    summary = made_run.collect()
    gate = gate_of(summary, CHANGE)
    assert gate.interval == summary.comparison.change.interval


def test_a_change_of_nothing_at_a_threshold_of_nothing_may_be_noise(made_run):
    made_run.baseline = made_run.candidate
    made_run.evaluate()
    made_run.write_predictions()
    made_run.change(gates=made_run.with_gate(CHANGE, threshold=0.0))
    gate = gate_of(made_run.collect(), CHANGE)
    assert (gate.value, gate.passed, gate.noise) == (0.0, True, True)


def test_the_interval_of_the_balanced_change_holds_it(made_run):
    recalls = [
        metrics.balanced_accuracy_score(made_run.labels, answers.argmax(axis=1))
        for answers in (made_run.candidate, made_run.baseline)
    ]
    change = recalls[0] - recalls[1]
    balanced = JudgedGate(BALANCED_CHANGE, "overall", change, -0.5, passed=True)
    made_run.change(gates=[*made_run.receipt.gates, balanced])
    summary = made_run.collect()
    gate = gate_of(summary, BALANCED_CHANGE)
    assert gate.interval.low < change < gate.interval.high
    # Here, all classes have as many images.
    whole = summary.comparison.change
    assert change == pytest.approx(whole.value)
    width = whole.interval.high - whole.interval.low
    assert gate.interval.high - gate.interval.low == pytest.approx(width, rel=0.5)
    assert gate.sentence.startswith("Against the served model, the balanced accuracy changed by")


def test_without_the_answers_nothing_is_known_of_noise_in_the_change(made_run):
    made_run.file("Predictions.predictions", "predictions.parquet").unlink()
    gate = gate_of(made_run.collect(), CHANGE)
    assert (gate.interval, gate.noise) == (None, None)
    assert gate.sentence == (
        f"Against the served model, the accuracy changed by {gate.value:+.3f}, above the "
        f"threshold -0.030 by {gate.margin:.3f}."
    )


def with_recall(made, hits, threshold):
    """Enters that so many of 1,000 shirts were recognised; returns how the gate is told."""
    number = list(made.receipt.evaluation.per_class).index("Shirt")
    confusion = [list(row) for row in made.receipt.evaluation.confusion]
    confusion[number] = [0] * 10
    confusion[number][number], confusion[number][0] = hits, 1000 - hits
    gate = JudgedGate("recall", "Shirt", hits / 1000, threshold, hits / 1000 >= threshold)
    made.change(evaluation={"confusion": confusion}, gates=(gate,))
    return made.collect().gates[0].sentence


@pytest.mark.parametrize(
    ("hits", "threshold", "sentence"),
    [
        (
            582,
            0.6,
            "Recall of Shirt is 0.582 (0.551 to 0.612), below the threshold 0.600 by 0.018; that "
            "is within the noise of 1,000 images.",
        ),
        (
            482,
            0.6,
            "Recall of Shirt is 0.482 (0.451 to 0.513), below the threshold 0.600 by 0.118; that "
            "is more than the noise of 1,000 images.",
        ),
        (
            610,
            0.6,
            "Recall of Shirt is 0.610 (0.579 to 0.640), above the threshold 0.600 by 0.010; that "
            "is within the noise of 1,000 images.",
        ),
        (
            900,
            0.6,
            "Recall of Shirt is 0.900 (0.880 to 0.917), above the threshold 0.600 by 0.300.",
        ),
        (
            0,
            0.0,
            "Recall of Shirt is 0.000 (0.000 to 0.004), at the threshold 0.000.",
        ),
        (
            600,
            0.6,
            "Recall of Shirt is 0.600 (0.569 to 0.630), at the threshold 0.600; that is within the "
            "noise of 1,000 images.",
        ),
        (
            600,
            0.60001,
            "Recall of Shirt is 0.60000 (0.56931 to 0.62993), below the threshold 0.60001 by "
            "0.00001; that is within the noise of 1,000 images.",
        ),
        (
            600,
            0.6004,
            "Recall of Shirt is 0.6000 (0.5693 to 0.6299), below the threshold 0.6004 by 0.0004; "
            "that is within the noise of 1,000 images.",
        ),
    ],
)
def test_a_gate_is_told_in_words(made_run, hits, threshold, sentence):
    assert with_recall(made_run, hits, threshold) == sentence


@pytest.mark.parametrize(
    ("value", "threshold", "passed", "told"),
    [
        (0.85, 0.9, False, "0.8500 against 0.9000"),
        (0.899983, 0.9, False, "0.89998 against 0.90000"),
        # Rounded to five decimals, the difference of these is 0.
        (0.899954, 0.899956, False, "0.899954 against 0.899956"),
        (0.8999997, 0.9, False, "0.8999997 against 0.9000000"),
        (0.89999998, 0.9, True, "0.9000 against 0.9000"),
        (0.9, 0.9, True, "0.9000 against 0.9000"),
        (None, 0.9, False, "not measured against 0.9000"),
    ],
)
def test_a_value_that_fails_never_looks_like_its_threshold(value, threshold, passed, told):
    judged = JudgedGate("accuracy", "overall", value, threshold, passed)
    assert judged.standing == f"accuracy of overall {told}"


def test_a_value_that_only_rounding_keeps_below_its_threshold_is_at_it(made_run):
    value = float(np.float32(900) / np.float32(1000))
    gate = JudgedGate("recall", "Shirt", value, 0.9, passed=True)
    made_run.change(gates=(gate,))
    (told,) = made_run.collect().gates
    assert told.margin == 0
    assert "at the threshold 0.900" in told.sentence


def test_a_gate_of_corrupted_images_has_the_interval_of_its_score(made_run):
    made_run.add_robustness()
    summary = made_run.collect()
    gate = gate_of(summary, "accuracy under corruption", "noise, strength 2")
    assert gate.interval == summary.robustness.scores[1].accuracy.interval
    assert gate.sentence.startswith("Accuracy under noise, strength 2, is 0.500 (0.451 to 0.549)")
    assert gate.noise is False


def test_no_gate_is_told_where_none_was_judged(made_run):
    made_run.end_in("Evaluator", "disk full")
    summary = made_run.collect()
    assert summary.gates is None
    assert summary.missing["gates"] == "Blessing did not run: the run failed in Evaluator."


def test_a_served_model_that_was_not_compared_is_a_refusal(made_run):
    gates = made_run.with_gate(CHANGE, value=None, passed=False)
    made_run.change(gates=gates, verdict="refused", pushed_version=None)
    summary = made_run.collect()
    gate = gate_of(summary, CHANGE)
    assert (gate.value, gate.margin, gate.passed) == (None, None, False)
    assert gate.sentence.startswith("The new model was not compared with the served one; expected")
    assert summary.verdict.headline == (
        "Refused: the new model was not compared with the served one. Nothing was pushed."
    )
    assert "A gate that was not measured does not pass." in summary.verdict.advice
