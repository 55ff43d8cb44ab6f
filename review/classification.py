"""The classification report and the confusion matrix, from the counts of the receipt."""

from __future__ import annotations

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial import distance

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
    has_many,
)

_SHOWN_PER_CELL = 25
_SHOWN_ERRORS = 50
_PAIRS, _PAIRS_OF_MANY_CLASSES = 10, 15
# Of many classes: what each is most often taken for.
_CONFUSIONS = 3
# Of more classes, the optimal order of leaves takes seconds: 15 for a thousand.
_MOST_ORDERED = 300


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
    return statistics.mean(tested) if tested else None


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
        classes=sorted(classes, key=lambda scores: (not scores.support, scores.recall.value)),
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
    many = has_many(names)
    pairs = _most_confused(counts, _PAIRS_OF_MANY_CLASSES if many else _PAIRS)
    shown = _cells_of_many(counts, pairs) if many else [list(range(len(names)))] * len(names)
    # First: the others take what room is left.
    errors = _confident_errors(counts, album)
    galleries = _cell_galleries(counts, shown, album) if album else {}
    # A thousand classes have a million cells, nearly all of them empty.
    kept = [
        sorted({*choices, *np.flatnonzero(counts[label]).tolist()})
        for label, choices in enumerate(shown)
    ]
    rows = [
        [_cell(counts, label, choice, names, galleries) for choice in choices]
        for label, choices in enumerate(kept)
    ]
    return Confusion(
        class_names=names,
        order=_by_confusion(counts) if many else list(range(len(names))),
        rows=rows,
        shown=shown,
        pairs=[rows[label][kept[label].index(choice)] for label, choice in pairs],
        confident_errors=errors,
    )


def _most_confused(counts: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Label and predicted class of the cells off the diagonal with the most images."""
    errors = counts - np.diag(counts.diagonal())
    first = np.argsort(-errors, axis=None, kind="stable")[:most]
    labels, choices = (numbers.tolist() for numbers in np.unravel_index(first, errors.shape))
    return [pair for pair in zip(labels, choices, strict=True) if errors[pair]]


def _cells_of_many(counts: np.ndarray, pairs: list[tuple[int, int]]) -> list[list[int]]:
    """Predicted classes by label: itself, then what it is most often taken for."""
    shown = []
    for label, row in enumerate(counts):
        errors = [int(c) for c in np.argsort(-row, kind="stable") if c != label and row[c]]
        paired = {choice for first, choice in pairs if first == label}
        kept = [c for rank, c in enumerate(errors) if rank < _CONFUSIONS or c in paired]
        shown.append([label, *kept])
    return shown


def _by_confusion(counts: np.ndarray) -> list[int]:
    """Labels in an order in which classes that are confused stand side by side.

    It is the order of the leaves of a hierarchical clustering (average linkage, optimal order of
    leaves up to `_MOST_ORDERED` classes). The distance of two classes falls with the mean share of
    images that are taken for the other one.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    apart = 1 - (shares + shares.T) / 2
    np.fill_diagonal(apart, 0)
    tree = hierarchy.linkage(
        distance.squareform(apart, checks=False),
        "average",
        optimal_ordering=len(counts) <= _MOST_ORDERED,
    )
    order: list[int] = hierarchy.leaves_list(tree).tolist()
    return order


def _cell(
    counts: np.ndarray,
    label: int,
    choice: int,
    names: list[str],
    galleries: dict[tuple[int, int], Gallery],
) -> Cell:
    count, support = int(counts[label, choice]), int(counts[label].sum())
    return Cell(
        label=names[label],
        predicted=names[choice],
        count=count,
        share=count / support if support else 0.0,
        gallery=galleries.get((label, choice), Gallery(count=count, images=[])),
    )


def _cell_galleries(
    counts: np.ndarray, shown: list[list[int]], album: Album
) -> dict[tuple[int, int], Gallery]:
    """Galleries of cells: the most confident errors first, the least confident right answers first.

    The cells share the room of the page: each gets its first image before one gets its second.
    """
    cells = [(label, choice) for label, choices in enumerate(shown) for choice in choices]
    sizes = _shared([int(counts[cell]) for cell in cells], album.room)
    members = _members(cells, len(counts), album)
    return {
        (label, choice): album.gallery(places[:: 1 if label == choice else -1], size)
        for (label, choice), places, size in zip(cells, members, sizes, strict=True)
    }


def _members(cells: list[tuple[int, int]], classes: int, album: Album) -> list[np.ndarray]:
    """Places of the images of some cells, least confident first."""
    answers = album.predictions.candidate
    numbers = album.predictions.labels * classes + answers.choice
    order = np.lexsort((answers.confidence, numbers))
    ordered = numbers[order]
    wanted = np.array([label * classes + choice for label, choice in cells])
    starts, stops = (np.searchsorted(ordered, wanted, side) for side in ("left", "right"))
    return [order[start:stop] for start, stop in zip(starts, stops, strict=True)]


def _shared(counts: list[int], room: int) -> list[int]:
    """Numbers of images to show of cells, whose sum is at most the room."""
    wanted = np.minimum(counts, _SHOWN_PER_CELL)
    cells = np.repeat(np.arange(len(wanted)), wanted)
    ranks = np.arange(len(cells)) - np.repeat(np.cumsum(wanted) - wanted, wanted)
    # Of cells that would get the same number, those with the most images come first.
    first = np.lexsort((-np.asarray(counts)[cells], ranks))[:room]
    sizes: list[int] = np.bincount(cells[first], minlength=len(wanted)).tolist()
    return sizes


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
