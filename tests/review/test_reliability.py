"""Whether scores can be trusted: from the answers, beside what the receipt knows."""

import numpy as np
import pytest
from scipy import special

from pipeline.records.receipt import Calibration
from review import reliability
from review.answers import Answers


def test_the_error_is_that_of_fifteen_bins(made_run):
    confidence = made_run.candidate.astype(np.float64).max(axis=1)
    right = made_run.choices == made_run.labels
    bins = np.minimum((confidence * 15).astype(int), 14)
    distances = [abs((right[bins == b] - confidence[bins == b]).sum()) for b in range(15)]
    found = made_run.collect().calibration
    assert found.ece.value == pytest.approx(sum(distances) / len(right))
    assert found.ece.interval.low <= found.ece.value <= found.ece.interval.high


def test_what_the_answers_do_not_tell_is_that_of_the_receipt(made_run):
    found = made_run.collect().calibration
    assert (found.ece_before, found.temperature) == (0.05, 0.8)
    assert found.cross_entropy == made_run.receipt.evaluation.cross_entropy


def test_a_temperature_that_is_not_known_is_none(made_run):
    made_run.change(calibration={"temperature": None, "ece_before": None})
    found = made_run.collect().calibration
    assert (found.ece_before, found.temperature) == (None, None)


def test_the_errors_are_those_with_and_without_the_temperature():
    """Of answers that are right as often as they say, for logits that are twice as large."""
    random = np.random.default_rng(2)
    logits = random.normal(0, 2, (5_000, 3))
    # The largest of logits with Gumbel noise is distributed as their softmax.
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    calibrated = with_errors(logits, labels, temperature=2.0)
    plain = with_errors(2 * logits, labels, temperature=1.0)
    assert calibrated.ece_before == pytest.approx(plain.ece_after, abs=1e-9)
    assert plain.ece_before == pytest.approx(plain.ece_after, abs=1e-9)
    assert calibrated.ece_after < 0.03 < calibrated.ece_before


def with_errors(logits, labels, temperature):
    fitted = Calibration(temperature=temperature, label_smoothing=0.0)
    answers = Answers(special.softmax(logits, axis=1))
    return reliability.with_errors(fitted, answers, labels)


@pytest.mark.parametrize("unknown", ["temperature", "label_smoothing"])
def test_without_what_was_fitted_there_are_no_errors(unknown):
    fitted = Calibration(**{"temperature": 1.0, "label_smoothing": 0.0, unknown: None})
    assert reliability.with_errors(fitted, Answers(np.ones((1, 1))), np.zeros(1, int)) == fitted
