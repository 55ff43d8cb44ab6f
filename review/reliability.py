"""Whether the scores of the model can be trusted."""

from __future__ import annotations

from typing import Any

import numpy as np

from review import statistics
from review.answers import Answers, Predictions
from review.summary import Calibration


def errors(
    answers: Answers, labels: np.ndarray, temperature: float, label_smoothing: float
) -> dict[str, float]:
    """Expected calibration errors of the softmax alone, `ece_before`, and of the answers.

    Args:
      answers: calibrated ones.
      labels: int64 [N].
      temperature: by which the logits were divided.
      label_smoothing: which the answers were freed of.

    Returns:
      `ece_before` and `ece_after`.
    """
    right = answers.choice == labels
    before = Answers(statistics.uncalibrated(answers.probabilities, temperature, label_smoothing))
    return {
        "ece_before": statistics.expected_calibration_error(before.confidence, right),
        "ece_after": statistics.expected_calibration_error(answers.confidence, right),
    }


def calibration(receipt: dict[str, Any], predictions: Predictions) -> Calibration:
    """Calibration of the first choice on the test split.

    Args:
      receipt: has the temperature, and what was measured before it was set.
      predictions: the answers.
    """
    confidence, right = predictions.candidate.confidence, predictions.right
    known = receipt["calibration"]
    return Calibration(
        ece=statistics.calibration_error(confidence, right),
        ece_before=known["ece_before"],
        temperature=known["temperature"],
        cross_entropy=receipt["cross_entropy"],
        bins=statistics.reliability_bins(confidence, right),
        coverage=statistics.coverage_curve(confidence, right),
    )
