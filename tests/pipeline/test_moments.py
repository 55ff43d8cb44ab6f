"""Dates and times as people write them."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import moments
from pipeline.errors import UsageError


@given(day=st.dates(datetime.date(1980, 1, 1), datetime.date(2100, 1, 1)))
def test_a_date_is_the_whole_local_day(day):
    since, until = moments.between(day.isoformat(), day.isoformat())
    assert since.tzinfo and until.tzinfo
    assert (since.date(), since.time()) == (day, datetime.time.min)
    assert (until.date(), until.time()) == (day, datetime.time.max)


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01", "2026-01-01T25:00", "0001-01-01"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError, match="no date or time; expected one such as 2026-11-22"):
        moments.between(text, None)


def test_an_end_before_the_beginning_is_refused():
    with pytest.raises(UsageError, match="lies before --since 2026-01-02"):
        moments.between("2026-01-02", "2026-01-01")
