"""Clocks that are wrong, that are changed twice a year, and that stand still: what becomes of runs.

The scheduler has one clock, which tests replace: a year goes by in a second. Changes of clocks
are those of years that are over: for years to come, a machine knows what governments planned when
its database of time zones was made. Morocco ended its changes in 2026.
"""

import datetime
import itertools
import types
import zoneinfo

import hypothesis
import pytest
from hypothesis import strategies as st

from components.pusher import versions
from operations import run
from operations.notifications.events import SkipReason
from operations.notifications.notifying import Notifier
from operations.scheduling.look import Seen
from pipeline.records import history

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
YEAR = 365.25 * DAY
# From the time when a run is due to that when it has begun: a wait, and a look at the data.
NOTICED = 62
BEGIN = datetime.datetime(2026, 11, 23, 14, 10, tzinfo=datetime.UTC)
# Dublin's clocks are set back in winter, by law; Casablanca's in Ramadan; Lord Howe's by half an
# hour; Santiago's at midnight.
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Europe/Dublin",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "America/Santiago",
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No state needs to survive a loss of power here."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def lines(capsys):
    return lambda: capsys.readouterr().out.splitlines()


def moment(text, zone="UTC"):
    return datetime.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone))


def begun(world):
    """When runs began, in UTC."""
    return [time for time, _, _ in world.commands.begun]


def silence(world, count):
    """Runs leave no receipts, each of which would be read again and again."""
    world.commands.runs = [world.commands.silent() for _ in range(count)]


def left_out(world):
    """Why runs that were due did not begin."""
    return [reason for reason in world.metrics.skips if reason != SkipReason.UNCHANGED]


def forget(world):
    """The next scheduler is the first."""
    world.file.unlink(missing_ok=True)
    world.commands.begun.clear()
    world.commands.seconds.clear()


def changes(zone, year):
    """Days on which the clocks of a zone are changed."""
    place, first = zoneinfo.ZoneInfo(zone), datetime.date(year, 1, 1)
    days = [first + datetime.timedelta(days=number) for number in range(365)]

    def offset(day):
        return datetime.datetime.combine(day, datetime.time(12), place).utcoffset()

    return [day for before, day in itertools.pairwise(days) if offset(before) != offset(day)]


def due(day, clock, zone):
    """When a time of the calendar comes, told as cron would tell it.

    One that clocks leave out comes as late as if they had not been changed, and one that they
    repeat comes the first time.
    """
    wall = datetime.datetime.combine(day, clock, zoneinfo.ZoneInfo(zone))
    return wall.astimezone(datetime.UTC)


def test_a_run_of_each_night_of_a_leap_year_comes_once(world):
    zone, clock = "Europe/Berlin", datetime.time(2, 30)
    world.clock.time = moment("2024-01-01", zone).astimezone(datetime.UTC)
    world.clock.longest_wait = HOUR
    silence(world, 400)
    world.serve(moment("2025-01-01", zone).astimezone(datetime.UTC), "30 2 * * *", zone)
    nights = [datetime.date(2024, 1, 1) + datetime.timedelta(days=n) for n in range(366)]
    second = datetime.timedelta(seconds=1)
    assert [each - second for each in begun(world)] == [due(day, clock, zone) for day in nights]
    assert left_out(world) == []
    shown = [each.astimezone(zoneinfo.ZoneInfo(zone)) for each in begun(world)]
    assert {f"{each:%m-%d %H:%M}" for each in shown if f"{each:%H:%M}" != "02:30"} == {
        "03-31 03:30"
    }
    assert "02-29" in {f"{each:%m-%d}" for each in shown}


@pytest.mark.parametrize("zone", ZONES)
def test_a_run_of_each_night_comes_once_where_clocks_are_changed(world, zone):
    """At each quarter of the hours in which clocks are changed somewhere."""
    times = [datetime.time(hour, minute) for hour in (0, 1, 2, 3) for minute in (0, 30)]
    changed = changes(zone, 2025)
    assert len(changed) >= 2
    for day in changed:
        around = [day + datetime.timedelta(days=number) for number in (-1, 0, 1)]
        world.clock.time = moment(f"{around[0]}T00:00", zone).astimezone(datetime.UTC)
        world.clock.time -= datetime.timedelta(seconds=1)
        forget(world)
        silence(world, 50)
        until = moment(f"{around[-1]}T12:00", zone).astimezone(datetime.UTC)
        world.serve(until, "0,30 0-3 * * *", zone)
        # Two times of the calendar may be the same: one comes an hour late, the other on time.
        expected = sorted({due(day, clock, zone) for day in around for clock in times})
        second = datetime.timedelta(seconds=1)
        assert [each - second for each in begun(world)] == expected
    assert left_out(world) == []


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Africa/Casablanca"])
def test_runs_of_every_hour_go_on_hour_after_hour_where_clocks_are_changed(world, zone):
    for day in changes(zone, 2025):
        world.clock.time = moment(f"{day}T00:10", zone).astimezone(datetime.UTC)
        forget(world)
        silence(world, 50)
        world.serve_for(1.5 * DAY, "0 * * * *", zone)
        gaps = [after - before for before, after in itertools.pairwise(world.commands.seconds)]
        assert gaps == [HOUR] * 35
    assert left_out(world) == []


def test_a_run_of_a_day_that_a_zone_left_out_comes_once(world):
    """Samoa had no 30 December 2011."""
    world.clock.time = moment("2011-12-29T12:00", "Pacific/Apia").astimezone(datetime.UTC)
    silence(world, 9)
    world.serve_for(2.8 * DAY, "0 3 * * *", "Pacific/Apia")
    shown = [each.astimezone(zoneinfo.ZoneInfo("Pacific/Apia")) for each in begun(world)]
    assert [f"{each:%d %H:%M}" for each in shown] == ["31 03:00", "01 03:00", "02 03:00"]


def test_leap_day_comes_every_four_years(world):
    world.clock.time = datetime.datetime(2027, 12, 1, tzinfo=datetime.UTC)
    world.clock.longest_wait = 10 * DAY
    silence(world, 9)
    world.serve(datetime.datetime(2033, 1, 1, tzinfo=datetime.UTC), "0 0 29 2 *")
    assert [each.date().isoformat() for each in begun(world)] == ["2028-02-29", "2032-02-29"]


# How far the clock of an hourly schedule is set forward or back, ten minutes after a run.
JUMPS = {
    "back a second": (-1, "15:00 16:00 17:00"),
    "back half a minute": (-30, "15:00 16:00 17:00"),
    "back ten minutes": (-10 * MINUTE, "15:00 16:00 17:00"),
    # The run of 14:00 is not repeated: the next one comes after at most twice the hour.
    "back an hour": (-HOUR, "15:00 16:00 17:00"),
    # Those of 13:00 and 14:00 are: waiting for 15:00 would be as if the schedule stood still.
    "back two hours": (-2 * HOUR, "13:00 14:00 15:00 16:00"),
    "back five hours": (-5 * HOUR, "10:00 11:00 12:00 13:00"),
    "back a day": (-DAY, "15:00 16:00 17:00 18:00"),
    "back a year": (-YEAR, "09:00 10:00 11:00 12:00"),
    "back to 1971": (-55 * YEAR, "21:00 22:00 23:00 00:00"),
    "forward a second": (1, "15:00 16:00 17:00 18:00"),
    # What was missed is made up for once, whatever there was of it.
    "forward an hour": (HOUR, "15:20 16:00 17:00 18:00 19:00"),
    "forward five hours": (5 * HOUR, "19:20 20:00 21:00 22:00 23:00"),
    "forward a day": (DAY, "14:20 15:00 16:00 17:00 18:00"),
    "forward a year": (YEAR, "20:20 21:00 22:00 23:00 00:00"),
    "forward to 2081": (55 * YEAR, "08:20 09:00 10:00 11:00 12:00"),
}


@pytest.mark.parametrize("case", JUMPS)
@pytest.mark.parametrize("queue", [False, True], ids=["skip", "queue"])
def test_a_clock_that_is_set_loses_no_run_and_makes_no_hundred(world, lines, case, queue):
    jump, expected = JUMPS[case]
    world.clock.time = BEGIN - datetime.timedelta(minutes=20)
    # At 14:20.
    world.clock.jumps[1800] = datetime.timedelta(seconds=jump)
    silence(world, 50)
    world.serve_for(1800 + 4.2 * HOUR, queue=queue)
    first, *later = begun(world)
    assert f"{first:%H:%M:%S}" == "14:00:01"
    expected = expected.split()
    assert [f"{each:%H:%M}" for each in later][: len(expected)] == expected
    # As long as four hours and a little more last, there is nearly a run in each of them.
    assert 3 <= len(later) <= 5
    gaps = [after - before for before, after in itertools.pairwise(world.commands.seconds)]
    assert max(gaps) <= 2 * HOUR + NOTICED
    told = "\n".join(lines())
    assert ("the clock was set back" in told) == (jump < -HOUR)
    assert told.count("was missed") == (jump >= HOUR)


@pytest.mark.parametrize(
    ("cron", "jump", "most"),
    [
        # Within a minute, a schedule of every minute goes on.
        ("* * * * *", -2 * HOUR, 3 * MINUTE),
        ("* * * * *", -59, 3 * MINUTE),
        ("*/15 * * * *", -2.9 * HOUR, 31 * MINUTE),
        ("*/15 * * * *", -14 * MINUTE, 31 * MINUTE),
        # Set back by three hours or less, the run of the night is not repeated.
        ("0 14 * * *", -3 * HOUR, DAY + 3 * HOUR + NOTICED),
        ("0 14 * * *", -5 * HOUR, 5 * HOUR + NOTICED),
        ("0 14,16 * * *", -HOUR, 3 * HOUR + NOTICED),
    ],
)
def test_a_clock_that_is_set_back_does_not_stop_the_schedule(world, cron, jump, most):
    world.clock.time = BEGIN - datetime.timedelta(minutes=20)
    world.clock.jumps[1800] = datetime.timedelta(seconds=jump)
    silence(world, 300)
    world.serve_for(1800 + most, cron)
    before = [second for second in world.commands.seconds if second <= 1800]
    assert before[-1] + most >= world.commands.seconds[len(before)] > 1800


@pytest.mark.parametrize("jump", [-YEAR, -2 * HOUR, -MINUTE, MINUTE, 2 * HOUR, YEAR])
def test_a_clock_that_is_set_and_put_right_leaves_the_schedule_as_it_was(world, jump):
    """As that of a machine that starts with a wrong time until the network is there."""
    world.clock.time = BEGIN
    world.clock.jumps[300] = datetime.timedelta(seconds=jump)
    world.clock.jumps[900] = datetime.timedelta(seconds=-jump)
    silence(world, 50)
    world.serve_for(5 * HOUR)
    times = [f"{each:%m-%d %H:%M}" for each in begun(world)]
    right = [f"11-23 {hour}:00" for hour in (15, 16, 17, 18, 19)]
    # One run at most is added: that which was missed by a clock that jumped forward, there or back.
    assert [each for each in times if each in right] == right
    assert len(times) <= len(right) + (abs(jump) >= HOUR)


def test_a_clock_that_is_set_during_a_run_neither_cuts_it_off_nor_lets_it_go_on(world, lines):
    plan = world.commands.leaving(
        {"status": "interrupted", "verdict": "none"}, seconds=HOUR, stubborn=1
    )
    world.commands.runs = [plan]
    world.clock.time = BEGIN + datetime.timedelta(minutes=50)
    world.clock.jumps[60] = datetime.timedelta(days=1)
    world.clock.jumps[600] = datetime.timedelta(days=-2)
    world.serve_for(0.9 * HOUR, time_limit_seconds=1800)
    told = "\n".join(lines())
    assert "took longer than its limit of 30 min" in told
    (began,), (asked,) = world.commands.seconds, world.commands.asked[:1]
    assert 1800 <= asked - began <= 1800 + NOTICED


def test_a_clock_that_is_set_during_a_pause_does_not_change_it(world):
    failed = {"status": "failed", "verdict": "none", "failure": None}
    world.commands.runs = [world.commands.leaving(failed, code=1)]
    world.clock.time = BEGIN + datetime.timedelta(minutes=49)
    world.clock.jumps[300] = datetime.timedelta(days=365)
    world.serve_for(0.9 * HOUR, cron="0 15 23 * *", retries=1, backoff_seconds=1200)
    first, second = world.commands.seconds
    # The run, the pause, and the look before the second.
    assert second - first == pytest.approx(30 + 1200 + 1, abs=1)


@pytest.mark.parametrize(
    ("jump", "times"),
    [(-10 * MINUTE, ["15:00", "16:00"]), (-30 * MINUTE, ["15:00", "16:00"]), (-DAY, None)],
)
def test_a_clock_that_is_set_back_while_the_scheduler_is_away_repeats_no_run(world, jump, times):
    world.clock.time = BEGIN + datetime.timedelta(minutes=40)
    silence(world, 50)
    world.serve_for(1200)
    assert [f"{each:%H:%M}" for each in begun(world)] == ["15:00"]
    world.clock.time += datetime.timedelta(seconds=jump)
    world.serve_for(1.6 * HOUR)
    found = [f"{each:%H:%M}" for each in begun(world)]
    # A day back is no longer the same schedule: there, nothing has been run yet.
    assert found == (times or ["15:00", "16:00"])
    assert left_out(world) == []


def test_a_run_that_was_cut_off_under_a_clock_set_to_the_future_is_made_up_for_at_once(world):
    world.clock.time = BEGIN.replace(year=2099)
    world.commands.runs = [world.commands.silent(seconds=DAY)]
    world.serve_for(HOUR)
    assert world.state.at_work.year == 2099
    world.clock.time = BEGIN
    world.serve_for(300)
    assert [each.year for each in begun(world)] == [2099, 2026]
    assert world.state.at_work is None


@hypothesis.given(
    st.lists(
        st.tuples(
            st.floats(0, 1.5 * DAY),
            st.one_of(
                st.floats(-3 * HOUR, 3 * HOUR),
                st.floats(-3 * DAY, 3 * DAY),
                st.floats(-20 * YEAR, 20 * YEAR),
            ),
        ),
        max_size=6,
    ),
    st.sampled_from(["0 * * * *", "*/30 * * * *", "0 */4 * * *"]),
    st.booleans(),
)
@hypothesis.example([(1232.0, -1863.0)], "*/30 * * * *", False)
@hypothesis.example([(2400.0, -3050.0)], "*/30 * * * *", False)
@hypothesis.settings(
    max_examples=10,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_however_a_clock_is_set_runs_go_on_and_are_no_more_than_due(world, jumps, cron, queue):
    distance = {"0 * * * *": HOUR, "*/30 * * * *": 30 * MINUTE, "0 */4 * * *": 4 * HOUR}[cron]
    world.clock.time = BEGIN
    begin = world.clock.seconds()
    world.clock.jumps = {begin + second: datetime.timedelta(seconds=jump) for second, jump in jumps}
    forget(world)
    silence(world, 1000)
    world.serve_for(1.5 * DAY, cron, queue=queue)
    ends = [begin, *world.commands.seconds, begin + 1.5 * DAY]
    for before, after in itertools.pairwise(ends):
        back = sum(before <= begin + second <= after for second, jump in jumps if jump < 0)
        # Each time that it is set back, at most twice the distance of two runs is waited once more:
        # back to just after the time before the last run, right before the next one.
        assert after - before <= (1 + 2 * back) * distance + (1 + back) * NOTICED
    assert len(world.commands.seconds) <= 1.5 * DAY / distance + 1 + len(jumps)


def test_data_that_is_overdue_by_a_wrong_clock_alone_is_no_longer_once_it_is_right(world):
    world.clock.time = BEGIN
    world.serve_for(1.2 * HOUR, data_due_seconds=DAY)
    world.clock.time += datetime.timedelta(days=2)
    world.serve_for(1.2 * HOUR, data_due_seconds=DAY)
    world.clock.time -= datetime.timedelta(days=2)
    world.serve_for(2.2 * HOUR, data_due_seconds=DAY)
    assert [title for title, _ in world.notifier.messages] == [
        "clothes: data is overdue",
        "clothes recovered from: data is overdue",
    ]
    # And so it can be overdue again.
    world.serve_for(1.2 * DAY, data_due_seconds=DAY)
    assert world.notifier.messages[2][0] == "clothes: data is overdue"
    world.commands.seen = Seen(data="/data", arrivals=1)
    world.serve_for(1.2 * HOUR, data_due_seconds=DAY)
    assert len(world.notifier.messages) == 4


def test_logs_of_the_future_do_not_drive_out_those_of_the_present(world):
    for number in range(150):
        (world.file.parent / f"20991231-{number:06}.log").write_text("a clock was wrong")
    world.clock.time = BEGIN
    silence(world, 50)
    world.serve_for(3 * HOUR)
    logs = sorted(path.name for path in world.file.parent.glob("*.log"))
    assert logs[:3] == [f"20261123-{hour}0000.log" for hour in (15, 16, 17)]
    assert len(logs) == 100


def test_each_attempt_has_a_log_of_its_own_though_the_clock_stands_still(world):
    """The error of an earlier one, in the same second once more, is not that of a later one."""

    due = BEGIN + datetime.timedelta(minutes=50)

    def set_back(code):
        world.clock.time = due

    world.clock.time = due - datetime.timedelta(seconds=1)
    world.commands.runs = [world.commands.silent(code=-9, at_end=set_back) for _ in range(3)]
    world.serve_for(HOUR / 2, retries=2, backoff_seconds=0)
    logs = sorted(path.name for path in world.file.parent.glob("*.log"))
    assert logs == [f"20261123-15000{number}.log" for number in range(3)]


@pytest.fixture
def set_clock(monkeypatch):
    """Sets the clock that names runs and versions."""

    def set_to(moment):
        class Clock(datetime.datetime):
            @classmethod
            def now(cls, tz=None):
                return moment.astimezone(tz)

        # The modules alone: what they import would keep such a clock.
        changed = {**vars(datetime), "datetime": Clock}
        monkeypatch.setattr(run, "datetime", types.SimpleNamespace(**changed))
        monkeypatch.setattr(versions, "time", types.SimpleNamespace(time=moment.timestamp))

    return set_to


def test_runs_and_versions_stay_in_order_however_the_clock_is_set(
    prepared, request_, progress, locations, monkeypatch, set_clock, tmp_path
):
    export = tmp_path / "export"
    export.mkdir()

    def push():
        (export / "saved_model.pb").write_text(str(len(pushed)))
        pushed.append(versions.publish(export, locations.serving))

    locations.root.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(run, "prepare", lambda *_: prepared)
    monkeypatch.setattr(run, "_compared_with_what_is_served_now", lambda before, _: before)
    monkeypatch.setattr(run._Run, "_run_graph", lambda _: push())
    pushed, receipts = [], []
    for year in (2026, 2026, 2099, 1971, 2026, 1999, 2050):
        set_clock(BEGIN.replace(year=year))
        receipts.append(run.run(request_, progress, Notifier([], None)))
        assert history.find(locations.root.parent, "latest").run_id == receipts[-1].run_id
        assert versions.served_versions(locations.serving)[-1] == pushed[-1]
    assert pushed == sorted(set(pushed))
    assert len({receipt.run_id for receipt in receipts}) == len(receipts)
    known = history.read_receipts(locations.root.parent)
    assert [receipt.run_id for receipt in known] == [receipt.run_id for receipt in receipts]
    assert [receipt.sequence for receipt in known] == list(range(1, 8))
