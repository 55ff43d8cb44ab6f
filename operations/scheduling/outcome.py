"""How a run ended, judged from outside: by exit code, receipt, and what it printed last."""

from __future__ import annotations

import dataclasses
import pathlib
import signal
from typing import Any

from operations.receipts import FAILED, STOPPED
from operations.scheduling.clock import duration
from operations.scheduling.look import Seen
from pipeline.locations import Locations
from pipeline.records import history, metadata

# Exit codes of `run`.
PUSHED_CODE, FAILED_CODE, USAGE_CODE, REFUSED_CODE, HELD_CODE, INTERRUPTED_CODE = 0, 1, 2, 3, 4, 130
COMPLETED_CODES = (PUSHED_CODE, REFUSED_CODE)

# Kinds of alarms; what a run tells of itself is none.
RUN, INPUT, LATE_DATA = "run", "input", "late_data"
# Why nothing was run when it was due.
OVERLAP, MISSED, UNCHANGED, HELD = "overlap", "missed", "unchanged", "held"

_TAIL_BYTES = 65_536


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a scheduled run, or one attempt at it, ended.

    Attributes:
      exit_code: as `run` would have it.
      text: the same in words.
      receipt: of the run; None where it did not come so far.
      alarm: the kind of the alarm that it is; None where it is none.
      skipped: why nothing was run; None where something was.
      retry: whether another attempt may end better.
      unfinished: whether it was cut off because the scheduler ends.
      seen: the input that it was for; None where that could not be read.
    """

    exit_code: int
    text: str
    receipt: dict[str, Any] | None = None
    alarm: str | None = None
    skipped: str | None = None
    retry: bool = False
    unfinished: bool = False
    seen: Seen | None = None

    @property
    def completed(self) -> bool:
        """Whether a graph came to its end: now, or in the run since which nothing changed."""
        return self.exit_code in COMPLETED_CODES


def of_run(name: str, code: int, receipt: dict[str, Any] | None, log: pathlib.Path) -> Ended:
    """Outcome of a process that exited on its own.

    Args:
      name: of the run, where it has no receipt.
      code: its exit code, negative where a signal ended it.
      receipt: of the run that it began, if any.
      log: what it printed.
    """
    name = _named(receipt, name)
    told = _last_error(log) or f"its output is in {log}"
    if code == USAGE_CODE:
        return Ended(code, told, alarm=INPUT)
    if code == HELD_CODE:
        return Ended(code, f"skipped: {told}", skipped=HELD)
    if code == INTERRUPTED_CODE:
        return Ended(code, f"{name} was interrupted, not by the scheduler", receipt)
    if code in COMPLETED_CODES:
        return _completed(code, receipt)
    if code == FAILED_CODE and receipt and receipt["status"] == FAILED:
        only_again = receipt["verdict"] == STOPPED or metadata.changed_command(receipt)
        return Ended(code, _failure(receipt), receipt, retry=not only_again)
    how = f"was killed by {_signal(-code)}" if code < 0 else f"ended with exit code {code}"
    return _broken(f"{name} {how}: {told}", receipt)


def of_no_start(name: str, error: OSError) -> Ended:
    """Outcome of a process that could not be started."""
    return _broken(f"{name} could not be started: {error}", None)


def of_time_limit(name: str, receipt: dict[str, Any] | None, limit_seconds: float) -> Ended:
    """How a run ended that took too long."""
    limit = duration(limit_seconds)
    return _broken(f"{_named(receipt, name)} took longer than its limit of {limit}", receipt)


def of_stop(name: str, receipt: dict[str, Any] | None) -> Ended:
    """Outcome of a process that the end of the scheduler cut off."""
    kept = "; what is complete of it is kept" if receipt else ""
    text = f"{_named(receipt, name)} was interrupted{kept}"
    return Ended(INTERRUPTED_CODE, text, receipt, unfinished=True)


def of_hanging_look(limit_seconds: float) -> Ended:
    """How a run ended whose input could not be read in time."""
    text = f"the input could not be read within {duration(limit_seconds)}"
    return Ended(USAGE_CODE, text, alarm=INPUT)


def of_standing_run(seen: Seen) -> Ended:
    """How a run ended that was not due."""
    text = f"skipped: nothing changed since run {seen.standing_run}"
    return Ended(seen.exit_code, text, skipped=UNCHANGED)


def receipt_of(locations: Locations, attempt: str) -> dict[str, Any] | None:
    """The receipt of the run that an attempt began; None where it began none.

    One that cannot be read counts as none.

    Args:
      locations: of the pipeline.
      attempt: by which the run was told to name it.
    """
    runs = history.receipts_of(locations)
    return next((run for run in runs if run["attempt"] == attempt), None)


def version_stood(receipt: dict[str, Any]) -> bool:
    """Whether a run named a version that was served before it began, and pushed none."""
    version = receipt["pushed_version"]
    return version is not None and version == receipt["served_before"]


def _completed(code: int, receipt: dict[str, Any] | None) -> Ended:
    if receipt is None:
        text = "skipped: nothing changed since the last completed run"
        return Ended(code, text, skipped=UNCHANGED)
    told = [_verdict(receipt), f"accuracy {receipt['test_accuracy']:.3f}", _took(receipt)]
    return Ended(code, ", ".join(told), receipt)


def _verdict(receipt: dict[str, Any]) -> str:
    name = f"run {receipt['run_id']}"
    if version_stood(receipt):
        return f"{name}: version {receipt['pushed_version']} stands"
    if receipt["pushed_version"] is not None:
        return f"{name} pushed version {receipt['pushed_version']}"
    missed = [_missed(gate) for gate in receipt["gates"] if not gate["passed"]]
    return f"{name} was refused ({'; '.join(missed)})"


def _missed(gate: dict[str, Any]) -> str:
    value = "not measured" if gate["value"] is None else f"{gate['value']:.4f}"
    return f"{gate['metric']} of {gate['slice']} {value} against {gate['threshold']:.4f}"


def _failure(receipt: dict[str, Any]) -> str:
    node, message = receipt["failure"]["node"], receipt["failure"]["message"]
    verb = "was stopped" if receipt["verdict"] == STOPPED else "failed"
    place = f" in {node}" if node else ""
    return f"run {receipt['run_id']} {verb}{place} after {_took(receipt)}: {message}"


def _broken(text: str, receipt: dict[str, Any] | None) -> Ended:
    """An end that the run itself could tell nobody of."""
    return Ended(FAILED_CODE, text, receipt, alarm=RUN, retry=True)


def _last_error(log: pathlib.Path) -> str | None:
    """What a command said last of its error, if it said anything."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return told[-1] if told else None


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _named(receipt: dict[str, Any] | None, name: str) -> str:
    return f"run {receipt['run_id']}" if receipt else name


def _took(receipt: dict[str, Any]) -> str:
    return duration(receipt["seconds"] or 0)
