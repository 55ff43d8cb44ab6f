"""When runs are due: the times of a cron expression, right also where clocks are changed.

APScheduler's CronTrigger reads the expression and finds the times, but on a calendar without time
zones: in a zone of its own, it takes the hour that clocks repeat for two, runs what lies in the
hour that they leave out at a time that no clock shows, and may find the same time for ever. What
a time of that calendar is in the zone, is settled here.
"""

from __future__ import annotations

import datetime
import difflib
import heapq
import itertools
import re
import zoneinfo
from collections.abc import Iterator

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

from pipeline.errors import ConfigurationError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# As cron counts them: Sunday is 0, and also 7.
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WEEKDAY_RANGE = re.compile(r"(?:\*|(?P<first>[0-7])(?:-(?P<last>[0-7]))?)(?:/(?P<step>[1-9]\d*))?")
# All that is left of an expression once names have been turned into numbers.
_EXPRESSION = re.compile(r"[\d*/, -]+")
_EXAMPLE = "expected minute, hour, day, month and weekday, such as --cron '30 3 * * mon-fri'."
_MINUTE = datetime.timedelta(minutes=1)
# No zone moves its clocks by more at once.
_LARGEST_CHANGE = datetime.timedelta(hours=3)
# Of a first or last time: far from where the calendar ends.
_YEARS = range(1970, 9000)


class Timetable:
    """The times of a cron expression in a time zone.

    Expressions are read as cron reads them: five fields; Sunday is 0 or 7; where both day and
    weekday are restricted, either is enough. Where clocks are changed, a run that is due at
    given hours comes exactly once: one in the hour that is left out comes as long after the day
    before as ever (2:30 becomes 3:30), one in the hour that is repeated comes the first time. With
    `*` for the hour, runs go on hour after hour, as if nobody had touched the clocks.

    Attributes:
      name: expression and zone.
      zone: in which the times are.
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
          cron: five fields.
          timezone: an IANA name, such as `Europe/Berlin`.
          start: the earliest time, as ISO date or date and time in the zone; None for no limit.
          end: the latest time, of the same form; a date counts to its last moment.

        Raises:
          ConfigurationError: where one of them cannot be read, or no time is left by them.
        """
        self.name = f"{cron!r} in {timezone}"
        self.zone = _zone(timezone)
        self._trigger = _trigger(cron)
        self._every_hour = cron.split()[1] == "*"
        earliest = _limit("--start", start, self.zone, datetime.time.min)
        # What is due at this very time is still to come.
        self._start = earliest and earliest - datetime.timedelta(microseconds=1)
        self._end = _limit("--end", end, self.zone, datetime.time.max)
        self._check(start, end)

    def after(self, moment: datetime.datetime) -> Iterator[datetime.datetime]:
        """The times after a moment, one by one, in the zone.

        Args:
          moment: with its time zone.
        """
        moment = max(moment, self._start) if self._start else moment
        found: list[datetime.datetime] = []
        for wall in self._walls(self._wall(moment) - _LARGEST_CHANGE):
            # Of the times on the calendar that are still to come, none can be earlier than these.
            while found and self._wall(found[0]) + _LARGEST_CHANGE < wall:
                time = heapq.heappop(found)
                if self._end and time > self._end:
                    return
                # Two times on the calendar may be the same in the zone.
                if time > moment:
                    yield time.astimezone(self.zone)
                    moment = time
            for time in self._moments(wall):
                heapq.heappush(found, time)

    def next_after(self, moment: datetime.datetime) -> datetime.datetime | None:
        """The first time after a moment; None where there is none."""
        return next(self.after(moment), None)

    def upcoming(self, moment: datetime.datetime, count: int) -> list[datetime.datetime]:
        """The next times after a moment, at most `count` of them."""
        return list(itertools.islice(self.after(moment), count))

    def latest(
        self, after: datetime.datetime, until: datetime.datetime
    ) -> datetime.datetime | None:
        """The last time that is later than `after` and no later than `until`."""
        times = itertools.takewhile(lambda time: time <= until, self.after(after))
        return max(times, default=None)

    def _walls(self, first: datetime.datetime) -> Iterator[datetime.datetime]:
        """The times on the calendar without time zones, from `first` on."""
        moment = first.replace(tzinfo=datetime.UTC)
        while found := self._trigger.get_next_fire_time(None, moment):
            yield found.replace(tzinfo=None)
            moment = found + _MINUTE

    def _moments(self, wall: datetime.datetime) -> list[datetime.datetime]:
        """When clocks in the zone show a time, in UTC; twice where it is repeated."""
        first, second = (
            wall.replace(tzinfo=self.zone, fold=fold).astimezone(datetime.UTC) for fold in (0, 1)
        )
        if self._every_hour:
            return [moment for moment in (first, second) if self._wall(moment) == wall]
        return [first]

    def _wall(self, moment: datetime.datetime) -> datetime.datetime:
        """What clocks in the zone show."""
        return moment.astimezone(self.zone).replace(tzinfo=None, fold=0)

    def _check(self, start: str | None, end: str | None) -> None:
        if self._start and self._end and self._end <= self._start:
            raise ConfigurationError(
                f"--end {end} lies before --start {start}; expected a later date, or the same one."
            )
        if next(self._walls(datetime.datetime(2000, 1, 1)), None) is None:
            raise ConfigurationError(f"--cron {self.name} never comes; {_EXAMPLE}")


def _zone(name: str) -> zoneinfo.ZoneInfo:
    """The time zone of a name.

    Raises:
      ConfigurationError: where there is none.
    """
    try:
        return zoneinfo.ZoneInfo(name)
    # What the name may also be taken for: a path that is no file, or is no time zone.
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = {key.lower(): key for key in zoneinfo.available_timezones()}
        nearest = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
        hint = f" (the nearest is {known[nearest[0]]!r})" if nearest else ""
        raise ConfigurationError(
            f"--timezone {name!r} is unknown{hint}; expected an IANA name, such as "
            "--timezone Europe/Berlin."
        ) from error


def _trigger(cron: str) -> BaseTrigger:
    try:
        minute, hour, day, month, weekday = cron.lower().split()
    except ValueError as error:
        count = len(cron.split())
        raise ConfigurationError(f"--cron {cron!r} has {count} fields; {_EXAMPLE}") from error
    try:
        month, weekday = _numbered(month, _MONTHS, 1), _numbered(weekday, _WEEKDAYS, 0)
        # Cron's rule: a field that begins with a star leaves the choice to the other.
        if day.startswith("*") or weekday.startswith("*"):
            return _one_trigger(minute, hour, day, month, weekday)
        triggers = [
            _one_trigger(minute, hour, day, month, "*"),
            _one_trigger(minute, hour, "*", month, weekday),
        ]
        return OrTrigger(triggers)
    except ValueError as error:
        raise ConfigurationError(f"--cron {cron!r}: {error}; {_EXAMPLE}") from error


def _one_trigger(minute: str, hour: str, day: str, month: str, weekday: str) -> CronTrigger:
    fields = " ".join((minute, hour, day, month, weekday))
    # CronTrigger also takes words of its own, and overlooks what follows a name.
    if not _EXPRESSION.fullmatch(fields):
        raise ValueError("it holds more than numbers, * - / and the names of months and weekdays")
    fields = " ".join((minute, hour, day, month, _weekdays(weekday)))
    return CronTrigger.from_crontab(fields, timezone=datetime.UTC)


def _numbered(field: str, names: tuple[str, ...], first: int) -> str:
    """A field with numbers in the place of names."""
    for number, name in enumerate(names, first):
        field = re.sub(rf"\b{name}\b", str(number), field)
    return field


def _weekdays(field: str) -> str:
    """A field of weekdays in names: to CronTrigger, 0 is Monday."""
    if field == "*":
        return field
    days = {day for part in field.split(",") for day in _weekday_range(part)}
    return ",".join(_WEEKDAYS[day] for day in sorted(days))


def _weekday_range(text: str) -> list[int]:
    match = _WEEKDAY_RANGE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no weekday from 0 to 7 or sun to sat, nor a range of them")
    first = int(match["first"] or 0)
    last = int(match["last"]) if match["last"] else first
    if match["first"] is None or (match["step"] and match["last"] is None):
        last = 6
    # Such as fri-sun, which is 5-0.
    last += 7 if last < first else 0
    return [day % 7 for day in range(first, last + 1, int(match["step"] or 1))]


def _limit(
    option: str, text: str | None, place: zoneinfo.ZoneInfo, of_a_date: datetime.time
) -> datetime.datetime | None:
    if text is None:
        return None
    try:
        found = _moment(text, of_a_date)
        if found.year not in _YEARS:
            raise ValueError(found.year)
        return (found if found.tzinfo else found.replace(tzinfo=place)).astimezone(datetime.UTC)
    except ValueError as error:
        raise ConfigurationError(
            f"{option} {text!r} is no date or time; expected one such as {option} 2026-12-01 or "
            f"{option} 2026-12-01T03:00."
        ) from error


def _moment(text: str, of_a_date: datetime.time) -> datetime.datetime:
    try:
        return datetime.datetime.combine(datetime.date.fromisoformat(text), of_a_date)
    except ValueError:
        return datetime.datetime.fromisoformat(text)
