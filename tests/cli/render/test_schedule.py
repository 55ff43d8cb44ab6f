"""What is printed of a schedule: its next times, and its systemd unit."""

import datetime
import json
import zoneinfo
from pathlib import Path

import pytest

from cli.render import schedule
from operations.scheduling.plan import Upcoming
from operations.scheduling.unit import UnitFile

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


@pytest.fixture
def upcoming():
    time = datetime.datetime(2026, 11, 24, 3, 30, tzinfo=BERLIN)
    return Upcoming(time - datetime.timedelta(hours=25), (time, time + datetime.timedelta(days=1)))


def test_the_next_times_are_printed_with_how_far_off_they_are(upcoming, capsys):
    schedule.print_upcoming(upcoming, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "Tue 2026-11-24 03:30 CET  in 1 d 1 h",
        "Wed 2026-11-25 03:30 CET  in 2 d 1 h",
    ]


def test_the_next_times_are_printed_for_programs(upcoming, capsys):
    schedule.print_upcoming(upcoming, as_json=True)
    times = json.loads(capsys.readouterr().out)
    assert times == ["2026-11-24T03:30:00+01:00", "2026-11-25T03:30:00+01:00"]


def test_a_unit_that_was_written_is_told_with_how_to_enable_it(capsys):
    path = Path("/units/my unit.service")
    schedule.print_unit(UnitFile("[Unit]\n", path, str(path), left_out={}))
    printed = capsys.readouterr()
    assert printed.out == (
        "Wrote /units/my unit.service. It starts now, and whenever the machine does, with:\n\n"
        "  systemctl --user enable --now '/units/my unit.service'\n"
        "  loginctl enable-linger\n"
    )
    assert printed.err == ""


def test_a_unit_that_was_not_written_is_printed_and_the_rest_is_said_beside_it(capsys):
    unit = UnitFile("[Unit]\n", None, "a.service", left_out={"PGPASSWORD": "use a file"})
    schedule.print_unit(unit)
    printed = capsys.readouterr()
    assert printed.out == "[Unit]\n"
    assert printed.err == (
        "PGPASSWORD may hold a secret and is not part of the unit: use a file instead.\n"
    )
