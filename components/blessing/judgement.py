"""Judges each declared gate once. What was not measured never passes."""

from __future__ import annotations

import math
from collections.abc import Iterable

from components.blessing.measurement import Measurement, Place, slice_of
from components.quality_gates import CHANGE, CORRUPTION, Gate, JudgedGate


class JudgementError(RuntimeError):
    """TFMA refuses a model of which every gate passes, so a gate is not what it seems."""


def judge(
    declared: Iterable[Gate],
    clean: Measurement,
    corrupted: Measurement | None,
    served: bool,
) -> list[JudgedGate]:
    """How the model stands to each gate that is due.

    Args:
      declared: every gate of the run.
      clean: what was measured on the test images.
      corrupted: what was measured on corrupted test images; None where there are no gates on them.
      served: whether a model is served, with which the new one had to be compared.

    Raises:
      JudgementError: where TFMA refuses for a reason that no gate shows.
    """
    due = [gate for gate in declared if served or gate.metric != CHANGE]
    judged = [_judged(gate, corrupted if gate.metric == CORRUPTION else clean) for gate in due]
    refusing = [found for found in (clean, corrupted) if found and not found.holds]
    if refusing and all(gate.passed for gate in judged):
        raise JudgementError(
            f"TFMA refuses the model ({_reasons(refusing)}), and all {len(judged)} gates pass; "
            "expected the same verdict of both. Nothing was pushed. Run again with --no-cache."
        )
    return judged


def _judged(gate: Gate, measured: Measurement | None) -> JudgedGate:
    value = _value(gate, measured)
    passed = value is not None and value >= gate.threshold and not _is_refused(gate, measured)
    return JudgedGate(gate.metric, gate.slice, value, gate.threshold, passed)


def _value(gate: Gate, measured: Measurement | None) -> float | None:
    value = measured.accuracies.get(_place(gate), math.nan) if measured else math.nan
    return value if math.isfinite(value) else None


def _is_refused(gate: Gate, measured: Measurement | None) -> bool:
    place = _place(gate)
    return measured is None or place in measured.failed or place.slice in measured.missing


def _place(gate: Gate) -> Place:
    return Place(slice_of(gate.features), gate.metric == CHANGE)


def _reasons(refusing: list[Measurement]) -> str:
    failed = [str(place) for found in refusing for place in sorted(found.failed)]
    missing = [f"no images of {part}" for found in refusing for part in sorted(found.missing)]
    return "; ".join([*failed, *missing]) or "it gives no reason"
