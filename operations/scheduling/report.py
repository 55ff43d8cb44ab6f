"""What others learn of the scheduler: people at the terminal or in the log, and monitoring."""

from __future__ import annotations

import datetime
import zoneinfo

import typer

from operations.notifications.events import AlarmKind, SkipReason
from operations.notifications.metrics import Metrics
from operations.notifications.notifying import CurrentNotifier
from operations.scheduling.clock import Clock
from operations.scheduling.outcome import Ended
from pipeline.errors import ExitCode
from pipeline.locations import REVIEW_PAGE, Locations

GOOD, DOUBTFUL, BAD = "green", "yellow", "red"


class Report:
    """Tells of events: prints a line for each, and passes it on to metrics and notifications."""

    def __init__(
        self,
        pipeline: str,
        zone: zoneinfo.ZoneInfo,
        clock: Clock,
        metrics: Metrics,
        notifier: CurrentNotifier,
    ):
        """Tells of one pipeline; times are those of the clock, in the zone."""
        self._pipeline = pipeline
        self._zone = zone
        self._clock = clock
        self._metrics = metrics
        self._notifier = notifier

    def tell(self, text: str, colour: str | None = None) -> None:
        """Prints a line; only a terminal shows its colour."""
        time = self._clock.now().astimezone(self._zone)
        typer.secho(f"{time:%Y-%m-%d %H:%M:%S %Z}  {text}", fg=colour)

    def ended(self, ended: Ended, locations: Locations, retried: bool) -> None:
        """Tells how an attempt at a run ended, and counts a skipped run unless it is retried."""
        page = locations.runs / ended.receipt.run_id / REVIEW_PAGE if ended.receipt else None
        where = f", page {page}" if page and page.exists() else ""
        self.tell(f"{ended.text}{where}", _colour(ended))
        self._metrics.run_ended(ended.receipt, ended.exit_code, ended.unread)
        if ended.skipped and not retried:
            self._metrics.skipped(ended.skipped)

    def skipped(self, reason: SkipReason, text: str) -> None:
        """Tells that a run which was due is skipped."""
        self.tell(f"skipped: {text}", DOUBTFUL)
        self._metrics.skipped(reason)

    def next_run(self, when: datetime.datetime | None) -> None:
        """Tells monitoring when the next run is due."""
        self._metrics.next_run(when)

    def alarm(self, kind: AlarmKind) -> None:
        """Tells of a fault that does not go away by itself; the line before says what happened."""
        self.tell(f"alarm: {kind.headline}", BAD)
        self._metrics.alarm(kind)

    def send_alarm(self, kind: AlarmKind, text: str) -> bool:
        """Sends an alarm to people.

        Args:
          kind: Kind of the alarm.
          text: What happened.

        Returns:
          False if it reached nobody.
        """
        return self._notifier.alarm(f"{self._pipeline}: {kind.headline}", text)

    def recovered(self, kind: AlarmKind, before: str, was_told: bool) -> None:
        """Tells everybody that an alarm is over.

        Args:
          kind: Kind of the alarm.
          before: Text of the alarm.
          was_told: Whether the alarm reached anybody.
        """
        title = f"recovered from: {kind.headline}"
        self.tell(title, GOOD)
        told = "It was told before" if was_told else "It reached nobody before"
        self._notifier.all_clear(f"{self._pipeline} {title}", f"{told}: {before}")

    def time(self, moment: datetime.datetime) -> str:
        """A time in words, without its date where that is today."""
        there, today = moment.astimezone(self._zone), self._clock.now().astimezone(self._zone)
        return f"{there:%H:%M}" if there.date() == today.date() else self.date(moment)

    def date(self, moment: datetime.datetime) -> str:
        """A time in words that are the same on any day."""
        return f"{moment.astimezone(self._zone):%Y-%m-%d %H:%M}"


def _colour(ended: Ended) -> str:
    if ended.skipped or ended.unfinished:
        return DOUBTFUL
    if ended.exit_code == ExitCode.PUSHED:
        return GOOD
    return DOUBTFUL if ended.completed else BAD
