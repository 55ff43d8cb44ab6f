"""What the container of a node may use at most, as Kubernetes writes it."""

from __future__ import annotations

import dataclasses
import re

_CPU = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m?)")
_MEMORY = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMGT]i?)?")
_BYTES = {
    **{f"{letter}i": 2 ** (10 * power) for power, letter in enumerate("KMGT", start=1)},
    **{letter: 10 ** (3 * power) for power, letter in enumerate("KMGT", start=1)},
}


class QuantityError(ValueError):
    """A quantity that Kubernetes would not take: what was found and what was expected."""


@dataclasses.dataclass(frozen=True)
class Resources:
    """The bounds of a container.

    Attributes:
      cpu: cores, such as `4` or `500m`.
      memory: bytes, such as `8Gi` or `8G`.

    Raises:
      QuantityError: where one of them is none, or nothing.
    """

    cpu: str
    memory: str

    def __post_init__(self) -> None:
        if not self.cores > 0:
            raise QuantityError(f"cpu {self.cpu!r}; expected cores, such as 4 or 500m")
        if not self.gigabytes > 0:
            raise QuantityError(f"memory {self.memory!r}; expected an amount, such as 8Gi or 8G")

    @property
    def cores(self) -> float:
        """The processor's cores as a number; 0 of what is none."""
        number, thousandths = _matched(_CPU, self.cpu)
        return float(number) / (1000 if thousandths else 1)

    @property
    def gigabytes(self) -> float:
        """The memory in units of 10^9 bytes; 0 of what is none."""
        number, unit = _matched(_MEMORY, self.memory)
        return float(number) * _BYTES.get(unit, 1) / 10**9


def _matched(pattern: re.Pattern[str], text: str) -> tuple[str, str]:
    """The number of a quantity and its unit, which may be empty."""
    found = pattern.fullmatch(text)
    return (found[1], found[2] or "") if found else ("0", "")
