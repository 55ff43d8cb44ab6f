"""Which runs are listed: filters, and a run that is still at work."""

import datetime
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.render import runs
from operations import pages
from pipeline import lock
from pipeline.errors import UnknownRunError, UsageError
from pipeline.records import history
from pipeline.records.history import Filter


@pytest.fixture
def output_dir(locations):
    return locations.root.parent


def ids(receipts):
    return [receipt["run_id"] for receipt in receipts]


@pytest.fixture
def three(past):
    """A pushed, a refused and a killed run, one each day."""
    past.run("20260101-120000", "a")
    past.run("20260102-120000", "b", push=False)
    past.run("20260103-120000", "c", push=False, status="interrupted", verdict="none", seconds=None)


@pytest.mark.parametrize(
    ("wanted", "days"),
    [
        (Filter(), [1, 2, 3]),
        (Filter(status="completed"), [1, 2]),
        (Filter(status="interrupted"), [3]),
        (Filter(status="running"), []),
        (Filter(verdict="refused"), [2]),
        (Filter(status="completed", verdict="pushed"), [1]),
        (Filter(pipeline="clothes"), [1, 2, 3]),
    ],
)
def test_runs_are_filtered_by_status_verdict_and_pipeline(three, output_dir, wanted, days):
    found = ids(history.runs(output_dir, wanted))
    assert found == [f"2026010{day}-120000" for day in days]


@pytest.mark.parametrize(
    ("since", "until", "days"),
    [
        ("2026-01-02T12:00:00Z", None, [2, 3]),
        ("2026-01-02T12:00:01Z", None, [3]),
        (None, "2026-01-02T12:00:00Z", [1, 2]),
        ("2026-01-02T14:00+02:00", "2026-01-02T14:00+02:00", [2]),
    ],
)
def test_runs_are_filtered_by_time_both_ends_included(three, output_dir, since, until, days):
    wanted = Filter(None, None, None, *history.between(since, until))
    assert ids(history.runs(output_dir, wanted)) == [f"2026010{day}-120000" for day in days]


@given(day=st.dates(datetime.date(1980, 1, 1), datetime.date(2100, 1, 1)))
def test_a_date_is_the_whole_local_day(day):
    since, until = history.between(day.isoformat(), day.isoformat())
    assert since.tzinfo and until.tzinfo
    assert (since.date(), since.time()) == (day, datetime.time.min)
    assert (until.date(), until.time()) == (day, datetime.time.max)


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01", "2026-01-01T25:00", "0001-01-01"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError, match="no date or time; expected one such as 2026-11-22"):
        history.between(text, None)


def test_an_end_before_the_beginning_is_refused():
    with pytest.raises(UsageError, match="lies before --since 2026-01-02"):
        history.between("2026-01-02", "2026-01-01")


def test_an_unknown_pipeline_is_refused_with_those_that_are_known(three, output_dir):
    with pytest.raises(UnknownRunError, match=r"no pipeline 'cloths' .* expected clothes"):
        history.runs(output_dir, Filter(pipeline="cloths"))


def test_an_empty_folder_has_no_runs(tmp_path):
    assert history.runs(tmp_path, Filter()) == []
    assert history.served(tmp_path) == {}


def begins_now(past):
    began = datetime.datetime.now(datetime.UTC)
    run_id = began.strftime("%Y%m%d-%H%M%S")
    past.run(run_id, "z", push=False, status="interrupted", verdict="none", seconds=None)
    return run_id


def test_a_run_whose_process_is_at_work_is_running(three, past, locations, output_dir):
    with lock.exclusive(locations.lock, "run") as held:
        run_id = begins_now(past)
        held.note_run(run_id)
        assert ids(history.runs(output_dir, Filter(status="running"))) == [run_id]
        # The one that was killed before is not taken for it.
        assert ids(history.runs(output_dir, Filter(status="interrupted"))) == ["20260103-120000"]
    assert ids(history.runs(output_dir, Filter(status="running"))) == []


def test_a_run_at_work_is_shown_with_its_log_and_has_no_page_yet(
    past, locations, output_dir, capsys
):
    with lock.exclusive(locations.lock, "run") as held:
        run_id = begins_now(past)
        held.note_run(run_id)
        runs.print_receipt(history.find(output_dir, run_id), output_dir, as_json=False)
        shown = capsys.readouterr().out
        assert f"Run {run_id} is at work since" in shown
        assert str(output_dir / "clothes" / "runs" / run_id / "log.txt") in shown
        with pytest.raises(UsageError, match="still at work"):
            pages.main(run_id, output_dir, open_page=False)
    assert not (locations.runs / run_id / "review.html").exists()


def test_another_holder_of_the_lock_makes_no_killed_run_run(three, locations, output_dir):
    with lock.exclusive(locations.lock, "clean"):
        assert ids(history.runs(output_dir, Filter(status="running"))) == []


def test_the_receipt_of_a_running_run_stays_as_it_is(past, locations, output_dir):
    with lock.exclusive(locations.lock, "run") as held:
        run_id = begins_now(past)
        held.note_run(run_id)
        history.runs(output_dir, Filter())
    receipt = json.loads((locations.runs / run_id / "receipt.json").read_text())
    assert receipt["status"] == "interrupted"


def test_the_run_whose_version_is_served_is_marked(past, output_dir, capsys):
    first = past.run("20260101-120000", "a")
    second = past.run("20260102-120000", "b")
    runs.print_runs([first, second], history.served(output_dir), as_json=False)
    _, newest, oldest = capsys.readouterr().out.splitlines()
    assert newest.split()[-2:] == [str(second["pushed_version"]), "served"]
    assert oldest.split()[-1] == str(first["pushed_version"])


def test_a_served_version_that_no_run_pushed_is_told_of(past, capsys):
    first = past.run("20260101-120000", "a")
    runs.print_runs([first], {"clothes": 99}, as_json=False)
    assert "clothes serves version 99: `lineage 99` tells of it." in capsys.readouterr().out
