"""Accuracy under corruptions."""

from __future__ import annotations

from typing import Any

from components import features
from pipeline.nodes import ROBUSTNESS_EVALUATOR
from review import statistics
from review.album import image_sheet
from review.artifacts import CORRUPTED_EXAMPLES, AbsentError, FinishedRun, Gaps, read_arrays
from review.gate_table import measured_accuracy
from review.summary import CorruptionScores, Robustness, Sheet

_COLUMNS = 11


def robustness(run: FinishedRun, gaps: Gaps) -> Robustness:
    """What the receipt says of corrupted images, with examples of them.

    Args:
      run: what it left behind.
      gaps: keeps why there are no examples.

    Raises:
      AbsentError: where it was not measured.
    """
    measured = run.receipt["robustness"]
    if measured is None:
        raise AbsentError(_why_not_measured(run))
    sheet, about = gaps.fill("robustness.examples", lambda: _examples(run)) or (None, [])
    return Robustness(
        clean=measured_accuracy(measured["clean"]),
        scores=[_scores(score) for score in measured["scores"]],
        examples=sheet,
        examples_about=about,
    )


def _why_not_measured(run: FinishedRun) -> str:
    if run.receipt["config"]["robustness"]["enabled"]:
        return run.why_not_in_receipt(ROBUSTNESS_EVALUATOR)
    return (
        "Robustness was not measured in this run; `run --set robustness.enabled=true` measures it."
    )


def _scores(score: dict[str, Any]) -> CorruptionScores:
    return CorruptionScores(
        corruption=score["corruption"],
        strength=score["strength"],
        amount=score["amount"],
        accuracy=measured_accuracy(score),
        classes={
            name: statistics.proportion(
                round(scores["recall"] * scores["support"]), scores["support"]
            )
            for name, scores in score["per_class"].items()
        },
    )


def _examples(run: FinishedRun) -> tuple[Sheet, list[str]]:
    arrays = read_arrays(run.path(CORRUPTED_EXAMPLES, features.PREVIEW_FILE))
    return image_sheet(arrays["images"], _COLUMNS), arrays["about"].tolist()
