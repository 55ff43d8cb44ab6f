"""Accuracy by what is known of the test images: slices by columns of the data."""

from __future__ import annotations

from collections.abc import Mapping

from components.quality_gates import SLICE
from components.slices import name_of
from pipeline.records import receipt
from review import statistics
from review.artifacts import FinishedRun
from review.summary import Slice, SlicedColumn


def slices(run: FinishedRun) -> list[SlicedColumn] | None:
    """The slices by column, those that refused the model first; None where none were asked for.

    Raises:
      AbsentError: where nothing was evaluated.
    """
    if not _is_asked_for(run.receipt):
        return None
    passed = {gate.slice: gate.passed for gate in run.receipt.gates if gate.metric == SLICE}
    found = sorted(run.evaluation.slices.items())
    columns = [_column(name, column, passed) for name, column in found]
    return sorted(columns, key=lambda column: (not _refuses(column), column.threshold is None))


def _refuses(column: SlicedColumn) -> bool:
    return any(row.passed is False for row in column.slices)


def _is_asked_for(run: receipt.Receipt) -> bool:
    gates = run.config.get("gates")
    return isinstance(gates, Mapping) and bool(gates.get("slices"))


def _column(name: str, column: receipt.SlicedColumn, passed: Mapping[str, bool]) -> SlicedColumn:
    rows = [
        _slice(value, scores, passed.get(name_of(name, value)))
        for value, scores in column.values.items()
    ]
    # Required, but not among the test images.
    known = {name_of(name, value) for value in column.values}
    absent = [each for each in passed if each.startswith(name_of(name, "")) and each not in known]
    nothing = receipt.SliceScores(accuracy=0.0, count=0, judged=False)
    rows += [_slice(each.removeprefix(name_of(name, "")), nothing, False) for each in absent]
    return SlicedColumn(
        name=name,
        threshold=column.threshold,
        min_images=column.min_images,
        slices=sorted(rows, key=lambda row: _order(row, column.min_images)),
    )


def _slice(value: str, scores: receipt.SliceScores, passed: bool | None) -> Slice:
    accuracy = statistics.proportion_of(scores.accuracy, scores.count)
    return Slice(value=value, accuracy=accuracy, judged=scores.judged, passed=passed)


def _order(row: Slice, min_images: int) -> tuple[bool, bool, float]:
    """What refused the model, then the worst; the accuracy on few images says little."""
    return (row.passed is not False, row.accuracy.total < min_images, row.accuracy.value)
