"""A scheduled run: attempts at it, each of a look at its input and a run, with pauses between."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import enum
import math
import pathlib
import uuid
from collections.abc import Callable, Generator
from typing import TypeVar

from operations.scheduling import outcome
from operations.scheduling.clock import Clock, duration
from operations.scheduling.look import Seen
from operations.scheduling.outcome import Ended
from operations.scheduling.plan import Policy
from operations.scheduling.processes import Commands, ProcessGroup
from operations.scheduling.report import DOUBTFUL, Report
from pipeline.errors import ExitCode
from pipeline.locations import Locations
from pipeline.records import history

_KEPT_LOGS = 100
_LOOK = "the look at the input"


class CutOff(enum.Enum):
    """Why a process was cut off."""

    STOPPED = enum.auto()
    TOO_LONG = enum.auto()


Result = TypeVar("Result")
Started = TypeVar("Started")
# Work that never waits itself: each step yields the seconds until it has to go on.
Steps = Generator[float, None, Result]


class Work:
    """Runs what is due, one process at a time."""

    def __init__(
        self,
        commands: Commands,
        policy: Policy,
        locations: Locations,
        clock: Clock,
        report: Report,
    ):
        """Starts processes with `commands`; their logs lie below the folder of the pipeline."""
        self._commands = commands
        self._policy = policy
        self._locations = locations
        self._clock = clock
        self._report = report
        self._folder = locations.root / "schedule"

    def run(self, name: str) -> Steps[Ended]:
        """Runs what is due, with retries.

        Args:
          name: Name of the run until it has an id.
        """
        tries = self._policy.retries + 1
        for attempt in range(1, tries + 1):
            ended = yield from self._attempt(name)
            retried = ended.retry and attempt < tries
            self._report.ended(ended, self._locations, retried)
            if not retried:
                break
            pause = self._policy.backoff_seconds * 2 ** (attempt - 1)
            self._report.tell(f"retry {attempt} of {tries - 1} in {duration(pause)}", DOUBTFUL)
            yield from self._pause(pause)
            if self._clock.stop_requested:
                ended = dataclasses.replace(ended, unfinished=True)
                break
        return ended

    def look(self) -> Steps[Seen | Ended]:
        """Looks at the input; where it is not sound, returns how a run with it would end."""
        log = _started(_LOOK, self._new_log)
        if isinstance(log, Ended):
            return outcome.before_the_run(log)
        seen = yield from self._look(log)
        _remove_empty(log)
        return seen

    def _attempt(self, name: str) -> Steps[Ended]:
        log = _started(name, self._new_log)
        if isinstance(log, Ended):
            return outcome.before_the_run(log)
        seen = yield from self._look(log)
        if isinstance(seen, Ended):
            return seen
        if self._policy.on_change and seen.standing_run:
            _remove_empty(log)
            ended = outcome.of_standing_run(seen)
        else:
            ended = yield from self._run(name, seen, log)
        return dataclasses.replace(ended, seen=seen)

    def _look(self, log: pathlib.Path) -> Steps[Seen | Ended]:
        answer = self._folder / "seen.json"
        child = _started(_LOOK, lambda: self._start_look(answer, log))
        if isinstance(child, Ended):
            return outcome.before_the_run(child)
        code, cut_off = yield from self._end_of(child, self._policy.look_seconds)
        if cut_off == CutOff.STOPPED:
            return outcome.of_stop(_LOOK, None)
        if cut_off:
            return outcome.of_hanging_look(self._policy.look_seconds)
        return _seen(code, answer, log)

    def _start_look(self, answer: pathlib.Path, log: pathlib.Path) -> ProcessGroup:
        # Or an answer that an earlier look left would be taken for that of this one.
        answer.unlink(missing_ok=True)
        return self._commands.look(answer, log)

    def _run(self, name: str, seen: Seen, log: pathlib.Path) -> Steps[Ended]:
        attempt = uuid.uuid4().hex
        force = not self._policy.on_change
        child = _started(name, lambda: self._commands.run(seen.data, force, log, attempt))
        if isinstance(child, Ended):
            return child
        self._report.tell(f"{name} began; its output goes to {log}")
        limit = self._policy.time_limit_seconds or math.inf
        code, cut_off = yield from self._end_of(child, limit)
        receipt = history.of_attempt(self._locations, attempt)
        # What came to its end while it was asked to has come to its end.
        if cut_off and code not in outcome.COMPLETED_CODES:
            if cut_off == CutOff.STOPPED:
                return outcome.of_stop(name, receipt)
            return outcome.of_time_limit(name, receipt, limit)
        # A run that was not forced may have found that nothing changed, and left none.
        completed = receipt is None and code in outcome.COMPLETED_CODES
        if completed and (force or history.left_receipt(self._locations, attempt)):
            return outcome.of_unread_receipt(name, ExitCode(code))
        return outcome.of_run(name, code, receipt, log)

    def _end_of(
        self, child: ProcessGroup, limit_seconds: float
    ) -> Steps[tuple[int, CutOff | None]]:
        """Waits for the end of a process, or brings it about.

        Returns:
          Its exit code, and why it was cut off; None where it was not.
        """
        why = yield from self._wait(child, limit_seconds, stoppable=True)
        if why:
            child.terminate()
            if (yield from self._wait(child, self._policy.stop_seconds, stoppable=False)):
                child.kill()
                yield from self._wait(child, math.inf, stoppable=False)
        return child.poll() or 0, why

    def _wait(self, child: ProcessGroup, seconds: float, stoppable: bool) -> Steps[CutOff | None]:
        """Waits for the end of a process; returns why to wait no longer if it is still at work."""
        until = self._clock.seconds() + seconds
        while child.poll() is None:
            left = until - self._clock.seconds()
            if stoppable and self._clock.stop_requested:
                return CutOff.STOPPED
            if left <= 0:
                return CutOff.TOO_LONG
            yield left
        return None

    def _pause(self, seconds: float) -> Steps[None]:
        until = self._clock.seconds() + seconds
        while (left := until - self._clock.seconds()) > 0 and not self._clock.stop_requested:
            yield left

    def _new_log(self) -> pathlib.Path:
        now = self._clock.now()
        name = _log_name(now)
        # What seems to come from the future was written under a clock that was wrong; those files
        # go first, or they would stay for ever and the newest go in their place.
        logs = sorted(self._folder.glob("*.log"), key=lambda log: (log.name <= name, log.name))
        for old in logs[: -_KEPT_LOGS + 1]:
            # The next time, if not now.
            with contextlib.suppress(OSError):
                old.unlink()
        self._folder.mkdir(parents=True, exist_ok=True)
        # Another attempt may have this second, and its last error is not that of this one.
        while (self._folder / name).exists():
            now += datetime.timedelta(seconds=1)
            name = _log_name(now)
        return self._folder / name


def _log_name(moment: datetime.datetime) -> str:
    return f"{moment:%Y%m%d-%H%M%S}.log"


def _started(name: str, start: Callable[[], Started]) -> Started | Ended:
    """What `start` makes; where the system refuses it, the end of what was to be started."""
    try:
        return start()
    except OSError as error:
        return outcome.of_no_start(name, error)


def _seen(code: int, answer: pathlib.Path, log: pathlib.Path) -> Seen | Ended:
    if code == 0:
        try:
            return Seen.model_validate_json(answer.read_bytes())
        # It ended well, but left no answer that can be read.
        except (OSError, ValueError):
            code = ExitCode.FAILED
    return outcome.before_the_run(outcome.of_run(_LOOK, code, None, log))


def _remove_empty(log: pathlib.Path) -> None:
    with contextlib.suppress(OSError):
        if log.stat().st_size == 0:
            log.unlink()
