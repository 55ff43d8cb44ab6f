"""Files that are written whole, and what a process leaves that dies while it writes one."""

import fcntl
import os
import signal
from pathlib import Path

import pytest

from pipeline.records.files import remove_partials, write_whole
from tests.other_process import at_work

# Writes half of its file, says so, and goes on when it is told to.
WRITER = """
import os, pathlib, sys
from pipeline.records import files

def wait(descriptor):
    print("half", flush=True)
    sys.stdin.readline()

os.fsync = wait
files.write_whole(pathlib.Path(sys.argv[1]), "theirs")
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state[1].json"


@pytest.fixture
def writer(path):
    """Another process in the middle of a write."""
    with at_work(WRITER, path, says="half") as process:
        yield process


def names(path):
    return sorted(each.name for each in path.parent.iterdir())


def test_what_a_killed_writer_left_goes_with_the_next_write(path, writer):
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    assert len(names(path)) == 1
    write_whole(path, "ours")
    assert names(path) == [path.name]
    assert path.read_text() == "ours"


def test_a_writer_at_work_keeps_what_it_wrote(path, writer):
    write_whole(path, "ours")
    remove_partials(path.parent)
    assert path.read_text() == "ours"
    writer.communicate("go on\n", timeout=60)
    assert writer.returncode == 0
    assert path.read_text() == "theirs"
    assert names(path) == [path.name]


def test_only_partial_files_are_removed(path):
    kept = [".hidden", f".{path.name}.bak", "receipt.json.17", f"{path.name}"]
    for name in [*kept, f".{path.name}.17"]:
        (path.parent / name).touch()
    remove_partials(path.parent)
    assert names(path) == sorted(kept)


def test_the_partial_files_of_another_file_stay(path):
    other = path.with_name(".other.json.17")
    other.touch()
    write_whole(path, "ours")
    assert other.exists()


def test_a_file_that_is_taken_for_a_leftover_before_it_is_locked_is_begun_again(path, monkeypatch):
    flock, taken = fcntl.flock, []

    def late(file, operation):
        if not taken:
            taken.append(file.name)
            Path(file.name).unlink()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    write_whole(path, "ours")
    assert taken
    assert (path.read_text(), names(path)) == ("ours", [path.name])
