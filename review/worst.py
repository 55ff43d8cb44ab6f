"""Which gates are shown first, and which of those on slices: there may be a thousand of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from components.quality_gates import OF_ALL_IMAGES, SLICE, JudgedGate
from review.summary import Gate

# Maximum number of gates on slices in a list of gates.
_MOST_SLICES = 20


def positions(gates: Sequence[Gate | JudgedGate]) -> list[int]:
    """Positions of the gates to show: all, but of those on slices only the worst that failed."""
    failed = [n for n, gate in enumerate(gates) if gate.metric == SLICE and not gate.passed]
    worst = set(sorted(failed, key=lambda number: margin(gates[number]))[:_MOST_SLICES])
    return [n for n, gate in enumerate(gates) if gate.metric != SLICE or n in worst]


def urgency(gate: Gate | JudgedGate) -> tuple[bool, bool, float]:
    """Sorts failed gates first, of these the ones of all images, and then the lowest margin."""
    return gate.passed, gate.metric not in OF_ALL_IMAGES, margin(gate)


def margin(gate: Gate | JudgedGate) -> float:
    """How far a gate was passed; a gate without a value is the worst."""
    return -math.inf if gate.value is None else gate.value - gate.threshold
