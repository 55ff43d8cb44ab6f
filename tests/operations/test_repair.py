"""Repair: a damaged store is moved aside, a new one is made, and nothing else changes."""

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from components import features
from components.pusher import versions
from operations import clean, lineage, pages, repair
from operations.clean import Policy
from pipeline import lock
from pipeline.errors import LockHeldError, OutputError, StoreError, StoreLockedError
from pipeline.records import baseline, history, metadata, stores


@pytest.fixture
def repaired(output_dir):
    """Repairs the one pipeline, and returns what was found and done."""

    def run(dry_run=False):
        (report,) = repair.repair(None, output_dir, dry_run)
        return report

    return run


@pytest.fixture
def damaged(past, locations):
    """Two runs that pushed, and a store of which half is gone."""
    past.run("20260101-120000", "a")
    past.run("20260102-120000", "b")
    os.truncate(locations.metadata, locations.metadata.stat().st_size // 2)
    return locations.metadata


def content(locations):
    return {
        path: path.read_bytes()
        for path in locations.root.rglob("*")
        if path.is_file() and path.name != "lock"
    }


COMMANDS = {
    "clean": lambda output_dir: clean.clean(Policy(1, None, None), None, output_dir, False),
    "lineage": lambda output_dir: lineage.lineage(
        str(max((output_dir / "clothes" / "serving").iterdir())), None, output_dir
    ),
    "review": lambda output_dir: pages.review("latest", output_dir),
    "compare": lambda output_dir: pages.compare("20260101-120000", "20260102-120000", output_dir),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_needs_the_store_names_the_way_out(damaged, output_dir, name):
    with pytest.raises(StoreError, match=r"is damaged .* repair --pipeline clothes"):
        COMMANDS[name](output_dir)


def test_a_damaged_store_is_moved_aside_and_a_new_one_takes_its_place(
    damaged, repaired, locations, output_dir
):
    before = content(locations)
    spoiled = before.pop(damaged)
    report = repaired()
    assert report.fault.startswith(f"{damaged} is damaged (")
    assert report.moved_to == f"{damaged}.old-1"
    assert report.applied and report.lost
    after = content(locations)
    assert after.pop(damaged.with_name("metadata.db.old-1")) == spoiled
    del after[damaged]
    # Receipts, artifacts and what is served; beside them, at most a copy of what is served.
    assert before.items() <= after.items()
    metadata.check_store(damaged, writing=True)
    clean.clean(Policy(1, None, None), None, output_dir, False)


def test_the_new_store_knows_the_served_model(damaged, repaired, locations):
    served = max(versions.served_versions(locations.serving))
    repaired()
    store = metadata.open_store(locations.metadata)
    context = store.get_context_by_type_and_name("pipeline", "clothes")
    latest = Path(baseline.latest_blessed(store, context.id).model.uri)
    digest = versions.content_digest(locations.serving / str(served))
    assert versions.content_digest(latest / features.EXPORT_FOLDER) == digest


def test_what_sqlite_keeps_beside_a_store_goes_with_it(damaged, repaired, locations):
    """Beside the new one, SQLite would take it for that one's."""
    damaged.unlink()
    damaged.mkdir()
    (locations.root / "metadata.db-wal").write_bytes(b"of the old one")
    repaired()
    assert not (locations.root / "metadata.db-wal").exists()
    assert (locations.root / "metadata.db.old-1-wal").read_bytes() == b"of the old one"


def test_a_killed_repair_leaves_nothing_that_sqlite_takes_for_that_of_a_new_store(
    damaged, repaired, locations, monkeypatch
):
    """The next run makes a new one where there is none."""
    damaged.unlink()
    damaged.mkdir()
    journal = damaged.with_name("metadata.db-wal")
    journal.write_bytes(b"of the old one")
    whole = Path.rename

    def dies_at_the_store(path, target):
        if path == damaged:
            raise KeyboardInterrupt
        return whole(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dies_at_the_store)
        with pytest.raises(KeyboardInterrupt):
            repaired()
    assert damaged.exists() and not journal.exists()
    repaired()
    aside = {path.name for path in locations.root.glob("metadata.db.old-1*")}
    assert aside == {"metadata.db.old-1", "metadata.db.old-1-wal"}


def test_what_a_killed_repair_left_goes_with_the_next(past, repaired, locations):
    past.run("20260101-120000", "a")
    left = locations.root / "metadata.db.new"
    left.write_bytes(b"half")
    repaired()
    assert not left.exists()


def test_each_store_that_is_moved_aside_stays(damaged, repaired):
    repaired()
    os.truncate(damaged, 5_000)
    assert repaired().moved_to == f"{damaged}.old-2"
    assert damaged.with_name("metadata.db.old-1").exists()


def test_a_dry_run_changes_nothing(damaged, repaired, locations):
    before = content(locations)
    report = repaired(dry_run=True)
    assert report.fault and not report.applied
    assert content(locations) == before


def test_a_sound_store_is_left_alone(past, repaired, locations):
    past.run("20260101-120000", "a")
    before = content(locations)
    report = repaired()
    assert (report.fault, report.moved_to, report.completed_runs) == (None, None, [])
    assert content(locations) == before


def test_a_locked_store_is_left_alone(past, repaired, locations, monkeypatch):
    monkeypatch.setattr(stores, "_PATIENCE_SECONDS", 0.05)
    with contextlib.closing(sqlite3.connect(locations.metadata)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreLockedError, match="locked by another process"):
            repaired()
    assert not list(locations.root.glob("*.old-*"))


def test_where_no_new_store_can_be_made_the_old_one_stays(damaged, repaired, full_disk, locations):
    before = content(locations)
    with full_disk(), pytest.raises((OutputError, StoreError)):
        repaired()
    assert content(locations) == before


def test_a_pipeline_at_work_is_not_repaired(damaged, repaired, locations):
    with lock.exclusive(locations.lock, "run"), pytest.raises(LockHeldError):
        repaired()


@pytest.mark.parametrize("lost", [(), ("runs",), ("runs", "serving")])
def test_a_pipeline_is_found_by_what_is_left_of_it(damaged, repaired, locations, lost):
    for name in lost:
        (locations.root / name).rename(locations.root.parents[1] / name)
    assert repaired().moved_to


def test_receipts_of_runs_that_were_cut_off_are_completed(past, repaired, locations):
    ended = {"status": "interrupted", "verdict": "none", "seconds": None, "nodes": {}}
    past.run("20260101-120000", "a", push=False, **ended)
    assert repaired(dry_run=True).completed_runs == ["20260101-120000"]
    assert repaired().completed_runs == ["20260101-120000"]
    assert repaired().completed_runs == []
    (receipt,) = history.read_receipts(locations.root.parent)
    assert "ended without its receipt" in receipt.failure.message
    assert receipt.nodes["Trainer"].status == "complete"
    assert receipt.nodes["Pusher"].status == "not run"
