"""The gates: how the model stands to each threshold, and what of it may be noise."""

from __future__ import annotations

import dataclasses
from typing import Any

from components.quality_gates import ACCURACY, CHANGE, CORRUPTION, RECALL
from pipeline.nodes import BLESSING
from review import classification, statistics
from review.artifacts import AbsentError, FinishedRun
from review.summary import Comparison, Estimate, Gate, Interval, Proportion

# Up to so many images, the fourth decimal says nothing.
_FEW_IMAGES = 1000


# What is said of a gate for which nothing was measured, up to the threshold.
_NOT_JUDGED = {
    ACCURACY: "Accuracy was not measured: the test split has no images",
    RECALL: "Recall of {} was not measured: the test split has no image of it",
    CHANGE: "The new model was not compared with the served one",
    CORRUPTION: "Accuracy under {} was not measured",
}


@dataclasses.dataclass(frozen=True)
class _Measured:
    """What was measured for a gate.

    Attributes:
      words: how a sentence about it begins, up to the value.
      interval: of the value; None where there is none for it.
      images: of how many images it is.
      signed: whether the value is a difference.
    """

    words: str
    interval: Interval | None
    images: int
    signed: bool = False


def gates(run: FinishedRun, comparison: Comparison | None) -> list[Gate]:
    """How the model stands to each threshold.

    Args:
      run: its receipt has the gates.
      comparison: with the served model, which has the interval of the change.

    Raises:
      AbsentError: where no gate was judged.
    """
    if not run.receipt["gates"]:
        raise AbsentError(run.why_not_in_receipt(BLESSING))
    change = comparison.change if comparison else None
    return [_gate(entry, _measured(run.receipt, entry, change)) for entry in run.receipt["gates"]]


def _measured(receipt: dict[str, Any], entry: dict[str, Any], change: Estimate | None) -> _Measured:
    metric, part, images = entry["metric"], entry["slice"], receipt["test_count"]
    if entry["value"] is None:
        return _Measured(_NOT_JUDGED[metric].format(part), None, 0)
    if metric == ACCURACY:
        found = statistics.proportion(round(entry["value"] * images), images)
        return _share("Accuracy is", found)
    if metric == RECALL:
        number = list(receipt["per_class"]).index(part)
        return _share(f"Recall of {part} is", classification.recall(receipt, number))
    if metric == CORRUPTION:
        found = measured_accuracy(_score(receipt, part))
        return _share(f"Accuracy under {part}, is", found)
    words = "Against the served model, the accuracy changed by"
    return _Measured(words, change.interval if change else None, images, signed=True)


def _share(words: str, share: Proportion) -> _Measured:
    return _Measured(words, share.interval if share.total else None, share.total)


def _score(receipt: dict[str, Any], part: str) -> dict[str, Any]:
    scores = receipt["robustness"]["scores"]
    return next(s for s in scores if f"{s['corruption']}, strength {s['strength']}" == part)


def measured_accuracy(score: dict[str, Any]) -> Proportion:
    """The accuracy in an entry of the receipt's robustness, with its interval."""
    return statistics.proportion(round(score["accuracy"] * score["count"]), score["count"])


def _gate(entry: dict[str, Any], measured: _Measured) -> Gate:
    if entry["value"] is None:
        sentence = f"{measured.words}; expected at least {entry['threshold']:.3f}."
        return Gate(**entry, interval=None, margin=None, noise=None, sentence=sentence)
    interval, threshold = measured.interval, entry["threshold"]
    # Where the interval begins at the threshold, as with one of 0, no model falls below it.
    noise = interval.low < threshold <= interval.high if interval else None
    margin = entry["value"] - threshold
    sentence = _sentence(entry, measured, margin, noise)
    return Gate(**entry, interval=interval, margin=margin, noise=noise, sentence=sentence)


def _sentence(entry: dict[str, Any], measured: _Measured, margin: float, noise: bool | None) -> str:
    decimals = 4 if measured.images > _FEW_IMAGES else 3
    form = f"{'+' if measured.signed else ''}.{decimals}f"
    threshold = f"the threshold {entry['threshold']:{form}}"
    distance = f"{abs(margin):.{decimals}f}"
    if not float(distance):
        standing = f"at {threshold}" if entry["passed"] else f"just short of {threshold}"
    else:
        standing = f"{'above' if margin > 0 else 'below'} {threshold} by {distance}"
    value = f"{entry['value']:{form}}{_range(measured.interval, form)}"
    return f"{measured.words} {value}, {standing}{_noise(measured.images, noise, entry['passed'])}."


def _range(interval: Interval | None, form: str) -> str:
    return f" ({interval.low:{form}} to {interval.high:{form}})" if interval else ""


def _noise(images: int, noise: bool | None, passed: bool) -> str:
    if noise:
        return f"; that is within the noise of {images:,} images"
    # A model that clearly passed needs no further word.
    return (
        f"; that is more than the noise of {images:,} images"
        if noise is False and not passed
        else ""
    )
