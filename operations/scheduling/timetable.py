"""Times of a cron expression in a time zone, correct also when clocks change.

CronSim reads the expression and finds its times on a calendar without time zones. It also knows
zones, but skips `*/15 2 * * *` on the day that clocks go forward, and runs it twice as often on
the day that they go back. So this module turns times of the calendar into times of the zone.
"""

from __future__ import annotations

import datetime
import difflib
import heapq
import itertools
import re
import zoneinfo
from collections.abc import Iterator

from cronsim import CronSim, CronSimError

from pipeline.errors import ConfigurationError
from pipeline.moments import parse_moment

# Each field, its values, and its largest step. Cron takes larger steps, which then never happen.
_FIELDS = (
    ("minute", "0-59", 59),
    ("hour", "0-23", 23),
    ("day", "1-31, or L for the last one of the month", 31),
    ("month", "1-12 or jan-dec", 12),
    ("weekday", "0-7 or sun-sat", 7),
)
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_EXAMPLE = "such as --cron '30 3 * * mon-fri'."
# No zone moves its clocks by more at once.
_LARGEST_CHANGE = datetime.timedelta(hours=3)
# Years that --start and --end may name: far from the ends of Python's calendar.
_YEARS = range(1970, 9000)


class Timetable:
    """The times of a cron expression in a time zone.

    Expressions have the five fields of cron and mean what they mean there: Sunday is 0 or 7; if
    both day and weekday are restricted, either is enough. When clocks change, a run with given
    hours still comes exactly once. If clocks skip its hour, it comes 24 hours after the run of the
    day before (2:30 becomes 3:30). If they repeat its hour, it comes the first time. With `*` for
    the hour, runs go on hour after hour, as if the clocks had not changed.

    Attributes:
      name: Expression and zone.
      zone: Time zone of the expression.
    """

    def __init__(
        self,
        cron: str,
        timezone: str,
        start: str | None = None,
        end: str | None = None,
    ):
        """Reads the expression.

        Args:
          cron: Five fields.
          timezone: IANA name, such as `Europe/Berlin`.
          start: Earliest time, as ISO date or date and time in the zone; None for no limit.
          end: Latest time, in the same form; a date includes its last moment.

        Raises:
          ConfigurationError: If one of them cannot be read or they leave no time.
        """
        self.name = f"{cron!r} in {timezone}"
        self.zone = _zone(timezone)
        self._expression = _expression(cron)
        self._every_hour = cron.split()[1] == "*"
        earliest = _limit("--start", start, self.zone, datetime.time.min)
        # A run at this very time is still to come.
        self._start = earliest and earliest - datetime.timedelta(microseconds=1)
        self._end = _limit("--end", end, self.zone, datetime.time.max)
        if self._start and self._end and self._end <= self._start:
            raise ConfigurationError(
                f"--end {end} lies before --start {start}; expected a later date, or the same one."
            )

    def after(self, moment: datetime.datetime) -> Iterator[datetime.datetime]:
        """Yields the times after a moment, in order and in UTC.

        Not in the zone: there, Python takes no notice of a repeated hour when it adds or compares.

        Args:
          moment: A time with its zone.
        """
        moment = max(moment, self._start) if self._start else moment
        waiting: list[datetime.datetime] = []
        for wall in CronSim(self._expression, self._wall(moment) - _LARGEST_CHANGE):
            # No later time of the calendar can come before these.
            while waiting and self._wall(waiting[0]) + _LARGEST_CHANGE < wall:
                time = heapq.heappop(waiting)
                if self._end and time > self._end:
                    return
                # Two times of the calendar may be the same in the zone.
                if time > moment:
                    yield time
                    moment = time
            for time in self._moments(wall):
                heapq.heappush(waiting, time)

    def next_after(self, moment: datetime.datetime) -> datetime.datetime | None:
        """Returns the first time after a moment, in UTC, or None."""
        return next(self.after(moment), None)

    def upcoming(self, moment: datetime.datetime, count: int) -> list[datetime.datetime]:
        """Returns the next times after a moment, at most `count` of them, in the zone."""
        return [time.astimezone(self.zone) for time in itertools.islice(self.after(moment), count)]

    def latest(
        self, after: datetime.datetime, until: datetime.datetime
    ) -> datetime.datetime | None:
        """Returns the last time later than `after` and no later than `until`, in UTC, or None."""
        times = itertools.takewhile(lambda time: time <= until, self.after(after))
        return max(times, default=None)

    def _moments(self, wall: datetime.datetime) -> list[datetime.datetime]:
        """Returns when a time of the calendar comes, in UTC."""
        first, second = (
            wall.replace(tzinfo=self.zone, fold=fold).astimezone(datetime.UTC) for fold in (0, 1)
        )
        if self._every_hour:
            return [moment for moment in (first, second) if self._wall(moment) == wall]
        return [first]

    def _wall(self, moment: datetime.datetime) -> datetime.datetime:
        """Returns what clocks in the zone show."""
        return moment.astimezone(self.zone).replace(tzinfo=None, fold=0)


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    # zoneinfo reads the name as a path, which may be invalid, a folder, or no time zone.
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = {key.lower(): key for key in zoneinfo.available_timezones()}
        nearest = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
        hint = f" (the nearest is {known[nearest[0]]!r})" if nearest else ""
        raise ConfigurationError(
            f"--timezone {name!r} is unknown{hint}; expected an IANA name, such as "
            "--timezone Europe/Berlin."
        ) from error


def _expression(cron: str) -> str:
    """Checks an expression and returns it as CronSim takes it."""
    fields = cron.lower().split()
    if len(fields) != len(_FIELDS):
        raise ConfigurationError(
            f"--cron {cron!r} has {len(fields)} fields; expected minute, hour, day, month and "
            f"weekday, {_EXAMPLE}"
        )
    fields[-1] = _weekdays(fields[-1])
    for position, (name, values, largest_step) in enumerate(_FIELDS):
        alone = ["*"] * len(fields)
        alone[position] = fields[position]
        steps = re.findall(r"/(\d+)", fields[position])
        if not _has_times(alone) or any(int(step) > largest_step for step in steps):
            raise ConfigurationError(
                f"--cron {cron!r}: {cron.split()[position]!r} is no {name}; expected {values}, or "
                f"* or ranges of these, in steps of 1 to {largest_step}, {_EXAMPLE}"
            )
    if not _has_times(fields):
        raise ConfigurationError(
            f"--cron {cron!r} never comes; expected a day that one of its months has, {_EXAMPLE}"
        )
    return " ".join(fields)


def _has_times(fields: list[str]) -> bool:
    try:
        return next(CronSim(" ".join(fields), datetime.datetime(2000, 1, 1)), None) is not None
    # Python raises ValueError for a number with thousands of digits.
    except (CronSimError, ValueError):
        return False


def _weekdays(field: str) -> str:
    """Writes weekdays as CronSim takes them: 1/2 as 1-6/2, and fri-mon as two ranges."""
    for number, name in enumerate(_WEEKDAYS):
        field = re.sub(rf"\b{name}\b", str(number), field)
    field = re.sub(r"(?<![-/\d])([1-6])/", r"\1-6/", field)
    return re.sub(r"\b([1-7])-([0-6])\b(?!/)", _ascending, field)


def _ascending(weekdays: re.Match[str]) -> str:
    first, last = weekdays.groups()
    return weekdays[0] if first <= last else f"{first}-7,0-{last}"


def _limit(
    option: str, text: str | None, place: zoneinfo.ZoneInfo, of_a_date: datetime.time
) -> datetime.datetime | None:
    if text is None:
        return None
    try:
        moment = parse_moment(text, of_a_date)
        if moment.year not in _YEARS:
            raise ValueError(moment.year)
        return (moment if moment.tzinfo else moment.replace(tzinfo=place)).astimezone(datetime.UTC)
    except ValueError as error:
        raise ConfigurationError(
            f"{option} {text!r} is no date or time; expected one such as {option} 2026-12-01 or "
            f"{option} 2026-12-01T03:00."
        ) from error
