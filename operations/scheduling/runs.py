"""The runs of a schedule: begins them, remembers how they ended, and tells of them."""

from __future__ import annotations

import datetime
import pathlib

from components.messages import shown
from operations.notifications.events import AlarmKind
from operations.scheduling.alarms import Alarms, DataWatch
from operations.scheduling.clock import Clock
from operations.scheduling.look import Seen
from operations.scheduling.outcome import Ended
from operations.scheduling.plan import Policy
from operations.scheduling.report import BAD, Report
from operations.scheduling.state import LastRun, read_state
from operations.scheduling.work import Steps, Work
from pipeline.errors import ExitCode

# A day without a run that could begin; where clocks are changed, it has 23 hours.
_LONGEST_BLOCK = datetime.timedelta(hours=23)


class Runs:
    """Runs what is due, and keeps the state of the schedule.

    Attributes:
      state: State as it is now.
      data: Watch over overdue data.
    """

    def __init__(
        self, work: Work, policy: Policy, file: pathlib.Path, clock: Clock, report: Report
    ):
        """Goes on from the state in a file, and keeps it there."""
        self.state = read_state(file)
        self._alarms = Alarms(self.state, clock, report)
        self.data = DataWatch(policy.data_due_seconds, self.state, self._alarms, clock, report)
        self._work = work
        self._file = file
        self._clock = clock
        self._report = report
        # Since when a look for overdue data is at work; None where none is.
        self._look_since: datetime.datetime | None = None

    def once(self) -> ExitCode:
        """Runs now, as if a run were due, and returns its exit code."""
        ended = self._to_end(self.run(self._clock.now()))
        # Nobody expects it to be made up for where it was cut off.
        self.state.at_work = None
        self._alarms.send_again()
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
        self._look_since = self._clock.now()
        seen = yield from self._work.look()
        self._look_since = None
        # Otherwise somebody else holds up the runs, which only the next run can tell.
        if self.state.held_since is None:
            self._alarms.end(AlarmKind.BLOCKED)
        if isinstance(seen, Seen):
            if not self.state.refused_by_run:
                self._alarms.end(AlarmKind.INPUT)
            self.data.note(seen)
        elif seen.alarm:
            self._report.tell(seen.text, BAD)
            self._alarms.sound(seen.alarm, seen.text)

    def overlapped(self, scheduled: datetime.datetime) -> None:
        """Notes that a run was due while another process was at work; alarms if that is a day."""
        if (at_work := self.state.at_work) and scheduled - at_work >= _LONGEST_BLOCK:
            self._alarms.tell(
                AlarmKind.BLOCKED,
                f"the run of {self._report.date(at_work)} is still at work, and no other could "
                "begin; expected it to end within a day. Read its log in the folder of the "
                "schedule, stop it if it hangs, and limit runs with --time-limit.",
            )
        if (since := self._look_since) and scheduled - since >= _LONGEST_BLOCK:
            self._alarms.tell(
                AlarmKind.BLOCKED,
                f"a look at the data is still at work since {self._report.date(since)}, and no run "
                "could begin; expected it to end within a day. Check whether the file system of "
                "the data answers; if it does not, mount it again or restart the machine.",
            )

    def patience(self) -> float:
        """Seconds until an alarm that reached nobody has to be sent again."""
        return self._alarms.patience()

    def send_again(self) -> None:
        """Sends the alarms that reached nobody."""
        self._alarms.send_again()
        self.save()

    def name(self, scheduled: datetime.datetime) -> str:
        """The name of a run until it has an id."""
        return f"the run of {self._report.time(scheduled)}"

    def save(self) -> None:
        """Writes the state; where that fails, the schedule goes on without."""
        try:
            self.state.write(self._file)
        except OSError as error:
            self._report.tell(f"the state cannot be written: {shown(str(error))}", BAD)

    def _note_end(self, ended: Ended, scheduled: datetime.datetime) -> None:
        self.state.last_run = LastRun(
            scheduled=scheduled,
            ended=self._clock.now(),
            exit_code=ended.exit_code,
            run_id=ended.receipt.run_id if ended.receipt else None,
            text=ended.text,
        )
        if ended.receipt is None:
            self.state.unrecorded[ended.exit_code] = self.state.last_run.ended
        if ended.alarm:
            self._alarms.sound(ended.alarm, ended.text)
        over = ended.over(self.state.refused_by_run)
        self._alarms.end(*over)
        if AlarmKind.INPUT in over:
            self.state.refused_by_run = False
        elif ended.refused_by_run:
            self.state.refused_by_run = True
        self._note_held(ended, scheduled)

    def _note_held(self, ended: Ended, scheduled: datetime.datetime) -> None:
        if ended.exit_code != ExitCode.HELD:
            self.state.held_since = None
            return
        # Otherwise the clock was set back since.
        since = min(self.state.held_since or scheduled, scheduled)
        self.state.held_since = since
        if scheduled - since >= _LONGEST_BLOCK:
            text = f"no run could begin since {self._report.date(since)}; the last: {ended.text}"
            self._alarms.tell(AlarmKind.BLOCKED, text)

    def _to_end(self, steps: Steps[Ended]) -> Ended:
        while True:
            try:
                self._clock.wait(next(steps))
            except StopIteration as end:
                ended: Ended = end.value
                return ended
