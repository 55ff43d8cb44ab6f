"""Gates: what a model is held to, and how it stood to that. Standard library alone.

Declared gates follow from schema and configuration (`pipeline.gates`). Evaluator measures, Blessing
judges every declared gate once and writes the result; verdict, receipt, terminal and page read it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable

# What is measured.
ACCURACY = "accuracy"
RECALL = "recall"
CHANGE = "accuracy against the served model"
CORRUPTION = "accuracy under corruption"

OVERALL = "overall"


@dataclasses.dataclass(frozen=True)
class Gate:
    """A threshold that a model is held to.

    Attributes:
      metric: `ACCURACY`, `RECALL`, `CHANGE` or `CORRUPTION`.
      slice: `OVERALL`, a class name or a corruption.
      threshold: the least value that passes.
      features: name and value of the features that all images of the slice share; none: all images.
    """

    metric: str
    slice: str
    threshold: float
    features: tuple[tuple[str, str | int], ...] = ()


@dataclasses.dataclass(frozen=True)
class JudgedGate:
    """How a model stood to a gate.

    Attributes:
      metric: as `Gate.metric`.
      slice: as `Gate.slice`.
      value: what was measured; None where nothing was, which never passes.
      threshold: the least value that passes.
      passed: whether the value was measured and reaches the threshold.
    """

    metric: str
    slice: str
    value: float | None
    threshold: float
    passed: bool


def declared_to_json(gates: Iterable[Gate]) -> str:
    """Declared gates as the parameter of a node."""
    return json.dumps([dataclasses.asdict(gate) for gate in gates])


def declared_from_json(text: str) -> list[Gate]:
    """The gates that `declared_to_json` wrote."""
    entries = json.loads(text)
    return [
        Gate(**{**entry, "features": tuple(map(tuple, entry["features"]))}) for entry in entries
    ]


def judged_to_json(gates: Iterable[JudgedGate]) -> str:
    """Judged gates as the content of `features.GATES_FILE`."""
    return json.dumps([dataclasses.asdict(gate) for gate in gates], indent=1)


def judged_from_json(text: str) -> list[JudgedGate]:
    """The gates that `judged_to_json` wrote."""
    return [JudgedGate(**entry) for entry in json.loads(text)]
