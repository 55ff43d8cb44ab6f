"""The gates: how the model compares with each threshold, and which results may be noise."""

from __future__ import annotations

import dataclasses

from components.messages import counted
from components.quality_gates import (
    ACCURACY,
    BALANCED_ACCURACY,
    BALANCED_CHANGE,
    CHANGE,
    CORRUPTION,
    RECALL,
    SLICE,
    JudgedGate,
    decimals,
)
from pipeline.nodes import BLESSING
from pipeline.records import receipt
from review import classification, statistics
from review.artifacts import AbsentError, FinishedRun
from review.summary import Comparison, Estimate, Gate, Interval, Proportion

# What each gate on a change compares.
OF_CHANGE = {CHANGE: "accuracy", BALANCED_CHANGE: "balanced accuracy"}
# Up to this many images, the fourth decimal says nothing.
_FEW_IMAGES, _FEW_DECIMALS, _MANY_DECIMALS = 1000, 3, 4
# Beginnings of the sentences about gates without a value, up to the threshold.
_NOT_MEASURED = {
    ACCURACY: "Accuracy was not measured: the test split has no images",
    BALANCED_ACCURACY: "Balanced accuracy was not measured: the test split has no images",
    RECALL: "Recall of {} was not measured: the test split has no image of it",
    CHANGE: "The new model was not compared with the served one",
    BALANCED_CHANGE: "The balanced accuracy was not compared with that of the served model",
    CORRUPTION: "Accuracy under {} was not measured",
}


@dataclasses.dataclass(frozen=True)
class _Measured:
    """What was measured for a gate.

    Attributes:
      words: Beginning of the sentence about it, up to the value.
      interval: Interval of the value; None where it has none.
      images: Number of images.
      signed: Whether the value is a difference.
      exact: Whether chance has no part in the value.
    """

    words: str
    interval: Interval | None
    images: int
    signed: bool = False
    exact: bool = False


def gates(run: FinishedRun, comparison: Comparison | None) -> list[Gate]:
    """How the model compares with each threshold.

    Args:
      run: Run whose receipt has the gates.
      comparison: Comparison with the served model, which has the intervals of changes.

    Raises:
      AbsentError: where no gate was judged.
    """
    if not run.receipt.gates:
        raise AbsentError(run.why_not_in_receipt(BLESSING))
    return [_told(gate, _measured(run, gate, comparison)) for gate in run.receipt.gates]


def _measured(run: FinishedRun, gate: JudgedGate, comparison: Comparison | None) -> _Measured:
    part = gate.slice
    if gate.value is None and gate.metric == SLICE:
        return _Measured(_too_few(run.evaluation, part), None, 0)
    if gate.value is None:
        return _Measured(_NOT_MEASURED[gate.metric].format(part), None, 0)
    evaluation = run.evaluation
    if gate.metric == ACCURACY:
        return _share("Accuracy is", statistics.proportion_of(gate.value, evaluation.count))
    if gate.metric == BALANCED_ACCURACY:
        balanced = classification.balanced_accuracy(evaluation)
        interval = balanced.interval if balanced else None
        return _Measured("Balanced accuracy is", interval, evaluation.count)
    if gate.metric == RECALL:
        number = list(evaluation.per_class).index(part)
        return _share(f"Recall of {part} is", classification.recall(evaluation, number))
    if gate.metric == SLICE:
        return _share(f"Accuracy of {part} is", _accuracy_of_slice(evaluation, part))
    if gate.metric == CORRUPTION:
        return _share(f"Accuracy under {part}, is", measured_accuracy(_scores(run.receipt, part)))
    change = _change(gate, comparison) if comparison else None
    words = f"Against the served model, the {OF_CHANGE[gate.metric]} changed by"
    return _Measured(
        words,
        change.interval if change else None,
        evaluation.count,
        signed=True,
        # The same model answers the same.
        exact=run.receipt.kept_served_version,
    )


def _change(gate: JudgedGate, comparison: Comparison) -> Estimate:
    if gate.metric == CHANGE:
        return comparison.change
    return statistics.mean([each.change for each in comparison.classes if each.candidate.total])


def _share(words: str, share: Proportion) -> _Measured:
    return _Measured(words, share.interval if share.total else None, share.total)


def _too_few(evaluation: receipt.Evaluation, part: str) -> str:
    name, _, value = part.partition("=")
    column = evaluation.slices[name]
    count = column.values[value].count if value in column.values else 0
    return (
        f"Accuracy of {part} was not judged: the test split has {counted(count, 'image')} of it, "
        f"and the slice is required with {column.min_images} or more"
    )


def _accuracy_of_slice(evaluation: receipt.Evaluation, part: str) -> Proportion:
    column, _, value = part.partition("=")
    scores = evaluation.slices[column].values[value]
    return statistics.proportion_of(scores.accuracy, scores.count)


def _scores(run: receipt.Receipt, part: str) -> receipt.CorruptionScores:
    measured = run.robustness or ()
    return next(s for s in measured if f"{s.corruption}, strength {s.strength}" == part)


def measured_accuracy(scores: receipt.CorruptionScores) -> Proportion:
    """Accuracy under a corruption, with its interval."""
    return statistics.proportion_of(scores.accuracy, scores.count)


def _told(gate: JudgedGate, measured: _Measured) -> Gate:
    interval, margin, noise = measured.interval, None, False if measured.exact else None
    if gate.value is None:
        sentence = f"{measured.words}; expected at least {gate.expected}."
    else:
        margin = gate.value - gate.threshold
        # Rounding alone may put the value of a gate that passed below its threshold.
        margin = max(margin, 0.0) if gate.passed else margin
        # Where the interval begins at the threshold, as with one of 0, no model falls below it.
        if interval:
            noise = interval.low < gate.threshold <= interval.high
        least = _MANY_DECIMALS if measured.images > _FEW_IMAGES else _FEW_DECIMALS
        digits = decimals(gate.value, gate.threshold, gate.passed, least)
        form = f"{'+' if measured.signed else ''}.{digits}f"
        value = f"{measured.words} {_value(gate.value, interval, form)}"
        standing = _standing(gate, margin, form, digits)
        sentence = f"{value}, {standing}{_noise(gate, measured, noise)}."
    return Gate(
        metric=gate.metric,
        slice=gate.slice,
        value=gate.value,
        interval=interval,
        threshold=gate.threshold,
        margin=margin,
        passed=gate.passed,
        noise=noise,
        sentence=sentence,
    )


def _value(value: float, interval: Interval | None, form: str) -> str:
    return f"{value:{form}}" + (
        f" ({interval.low:{form}} to {interval.high:{form}})" if interval else ""
    )


def _standing(gate: JudgedGate, margin: float, form: str, digits: int) -> str:
    threshold = f"the threshold {gate.threshold:{form}}"
    distance = f"{abs(margin):.{digits}f}"
    if not float(distance):
        return f"at {threshold}"
    return f"{'above' if margin > 0 else 'below'} {threshold} by {distance}"


def _noise(gate: JudgedGate, measured: _Measured, noise: bool | None) -> str:
    if noise:
        return f"; that is within the noise of {measured.images:,} images"
    # A model that clearly passed needs no further word.
    if noise is False and not gate.passed:
        return f"; that is more than the noise of {measured.images:,} images"
    return ""
