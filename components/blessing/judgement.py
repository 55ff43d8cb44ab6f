"""Checks each declared gate once. A gate without a measurement never passes."""

from __future__ import annotations

import math
from collections.abc import Iterable

from components.blessing.measurement import Measurement, Place, slice_of
from components.quality_gates import (
    ACCURACY,
    BALANCED_ACCURACY,
    CHANGE,
    CORRUPTION,
    Gate,
    JudgedGate,
)


class JudgementError(RuntimeError):
    """TFMA refuses a model that passes every gate, so the two disagree about a gate."""


def judge(
    declared: Iterable[Gate],
    clean: Measurement,
    corrupted: Measurement | None,
    served: bool,
) -> list[JudgedGate]:
    """Returns the result of each gate that applies.

    Args:
      declared: All declared gates of the run.
      clean: Measurement on the test images.
      corrupted: Measurement on corrupted test images; None if no gates need it.
      served: Whether a model is served, so that the new one has to be compared with it.

    Raises:
      JudgementError: If TFMA refuses the model although every gate passes.
    """
    applying = [gate for gate in declared if served or gate.metric != CHANGE]
    judged = [_judged(gate, corrupted if gate.metric == CORRUPTION else clean) for gate in applying]
    refusing = [measured for measured in (clean, corrupted) if measured and not measured.holds]
    if refusing and all(gate.passed for gate in judged):
        raise JudgementError(
            f"TFMA refuses the model ({_reasons(refusing)}), but all {len(judged)} gates pass; "
            "expected the same verdict from both. Nothing was pushed. Run again with --no-cache."
        )
    return judged


def _judged(gate: Gate, measured: Measurement | None) -> JudgedGate:
    value = _value(gate, measured)
    passed = value is not None and value >= gate.threshold and not _is_refused(gate, measured)
    return JudgedGate(gate.metric, gate.slice, value, gate.threshold, passed)


def _value(gate: Gate, measured: Measurement | None) -> float | None:
    value = measured.values.get(_place(gate), math.nan) if measured else math.nan
    return value if math.isfinite(value) else None


def _is_refused(gate: Gate, measured: Measurement | None) -> bool:
    place = _place(gate)
    return measured is None or place in measured.failed or place.slice in measured.missing


def _place(gate: Gate) -> Place:
    # All other gates are about the accuracy of some images.
    metric = BALANCED_ACCURACY if gate.metric == BALANCED_ACCURACY else ACCURACY
    return Place(metric, slice_of(gate.features), gate.metric == CHANGE)


def _reasons(refusing: list[Measurement]) -> str:
    failed = [str(place) for measured in refusing for place in sorted(measured.failed)]
    missing = [f"no images of {part}" for measured in refusing for part in sorted(measured.missing)]
    return "; ".join([*failed, *missing]) or "it gives no reason"
