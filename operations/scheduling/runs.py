"""The runs of a schedule, and what is remembered and told of them."""

from __future__ import annotations

import datetime
import pathlib
from typing import TypeVar

from operations.scheduling import outcome
from operations.scheduling.alarms import Alarms, DataWatch
from operations.scheduling.clock import Clock
from operations.scheduling.look import Seen
from operations.scheduling.outcome import Ended
from operations.scheduling.plan import Policy
from operations.scheduling.report import BAD, Report
from operations.scheduling.state import LastRun, State
from operations.scheduling.work import Steps, Work
from pipeline.locations import write_whole

Result = TypeVar("Result")


class Runs:
    """Runs what is due, and keeps the state of the schedule.

    Attributes:
      state: as it is now.
      data: tells when data is overdue.
    """

    def __init__(
        self,
        work: Work,
        policy: Policy,
        state: State,
        file: pathlib.Path,
        clock: Clock,
        report: Report,
    ):
        """Goes on from `state`, and keeps it in `file`."""
        self.state = state
        self._alarms = Alarms(state, report)
        self.data = DataWatch(policy.data_due_seconds, state, self._alarms, clock, report)
        self._work = work
        self._file = file
        self._clock = clock
        self._report = report

    def once(self) -> int:
        """Runs now, as if it were due, and returns the exit code."""
        ended = self._to_end(self.run(self._clock.now()))
        # Nobody expects it to be made up for where it was cut off.
        self.state.at_work = None
        self.save()
        return ended.exit_code

    def run(self, scheduled: datetime.datetime) -> Steps[Ended]:
        """Runs what was due at a time, and notes how it ended."""
        self.state.at_work = scheduled
        ended = yield from self._work.run(self.name(scheduled))
        if ended.seen:
            self.data.note(ended.seen)
        # One that was cut off is decided on when the scheduler starts again.
        if not ended.unfinished:
            self.state.at_work = None
            self._note_end(ended, scheduled)
        return ended

    def look(self) -> Steps[None]:
        """Looks for data that is overdue."""
        self.data.postpone()
        seen = yield from self._work.look()
        if isinstance(seen, Seen):
            self.data.note(seen)
        elif seen.alarm:
            self._report.tell(seen.text, BAD)
            self._alarms.sound(seen.alarm, seen.text)

    def name(self, scheduled: datetime.datetime) -> str:
        """What a run is called until it has an id."""
        return f"the run of {self._report.time(scheduled)}"

    def save(self) -> None:
        """Writes the state; where that fails, the schedule goes on without."""
        try:
            write_whole(self._file, self.state.model_dump_json(indent=1) + "\n")
        except OSError as error:
            self._report.tell(f"the state cannot be written: {error}", BAD)

    def _note_end(self, ended: Ended, scheduled: datetime.datetime) -> None:
        self.state.last_run = LastRun(
            scheduled=scheduled,
            ended=self._clock.now(),
            exit_code=ended.exit_code,
            run_id=ended.receipt["run_id"] if ended.receipt else None,
            text=ended.text,
        )
        if ended.alarm:
            self._alarms.sound(ended.alarm, ended.text)
        if ended.completed:
            self._alarms.end(outcome.RUN, outcome.INPUT)

    def _to_end(self, steps: Steps[Result]) -> Result:
        while True:
            try:
                self._clock.wait(next(steps))
            except StopIteration as end:
                return end.value
