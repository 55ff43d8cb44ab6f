"""The lock of a pipeline in a real database: across machines, and only as long as its session."""

import contextlib
import dataclasses
import json
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from operations import run
from operations.notifications.notifying import Notifier
from pipeline import exclusion, lock
from pipeline.database import binding
from pipeline.database.address import parse
from pipeline.errors import (
    LockHeldError,
    LockLostError,
    OutputError,
    StoreError,
    StoreUnreachableError,
)
from pipeline.exclusion import exclusive
from pipeline.locations import Locations
from tests.postgresql import PASSWORD

PROJECT = Path(__file__).resolve().parents[3]
HOLDER = """
import sys
from pathlib import Path
from pipeline.database.address import parse
from pipeline.exclusion import exclusive
from pipeline.locations import Locations

with exclusive(Locations(Path(sys.argv[1])), "run", parse(sys.argv[2])) as held:
    held.note_run("20260101-000000")
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def address(postgresql, database):
    return parse(postgresql.uri(database))


@pytest.fixture
def locations(tmp_path):
    root = tmp_path / "outputs" / "clothes"
    root.mkdir(parents=True)
    return Locations(root)


@pytest.fixture
def holder(locations, address):
    """A process that holds the lock, as on another machine: the lock of the file is another one."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, locations.root, address.uri],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )
    assert process.stdout.readline() == "held\n"
    locations.lock.unlink()
    yield process
    process.kill()
    process.communicate()


def free_soon(locations):
    """Waits until the server has seen that the holder is gone."""
    while exclusion.holder(locations) is not None:
        pass


def test_another_machine_is_refused_with_the_name_of_the_holder(locations, address, holder):
    assert lock.holder(locations.lock) is None
    told = f"clothes is in use by run .process {holder.pid} of .* on .* since "
    with pytest.raises(LockHeldError, match=told):
        exclusion.check_free(locations, address)
    for purpose in ("run", "clean", "rollback"):
        with pytest.raises(LockHeldError, match=told), exclusive(locations, purpose):
            pytest.fail("two hold the lock")
    assert exclusion.holder(locations).run == "20260101-000000"


def test_the_lock_ends_with_a_process_that_is_killed(locations, address, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    free_soon(locations)
    exclusion.check_free(locations, address)
    with exclusive(locations, "run", address) as held:
        held.check()


def test_other_pipelines_of_the_database_are_free(locations, address, holder):
    other = Locations(locations.root.with_name("shoes"))
    other.root.mkdir()
    with exclusive(other, "run", address) as held:
        held.check()
        assert binding.read(other).address == address


def test_a_session_that_is_cut_takes_the_lock_with_it(locations, address, postgresql, database):
    with exclusive(locations, "run", address) as held:
        held.check()
        postgresql.cut(database)
        with pytest.raises(
            LockLostError, match=r"lock of the pipeline clothes .* was lost.*command again"
        ):
            held.check()
        assert held.is_lost()
        # It stays lost, also where another took it in between.
        locations.lock.unlink()
        with exclusive(locations, "run", address) as other:
            other.check()
            assert held.is_lost()


def test_the_lock_survives_no_restart_of_the_server(locations, address, postgresql):
    with exclusive(locations, "run", address) as held:
        locations.lock.unlink()
        with postgresql.stopped():
            assert held.is_lost()
            with pytest.raises(StoreUnreachableError, match=r"cannot be reached .*Start it"):
                exclusion.check_free(locations, address)
        assert held.is_lost()
    with exclusive(locations, "run", address) as held:
        held.check()


def test_the_name_of_a_pipeline_belongs_to_one_folder(locations, address, tmp_path):
    with exclusive(locations, "run", address):
        pass
    other = Locations(tmp_path / "other" / "clothes")
    told = f"belongs to {locations.root}, on .*--set name=NAME"
    with pytest.raises(StoreError, match=told):
        exclusion.check_free(other, address)
    assert not other.root.parent.exists()
    # A copy of the whole folder says that it uses the database, but is another folder.
    shutil.copytree(locations.root, other.root)
    for purpose in ("run", "rollback"):
        with pytest.raises(StoreError, match=told), exclusive(other, purpose):
            pytest.fail("two folders share a name")
    with exclusive(locations, "run", address):
        pass


def test_another_folder_of_the_same_path_is_another_folder(locations, address):
    """As on a machine with a disk of its own."""
    with exclusive(locations, "run", address):
        pass
    shutil.rmtree(locations.root)
    locations.root.mkdir()
    with pytest.raises(StoreError, match="belongs to another folder of the same path, on "):
        exclusion.check_free(locations, address)


def test_a_pipeline_stays_with_its_database(locations, address, postgresql):
    with exclusive(locations, "run", address):
        pass
    elsewhere = parse(postgresql.uri("postgres"))
    for other in (None, elsewhere):
        with pytest.raises(StoreError, match=f"Fix: --set metadata.uri={address.uri}"):
            exclusion.check_free(locations, other)
    exclusion.check_free(locations, address)


def test_a_database_that_was_chosen_meanwhile_stays(locations, address, postgresql):
    """Another run may choose one between the check and the lock."""
    exclusion.check_free(locations, address)
    noted = binding.write(locations, parse(postgresql.uri("postgres")))
    with (
        pytest.raises(StoreError, match=f"Fix: --set metadata.uri={noted.address.uri}"),
        exclusive(locations, "run", address),
    ):
        pytest.fail("it uses two databases")
    assert binding.read(locations) == noted
    # Nothing was claimed.
    other = Locations(locations.root.parent / "elsewhere" / "clothes")
    other.root.mkdir(parents=True)
    with exclusive(other, "run", address):
        pass


def test_a_run_that_asks_for_a_file_meanwhile_begins_nothing(
    locations, address, prepared, request_, progress, monkeypatch
):
    def prepare(*_):
        binding.write(locations, address)
        return dataclasses.replace(prepared, locations=locations)

    monkeypatch.setattr(run, "prepare", prepare)
    with pytest.raises(StoreError, match="the configuration asks for a file"):
        run.run(request_, progress, Notifier([], None))
    assert not locations.runs.exists()


def test_a_folder_that_was_noted_before_a_process_was_killed_gets_its_name(locations, address):
    """The note in the folder comes first, and the next run finds it."""
    noted = binding.write(locations, address)
    with exclusive(locations, "run", address):
        assert binding.read(locations) == noted


def test_localhost_of_another_machine_is_another_server(locations, address, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: "elsewhere")
        binding.write(locations, address)
    with pytest.raises(StoreError, match=r"written on elsewhere, where 127.0.0.1 is another mach"):
        exclusion.check_free(locations, address)
    with (
        pytest.raises(StoreError, match="was written on elsewhere"),
        exclusive(locations, "run", address),
    ):
        pytest.fail("two databases have the pipeline")
    # A note of an earlier project does not say where it was written.
    note = json.loads(locations.database.read_text())
    del note["host"]
    locations.database.write_text(json.dumps(note))
    with exclusive(locations, "run", address):
        pass
    # The database knows the folder: it is the same one.
    locations.database.write_text(json.dumps({**note, "host": "elsewhere"}))
    with exclusive(locations, "run", address):
        pass


def test_a_full_disk_leaves_the_name_of_the_pipeline_free(locations, address, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(binding, "write_whole", full)
        with (
            pytest.raises(OutputError, match=r"metadata.json cannot be written .No space left"),
            exclusive(locations, "run", address),
        ):
            pytest.fail("it went on")
    other = Locations(locations.root.parent / "elsewhere" / "clothes")
    other.root.mkdir(parents=True)
    with exclusive(other, "run", address):
        pass


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"uri": "postgresql://a@b/c"}', '{"uri": "file:/x", "root_id": "1"}'],
)
def test_a_note_that_cannot_be_read_stops_every_command(locations, content):
    locations.database.write_text(content)
    with (
        pytest.raises(StoreError, match=r"cannot be read .*Put the file back"),
        exclusive(locations, "clean"),
    ):
        pytest.fail("it went on without the lock")


def test_the_password_is_in_no_file_and_in_no_table(locations, address, postgresql, database):
    with exclusive(locations, "run", address):
        rows = postgresql.query("SELECT * FROM image_pipelines", database)
        texts = [path.read_text() for path in locations.root.iterdir() if path.is_file()]
    assert rows
    assert PASSWORD not in json.dumps([rows, texts])


def test_many_begin_at_once_and_one_of_each_name_works(tmp_path, address):
    """Two pipelines also make the table together."""
    roots = [tmp_path / name / "clothes" for name in ("a", "b", "c")]
    for root in roots:
        root.mkdir(parents=True)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, root, address.uri],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
        )
        for root in roots
    ]
    lines = [process.stdout.readline() for process in processes]
    errors = [process.communicate("")[1] for process in processes]
    assert sorted(lines) == ["", "", "held\n"]
    for line, error in zip(lines, errors, strict=True):
        told = ("LockHeldError", "belongs to")
        assert bool(line) != any(words in error for words in told)
    with contextlib.suppress(StoreError):
        exclusion.check_free(Locations(roots[0]), address)
