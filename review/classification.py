"""The classification report and the confusion matrix, from the counts of the receipt."""

from __future__ import annotations

import numpy as np

from pipeline.records.receipt import Evaluation, Receipt, Scores
from review import statistics
from review.album import Album
from review.artifacts import FinishedRun
from review.summary import (
    AverageScores,
    Cell,
    ClassScores,
    Confusion,
    Estimate,
    Gallery,
    Proportion,
    Report,
    WorstClass,
)

_SHOWN_PER_CELL = 25
_SHOWN_ERRORS = 50
_PAIRS = 10


def accuracy(receipt: Receipt) -> Proportion | None:
    """Accuracy on the test split; None where nothing was evaluated."""
    return _accuracy(receipt.evaluation) if receipt.evaluation else None


def recall(evaluation: Evaluation, number: int) -> Proportion:
    """Recall of the class with this label."""
    row = evaluation.confusion[number]
    return statistics.proportion(row[number], sum(row))


def balanced_accuracy(evaluation: Evaluation) -> Estimate | None:
    """Mean recall of the classes with test images; None without test images."""
    recalls = [recall(evaluation, number) for number in range(len(evaluation.per_class))]
    tested = [each for each in recalls if each.total]
    return statistics.mean_share(tested) if tested else None


def worst_class(receipt: Receipt) -> WorstClass | None:
    """The tested class with the lowest recall; None where nothing was evaluated."""
    if receipt.evaluation is None:
        return None
    classes = [
        WorstClass(name=name, recall=recall(receipt.evaluation, number))
        for number, name in enumerate(receipt.evaluation.per_class)
    ]
    tested = [entry for entry in classes if entry.recall.total]
    return min(tested, key=lambda entry: entry.recall.value, default=None)


def report(run: FinishedRun) -> Report:
    """The classification report.

    Raises:
      AbsentError: where nothing was evaluated.
    """
    evaluation = run.evaluation
    counts = _counts(evaluation)
    classes = [
        _class_scores(counts, number, name) for number, name in enumerate(evaluation.per_class)
    ]
    return Report(
        accuracy=_accuracy(evaluation),
        # Where classes are even, it is the accuracy.
        balanced_accuracy=balanced_accuracy(evaluation) if _is_uneven(evaluation) else None,
        top_2_accuracy=evaluation.top_2_accuracy,
        cross_entropy=evaluation.cross_entropy,
        classes=sorted(classes, key=lambda scores: scores.recall.value),
        averages=[
            _average("macro", evaluation.macro_avg),
            _average("weighted", evaluation.weighted_avg),
        ],
    )


def _is_uneven(evaluation: Evaluation) -> bool:
    return len({scores.support for scores in evaluation.per_class.values()}) > 1


def _average(name: str, scores: Scores) -> AverageScores:
    return AverageScores(
        name=name,
        precision=scores.precision,
        recall=scores.recall,
        f1=scores.f1,
        support=scores.support,
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
      run: Run whose receipt has the counts.
      album: Takes the images behind the cells; None where there are none.

    Raises:
      AbsentError: where nothing was evaluated.
    """
    counts, names = _counts(run.evaluation), list(run.evaluation.per_class)
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
    """Errors with the most confident first, right answers with the least confident first."""
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


def _accuracy(evaluation: Evaluation) -> Proportion:
    counts = _counts(evaluation)
    return statistics.proportion(int(counts.trace()), int(counts.sum()))


def _counts(evaluation: Evaluation) -> np.ndarray:
    """Row by label and column by first choice, int64 [classes, classes]."""
    return np.array(evaluation.confusion, np.int64)
