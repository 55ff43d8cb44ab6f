"""Checks each declared gate once. A gate without a measurement never passes.

Slices by columns of the data are gates too: one for each value that has enough test images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from components import slices
from components.blessing.measurement import Measurement, Place, slice_of
from components.messages import AGAIN_WITHOUT_CACHE, shown
from components.quality_gates import (
    ACCURACY,
    BALANCED,
    BALANCED_ACCURACY,
    CHANGES,
    CORRUPTION,
    SLICE,
    Gate,
    JudgedGate,
)
from components.slices import Slicing


class JudgementError(RuntimeError):
    """TFMA disagrees about a gate, or did not measure all slices."""


def judge(
    declared: Iterable[Gate],
    clean: Measurement,
    corrupted: Measurement | None,
    served: bool,
    slicings: Sequence[Slicing],
) -> list[JudgedGate]:
    """Returns the result of each gate that applies, those on slices last.

    Args:
      declared: All declared gates of the run.
      clean: Measurement on the test images.
      corrupted: Measurement on corrupted test images; None if no gates need it.
      served: Whether a model is served, so that the new one has to be compared with it.
      slicings: Columns that divide the test images into slices.

    Raises:
      JudgementError: If TFMA refuses the model although every gate passes, or the slices of a
        column do not hold all images.
    """
    applying = [gate for gate in declared if served or gate.metric not in CHANGES]
    judged = [_judged(gate, corrupted if gate.metric == CORRUPTION else clean) for gate in applying]
    refusing = [measured for measured in (clean, corrupted) if measured and not measured.holds]
    if refusing and all(gate.passed for gate in judged):
        raise JudgementError(
            f"TFMA refuses the model ({_reasons(refusing)}), but all {len(judged)} gates pass; "
            f"expected the same verdict from both. Nothing was pushed. {AGAIN_WITHOUT_CACHE}"
        )
    return [*judged, *(gate for slicing in slicings for gate in _of_slices(slicing, clean))]


def _of_slices(slicing: Slicing, measured: Measurement) -> list[JudgedGate]:
    """Returns the gate of each value with enough images, and of each required value."""
    counts = _counts(slicing.column, measured)
    if slicing.threshold is None:
        return []
    judged = [value for value in sorted(counts) if slicing.is_judged(counts[value])]
    missed = [value for value in slicing.required if value not in judged]
    return [
        _judged(_gate(slicing.column, value, slicing.threshold), measured) for value in judged
    ] + [
        JudgedGate(
            SLICE, slices.name_of(slicing.column, value), None, slicing.threshold, passed=False
        )
        for value in missed
    ]


def _counts(column: str, measured: Measurement) -> dict[str, int]:
    """Returns the number of test images by value of a column."""
    counts = {
        slices.value_of(part[0][1]): count
        for part, count in measured.counts.items()
        if [name for name, _ in part] == [column]
    }
    total = measured.counts.get((), 0)
    if sum(counts.values()) != total:
        raise JudgementError(
            f"TFMA counted {sum(counts.values()):,} images in the slices by {shown(column)}, and "
            f"{total:,} in all; expected the same number. Nothing was pushed. "
            f"{AGAIN_WITHOUT_CACHE}"
        )
    return counts


def _gate(column: str, value: str, threshold: float) -> Gate:
    images = ((column, slices.stored(value)),)
    return Gate(SLICE, slices.name_of(column, value), threshold, images)


def _judged(gate: Gate, measured: Measurement | None) -> JudgedGate:
    value = _value(gate, measured)
    passed = value is not None and value >= gate.bound and not _is_refused(gate, measured)
    return JudgedGate(gate.metric, gate.slice, value, gate.threshold, passed)


def _value(gate: Gate, measured: Measurement | None) -> float | None:
    value = measured.values.get(_place(gate), math.nan) if measured else math.nan
    return value if math.isfinite(value) else None


def _is_refused(gate: Gate, measured: Measurement | None) -> bool:
    place = _place(gate)
    return measured is None or place in measured.failed or place.slice in measured.missing


def _place(gate: Gate) -> Place:
    # All other gates are about the accuracy of some images.
    metric = BALANCED_ACCURACY if gate.metric in BALANCED else ACCURACY
    return Place(metric, slice_of(gate.features), gate.metric in CHANGES)


def _reasons(refusing: list[Measurement]) -> str:
    failed = [str(place) for measured in refusing for place in sorted(measured.failed)]
    missing = [f"no images of {part}" for measured in refusing for part in sorted(measured.missing)]
    return "; ".join([*failed, *missing]) or "it gives no reason"
