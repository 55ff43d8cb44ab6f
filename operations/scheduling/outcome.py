"""How a run ended, judged from outside: by exit code, receipt, and the end of its output."""

from __future__ import annotations

import dataclasses
import pathlib
import signal

from components.messages import shown
from operations.notifications.events import AlarmKind, SkipReason
from operations.scheduling.clock import duration
from operations.scheduling.look import Seen
from pipeline.errors import ExitCode
from pipeline.records.outcomes import Status, Verdict
from pipeline.records.receipt import Receipt

COMPLETED_CODES = (ExitCode.PUSHED, ExitCode.REFUSED)

_TAIL_BYTES = 65_536
# Errors of this project are shorter.
_LONGEST_ERROR = 2_000
# Number of failed gates that are named.
_MOST_GATES = 20


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a scheduled run, or one attempt at it, ended.

    Attributes:
      exit_code: Exit code of `run`.
      text: The end in words.
      receipt: Receipt of the run; None where it has none.
      alarm: Kind of the alarm to raise; None for no alarm.
      skipped: Why nothing ran; None where something did.
      retry: Whether another attempt may end better.
      unfinished: Whether the end of the scheduler cut it off.
      seen: Input of the run; None where it could not be read.
    """

    exit_code: ExitCode
    text: str
    receipt: Receipt | None = None
    alarm: AlarmKind | None = None
    skipped: SkipReason | None = None
    retry: bool = False
    unfinished: bool = False
    seen: Seen | None = None

    @property
    def completed(self) -> bool:
        """Whether a graph came to its end: now, or in the run since which nothing changed."""
        return self.exit_code in COMPLETED_CODES

    @property
    def unread(self) -> bool:
        """Whether a run completed, and its receipt cannot be read."""
        return self.completed and not self.skipped and self.receipt is None

    @property
    def refused_by_run(self) -> bool:
        """Whether a run refused to start although the look before it found nothing wrong."""
        return self.alarm == AlarmKind.INPUT and self.seen is not None

    def over(self, refused_by_run: bool) -> list[AlarmKind]:
        """Kinds of alarms that no longer hold.

        Had they to wait for a completed run, a new fault in the same words would raise none.

        Args:
          refused_by_run: Whether an earlier run refused to start: a sound look does not end that.
        """
        # A run that tells of its own failure did not break off, and began with sound input.
        told = self.completed or self.receipt is not None
        over = {
            AlarmKind.RUN: told,
            AlarmKind.INPUT: told or (self.seen is not None and not refused_by_run),
            AlarmKind.BLOCKED: self.exit_code != ExitCode.HELD,
        }
        return [kind for kind, is_over in over.items() if is_over and kind != self.alarm]


def of_run(name: str, code: int, receipt: Receipt | None, log: pathlib.Path) -> Ended:
    """Outcome of a process that exited on its own.

    Args:
      name: Name of the run until it has an id.
      code: Exit code of the process, negative after a signal.
      receipt: Receipt of the run, if it began.
      log: File with its output.
    """
    name = _named(receipt, name)
    told = _last_error(log) or f"its output is in {log}"
    match code:
        case ExitCode.BAD_INPUT:
            return Ended(ExitCode.BAD_INPUT, told, alarm=AlarmKind.INPUT)
        case ExitCode.HELD:
            text = f"skipped: {told}"
            return Ended(ExitCode.HELD, text, skipped=SkipReason.HELD, retry=True)
        case ExitCode.INTERRUPTED:
            text = f"{name} was interrupted, not by the scheduler"
            return Ended(ExitCode.INTERRUPTED, text, receipt)
        case ExitCode.PUSHED | ExitCode.REFUSED:
            return _completed(ExitCode(code), receipt)
        case ExitCode.FAILED if receipt and receipt.status == Status.FAILED:
            only_again = receipt.verdict == Verdict.STOPPED or receipt.changed_command
            return Ended(ExitCode.FAILED, _failure(receipt), receipt, retry=not only_again)
    how = f"was killed by {_signal(-code)}" if code < 0 else f"ended with exit code {code}"
    return _broken(f"{name} {how}: {told}", receipt)


def before_the_run(ended: Ended) -> Ended:
    """An end that came before a run began, and so is over with the next sound look."""
    return dataclasses.replace(ended, alarm=AlarmKind.INPUT) if ended.alarm else ended


def of_unread_receipt(name: str, code: ExitCode) -> Ended:
    """Outcome of a run that completed, and whose receipt cannot be read."""
    text = (
        f"{name} ended with exit code {code}, but its receipt cannot be read; expected one of the "
        "version that this scheduler knows. If the project was updated since the scheduler "
        "started, start it again; `runs` lists the run, or says what is wrong with its receipt."
    )
    return Ended(code, text, alarm=AlarmKind.RUN)


def of_no_start(name: str, error: OSError) -> Ended:
    """Outcome of a process that could not be started."""
    return _broken(f"{name} could not be started: {shown(str(error))}", None)


def of_time_limit(name: str, receipt: Receipt | None, limit_seconds: float) -> Ended:
    """Outcome of a run that took too long."""
    limit = duration(limit_seconds)
    return _broken(f"{_named(receipt, name)} took longer than its limit of {limit}", receipt)


def of_stop(name: str, receipt: Receipt | None) -> Ended:
    """Outcome of a process that the end of the scheduler cut off."""
    kept = "; what is complete of it is kept" if receipt else ""
    text = f"{_named(receipt, name)} was interrupted{kept}"
    return Ended(ExitCode.INTERRUPTED, text, receipt, unfinished=True)


def of_hanging_look(limit_seconds: float) -> Ended:
    """Outcome of a run whose input could not be read in time."""
    text = (
        f"the input could not be read within {duration(limit_seconds)}; expected data that answers "
        "and can be read in that time. Check its file system, or set a larger --read-within."
    )
    # A network drive may answer again, and what was read of a local one is kept.
    return Ended(ExitCode.BAD_INPUT, text, alarm=AlarmKind.INPUT, retry=True)


def of_standing_run(seen: Seen) -> Ended:
    """Outcome of a run that was not due."""
    text = f"skipped: nothing changed since run {shown(str(seen.standing_run))}"
    return Ended(seen.exit_code, text, skipped=SkipReason.UNCHANGED)


def _completed(code: ExitCode, receipt: Receipt | None) -> Ended:
    if receipt is None:
        text = "skipped: nothing changed since the last completed run"
        return Ended(code, text, skipped=SkipReason.UNCHANGED)
    measured = receipt.evaluation
    accuracy = [f"accuracy {measured.accuracy:.3f}"] if measured else []
    return Ended(code, ", ".join([_verdict(receipt), *accuracy, _took(receipt)]), receipt)


def _verdict(receipt: Receipt) -> str:
    name = f"run {receipt.run_id}"
    if receipt.kept_served_version:
        return f"{name}: version {receipt.pushed_version} stands"
    if receipt.pushed_version is not None:
        return f"{name} pushed version {receipt.pushed_version}"
    missed = [gate.standing for gate in receipt.gates if not gate.passed]
    left = len(missed) - _MOST_GATES
    more = [f"and {left} more gates"] if left > 0 else []
    return f"{name} was refused ({'; '.join([*missed[:_MOST_GATES], *more])})"


def _failure(receipt: Receipt) -> str:
    failure = receipt.failure
    verb = "was stopped" if receipt.verdict == Verdict.STOPPED else "failed"
    place = f" in {failure.node}" if failure and failure.node else ""
    message = f": {failure.message}" if failure else ""
    return f"run {receipt.run_id} {verb}{place} after {_took(receipt)}{message}"


def _broken(text: str, receipt: Receipt | None) -> Ended:
    """An end that the run could not tell anybody of itself."""
    return Ended(ExitCode.FAILED, text, receipt, alarm=AlarmKind.RUN, retry=True)


def _last_error(log: pathlib.Path) -> str | None:
    """The last error that a command printed, if any, and if its output can be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    # Libraries write there, too.
    return shown(told[-1], _LONGEST_ERROR) if told else None


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _named(receipt: Receipt | None, name: str) -> str:
    return f"run {receipt.run_id}" if receipt else name


def _took(receipt: Receipt) -> str:
    return duration(receipt.seconds or 0)
