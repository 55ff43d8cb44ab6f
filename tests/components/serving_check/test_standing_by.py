"""The process that gets ready for ServingCheck: it is asked, replaced where it died, and ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.serving_check.check import check_export, standing_by

PROJECT = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 120
BUSY = """
import time
from components.serving_check.check import standing_by
with standing_by():
    print("standing by", flush=True)
    time.sleep(600)
"""


def probes_of(parent):
    """Ids of the processes that a process has started to check exports, and that are alive."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            # What follows the name, which may hold anything, in brackets.
            state, ppid = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(ppid) == parent and b"probe.py" in command and state != "Z":
            found.add(int(folder.name))
    return found


def is_alive(pid):
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition):
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def probe_of(parent):
    """The one such process; for a moment after its start the system does not know its command."""
    wait_until(lambda: probes_of(parent))
    (found,) = probes_of(parent)
    return found


@pytest.fixture
def no_export(tmp_path):
    """Asks for an export that is not there: what answers is a process that tried to load it."""
    (tmp_path / "golden.npz").write_bytes(b"not an archive")

    def check():
        return check_export(str(tmp_path / "export"), str(tmp_path / "golden.npz"), ("a", "b"))

    return check


@pytest.mark.slow
def test_the_process_that_stands_by_is_the_one_that_is_asked(no_export):
    with standing_by():
        waiting = probe_of(os.getpid())
        assert "ended with 1" in no_export()[0]
        assert not is_alive(waiting)
        assert probes_of(os.getpid()) == set()


@pytest.mark.slow
def test_one_that_died_meanwhile_is_replaced(no_export):
    with standing_by():
        waiting = probe_of(os.getpid())
        os.kill(waiting, signal.SIGKILL)
        wait_until(lambda: not is_alive(waiting))
        # Of the export, not of the signal.
        assert "ended with 1" in no_export()[0]


@pytest.mark.slow
def test_a_second_check_has_a_process_of_its_own(no_export):
    with standing_by():
        assert no_export() == no_export()


def test_where_nothing_is_checked_it_ends_with_the_block():
    with standing_by():
        waiting = probe_of(os.getpid())
    assert not is_alive(waiting)


@pytest.mark.slow
def test_it_does_not_outlive_a_killed_process():
    started = subprocess.Popen(
        [sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True, cwd=PROJECT
    )
    with started:
        try:
            started.stdout.readline()
            waiting = probe_of(started.pid)
        finally:
            started.kill()
    try:
        wait_until(lambda: not is_alive(waiting))
    finally:
        if is_alive(waiting):
            os.kill(waiting, signal.SIGKILL)
