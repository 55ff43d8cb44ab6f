"""Which runs there were: receipts that can be read, in their order, and those that fit a filter."""

import datetime
import json
import os
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.messages import escaped
from pipeline import lock, moments
from pipeline.database import binding
from pipeline.database.address import Address
from pipeline.errors import UnknownRunError
from pipeline.locations import Locations
from pipeline.records import history
from pipeline.records.history import Filter
from pipeline.records.receipt import SCHEMA_VERSION
from tests.ports import free_port


@pytest.fixture
def keep(receipt, tmp_path):
    """Keeps the receipt of a run, with these changes, below `tmp_path`; returns its folder."""

    def write(run_id, pipeline="clothes", **values):
        folder = tmp_path / pipeline / "runs" / run_id
        folder.mkdir(parents=True)
        # Runs are in the order of their ids, unless they say otherwise.
        values = {"sequence": int(run_id.replace("-", "")), **values}
        receipt.changed(run_id=run_id, pipeline=pipeline, **values).write(folder)
        return folder

    return write


def rewrite(folder, **values):
    """Changes a receipt as no run would."""
    path = folder / "receipt.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def ids(receipts):
    return [receipt.run_id for receipt in receipts]


def lines(caplog):
    return [record.getMessage() for record in caplog.records]


def test_receipts_come_back_oldest_first_from_all_pipelines(keep, tmp_path):
    keep("20260102-000000", "clothes")
    keep("20260101-000000", "shoes")
    keep("20260103-000000", "shoes")
    found = [(receipt.run_id[:8], receipt.pipeline) for receipt in history.read_receipts(tmp_path)]
    assert found == [("20260101", "shoes"), ("20260102", "clothes"), ("20260103", "shoes")]


def test_without_an_output_folder_there_are_no_receipts(tmp_path):
    assert history.read_receipts(tmp_path / "absent") == []


def test_runs_are_in_the_order_in_which_they_began_whatever_the_clock_said(keep, tmp_path):
    """The second run was made under a clock set to the future, the last under one set back."""
    began = ("20260101-000000", "20991231-000000", "20260102-000000", "20200101-000000")
    for sequence, run_id in enumerate(began, 1):
        keep(run_id, sequence=sequence)
    assert ids(history.read_receipts(tmp_path)) == list(began)
    assert history.find(tmp_path, "latest").run_id == began[-1]


def test_the_next_run_comes_after_all_others_below_the_output_folder(keep, tmp_path):
    assert history.next_sequence(tmp_path) == 1
    keep("20260101-000000", "clothes", sequence=7)
    keep("20260102-000000", "shoes", sequence=3)
    assert history.next_sequence(tmp_path) == 8
    rewrite(keep("20260103-000000", "shoes", sequence=11), schema_version=99)
    assert history.next_sequence(tmp_path) == 12


@pytest.mark.parametrize(
    ("version", "told"),
    [
        (
            99,
            f"has version 99, of a later project; this one knows version {SCHEMA_VERSION}. Update",
        ),
        (1, "earlier"),
    ],
)
def test_a_receipt_of_another_version_is_told_of_in_a_sentence(
    keep, tmp_path, caplog, version, told
):
    folder = keep("20260102-000000")
    (folder / "receipt.json").write_text(json.dumps({"schema_version": version, "runs": "other"}))
    keep("20260101-000000")
    assert history.find(tmp_path, "latest").run_id == "20260101-000000"
    (line,) = lines(caplog)
    assert line.startswith(str(folder / "receipt.json"))
    assert told in line


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"run_id": "2026',
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"schema_version": %d}' % SCHEMA_VERSION,
        b"[" * 100_000,
    ],
    ids=["empty", "cut off", "no text", "a list", "no keys", "one key", "deep"],
)
def test_a_damaged_receipt_is_told_of_once_and_hides_no_other(keep, tmp_path, caplog, content):
    damaged = keep("20260102-000000") / "receipt.json"
    keep("20260101-000000")
    damaged.write_bytes(content)
    for _ in range(2):
        assert ids(history.read_receipts(tmp_path)) == ["20260101-000000"]
    (line,) = lines(caplog)
    assert str(damaged) in line
    assert history.find(tmp_path, "latest").run_id == "20260101-000000"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sequence", "x"),
        ("began", "yesterday"),
        ("began", "2026-01-01T00:00:00"),
        ("run_id", 7),
        ("failure", "oom"),
        ("nodes", []),
        ("gates", {}),
        ("config", None),
        ("config", {}),
        ("seconds", -1),
        ("status", "running"),
        ("pushed_version", "17"),
        ("command", "run --set 'a"),
        ("sur\nprise", 1),
    ],
)
def test_a_receipt_whose_values_are_not_of_their_form_hides_no_other(
    keep, tmp_path, caplog, key, value
):
    rewrite(keep("20260102-000000"), **{key: value})
    keep("20260101-000000")
    assert ids(history.read_receipts(tmp_path)) == ["20260101-000000"]
    (line,) = lines(caplog)
    assert f"{escaped(key)}: " in line
    assert "\n" not in line


@pytest.mark.parametrize("key", ["settled_epochs", "new"])
def test_a_receipt_that_another_checkout_wrote_is_not_called_damaged(keep, tmp_path, caplog, key):
    folder = keep("20260102-000000")
    document = json.loads((folder / "receipt.json").read_text())
    if key in document:
        del document[key]
    else:
        document[key] = 1
    (folder / "receipt.json").write_text(json.dumps(document))
    keep("20260101-000000")
    assert ids(history.read_receipts(tmp_path)) == ["20260101-000000"]
    (line,) = lines(caplog)
    assert f"{folder / 'receipt.json'} has other keys than this checkout" in line
    assert key in line
    assert "an earlier or a later one wrote it" in line
    assert "page can still be opened" in line


def places(document):
    """Where the parts of a JSON document stand, each with what it is a part of."""
    inside = {dict: dict.items, list: enumerate}.get(type(document), lambda _: ())
    for key, part in inside(document):
        yield document, key
        yield from places(part)


document = history._document
WRONG = (None, True, -1, 1e400, float("nan"), "", "x'\n", "\ud800", [], [None], {}, {"\n": {}})


@given(data=st.data())
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_receipt_with_any_fault_is_read_or_left_out_with_one_line(
    keep, pushed_receipt, tmp_path, caplog, data
):
    path = tmp_path / "clothes" / "runs" / pushed_receipt.run_id / "receipt.json"
    if not path.exists():
        keep(pushed_receipt.run_id)
    document = pushed_receipt.as_json_value()
    # There are so many of them that nothing else would be changed.
    document["code"]["files"] = {"pipeline/dag.py": "a" * 12}
    part, key = data.draw(st.sampled_from(list(places(document))))
    if data.draw(st.booleans()):
        del part[key]
    else:
        part[key] = data.draw(st.sampled_from(WRONG))
    path.write_text(json.dumps(document))
    caplog.clear()
    history._warn_left_out.cache_clear()
    read = history.runs(tmp_path, Filter())
    assert len(read) + len(lines(caplog)) == 1
    assert all("\n" not in line for line in lines(caplog))
    for receipt in read:
        assert receipt.profile and receipt.command_to_go_on(tmp_path)
        assert isinstance(receipt.seed, int) and receipt.exit_code in (0, 1, 3, 130)
        assert receipt.data.description and receipt.data.span_assignments is not None
        assert receipt.asks_for("tuner") in (True, False)


def test_the_run_of_an_attempt_is_found_among_the_newest(keep, tmp_path, monkeypatch):
    for number in range(1, 5):
        rewrite(keep(f"2026010{number}-000000"), attempt=f"attempt {number}")
    read = []
    monkeypatch.setattr(history, "_document", lambda path: read.append(path) or document(path))
    locations = Locations(tmp_path / "clothes")
    assert history.of_attempt(locations, "attempt 3").run_id == "20260103-000000"
    assert len(read) == 2
    assert history.of_attempt(locations, "another") is None
    assert history.of_attempt(Locations(tmp_path / "none"), "attempt 3") is None


@pytest.mark.parametrize("copied", ["clothes", "20260101-000000"])
def test_the_copy_of_a_folder_is_not_taken_for_its_runs(keep, tmp_path, caplog, copied):
    """Or what is done with the copy, such as completing a receipt, would be done to the run."""
    folder = keep("20260101-000000")
    origin = tmp_path / "clothes" if copied == "clothes" else folder
    shutil.copytree(origin, origin.with_name(f"{copied}-backup"))
    assert len(history.read_receipts(tmp_path)) == 1
    (line,) = lines(caplog)
    assert "it is that of clothes/runs/20260101-000000" in line


@pytest.mark.parametrize(
    ("run", "found"),
    [
        ("20260101-000000", "20260101-000000"),
        ("20260102", "20260102-120000"),
        ("20260103-1", "20260103-100000"),
        ("latest", "20260103-200000"),
    ],
)
def test_a_run_is_found_by_its_id_its_beginning_or_as_the_latest(keep, tmp_path, run, found):
    for run_id in ("20260103-200000", "20260101-000000", "20260102-120000", "20260103-100000"):
        keep(run_id)
    assert history.find(tmp_path, run).run_id == found


@pytest.mark.parametrize(
    ("run", "count"), [("2025", 0), ("2026", 2), ("", 2), ("Latest", 0), ("../x", 0)]
)
def test_what_fits_no_run_or_several_is_refused(keep, tmp_path, run, count):
    keep("20260101-000000")
    keep("20260102-000000")
    with pytest.raises(UnknownRunError) as caught:
        history.find(tmp_path, run)
    message = str(caught.value)
    assert message.startswith(f"{count} runs below {tmp_path} fit {run!r}; expected the id")
    assert "`runs` lists them" in message


def test_of_two_pipelines_with_one_run_id_the_name_of_the_pipeline_tells(keep, tmp_path):
    """Two schedules may begin a run in the same second."""
    for pipeline in ("clothes", "shoes"):
        keep("20260101-000000", pipeline=pipeline)
    with pytest.raises(UnknownRunError, match="expected the id of one run, PIPELINE/ID or latest"):
        history.find(tmp_path, "20260101-000000")
    assert history.find(tmp_path, "shoes/20260101-000000").pipeline == "shoes"
    assert history.find(tmp_path, "clothes/latest").pipeline == "clothes"


def test_without_runs_there_is_no_latest(tmp_path):
    with pytest.raises(UnknownRunError, match=r"^no run below .* yet; expected one to look at"):
        history.find(tmp_path, "latest")


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
    wanted = Filter(None, None, None, *moments.between(since, until))
    assert ids(history.runs(output_dir, wanted)) == [f"2026010{day}-120000" for day in days]


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


def test_another_holder_of_the_lock_makes_no_killed_run_run(three, locations, output_dir):
    with lock.exclusive(locations.lock, "clean"):
        assert ids(history.runs(output_dir, Filter(status="running"))) == []


def test_a_database_that_does_not_answer_is_asked_once_for_each_pipeline(keep, tmp_path, caplog):
    for number in (1, 2, 3):
        keep(f"2026010{number}-000000", status="interrupted", verdict="none", seconds=None)
    binding.write(Locations(tmp_path / "clothes"), Address("ada", "127.0.0.1", free_port(), "ml"))
    assert len(history.runs(tmp_path, Filter())) == 3
    (told,) = lines(caplog)
    assert "is not known: the database ml at" in told


def test_the_receipt_of_a_running_run_stays_as_it_is(past, locations, output_dir):
    with lock.exclusive(locations.lock, "run") as held:
        run_id = begins_now(past)
        held.note_run(run_id)
        history.runs(output_dir, Filter())
    receipt = json.loads((locations.runs / run_id / "receipt.json").read_text())
    assert receipt["status"] == "interrupted"


def make_pipe(path):
    path.unlink()
    os.mkfifo(path)


def make_endless(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def make_nan(path):
    path.write_text(path.read_text().replace('"seed": 7', '"seed": NaN'))


def make_ragged(path):
    document = json.loads(path.read_text())
    document["evaluation"]["confusion"] = [[1, 2], [3]]
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("damage", [make_pipe, make_endless, make_nan, make_ragged])
def test_a_receipt_that_no_command_could_work_with_is_left_out(
    past, output_dir, caplog, pushed_receipt, damage
):
    past.run("20260101-000000", "a")
    past.run("20260102-000000", "b")
    damage(past.locations.runs / "20260102-000000" / "receipt.json")
    assert ids(history.read_receipts(output_dir)) == ["20260101-000000"]
    assert len(lines(caplog)) == 1
