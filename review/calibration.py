"""Whether the scores of the model can be trusted."""

from __future__ import annotations

from typing import Any

from review import statistics
from review.predictions import Predictions
from review.summary import Calibration


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
