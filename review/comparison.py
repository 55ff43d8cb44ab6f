"""Two models on the same test images, image by image."""

from __future__ import annotations

import numpy as np

from components.messages import AGAIN_WITHOUT_CACHE
from components.quality_gates import CHANGE
from review import statistics
from review.album import Album
from review.answers import Answers, Predictions
from review.artifacts import AbsentError, FinishedRun
from review.summary import ClassChange, Comparison, Gallery

_SHOWN = 50
_NEW_MODEL = "new model"
_SERVED_MODEL = "served model"


def with_served(run: FinishedRun, album: Album) -> Comparison:
    """Compares the new model with the one that was served when the run began.

    Raises:
      AbsentError: where none was, where it is the same model, or where its answers are not finite
        or not those that were evaluated.
    """
    if run.receipt.kept_served_version:
        raise AbsentError(
            "This run made the model that was served when it began, so there is nothing to compare."
        )
    predictions = album.predictions
    if predictions.baseline_faults:
        raise AbsentError(
            f"The served model answers NaN or infinity to {predictions.baseline_faults:,} of "
            f"{len(predictions.ids):,} test images, so the new model is not compared with it."
        )
    baseline = predictions.baseline
    if baseline is None:
        why = (
            "This run began a new line of models"
            if run.receipt.request.new_line
            else "No model was served when this run began"
        )
        raise AbsentError(
            f"{why}, so there is nothing to compare with. The next run is compared with whatever "
            "model is served then."
        )
    _check_against_evaluation(run, predictions, baseline)
    return compare(album, baseline, _NEW_MODEL, _SERVED_MODEL)


def _check_against_evaluation(
    run: FinishedRun, predictions: Predictions, baseline: Answers
) -> None:
    change = float(predictions.right.mean() - (baseline.choice == predictions.labels).mean())
    # Less than one image: TFMA computes in single precision.
    tolerance = 0.5 / len(predictions.labels)
    for gate in run.receipt.gates:
        if gate.metric != CHANGE or gate.value is None:
            continue
        if abs(gate.value - change) > tolerance:
            raise AbsentError(
                "The answers of the served model are not those that were evaluated: the accuracy "
                f"changed by {change:+.4f} here, by {gate.value:+.4f} in the receipt. "
                f"{AGAIN_WITHOUT_CACHE}"
            )


def compare(album: Album, baseline: Answers, candidate_name: str, baseline_name: str) -> Comparison:
    """Compares the answers of two models to the same images.

    Args:
      album: Has the images and the answers of the candidate; takes the images that the galleries
        show.
      baseline: Answers of the baseline, to the same images in the same order.
      candidate_name: Name of the candidate on the page.
      baseline_name: Name of the baseline on the page.
    """
    found = album.predictions
    now, before = found.right, baseline.choice == found.labels
    counts = both_right, fixed, broken, both_wrong = _counts(now, before)
    return Comparison(
        candidate_name=candidate_name,
        baseline_name=baseline_name,
        candidate=statistics.proportion(both_right + fixed, len(now)),
        baseline=statistics.proportion(both_right + broken, len(now)),
        change=statistics.accuracy_change(*counts),
        both_right=both_right,
        only_candidate=fixed,
        only_baseline=broken,
        both_wrong=both_wrong,
        p_value=statistics.mcnemar(fixed, broken),
        classes=_class_changes(found.class_names, found.labels, now, before),
        newly_broken=_surest(album, before & ~now),
        newly_fixed=_surest(album, now & ~before),
    )


def _counts(now: np.ndarray, before: np.ndarray) -> tuple[int, int, int, int]:
    """Images that both, only the new model, only the other, and neither gets right."""
    parts = now & before, now & ~before, ~now & before, ~now & ~before
    both, fixed, broken, neither = (int(part.sum()) for part in parts)
    return both, fixed, broken, neither


def _surest(album: Album, chosen: np.ndarray) -> Gallery:
    members = np.flatnonzero(chosen)
    confidence = album.predictions.candidate.confidence[members]
    return album.gallery(members[np.argsort(-confidence, kind="stable")], _SHOWN)


def _class_changes(
    names: list[str], labels: np.ndarray, now: np.ndarray, before: np.ndarray
) -> list[ClassChange]:
    changes = [
        _class_change(name, now[labels == number], before[labels == number])
        for number, name in enumerate(names)
    ]
    return sorted(changes, key=lambda entry: (not entry.candidate.total, -abs(entry.change.value)))


def _class_change(name: str, now: np.ndarray, before: np.ndarray) -> ClassChange:
    counts = both_right, fixed, broken, _ = _counts(now, before)
    return ClassChange(
        name=name,
        candidate=statistics.proportion(both_right + fixed, len(now)),
        baseline=statistics.proportion(both_right + broken, len(now)),
        change=statistics.accuracy_change(*counts),
        newly_fixed=fixed,
        newly_broken=broken,
    )
