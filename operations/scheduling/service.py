"""The scheduler: a loop that begins runs when they are due."""

from __future__ import annotations

import datetime
import math
import random

from operations.notifications.events import SkipReason
from operations.scheduling.clock import Clock, duration
from operations.scheduling.plan import Policy
from operations.scheduling.report import DOUBTFUL, Report
from operations.scheduling.runs import Runs
from operations.scheduling.timetable import Timetable
from operations.scheduling.work import Steps

# A run that begins later than this was missed: the machine slept, or the scheduler was not there.
_ON_TIME_SECONDS = 60.0
_MOMENT = datetime.timedelta(microseconds=1)
# A clock that is set back by more than this was wrong, however far apart runs are.
_SET_BACK = datetime.timedelta(hours=3)


class Service:
    """Begins the runs of one pipeline when they are due."""

    def __init__(
        self, timetable: Timetable, policy: Policy, runs: Runs, clock: Clock, report: Report
    ):
        """Begins `runs` at the times of a timetable."""
        self._timetable = timetable
        self._policy = policy
        self._runs = runs
        self._state = runs.state
        self._clock = clock
        self._report = report
        # What is at work, and when it wants to go on.
        self._steps: Steps[object] | None = None
        self._goes_on = math.inf
        # When the next run is due, and when it begins.
        self._next: datetime.datetime | None = None
        self._begins: datetime.datetime | None = None

    def serve(self) -> None:
        """Begins runs when they are due, until none is left or somebody asks for the end."""
        self._take_up()
        while self._do_what_is_due():
            self._clock.wait(self._patience())
        self._report.tell("stopped" if self._clock.stop_requested else "no further run is due")

    def _take_up(self) -> None:
        """Decides on what was missed, or cut off, while the scheduler was not there."""
        now, state = self._clock.now(), self._state
        handled = state.handled if state.schedule == self._timetable.name else None
        if handled and self._was_set_back(now, handled):
            handled = None
        newest = self._newest(handled, now) if handled else None
        missed = [time for time in (state.at_work, state.waiting, newest) if time]
        state.schedule = self._timetable.name
        state.at_work = state.waiting = None
        self._plan(max(now, handled) if handled else now)
        if missed:
            self._decide(max(missed), now)
        self._runs.save()

    def _do_what_is_due(self) -> bool:
        """Does what is to be done now; returns whether there will be more."""
        self._go_on()
        self._begin_what_waits()
        self._begin_what_is_due()
        self._look_for_data()
        self._send_again()
        if self._steps:
            return True
        return not self._clock.stop_requested and bool(self._begins or self._state.waiting)

    def _patience(self) -> float:
        """Seconds in which there is nothing to do, if no signal comes."""
        waits = [self._goes_on - self._clock.seconds()]
        if not self._clock.stop_requested:
            waits.append(self._runs.patience())
            if self._begins:
                waits.append((self._begins - self._clock.now()).total_seconds())
        if self._steps is None:
            waits.append(self._runs.data.patience())
        return max(0.0, min(waits))

    def _start(self, steps: Steps[object]) -> None:
        self._steps = steps
        self._go_on()
        self._runs.save()

    def _go_on(self) -> None:
        if self._steps is None:
            return
        try:
            self._goes_on = self._clock.seconds() + next(self._steps)
        except StopIteration:
            self._steps, self._goes_on = None, math.inf
            self._runs.save()

    def _begin_what_waits(self) -> None:
        waiting = self._state.waiting
        if waiting and self._steps is None and not self._clock.stop_requested:
            self._state.waiting = None
            self._start(self._runs.run(waiting))

    def _begin_what_is_due(self) -> None:
        now = self._clock.now()
        if self._state.handled and self._was_set_back(now, self._state.handled):
            self._report.tell(f"the clock was set back to {self._report.time(now)}", DOUBTFUL)
            self._plan(now)
        if self._clock.stop_requested or not self._next or not self._begins or now < self._begins:
            return
        newest = self._newest(self._next - _MOMENT, now)
        self._plan(now)
        if newest:
            self._decide(newest, now)
        self._runs.save()

    def _look_for_data(self) -> None:
        idle = self._steps is None and not self._clock.stop_requested
        if idle and self._runs.data.patience() <= 0:
            self._start(self._runs.look())

    def _send_again(self) -> None:
        if not self._clock.stop_requested and self._runs.patience() <= 0:
            self._runs.send_again()

    def _was_set_back(self, now: datetime.datetime, handled: datetime.datetime) -> bool:
        """Whether the clock was set back so far that handled times come again.

        Otherwise the schedule would stand still until the clock shows a later time. Where the clock
        was set back by less than the time between two runs, they stay handled: no run comes twice,
        and the next one waits for at most twice as long as ever.
        """
        if now >= handled:
            return False
        before = self._timetable.latest(handled - _SET_BACK, handled)
        after = self._timetable.next_after(handled)
        distance = after - before if before and after else _SET_BACK
        return handled - now > min(distance, _SET_BACK)

    def _plan(self, now: datetime.datetime) -> None:
        """Settles when the next run begins; all times up to now have been dealt with."""
        self._state.handled = now
        self._next = self._timetable.next_after(now)
        jitter = datetime.timedelta(seconds=random.uniform(0, self._policy.jitter_seconds))
        self._begins = self._next + jitter if self._next else None
        self._report.next_run(self._begins)

    def _newest(self, after: datetime.datetime, now: datetime.datetime) -> datetime.datetime | None:
        """The newest time since `after`; where they are all too long ago, the first of them."""
        first = self._timetable.next_after(after)
        if first is None or first > now:
            return None
        window = max(self._policy.grace_seconds, self._on_time_seconds())
        since = max(after, now - datetime.timedelta(seconds=window) - _MOMENT)
        return self._timetable.latest(since, now) or first

    def _on_time_seconds(self) -> float:
        return self._policy.jitter_seconds + _ON_TIME_SECONDS

    def _decide(self, scheduled: datetime.datetime, now: datetime.datetime) -> None:
        """Begins a run that is due, unless it would come too late."""
        late = (now - scheduled).total_seconds()
        if late <= self._on_time_seconds():
            self._begin_or_leave(scheduled)
            return
        missed = f"{self._runs.name(scheduled)} was missed, {duration(late)} ago"
        if not self._policy.run_missed:
            self._report.skipped(SkipReason.MISSED, missed)
        elif late > self._policy.grace_seconds:
            grace = duration(self._policy.grace_seconds)
            self._report.skipped(SkipReason.MISSED, f"{missed}; {grace} is the most")
        else:
            self._report.tell(f"{missed}, and is made up for", DOUBTFUL)
            self._begin_or_leave(scheduled)

    def _begin_or_leave(self, scheduled: datetime.datetime) -> None:
        state = self._state
        if self._steps is None:
            self._start(self._runs.run(scheduled))
            return
        # A look is no run that the policy speaks of, and nobody would make up for a run it cost.
        looks = state.at_work is None
        if (self._policy.queue or looks) and state.waiting is None:
            state.waiting = scheduled
            text = f"{self._runs.name(scheduled)} waits for {self._busy_with()}"
            self._report.tell(text, DOUBTFUL)
        else:
            also = ", and another waits" if state.waiting else ""
            text = f"{self._busy_with()} is still at work{also}"
            self._report.skipped(SkipReason.OVERLAP, text)
        self._runs.overlapped(scheduled)

    def _busy_with(self) -> str:
        at_work = self._state.at_work
        return self._runs.name(at_work) if at_work else "a look at the data"
