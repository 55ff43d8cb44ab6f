"""Times of cron expressions: as cron has them, also where clocks are changed."""

import calendar
import datetime
import itertools
import zoneinfo

import hypothesis
import pytest
from hypothesis import strategies as st

from operations.scheduling.timetable import Timetable
from pipeline.errors import ConfigurationError

MINUTE = datetime.timedelta(minutes=1)
HOUR = datetime.timedelta(hours=1)
# Berlin and New York are an hour ahead in summer, Lord Howe half an hour; Kathmandu never is.
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")


def moment(text, zone="UTC"):
    return datetime.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone))


def upcoming(cron, begin, count, zone="Europe/Berlin"):
    """Times as clocks in the zone show them, with their distance from UTC."""
    found = Timetable(cron, zone).upcoming(moment(begin, zone), count)
    return [f"{time:%m-%d %H:%M} {time.utcoffset() // HOUR:+d}" for time in found]


@pytest.mark.parametrize(
    ("weekday", "days"),
    [
        ("0", "Sun"),
        ("7", "Sun"),
        ("1", "Mon"),
        ("6", "Sat"),
        ("1-5", "Mon Tue Wed Thu Fri"),
        ("5-7", "Fri Sat Sun"),
        ("0-2", "Sun Mon Tue"),
        ("fri-sun", "Fri Sat Sun"),
        ("sat-mon", "Sat Sun Mon"),
        ("7-2", "Sun Mon Tue"),
        ("SUN", "Sun"),
        ("mon,3", "Mon Wed"),
        ("*/2", "Sun Tue Thu Sat"),
        ("1/2", "Mon Wed Fri"),
        ("1-5/2", "Mon Wed Fri"),
        ("*", "Mon Tue Wed Thu Fri Sat Sun"),
        ("0-7", "Mon Tue Wed Thu Fri Sat Sun"),
    ],
)
def test_weekdays_are_those_of_cron(weekday, days):
    # A Monday.
    begin = moment("2026-11-23T00:00") - MINUTE
    week = Timetable(f"0 3 * * {weekday}", "UTC").upcoming(begin, 7)
    found = {f"{time:%a}" for time in week if time < begin + 7 * 24 * HOUR}
    assert found == set(days.split())


def test_day_or_weekday_is_enough_where_both_are_given():
    times = Timetable("0 3 1 * mon", "UTC").upcoming(moment("2026-11-28T00:00"), 4)
    assert [f"{time:%a %d}" for time in times] == ["Mon 30", "Tue 01", "Mon 07", "Mon 14"]


@pytest.mark.parametrize(
    ("cron", "begin", "days"),
    [
        ("0 3 1 jan-mar,DEC *", "2026-11-28", "2026-12-01 2027-01-01 2027-02-01 2027-03-01"),
        ("0 0 29 2 *", "2096-03-01", "2104-02-29"),
        ("0 3 L * *", "2027-01-01", "2027-01-31 2027-02-28 2027-03-31"),
    ],
    ids=["names of months", "leap day", "last day"],
)
def test_the_days_of_a_month_are_those_of_cron(cron, begin, days):
    expected = days.split()
    times = Timetable(cron, "UTC").upcoming(moment(begin), len(expected))
    assert [str(time.date()) for time in times] == expected


@pytest.mark.parametrize(
    ("cron", "begin", "times"),
    [
        # A time that clocks leave out comes as long after the day before as ever.
        ("30 2 * * *", "2026-03-28T00:00", "03-28 02:30 +1, 03-29 03:30 +2, 03-30 02:30 +2"),
        # A time that clocks repeat comes once.
        ("30 2 * * *", "2026-10-24T00:00", "10-24 02:30 +2, 10-25 02:30 +2, 10-26 02:30 +1"),
        # Every hour is every hour, forward and back.
        ("15 * * * *", "2026-03-29T01:00", "03-29 01:15 +1, 03-29 03:15 +2, 03-29 04:15 +2"),
        ("0 * * * *", "2026-10-25T01:45", "10-25 02:00 +2, 10-25 02:00 +1, 10-25 03:00 +1"),
        ("30 * * * *", "2026-10-25T01:45", "10-25 02:30 +2, 10-25 02:30 +1, 10-25 03:30 +1"),
        # Two times that fall together are one.
        ("30 2,3 * * *", "2026-03-29T00:00", "03-29 03:30 +2, 03-30 02:30 +2"),
    ],
)
def test_times_are_those_of_cron_where_clocks_are_changed(cron, begin, times):
    expected = times.split(", ")
    assert upcoming(cron, begin, len(expected)) == expected


def part(low, high):
    """A field of cron, and the values that it stands for."""
    value = st.integers(low, high)
    plain = value.map(lambda number: (str(number), {number}))
    ranges = st.tuples(value, value).map(sorted)
    spans = ranges.map(lambda pair: (f"{pair[0]}-{pair[1]}", set(range(pair[0], pair[1] + 1))))
    steps = st.integers(2, high - low).map(
        lambda step: (f"*/{step}", set(range(low, high + 1, step)))
    )
    every = st.just(("*", set(range(low, high + 1))))
    return st.one_of(every, plain, spans, steps)


@st.composite
def schedules(draw):
    """A cron expression, and whether a time on a calendar without time zones is one of its."""
    minute, hour = draw(part(0, 59)), draw(part(0, 23))
    day, month, weekday = draw(part(1, 31)), draw(part(1, 12)), draw(part(0, 6))
    # Such as 31 February is refused.
    hypothesis.assume(any(calendar.monthrange(2028, each)[1] >= min(day[1]) for each in month[1]))

    def fits(wall):
        days = (wall.day in day[1], wall.isoweekday() % 7 in weekday[1])
        either = not day[0].startswith("*") and not weekday[0].startswith("*")
        return (
            wall.minute in minute[1]
            and wall.hour in hour[1]
            and wall.month in month[1]
            and (any(days) if either else all(days))
        )

    return " ".join(field[0] for field in (minute, hour, day, month, weekday)), fits


# Around the changes of the clocks, and elsewhere.
BEGINS = st.one_of(
    st.sampled_from(["2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25"]),
    st.dates(datetime.date(2026, 1, 1), datetime.date(2028, 12, 31)).map(str),
).map(lambda day: moment(f"{day}T00:00") - 10 * HOUR)


@hypothesis.given(schedules(), st.sampled_from(ZONES), BEGINS)
@hypothesis.settings(max_examples=50, deadline=None)
def test_times_are_those_that_the_calendar_has(schedule, zone, begin):
    """Minute by minute over two days: what clocks show decides, with the rules for changes."""
    cron, fits = schedule
    place = zoneinfo.ZoneInfo(zone)
    minutes = [begin + number * MINUTE for number in range(1, 2 * 24 * 60 + 1)]
    shown = {time: time.astimezone(place) for time in minutes}
    expected = {time for time, wall in shown.items() if fits(wall)}
    if cron.split()[1] != "*":
        expected = {time for time in expected if shown[time].fold == 0}
        expected |= left_out(minutes, place, fits)
    found = [time.astimezone(datetime.UTC) for time in between(cron, zone, begin, minutes[-1])]
    assert found == sorted(expected)


def between(cron, zone, begin, end):
    """Times after `begin` and no later than `end`."""
    times = Timetable(cron, zone).after(begin)
    return list(itertools.takewhile(lambda time: time <= end, times))


def left_out(minutes, place, fits):
    """When runs begin whose time no clock shows: as if the clocks had not been put forward."""
    found = set()
    for before, time in itertools.pairwise(minutes):
        shown = [each.astimezone(place).replace(tzinfo=None) for each in (before, time)]
        skipped = shown[1] - shown[0] - MINUTE
        for number in range(skipped // MINUTE):
            if fits(shown[0] + (number + 1) * MINUTE):
                found.add(time + number * MINUTE)
    return found & set(minutes)


@hypothesis.given(schedules(), st.sampled_from(ZONES), BEGINS, st.integers(1, 3000))
@hypothesis.settings(max_examples=25, deadline=None)
def test_the_latest_time_is_the_last_of_the_next(schedule, zone, begin, length):
    until = begin + length * MINUTE
    times = between(schedule[0], zone, begin, until)
    timetable = Timetable(schedule[0], zone)
    assert timetable.latest(begin, until) == (times[-1] if times else None)
    assert timetable.next_after(begin) == (times[0] if times else timetable.next_after(until))


def test_the_latest_time_of_a_repeated_hour_is_the_last_whatever_clocks_show():
    timetable = Timetable("*/15 * * * *", "Europe/Berlin")
    # Clocks show 02:45, and a quarter later 02:00 once more.
    until = moment("2026-10-25T01:20")
    assert timetable.latest(until - HOUR, until) == moment("2026-10-25T01:15")


def test_times_can_be_added_to_in_a_repeated_hour():
    """As jitter is: in the zone, Python would take the second hour for the first."""
    time = Timetable("0 * * * *", "Europe/Berlin").next_after(moment("2026-10-25T00:30"))
    assert time + 0 * HOUR == moment("2026-10-25T01:00")


def test_times_lie_between_start_and_end():
    timetable = Timetable("0 3 * * *", "Europe/Berlin", "2026-12-01", "2026-12-03")
    times = timetable.upcoming(moment("2026-11-23T00:00"), 9)
    # A date that ends it counts whole.
    assert [f"{time:%d %H:%M %Z}" for time in times] == [f"0{day} 03:00 CET" for day in (1, 2, 3)]


def test_start_and_end_are_in_the_zone_unless_they_name_their_own():
    timetable = Timetable(
        "0 * * * *", "Europe/Berlin", "2026-12-01T03:00", "2026-12-01T05:00+00:00"
    )
    times = timetable.upcoming(moment("2026-11-23T00:00"), 9)
    assert [time.hour for time in times] == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("0 3 * *", "UTC"), "'0 3 * *' has 4 fields"),
        (("", "UTC"), "'' has 0 fields"),
        (("@daily", "UTC"), "has 1 fields"),
        (("61 * * * *", "UTC"), "'61' is no minute; expected 0-59"),
        (("* 24 * * *", "UTC"), "'24' is no hour; expected 0-23"),
        (("* * 0 * *", "UTC"), "'0' is no day; expected 1-31"),
        (("* * * 13 *", "UTC"), "'13' is no month; expected 1-12 or jan-dec"),
        (("* * * * 8", "UTC"), "'8' is no weekday; expected 0-7 or sun-sat"),
        (("* * * * mond", "UTC"), "'mond' is no weekday"),
        (("* * * * mon;tue", "UTC"), "'mon;tue' is no weekday"),
        (("* * last * *", "UTC"), "'last' is no day"),
        (("* * * * */0", "UTC"), "'*/0' is no weekday"),
        (
            ("*/0 * * * *", "UTC"),
            "'*/0' is no minute; expected 0-59, or * or ranges of these, in steps of 1 to 59",
        ),
        (("*/90 * * * *", "UTC"), "'*/90' is no minute"),
        (("* * * * fri-mon/2", "UTC"), "'fri-mon/2' is no weekday"),
        (("0 0 * * * *", "UTC"), "has 6 fields"),
        (("9" * 5000 + " * * * *", "UTC"), "is no minute"),
        (("-5 * * * *", "UTC"), "'-5' is no minute"),
        (("50-10 * * * *", "UTC"), "'50-10' is no minute"),
        (("x * * * *", "UTC"), "'x' is no minute"),
        (("0 0 31 2 *", "UTC"), "never comes"),
        (("0 0 30 2 *", "UTC"), "never comes"),
        (("0 0 31 2,4,6,9,11 *", "UTC"), "never comes"),
        (("0 0 */20 * 1L", "UTC"), "never comes"),
        (("0 3 * * *", "Europe/Berln"), "the nearest is 'Europe/Berlin'"),
        (("0 3 * * *", "europe/berlin"), "the nearest is 'Europe/Berlin'"),
        (("0 3 * * *", "Europe"), "'Europe' is unknown"),
        (("0 3 * * *", ""), "'' is unknown"),
        (("0 3 * * *", "../etc/passwd"), "is unknown"),
        (("0 3 * * *", "/etc/localtime"), "is unknown"),
        (("0 3 * * *", "UTC", "tomorrow"), "--start 'tomorrow' is no date or time"),
        (("0 3 * * *", "UTC", "0001-01-01"), "--start '0001-01-01' is no date or time"),
        (("0 3 * * *", "UTC", "9999-12-31"), "--start '9999-12-31' is no date or time"),
        (("0 3 * * *", "UTC", None, "2026-13-01"), "--end '2026-13-01' is no date or time"),
        (("0 3 * * *", "UTC", "2026-12-02", "2026-12-01"), "lies before --start 2026-12-02"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason_and_an_example(arguments, told):
    with pytest.raises(ConfigurationError) as caught:
        Timetable(*arguments)
    message = str(caught.value)
    assert told in message
    assert "expected" in message
    assert "\n" not in message


@pytest.mark.parametrize("cron", ["0 3 * * mon", "5,10-20/5 */6 1-7 jan-jun *", "0 0 29 feb *"])
def test_what_cron_takes_is_taken(cron):
    assert Timetable(cron, "UTC").next_after(moment("2026-11-23T00:00"))


@hypothesis.given(st.text("0123456789*/,- abcdefjlmnorstuvwy@", max_size=30))
@hypothesis.settings(max_examples=100, deadline=None)
def test_any_text_is_a_schedule_or_refused_in_words(text):
    try:
        Timetable(text, "UTC")
    except ConfigurationError as error:
        assert "--cron" in str(error)
