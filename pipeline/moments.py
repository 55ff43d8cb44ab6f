"""Dates and times as people write them."""

from __future__ import annotations

import datetime

from pipeline.errors import UsageError


def between(
    since: str | None, until: str | None
) -> tuple[datetime.datetime | None, datetime.datetime | None]:
    """A span of time as people write it, in local time unless a zone is named.

    Args:
      since: Start, in ISO 8601, such as `2026-11-22`, `2026-11-22 21:30` or
        `2026-11-22T21:30+01:00`; a date alone counts from its first moment.
      until: End, in the same form; a date alone counts to its last moment.

    Raises:
      UsageError: where one is neither date nor time, or the end comes before the start.
    """
    begin = None if since is None else _moment(since, datetime.time.min)
    end = None if until is None else _moment(until, datetime.time.max)
    if begin and end and end < begin:
        raise UsageError(
            f"--until {until} lies before --since {since}; expected a later time, or the same day."
        )
    return begin, end


def _moment(text: str, of_a_date: datetime.time) -> datetime.datetime:
    try:
        moment = parse_moment(text, of_a_date)
        return moment if moment.tzinfo else moment.astimezone()
    # Times so far off that no zone reaches them overflow.
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{text!r} is no date or time; expected one such as 2026-11-22 or 2026-11-22T21:30."
        ) from error


def parse_moment(text: str, of_a_date: datetime.time) -> datetime.datetime:
    """The moment that a text in ISO 8601 names; it has a time zone if the text does.

    Args:
      text: A date, or a date and a time.
      of_a_date: Time of day of a date alone.

    Raises:
      ValueError: The text is neither.
    """
    try:
        return datetime.datetime.combine(datetime.date.fromisoformat(text), of_a_date)
    except ValueError:
        return datetime.datetime.fromisoformat(text)
