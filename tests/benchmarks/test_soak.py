"""A soak finds what is not as promised, and its damages are damages."""

import datetime
import json
import os
import random
import subprocess
import sys
import urllib.request

import altair
import pytest

from benchmarks import soak, soak_chart
from components.image_schema import ImageSchema
from pipeline import config
from pipeline.datasets.dataset import Source
from pipeline.datasets.reading import read_dataset
from pipeline.datasets.sample import FILE_NAMES
from pipeline.errors import UsageError
from pipeline.records import history

DAMAGED = 3 * soak.DAMAGED_EVERY
CLASSES = tuple(map(str, range(10)))


@pytest.fixture
def spans(tmp_path, monkeypatch, folder_of_images):
    """Spans of few images, the last of which is damaged."""

    def write(folder, seed):
        folder.mkdir()
        for name in FILE_NAMES:
            (folder / name).write_bytes((folder_of_images / name).read_bytes())

    monkeypatch.setattr(soak, "write_sample", write)
    made = soak.Spans(tmp_path / "spans", tmp_path)
    for _ in range(DAMAGED):
        made.come()
    return made


def read(folder):
    loaded = config.load_config("smoke", ["split.validation=3"])
    return read_dataset(
        Source(folder, sample=False), ImageSchema(28, 28, 1, CLASSES), "0" * 64, loaded
    )


def test_every_tenth_span_is_damaged_in_another_way_until_the_next_one_comes(spans, tmp_path):
    damages = [span.damage for span in spans.all if span.damage]
    assert len(damages) == len(set(damages)) == 3
    with pytest.raises(UsageError):
        read(tmp_path / "spans" / f"span-{DAMAGED}")
    spans.come()
    for number in range(1, DAMAGED + 2):
        read(tmp_path / "spans" / f"span-{number}")


@pytest.mark.parametrize("damage", ["cut short", "without labels", "not an IDX file"])
def test_every_damage_is_refused(damage, spans, tmp_path):
    soak._spoil(tmp_path / "spans" / "span-1", damage)
    with pytest.raises(UsageError):
        read(tmp_path / "spans" / "span-1")


@pytest.fixture
def trained(pushed_receipt, keep_receipt, locations):
    """A run that trained on span 1 and pushed nothing."""
    data = pushed_receipt.data.model_copy(update={"spans": (1,), "reference_span": 1})
    locations.serving.mkdir(parents=True)
    return keep_receipt(pushed_receipt, data=data, pushed_version=None)


def at(minute):
    """A moment of the hour in which the run of `trained` began, at 03:04:05."""
    return datetime.datetime(2026, 1, 2, 3, minute, tzinfo=datetime.UTC)


def test_what_is_as_promised_has_no_faults(trained, locations):
    alarm = {"title": "a run cannot start", "message": "span-2 is cut short"}
    assert (
        soak.faults(locations, [soak.Span(1, at(0)), soak.Span(2, at(9), "cut short")], [alarm])
        == []
    )


def test_what_is_not_as_promised_is_told(trained, locations, keep_receipt):
    (locations.runs / "20260102-000000").mkdir()
    (locations.runs / trained.run_id / ".receipt.json.7").touch()
    (locations.serving / "3").mkdir()
    keep_receipt(trained, run_id="20260103-000000", sequence=2, pushed_version=17)
    damaged = [soak.Span(1, at(0), "cut short"), soak.Span(2, at(5))]
    assert soak.faults(locations, damaged, []) == [
        "run 20260102-000000 has no receipt.json that can be read",
        "version 3 belongs to no run",
        "version 17 was pushed and is gone",
        f"version 3: {locations.serving}/3/saved_model.pb is missing or empty",
        "span-1 was trained on, though it was cut short",
        "span-1 raised no alarm, though it was cut short",
        "span-2 was never trained on",
        f"{trained.run_id}/.receipt.json.7 was left behind",
    ]


def test_a_span_that_a_newer_one_overtook_while_its_runs_were_killed_is_told(
    trained, locations, keep_receipt
):
    data = trained.data.model_copy(update={"spans": (2,), "reference_span": 1})
    killed = {"node": None, "message": "the process was killed"}
    cut_off = {"status": "interrupted", "verdict": "none", "failure": killed, "data": data}
    keep_receipt(trained, run_id="20260103-000000", sequence=2, **cut_off)
    spans = [soak.Span(1, at(0)), soak.Span(2, at(5)), soak.Span(3, at(9))]
    receipts = history.receipts_of(locations)
    assert soak.overtaken(spans, receipts) == [2]
    assert soak.faults(locations, spans, []) == ["span-3 was never trained on"]


@pytest.mark.parametrize(("came", "is_fault"), [(5, False), (4, True)])
def test_a_span_that_came_and_went_during_one_run_was_overtaken(trained, locations, came, is_fault):
    """Its run would have begun in its time, and none did; where one did, it had to train on it."""
    damaged = soak.Span(3, at(9), "cut short")
    spans = [soak.Span(1, at(0)), soak.Span(2, at(came)), damaged]
    told = soak.faults(locations, spans, [{"title": "a run failed", "message": "span-3"}])
    assert ("span-2 was never trained on" in told) == is_fault
    assert (soak.overtaken(spans, history.receipts_of(locations)) == [2]) != is_fault


def test_the_alarm_of_another_span_is_none(trained, locations):
    alarm = {"title": "a run cannot start", "message": "span-20 is cut short"}
    ended = {"title": "a run failed", "message": "span-2"}
    damaged = [soak.Span(1, at(0)), soak.Span(2, at(9), "cut short")]
    assert soak.faults(locations, damaged, [alarm, ended]) == [
        "span-2 raised no alarm, though it was cut short"
    ]


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        ((0, 0, 3e6), []),
        ((0, -2, -3e6), []),
        ((2, 0, 0), ["the scheduler ended by itself 2 times"]),
        ((0, 1, 0), ["1 more files are open"]),
        ((0, 0, 2**26), ["it takes 64 MiB more memory"]),
    ],
)
def test_a_scheduler_that_crashes_or_leaks_is_a_fault(figures, told):
    assert soak.scheduler_faults(*figures) == told


@pytest.mark.parametrize(
    ("code", "patience", "told"),
    [
        ("sys.exit(3)", 60, []),
        ("sys.exit(1)", 60, ["it ended with 1"]),
        ("time.sleep(600)", 0.1, ["it was still at work after 0 s"]),
    ],
)
def test_how_a_process_ends_is_told(code, patience, told, monkeypatch):
    monkeypatch.setattr(soak, "_STOP_SECONDS", patience)
    process = subprocess.Popen([sys.executable, "-c", f"import sys, time; {code}"])
    assert list(soak._ends(process, "it")) == told


def test_a_run_without_an_end_is_told(receipt, keep_receipt, locations):
    locations.serving.mkdir(parents=True)
    keep_receipt(receipt)
    assert soak.faults(locations, [], []) == [f"run {receipt.run_id} has no end"]


def test_what_outlives_the_commands_is_told(tmp_path):
    temporary = tmp_path / soak.TEMPORARY
    temporary.mkdir()
    assert soak.left_behind(tmp_path) == []
    (temporary / "model.keras").touch()
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with subprocess.Popen(["sleep", "600"], env=environment) as process:
        assert soak.left_behind(tmp_path) == [
            "tmp/model.keras was left behind",
            "a process was left behind: sleep 600 ",
        ]
        process.kill()


def test_growth_is_that_of_the_last_scheduler():
    figures = [(90, True), (99, False), (10, True), (11, False), (12, False), (14, False)]
    repeats = [{"memory": memory, "restarted": first} for memory, first in figures]
    assert soak.growth(repeats, "memory") == 4
    assert soak.growth([{"memory": 7, "restarted": False}], "memory") == 0


def test_notifications_are_kept():
    server = soak.NoticeServer()
    notice = {"title": "clothes: a run cannot start", "message": "span-2"}
    address = server.address.replace("json://", "http://")
    request = urllib.request.Request(address, json.dumps(notice).encode(), method="POST")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request):
        assert server.notices == [notice]


def test_the_chart_has_what_was_counted(tmp_path):
    chance = random.Random(1)
    keys = [*soak_chart._COUNTED, "seconds", "open_files", "memory", "disk"]
    repeats = [{key: chance.randrange(100) for key in keys} for _ in range(9)]
    drawn = soak_chart.chart(repeats)
    assert isinstance(drawn, altair.VConcatChart)
    (tmp_path / "record.json").write_text(json.dumps({"repeats": repeats}))
    soak_chart.main(tmp_path / "record.json", tmp_path / "soak.svg")
    svg = (tmp_path / "soak.svg").read_text()
    assert all(name in svg for name in soak_chart._COUNTED.values())
