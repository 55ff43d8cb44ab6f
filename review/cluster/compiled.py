"""What is known of a run on a cluster when its graph is compiled."""

from __future__ import annotations

import shlex
from typing import Literal

from pydantic import JsonValue

from pipeline.records.receipt import Part, Sha256


class CompiledRun(Part):
    """What all runs of a compiled graph have in common."""

    pipeline: str
    profile: str
    assignments: tuple[str, ...]
    """`key=value` each, as they were asked for."""
    config: dict[str, JsonValue]
    """Configuration; each run sets the seed."""
    precision: Literal["float32", "bfloat16"]
    schema_sha256: Sha256
    parts: tuple[tuple[str, str], ...]
    """Name and use of each part of the data."""
    revision: str | None
    """Revision of the checkout that compiled; null outside of git."""
    dirty: bool | None
    """Whether the checkout had uncommitted changes; null outside of git."""

    def command(self, location: str, seed: int) -> str:
        """The command that computes the same on one machine.

        Args:
          location: Where the data is.
          seed: Random seed.
        """
        # A machine may choose another one.
        precision = f"training.precision={self.precision}"
        assignments = dict.fromkeys((*self.assignments, precision))
        return shlex.join(
            [
                *("python3", "pipeline_runner.py", "run", "--profile", self.profile),
                *(word for each in assignments for word in ("--set", each)),
                *("--seed", str(seed), "--data", location),
            ]
        )
