"""What a scheduler tells others: alarms, skipped runs, and outcomes of runs."""

from __future__ import annotations

import enum

from pipeline.errors import ExitCode
from pipeline.records.outcomes import Status, Verdict
from pipeline.records.receipt import Receipt


class AlarmKind(enum.StrEnum):
    """A fault that does not go away by itself; a run tells of its own failures."""

    RUN = "run"
    INPUT = "input"
    LATE_DATA = "late_data"
    BLOCKED = "blocked"

    @property
    def headline(self) -> str:
        """The alarm in a few words."""
        return _HEADLINES[self]


_HEADLINES = {
    AlarmKind.RUN: "a run broke off",
    AlarmKind.INPUT: "a run cannot start",
    AlarmKind.LATE_DATA: "data is overdue",
    AlarmKind.BLOCKED: "runs are held up",
}


class SkipReason(enum.StrEnum):
    """Why a run that was due did not begin."""

    OVERLAP = "overlap"
    MISSED = "missed"
    UNCHANGED = "unchanged"
    HELD = "held"


class Outcome(enum.StrEnum):
    """What came of an attempt at a run."""

    PUSHED = "pushed"
    REFUSED = "refused"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    BAD_INPUT = "bad_input"
    UNCHANGED = "unchanged"
    HELD = "held"

    @property
    def counts_as_run(self) -> bool:
        """Whether a run began, or was refused for its input."""
        return self not in (Outcome.UNCHANGED, Outcome.HELD)

    @classmethod
    def of(cls, receipt: Receipt) -> Outcome:
        """The outcome that a receipt tells of."""
        if receipt.verdict != Verdict.NONE:
            return cls(receipt.verdict)
        return cls.INTERRUPTED if receipt.status == Status.INTERRUPTED else cls.FAILED

    @classmethod
    def without_receipt(cls, code: ExitCode) -> Outcome:
        """The outcome of a process that left no receipt."""
        return _WITHOUT_RECEIPT.get(code, cls.FAILED)


_WITHOUT_RECEIPT = {
    ExitCode.PUSHED: Outcome.UNCHANGED,
    ExitCode.REFUSED: Outcome.UNCHANGED,
    ExitCode.BAD_INPUT: Outcome.BAD_INPUT,
    ExitCode.HELD: Outcome.HELD,
    ExitCode.INTERRUPTED: Outcome.INTERRUPTED,
}
