"""A metadata store that cannot be used is reported within seconds, with a fix."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from cli import doctor
from pipeline.errors import StoreError, StoreLockedError
from pipeline.records import metadata, stores

# A process that holds a lock, or is killed during a transaction that has reached the file.
LOCK = """
import sqlite3, sys, time
store = sqlite3.connect(sys.argv[1], isolation_level=None)
store.execute("PRAGMA cache_size = 1")
store.execute("PRAGMA cache_spill = 1")
store.execute(sys.argv[2])
if len(sys.argv) > 3:
    for number in range(2000):
        store.execute("INSERT INTO Artifact (type_id, uri, state) VALUES (1, ?, 2)", ("x" * 500,))
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def store(tmp_path):
    """A store with something in it."""
    path = tmp_path / "outputs" / "clothes" / "metadata.db"
    path.parent.mkdir(parents=True)
    opened = metadata.open_store(path)
    kind = opened.put_artifact_type(mlmd.ArtifactType(name="Model"))
    opened.put_artifacts([mlmd.Artifact(type_id=kind, uri=f"/{number}") for number in range(300)])
    return path


@contextlib.contextmanager
def held(path, *statement):
    """Another process has begun a transaction."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOCK, str(path), *statement], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def write(path, statement):
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def replaced(content):
    def spoil(path):
        path.unlink()
        content(path)

    return spoil


def truncated(part):
    return lambda path: os.truncate(path, int(path.stat().st_size * part))


def with_a_hole(path):
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes(8_192))


SPOILED = {
    "random": replaced(lambda path: path.write_bytes(random.Random(1).randbytes(50_000))),
    "text": replaced(lambda path: path.write_text("not a database\n" * 100)),
    "a folder": replaced(lambda path: path.mkdir()),
    "another database": replaced(lambda path: write(path, "CREATE TABLE images (label)")),
    "a few bytes": lambda path: os.truncate(path, 50),
    "a tenth": truncated(0.1),
    "half": truncated(0.5),
    "all but a bit": truncated(0.95),
    "a hole": with_a_hole,
    "without a version": lambda path: write(path, "DELETE FROM MLMDEnv"),
}
VERSIONS = {
    "newer": ("UPDATE MLMDEnv SET schema_version = 99", "version 99, of a later ML Metadata"),
    "older": ("UPDATE MLMDEnv SET schema_version = 3", "version 3, of an earlier ML Metadata"),
}


def test_the_version_is_that_of_the_installed_ml_metadata(store):
    with contextlib.closing(sqlite3.connect(store)) as connection:
        (version,) = connection.execute("SELECT schema_version FROM MLMDEnv").fetchone()
    assert version == stores.STORE_VERSION
    metadata.check_store(store, writing=True)


@pytest.mark.parametrize("how", SPOILED)
def test_a_damaged_store_is_reported_with_a_fix(store, how):
    SPOILED[how](store)
    with pytest.raises(StoreError) as caught:
        metadata.open_store(store)
    message = str(caught.value)
    assert message.startswith(f"{store} is damaged (")
    repair = f"repair --pipeline clothes --output-dir {store.parents[1]}"
    assert message.endswith(f"with: python3 pipeline_runner.py {repair}")
    assert "\n" not in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("how", VERSIONS)
def test_a_store_of_another_version_says_which_and_what_to_do(store, how):
    statement, words = VERSIONS[how]
    write(store, statement)
    with pytest.raises(StoreError, match=f"{words}; expected version 10, the one"):
        metadata.open_store(store)


def test_a_locked_store_is_reported_within_seconds(store, monkeypatch):
    monkeypatch.setattr(stores, "_PATIENCE_SECONDS", 0.05)
    with held(store, "BEGIN EXCLUSIVE"):
        with pytest.raises(StoreLockedError, match="is locked by another process") as caught:
            metadata.open_store(store)
        # With this code, a schedule tries again.
        assert caught.value.exit_code == 1
    metadata.open_store(store)


def test_a_store_can_be_read_while_another_process_writes(store, monkeypatch):
    monkeypatch.setattr(stores, "_PATIENCE_SECONDS", 0.05)
    with held(store, "BEGIN IMMEDIATE"):
        assert len(metadata.open_store(store).get_artifacts()) == 300
        with pytest.raises(StoreLockedError):
            metadata.check_store(store, writing=True)


def test_a_transaction_that_was_killed_is_rolled_back(store):
    with held(store, "BEGIN", "write") as process:
        process.send_signal(signal.SIGKILL)
    assert store.with_name("metadata.db-journal").stat().st_size > 0
    assert len(metadata.open_store(store).get_artifacts()) == 300


def test_an_empty_or_missing_file_is_a_new_store(store):
    store.write_bytes(b"")
    assert metadata.open_store(store).get_artifacts() == []
    store.unlink()
    assert stores.find_fault(store, writing=True) is None
    assert not store.exists()


def test_later_damage_is_reported_too(store):
    opened = metadata.open_store(store)
    truncated(0.5)(store)
    with pytest.raises(StoreError, match="is damaged"):
        opened.get_artifacts()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
@pytest.mark.parametrize(("mode", "writing"), [(0o000, False), (0o444, True)])
def test_a_store_without_permission_is_reported(store, mode, writing):
    store.chmod(mode)
    with pytest.raises(StoreError, match=r"cannot be used .* permission"):
        metadata.check_store(store, writing)


def test_the_doctor_checks_each_store(store):
    folder = store.parents[1]
    assert doctor.check_stores(folder).status == "ok"
    os.truncate(store, 5_000)
    finding = doctor.check_stores(folder)
    assert finding.status == "fail"
    assert str(store) in finding.found
    assert "repair --pipeline clothes" in finding.fix


def test_the_doctor_warns_of_a_locked_store(store, monkeypatch):
    monkeypatch.setattr(stores, "_PATIENCE_SECONDS", 0.05)
    with held(store, "BEGIN EXCLUSIVE"):
        assert doctor.check_stores(store.parents[1]).status == "warn"
