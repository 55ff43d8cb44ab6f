"""Resource limits of containers, as Kubernetes quantities."""

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
    """A quantity that Kubernetes would refuse; the message says what was found and expected."""


@dataclasses.dataclass(frozen=True)
class Resources:
    """The resource limits of a container.

    Attributes:
      cpu: Number of cores, such as `4` or `500m`.
      memory: Amount of memory, such as `8Gi` or `8G`.

    Raises:
      QuantityError: If a limit is zero or not a quantity.
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
        """Number of cores; 0 if `cpu` is not a quantity."""
        number, thousandths = _matched(_CPU, self.cpu)
        return float(number) / (1000 if thousandths else 1)

    @property
    def gigabytes(self) -> float:
        """Memory in units of 10^9 bytes; 0 if `memory` is not a quantity."""
        number, unit = _matched(_MEMORY, self.memory)
        size: float = float(number) * _BYTES.get(unit, 1)
        return size / 10**9


def _matched(pattern: re.Pattern[str], text: str) -> tuple[str, str]:
    """Returns the number and the unit of a quantity; the unit may be empty."""
    match = pattern.fullmatch(text)
    return (match[1], match[2] or "") if match else ("0", "")
