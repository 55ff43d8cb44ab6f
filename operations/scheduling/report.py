"""What others learn of the scheduler: people at the terminal or in the log, and monitoring."""

from __future__ import annotations

import datetime
import zoneinfo
from typing import TYPE_CHECKING

import typer

from operations.scheduling.clock import Clock
from operations.scheduling.outcome import INPUT, LATE_DATA, PUSHED_CODE, RUN, Ended
from pipeline.locations import REVIEW_PAGE, Locations

if TYPE_CHECKING:
    from operations.notifications.metrics import Metrics
    from operations.notifications.notifying import Notifier

GOOD, DOUBTFUL, BAD = "green", "yellow", "red"
# What alarms are called.
_TITLES = {RUN: "a run broke off", INPUT: "a run cannot begin", LATE_DATA: "data is overdue"}


class Report:
    """Tells of events: a line for each, and what metrics and notifications make of it."""

    def __init__(
        self,
        pipeline: str,
        zone: zoneinfo.ZoneInfo,
        clock: Clock,
        metrics: Metrics,
        notifier: Notifier,
    ):
        """Tells of one pipeline, at the times of a clock, in a zone."""
        self._pipeline = pipeline
        self._zone = zone
        self._clock = clock
        self._metrics = metrics
        self._notifier = notifier

    def tell(self, text: str, colour: str | None = None) -> None:
        """Prints a line; coloured on a terminal alone."""
        time = self._clock.now().astimezone(self._zone)
        typer.secho(f"{time:%Y-%m-%d %H:%M:%S %Z}  {text}", fg=colour)

    def ended(self, ended: Ended, locations: Locations) -> None:
        """Tells how an attempt at a run ended."""
        page = locations.runs / ended.receipt["run_id"] / REVIEW_PAGE if ended.receipt else None
        where = f", page {page}" if page and page.exists() else ""
        self.tell(f"{ended.text}{where}", _colour(ended))
        self._metrics.run_ended(ended.receipt, ended.exit_code)
        if ended.skipped:
            self._metrics.skipped(ended.skipped)

    def skipped(self, reason: str, text: str) -> None:
        """Tells that a run which was due is left out."""
        self.tell(f"skipped: {text}", DOUBTFUL)
        self._metrics.skipped(reason)

    def next_run(self, when: datetime.datetime | None) -> None:
        """Tells monitoring when the next run is due."""
        self._metrics.next_run(when)

    def alarm(self, kind: str, text: str) -> None:
        """Tells everybody of what will not mend itself.

        Args:
          kind: of the alarm.
          text: what happened; the line before has told it.
        """
        self.tell(f"alarm: {_TITLES[kind]}", BAD)
        self._metrics.alarm(kind)
        self._notifier.alarm(f"{self._pipeline}: {_TITLES[kind]}", text)

    def recovered(self, kind: str, before: str) -> None:
        """Tells everybody that the reason of an alarm is gone.

        Args:
          kind: of the alarm.
          before: its text.
        """
        title = f"recovered from: {_TITLES[kind]}"
        self.tell(title, GOOD)
        self._notifier.all_clear(f"{self._pipeline} {title}", f"It was told before: {before}")

    def time(self, moment: datetime.datetime) -> str:
        """A time in words, without its date where that is today."""
        there, today = moment.astimezone(self._zone), self._clock.now().astimezone(self._zone)
        return f"{there:%H:%M}" if there.date() == today.date() else f"{there:%Y-%m-%d %H:%M}"


def _colour(ended: Ended) -> str:
    if ended.skipped or ended.unfinished:
        return DOUBTFUL
    return GOOD if ended.exit_code == PUSHED_CODE else DOUBTFUL if ended.completed else BAD
