"""Prints when a schedule runs, and its systemd unit."""

from __future__ import annotations

import json
import shlex
import sys

from operations.scheduling.clock import duration
from operations.scheduling.plan import Upcoming
from operations.scheduling.unit import UnitFile


def print_upcoming(upcoming: Upcoming, as_json: bool) -> None:
    """Prints the next times at which runs are due."""
    if as_json:
        print(json.dumps([time.isoformat() for time in upcoming.times]))
        return
    for time in upcoming.times:
        left = duration((time - upcoming.now).total_seconds())
        print(f"{time:%a %Y-%m-%d %H:%M %Z}  in {left}")


def print_unit(unit: UnitFile) -> None:
    """Prints how to enable a unit that was written; one that was not, whole."""
    for variable, instead in unit.left_out.items():
        print(
            f"{variable} may hold a secret and is not part of the unit: {instead} instead.",
            file=sys.stderr,
        )
    if unit.path is None:
        print(unit.text, end="")
        return
    print(f"Wrote {unit.path}. It starts now, and whenever the machine does, with:\n")
    print(f"  systemctl --user enable --now {shlex.quote(unit.name)}")
    print("  loginctl enable-linger")
