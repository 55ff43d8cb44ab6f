"""Quality gates and their results. This module uses only the standard library.

Schema and configuration determine the declared gates (`pipeline.gates`). Evaluator measures the
metrics. Blessing checks every declared gate once and writes the result, which verdict, receipt,
terminal and review page read.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable

# Metrics.
ACCURACY = "accuracy"
BALANCED_ACCURACY = "balanced accuracy"
RECALL = "recall"
CHANGE = "accuracy against the served model"
BALANCED_CHANGE = "balanced accuracy against the served model"
CORRUPTION = "accuracy under corruption"
# Of a slice by a column of the data, `components.slices`; which slices there are, the data says.
SLICE = "slice accuracy"

BALANCED = frozenset({BALANCED_ACCURACY, BALANCED_CHANGE})
# Those that apply only if a model is served.
CHANGES = frozenset({CHANGE, BALANCED_CHANGE})

# Those of all test images. A slice does not tell: a class may be called `OVERALL`.
OF_ALL_IMAGES = frozenset({ACCURACY, *BALANCED, *CHANGES})

OVERALL = "overall"

# TFMA's accuracy is a float32: 90 of 100 is 0.89999998. Rounding takes up to 3e-8 from it, and up
# to 9e-8 from the difference of two. An accuracy that is a whole image short of the threshold lacks
# more than this in every test split of less than five million images. One that lacks less passes,
# too, where the threshold lies between two numbers of images: a fiftieth of one of 100,000 images.
_ROUNDING = 2e-7
# Decimals of a value beside its threshold. What a value that fails lacks is more than `_ROUNDING`,
# which the most of them show.
_DECIMALS, _MOST_DECIMALS = 4, 7


@dataclasses.dataclass(frozen=True)
class Gate:
    """A threshold that a model must reach.

    Attributes:
      metric: Metric: `ACCURACY`, `BALANCED_ACCURACY`, `RECALL`, `CHANGE`, `BALANCED_CHANGE` or
        `CORRUPTION`.
      slice: Name of the slice: `OVERALL`, a class name or a corruption.
      threshold: Lowest exact value that passes.
      features: Names and values of the features that select the slice; empty for all images.
    """

    metric: str
    slice: str
    threshold: float
    features: tuple[tuple[str, str | int], ...] = ()

    @property
    def bound(self) -> float:
        """Lowest rounded value that passes, for Blessing and for TFMA."""
        return self.threshold - _ROUNDING


@dataclasses.dataclass(frozen=True)
class JudgedGate:
    """Result of a gate for a model.

    Attributes:
      metric: Metric of the gate.
      slice: Slice of the gate; `column=value` for `SLICE`.
      value: Measured value; None where nothing was measured, or too few images for a required
        slice. It never passes then.
      threshold: Lowest exact value that passes.
      passed: Whether the value was measured and reaches the threshold, which it does too where only
        rounding keeps it below.
    """

    metric: str
    slice: str
    value: float | None
    threshold: float
    passed: bool

    @property
    def measured(self) -> str:
        """The value in words."""
        return "not measured" if self.value is None else f"{self.value:.{self._decimals}f}"

    @property
    def expected(self) -> str:
        """The threshold in words."""
        return f"{self.threshold:.{self._decimals}f}"

    @property
    def standing(self) -> str:
        """Value and threshold in words."""
        return f"{self.metric} of {self.slice} {self.measured} against {self.expected}"

    @property
    def _decimals(self) -> int:
        return decimals(self.value, self.threshold, self.passed)


def decimals(value: float | None, threshold: float, passed: bool, least: int = _DECIMALS) -> int:
    """Number of decimals with which a value that failed looks other than its threshold.

    Args:
      value: Measured value; None where there is none.
      threshold: Lowest value that passes.
      passed: Whether the value passed.
      least: Number of decimals where nothing speaks for more.
    """
    if value is None or passed:
        return least
    enough = (count for count in range(least, _MOST_DECIMALS) if _differ(value, threshold, count))
    return next(enough, _MOST_DECIMALS)


def _differ(value: float, threshold: float, count: int) -> bool:
    """Whether rounded numbers differ, and so does their rounded difference from zero."""
    return round(value, count) != round(threshold, count) and round(threshold - value, count) != 0


def declared_to_json(gates: Iterable[Gate]) -> str:
    """Returns declared gates as the parameter of a node."""
    return json.dumps([dataclasses.asdict(gate) for gate in gates])


def declared_from_json(text: str) -> list[Gate]:
    """Returns the gates that `declared_to_json` wrote."""
    entries = json.loads(text)
    return [
        Gate(**{**entry, "features": tuple(map(tuple, entry["features"]))}) for entry in entries
    ]


def judged_to_json(gates: Iterable[JudgedGate]) -> str:
    """Returns judged gates as the content of `features.GATES_FILE`."""
    return json.dumps([dataclasses.asdict(gate) for gate in gates], indent=1)


def judged_from_json(text: str) -> list[JudgedGate]:
    """Returns the gates that `judged_to_json` wrote."""
    return [JudgedGate(**entry) for entry in json.loads(text)]
