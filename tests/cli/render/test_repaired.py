"""What `repair` prints, for people and for programs."""

import dataclasses
import json

from cli.render import repaired
from operations.repair import Repaired

SOUND = Repaired("shoes", "/out/shoes/metadata.db", None, None, [], [], applied=True)
DAMAGED = Repaired(
    pipeline="clothes",
    store="/out/[bold]/metadata.db",
    fault="/out/[bold]/metadata.db is damaged (it is a folder)",
    moved_to="/out/[bold]/metadata.db.old-1",
    completed_runs=["20260101-120000", "20260102-120000"],
    lost=["the cache"],
    applied=True,
)


def printed(capsys, *pipelines):
    repaired.print_repaired(pipelines, as_json=False)
    return capsys.readouterr().out.splitlines()


def test_people_read_what_was_wrong_and_what_was_done(capsys):
    assert printed(capsys, DAMAGED, SOUND) == [
        "/out/[bold]/metadata.db is damaged (it is a folder)",
        "  was moved to /out/[bold]/metadata.db.old-1; a new one takes its place",
        "  lost: the cache",
        "  kept: receipts, reviews and served versions, so `rollback` and the next comparison work",
        "  receipts of runs that were cut off were completed: 20260101-120000, 20260102-120000",
        "/out/shoes/metadata.db: there is nothing to repair",
    ]


def test_a_dry_run_says_what_would_be_done_and_how(capsys):
    lines = printed(capsys, dataclasses.replace(DAMAGED, applied=False))
    assert lines[1].startswith("  would be moved to ")
    assert "would be completed" in lines[-2]
    assert lines[-1] == "Nothing was changed. Repair it without --dry-run."


def test_a_dry_run_that_finds_nothing_asks_for_nothing(capsys):
    (line,) = printed(capsys, dataclasses.replace(SOUND, applied=False))
    assert line.endswith("there is nothing to repair")


def test_programs_read_a_list(capsys):
    repaired.print_repaired([SOUND], as_json=True)
    assert json.loads(capsys.readouterr().out) == [
        {
            "pipeline": "shoes",
            "store": "/out/shoes/metadata.db",
            "fault": None,
            "moved_to": None,
            "completed_runs": [],
            "lost": [],
            "applied": True,
        }
    ]
