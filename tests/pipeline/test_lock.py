"""One run at a time: the second is told who holds the lock, and death gives it back."""

import errno
import json
import os

import pytest

from pipeline import exclusion, lock
from pipeline.errors import LockHeldError, LockLostError, OutputError
from pipeline.locations import Locations
from pipeline.lock import Holder, exclusive
from tests.other_process import at_work

HOLDER = """
import pathlib, sys, time
from pipeline.lock import Holder, exclusive
with exclusive(pathlib.Path(sys.argv[1]), "run"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "clothes").mkdir()
    return tmp_path / "clothes" / "lock"


@pytest.fixture
def holder(path):
    """Another process, which holds the lock until it is closed or killed."""
    with at_work(HOLDER, path, says="held") as process:
        yield process


def test_a_lock_that_another_process_holds_is_refused_with_who_and_since(path, holder):
    signed = json.loads(path.read_text())
    with pytest.raises(LockHeldError) as caught, exclusive(path, "run"):
        pytest.fail("two processes hold the lock")
    message = str(caught.value)
    who = f"process {holder.pid} of {signed['user']} on {signed['host']}"
    assert message.startswith(f"clothes is in use by run ({who}) since {signed['since']}; ")
    # Whatever the command was: not every one has the same options.
    assert message.endswith("Wait for it to end, or stop it, then give the command again.")
    assert caught.value.exit_code == 4


def test_being_refused_leaves_the_holder_named(path, holder):
    for _ in range(2):
        with pytest.raises(LockHeldError, match=f"process {holder.pid}"), exclusive(path, "run"):
            pytest.fail("two processes hold the lock")


def test_a_killed_process_gives_the_lock_back(path, holder):
    holder.kill()
    holder.wait(timeout=60)
    with exclusive(path, "clean"):
        assert json.loads(path.read_text())["process"] == os.getpid()


def test_a_process_that_ends_gives_the_lock_back(path, holder):
    holder.communicate("", timeout=60)
    with exclusive(path, "run"):
        pass


@pytest.mark.parametrize("replaced", [False, True])
def test_a_lock_whose_file_somebody_removed_is_lost(path, replaced):
    locations = Locations(path.parent)
    with exclusion.exclusive(locations, "run") as held:
        held.check()
        locations.lock.unlink()
        if replaced:
            locations.lock.touch()
        with pytest.raises(LockLostError, match=r"lock was removed or replaced.*command again"):
            held.check()


def test_the_lock_can_be_taken_again_and_again(path):
    for purpose in ("run", "a longer purpose", "run"):
        with exclusive(path, purpose):
            assert json.loads(path.read_text())["purpose"] == purpose


def test_an_error_under_the_lock_gives_it_back(path):
    with pytest.raises(KeyError), exclusive(path, "run"):
        raise KeyError
    with exclusive(path, "run"):
        pass


def test_a_holder_that_left_no_name_is_told_of_all_the_same(path, holder):
    path.write_text("not JSON")
    with pytest.raises(LockHeldError, match="in use by another process"), exclusive(path, "run"):
        pytest.fail("two processes hold the lock")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[1]", b"null", b'{"process": "x"}'])
def test_a_holder_whose_signature_is_damaged_holds_it_all_the_same(path, holder, content):
    path.write_bytes(content)
    assert lock.holder(path) == Holder()


def test_a_holder_that_signs_a_little_late_is_named(path, holder, monkeypatch):
    signature = path.read_text()
    path.write_text("")
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: path.write_text(signature))
    with pytest.raises(LockHeldError, match=f"in use by run .process {holder.pid} of "):
        lock.check_free(path)


def test_who_held_a_lock_last_is_not_left_in_it(path):
    with exclusive(path, "run"):
        pass
    assert path.read_text() == ""


def test_who_holds_a_lock_can_be_asked_without_taking_it(path, holder):
    assert lock.holder(path).process == holder.pid
    with pytest.raises(LockHeldError, match=f"process {holder.pid}"):
        lock.check_free(path)
    holder.kill()
    holder.wait(timeout=60)
    assert lock.holder(path) is None
    lock.check_free(path)


def test_a_lock_that_was_never_taken_is_free(path):
    lock.check_free(path)
    assert not path.exists()


def test_every_user_may_take_the_lock(path):
    before = os.umask(0o077)
    try:
        with exclusive(path, "run"):
            assert path.stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(before)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write to every file")
def test_a_lock_that_cannot_be_signed_is_held_all_the_same(path):
    path.touch(mode=0o444)
    with exclusive(path, "run"), pytest.raises(LockHeldError, match="another process"):
        lock.check_free(path)


def test_on_a_full_disk_the_lock_is_held_without_a_name(path, full_disk):
    with full_disk(), exclusive(path, "clean"):
        assert lock.holder(path) == Holder()
    assert lock.holder(path) is None


def test_what_was_done_under_the_lock_is_done_where_the_disk_fails_at_its_end(path):
    def fails(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with exclusive(path, "run") as held:
        held._file.truncate = fails
    assert lock.holder(path) is None


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_lock_that_is_a_pipe_or_a_device_is_refused_unopened(path, make):
    make(path)
    with pytest.raises(OutputError, match="not a regular file"):
        lock.check_free(path)
    with pytest.raises(OutputError, match="not a regular file"), exclusive(path, "run"):
        pytest.fail("what is no file was locked")


def test_a_lock_in_a_folder_that_cannot_be_searched_is_told(path, monkeypatch):
    path.touch()
    look = os.stat

    def refuse(place, *arguments, **options):
        if place == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return look(place, *arguments, **options)

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(OutputError, match="cannot be opened"):
        lock.check_free(path)
    with pytest.raises(OutputError, match="cannot be opened"), exclusive(path, "run"):
        pytest.fail("a lock that cannot be looked at was held")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_lock_that_cannot_be_made_is_told(path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patch, pytest.raises(OutputError, match="cannot be opened"):
        patch.setattr(os, "open", refuse)
        with exclusive(path, "run"):
            pytest.fail("there is nothing to hold")


def test_a_file_system_without_locks_is_told(path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    path.touch()
    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with pytest.raises(OutputError, match="cannot be locked"), exclusive(path, "run"):
        pytest.fail("there is nothing to hold")
    with pytest.raises(OutputError, match="cannot be locked") as caught:
        lock.holder(path)
    assert str(caught.value).endswith("Use a folder on another disk.")
