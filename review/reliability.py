"""Whether the scores of the model can be trusted."""

from __future__ import annotations

import numpy as np

from pipeline.records import receipt
from review import statistics
from review.answers import Answers, Predictions
from review.artifacts import FinishedRun
from review.summary import Calibration


def with_errors(
    fitted: receipt.Calibration, answers: Answers, labels: np.ndarray
) -> receipt.Calibration:
    """Adds the expected calibration errors of the softmax alone, and of the served answers.

    Args:
      fitted: Temperature and label smoothing of the model; as it is where they are not known.
      answers: Served answers.
      labels: int64 [N].
    """
    if fitted.temperature is None or fitted.label_smoothing is None:
        return fitted
    right = answers.choice == labels
    before = Answers(
        statistics.uncalibrated(answers.probabilities, fitted.temperature, fitted.label_smoothing)
    )
    return receipt.Calibration(
        temperature=fitted.temperature,
        label_smoothing=fitted.label_smoothing,
        ece_before=statistics.expected_calibration_error(before.confidence, right),
        ece_after=statistics.expected_calibration_error(answers.confidence, right),
    )


def calibration(run: FinishedRun, predictions: Predictions) -> Calibration:
    """Calibration of the first choice on the test split.

    Args:
      run: Run whose receipt has the temperature, and the error before it was fitted.
      predictions: Answers of the model.

    Raises:
      AbsentError: where nothing was evaluated.
    """
    confidence, right = predictions.candidate.confidence, predictions.right
    return Calibration(
        ece=statistics.calibration_error(confidence, right),
        ece_before=run.receipt.calibration.ece_before,
        temperature=run.receipt.calibration.temperature,
        cross_entropy=run.evaluation.cross_entropy,
        bins=statistics.reliability_bins(confidence, right),
        coverage=statistics.coverage_curve(confidence, right),
    )
