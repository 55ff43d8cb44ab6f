"""Alarms: each is told once, until it is over; among them, that data is overdue."""

from __future__ import annotations

import datetime
import math

from operations.notifications.events import AlarmKind
from operations.scheduling.clock import Clock, duration
from operations.scheduling.look import Seen
from operations.scheduling.report import BAD, Report
from operations.scheduling.state import State

# Between looks for data that is overdue, and between messages, where one did not succeed.
_PAUSE_SECONDS = 600.0


class Alarms:
    """Raises alarms and ends them; sends those again that reached nobody."""

    def __init__(self, state: State, clock: Clock, report: Report):
        """Keeps the alarms in `state`."""
        self._state = state
        self._clock = clock
        self._report = report
        # A scheduler that has just begun tries at once.
        self._not_before = -math.inf

    def stands(self, kind: AlarmKind) -> bool:
        """Whether an alarm has been raised and not ended."""
        return kind in self._state.alarms

    def sound(self, kind: AlarmKind, text: str) -> None:
        """Raises an alarm, unless it stands in the same words."""
        if self._state.alarms.get(kind) != text:
            self._state.alarms[kind] = text
            self._report.alarm(kind)
            self._send(kind)

    def tell(self, kind: AlarmKind, text: str) -> None:
        """Raises an alarm that no line has told yet, unless it stands in the same words."""
        if self._state.alarms.get(kind) != text:
            self._report.tell(text, BAD)
            self.sound(kind, text)

    def end(self, *kinds: AlarmKind) -> None:
        """Ends alarms, where they have been raised."""
        for kind in kinds:
            before = self._state.alarms.pop(kind, None)
            if before:
                self._report.recovered(kind, before, was_told=kind not in self._state.untold)
            self._state.untold.discard(kind)

    def patience(self) -> float:
        """Seconds until an alarm that reached nobody has to be sent again."""
        return self._not_before - self._clock.seconds() if self._untold() else math.inf

    def send_again(self) -> None:
        """Sends the alarms that reached nobody, unless that was tried a moment ago."""
        if self.patience() <= 0:
            for kind in self._untold():
                self._send(kind)

    def _untold(self) -> list[AlarmKind]:
        return [kind for kind in self._state.alarms if kind in self._state.untold]

    def _send(self, kind: AlarmKind) -> None:
        self._not_before = self._clock.seconds() + _PAUSE_SECONDS
        if self._report.send_alarm(kind, self._state.alarms[kind]):
            self._state.untold.discard(kind)
        else:
            self._state.untold.add(kind)


class DataWatch:
    """Watches whether data comes when it is due."""

    def __init__(
        self,
        due_seconds: float | None,
        state: State,
        alarms: Alarms,
        clock: Clock,
        report: Report,
    ):
        """Expects new data every `due_seconds`; None expects none."""
        self._due_seconds = math.inf if due_seconds is None else due_seconds
        self._state = state
        self._alarms = alarms
        self._clock = clock
        self._report = report
        self._not_before = -math.inf

    def patience(self) -> float:
        """Seconds until data is overdue, so that it has to be looked for."""
        if self._state.data_since is None or self._alarms.stands(AlarmKind.LATE_DATA):
            return math.inf
        overdue = self._due_seconds - self._age(self._state.data_since)
        return max(overdue, self._not_before - self._clock.seconds())

    def postpone(self) -> None:
        """Puts the next look off: one is about to begin, and may fail."""
        self._not_before = self._clock.seconds() + _PAUSE_SECONDS

    def note(self, seen: Seen) -> None:
        """Notes whether new data came; raises an alarm if it should have."""
        state, now = self._state, self._clock.now()
        if state.data_since is None or seen.arrivals > state.arrivals:
            state.data_since = now
        state.arrivals = seen.arrivals
        # Otherwise the data was seen under a clock that was set to the future.
        state.data_since = min(state.data_since, now)
        if self._age(state.data_since) < self._due_seconds:
            # New data came, or the clock that made it overdue was wrong.
            self._alarms.end(AlarmKind.LATE_DATA)
        else:
            since = self._report.time(state.data_since)
            due = duration(self._due_seconds)
            self._overdue(f"no new data came to {seen.data} since {since}; it is due every {due}")

    def _overdue(self, text: str) -> None:
        if not self._alarms.stands(AlarmKind.LATE_DATA):
            self._report.tell(text, BAD)
            self._alarms.sound(AlarmKind.LATE_DATA, text)

    def _age(self, since: datetime.datetime) -> float:
        return (self._clock.now() - since).total_seconds()
