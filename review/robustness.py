"""Accuracy under corruptions."""

from __future__ import annotations

from components import features
from pipeline.nodes import ROBUSTNESS_EVALUATOR
from pipeline.records import receipt
from review import classification, statistics
from review.album import image_sheet
from review.artifacts import CORRUPTED_EXAMPLES, AbsentError, FinishedRun, Gaps, read_arrays
from review.gate_table import measured_accuracy
from review.summary import CorruptionScores, Robustness, Sheet

_COLUMNS = 11
_MOST_BYTES = 60_000


def robustness(run: FinishedRun, gaps: Gaps) -> Robustness:
    """Accuracy under corruptions as the receipt has it, with examples.

    Args:
      run: Run that has ended.
      gaps: Keeps why there are no examples.

    Raises:
      AbsentError: where it was not measured.
    """
    measured, clean = run.receipt.robustness, classification.accuracy(run.receipt)
    if measured is None or clean is None:
        raise AbsentError(_why_not_measured(run))
    sheet, about = gaps.fill("robustness.examples", lambda: _examples(run)) or (None, [])
    return Robustness(
        clean=clean,
        scores=[_scores(scores) for scores in measured],
        examples=sheet,
        examples_about=about,
    )


def _why_not_measured(run: FinishedRun) -> str:
    if run.receipt.asks_for("robustness"):
        return run.why_not_in_receipt(ROBUSTNESS_EVALUATOR)
    return (
        "Robustness was not measured in this run; `run --set robustness.enabled=true` measures it."
    )


def _scores(measured: receipt.CorruptionScores) -> CorruptionScores:
    return CorruptionScores(
        corruption=measured.corruption,
        strength=measured.strength,
        amount=measured.amount,
        accuracy=measured_accuracy(measured),
        classes={
            name: statistics.proportion_of(each.recall, each.support)
            for name, each in measured.per_class.items()
        },
    )


def _examples(run: FinishedRun) -> tuple[Sheet, list[str]]:
    arrays = read_arrays(run.path(CORRUPTED_EXAMPLES, features.PREVIEW_FILE))
    return image_sheet(arrays["images"], _COLUMNS, _MOST_BYTES), arrays["about"].tolist()
