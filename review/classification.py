"""The classification report and the confusion matrix, from the counts of the receipt."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.nodes import EVALUATOR
from review import statistics
from review.album import Album
from review.artifacts import AbsentError, FinishedRun
from review.summary import (
    AverageScores,
    Cell,
    ClassScores,
    Confusion,
    Gallery,
    Proportion,
    Report,
    WorstClass,
)

_SHOWN_PER_CELL = 25
_SHOWN_ERRORS = 50
_PAIRS = 10
_AVERAGES = {"macro": "macro_avg", "weighted": "weighted_avg"}


def accuracy(receipt: dict[str, Any]) -> Proportion | None:
    """The accuracy on the test split; None where nothing was evaluated."""
    counts = _counts(receipt)
    return statistics.proportion(int(counts.trace()), int(counts.sum())) if counts.size else None


def recall(receipt: dict[str, Any], number: int) -> Proportion:
    """The recall of the class with this label, in a run that was evaluated."""
    row = _counts(receipt)[number]
    return statistics.proportion(int(row[number]), int(row.sum()))


def worst_class(receipt: dict[str, Any]) -> WorstClass | None:
    """The class with the least recall of those with test images; None where none was evaluated."""
    found = [
        WorstClass(name=name, recall=recall(receipt, number))
        for number, name in enumerate(receipt["per_class"])
    ]
    tested = [entry for entry in found if entry.recall.total]
    return min(tested, key=lambda entry: entry.recall.value, default=None)


def report(run: FinishedRun) -> Report:
    """The classification report.

    Raises:
      AbsentError: where nothing was evaluated.
    """
    overall = _evaluated(run)
    counts, receipt = _counts(run.receipt), run.receipt
    classes = [
        _class_scores(counts, number, name) for number, name in enumerate(receipt["per_class"])
    ]
    return Report(
        accuracy=overall,
        top_2_accuracy=receipt["top_2_accuracy"],
        cross_entropy=receipt["cross_entropy"],
        classes=sorted(classes, key=lambda scores: scores.recall.value),
        averages=[AverageScores(name=name, **receipt[key]) for name, key in _AVERAGES.items()],
    )


def _class_scores(counts: np.ndarray, number: int, name: str) -> ClassScores:
    hits = int(counts[number, number])
    given, support = int(counts[:, number].sum()), int(counts[number].sum())
    return ClassScores(
        name=name,
        precision=statistics.proportion(hits, given),
        recall=statistics.proportion(hits, support),
        f1=statistics.f1_score(hits, given - hits, support - hits),
        support=support,
    )


def confusion(run: FinishedRun, album: Album | None) -> Confusion:
    """The confusion matrix.

    Args:
      run: its receipt has the counts.
      album: takes the images behind the cells; without it there are none.

    Raises:
      AbsentError: where nothing was evaluated.
    """
    _evaluated(run)
    counts, names = _counts(run.receipt), list(run.receipt["per_class"])
    rows = [
        [_cell(counts, label, choice, names, album) for choice in range(len(names))]
        for label in range(len(names))
    ]
    confused = [cell for row in rows for cell in row if cell.label != cell.predicted and cell.count]
    return Confusion(
        class_names=names,
        rows=rows,
        pairs=sorted(confused, key=lambda cell: -cell.count)[:_PAIRS],
        confident_errors=_confident_errors(counts, album),
    )


def _cell(
    counts: np.ndarray, label: int, choice: int, names: list[str], album: Album | None
) -> Cell:
    count, support = int(counts[label, choice]), int(counts[label].sum())
    return Cell(
        label=names[label],
        predicted=names[choice],
        count=count,
        share=count / support if support else 0.0,
        gallery=_cell_gallery(label, choice, album) if album else Gallery(count=count, images=[]),
    )


def _cell_gallery(label: int, choice: int, album: Album) -> Gallery:
    """Of errors the most confident first; of right answers the least, which teach most."""
    labels, answers = album.predictions.labels, album.predictions.candidate
    members = np.flatnonzero((labels == label) & (answers.choice == choice))
    rising = members[np.argsort(answers.confidence[members], kind="stable")]
    return album.gallery(rising if label == choice else rising[::-1], _SHOWN_PER_CELL)


def _confident_errors(counts: np.ndarray, album: Album | None) -> Gallery:
    if album is None:
        return Gallery(count=int(counts.sum() - counts.trace()), images=[])
    errors = np.flatnonzero(~album.predictions.right)
    confidence = album.predictions.candidate.confidence[errors]
    return album.gallery(errors[np.argsort(-confidence, kind="stable")], _SHOWN_ERRORS)


def _evaluated(run: FinishedRun) -> Proportion:
    found = accuracy(run.receipt)
    if found is None:
        raise AbsentError(run.why_not_in_receipt(EVALUATOR))
    return found


def _counts(receipt: dict[str, Any]) -> np.ndarray:
    """Row by label and column by first choice, int64 [classes, classes]; empty without any."""
    return np.array(receipt["confusion"], np.int64)
