"""Files that are written whole, and what a process leaves that dies while it writes one."""

import contextlib
import errno
import fcntl
import os
import signal
import threading
from pathlib import Path

import pytest

from components.disk import remove_partials, write_whole
from tests.other_process import at_work

LEFTOVER = "0123456789abcdef"

# Writes half of its file, says so, and goes on when it is told to.
WRITER = """
import os, pathlib, sys
from components import disk

# As the first process of each container has the same.
os.getpid = lambda: 1

def wait(descriptor):
    print("half", flush=True)
    sys.stdin.readline()

os.fsync = wait
disk.write_whole(pathlib.Path(sys.argv[1]), sys.argv[2])
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state[1].json"


@pytest.fixture
def writer(path):
    """Another process in the middle of a write."""
    with at_work(WRITER, path, "theirs", says="half") as process:
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


def full(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("fault", ["no folder", "a folder in its place", "a full disk"])
def test_an_error_names_the_file_and_not_its_partial_one(path, fault, monkeypatch):
    if fault == "no folder":
        path = path.with_name("none") / path.name
    elif fault == "a folder in its place":
        path.mkdir()
    else:
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as caught:
        write_whole(path, "ours")
    assert (caught.value.filename, caught.value.filename2) == (str(path), None)


def test_a_writer_at_work_keeps_what_it_wrote(path, writer):
    write_whole(path, "ours")
    remove_partials(path.parent)
    assert path.read_text() == "ours"
    writer.communicate("go on\n", timeout=60)
    assert writer.returncode == 0
    assert path.read_text() == "theirs"
    assert names(path) == [path.name]


@pytest.mark.timeout(60)
def test_a_pipe_under_the_name_of_a_leftover_holds_nobody_up(path):
    os.mkfifo(path.with_name(f".{path.name}.{'0' * 16}"))
    write_whole(path, "ours")
    assert path.read_text() == "ours"


def test_two_containers_write_whole_files_though_their_process_ids_are_equal(path):
    with (
        at_work(WRITER, path, "first", says="half") as first,
        at_work(WRITER, path, "second", says="half") as second,
    ):
        assert len(names(path)) == 2
        first.communicate("go on\n", timeout=60)
        assert path.read_text() == "first"
        published = path.stat().st_ino
        # The second has not touched what the first has published.
        with path.open() as reader:
            second.communicate("go on\n", timeout=60)
            assert reader.read() == "first"
    assert (first.returncode, second.returncode) == (0, 0)
    assert path.read_text() == "second"
    assert path.stat().st_ino != published
    assert names(path) == [path.name]


def test_threads_that_write_one_file_at_the_same_time_all_succeed(path):
    texts, failures = [str(number) * 10_000 for number in range(4)], []

    def write(text):
        try:
            for _ in range(50):
                write_whole(path, text)
                assert path.read_text() in texts
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert names(path) == [path.name]


def test_a_partial_file_is_locked_until_it_has_its_name(path, monkeypatch):
    replace = Path.replace

    def meanwhile(partial, target):
        remove_partials(path.parent)
        return replace(partial, target)

    monkeypatch.setattr(Path, "replace", meanwhile)
    write_whole(path, "ours")
    assert path.read_text() == "ours"


def test_a_failed_write_leaves_the_old_file_alone(path, monkeypatch):
    write_whole(path, "old")

    def fail(descriptor):
        raise OSError

    monkeypatch.setattr(os, "fsync", fail)
    with contextlib.suppress(OSError):
        write_whole(path, "new")
    assert (path.read_text(), names(path)) == ("old", [path.name])


def test_only_partial_files_are_removed(path):
    kept = [
        *(".hidden", f".{path.name}.bak", f".{path.name}.17", f".{path.name}.{LEFTOVER}0"),
        *(f"receipt.json.{LEFTOVER}", path.name),
    ]
    for name in [*kept, f".{path.name}.{LEFTOVER}"]:
        (path.parent / name).touch()
    remove_partials(path.parent)
    assert names(path) == sorted(kept)


def test_the_partial_files_of_another_file_stay(path):
    other = path.with_name(f".other.json.{LEFTOVER}")
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
