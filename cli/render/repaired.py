"""Prints what `repair` found and did."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from cli.render.tables import make_console
from operations.repair import Repaired

_KEPT = "receipts, reviews and served versions, so `rollback` and the next comparison work"


def print_repaired(pipelines: Sequence[Repaired], as_json: bool) -> None:
    """Prints what was wrong with each pipeline and what was done, for people or as JSON."""
    if as_json:
        print(json.dumps([dataclasses.asdict(each) for each in pipelines], indent=1))
        return
    for each in pipelines:
        text = "\n".join(_lines(each))
        make_console().print(text, soft_wrap=True, markup=False)


def _lines(repaired: Repaired) -> list[str]:
    would = "" if repaired.applied else "would be "
    lines = [repaired.fault or f"{repaired.store}: there is nothing to repair"]
    if repaired.moved_to:
        lines.append(f"  {would or 'was '}moved to {repaired.moved_to}; a new one takes its place")
        lines += [f"  lost: {what}" for what in repaired.lost]
        lines.append(f"  kept: {_KEPT}")
    if repaired.completed_runs:
        runs = ", ".join(repaired.completed_runs)
        lines.append(f"  receipts of runs that were cut off {would or 'were '}completed: {runs}")
    if not repaired.applied and (repaired.moved_to or repaired.completed_runs):
        lines.append("Nothing was changed. Repair it without --dry-run.")
    return lines
