"""A command is observed with all that it starts, and nothing of it is left running."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
import types

import pytest

from benchmarks import observed, processes

MIB = 2**20
# Holds 80 MiB, says so with a file, and ends when another file is there.
HOLDS = """
import pathlib, time
held = b"1" * (80 * 2**20)
pathlib.Path({held!r}).touch()
while not pathlib.Path({end!r}).exists(): time.sleep(0.01)
"""


@pytest.fixture
def observe(tmp_path_factory):
    """Observes a piece of Python."""

    def run(code, **environment):
        folder = tmp_path_factory.mktemp("observed") / "process"
        return observed.observe([sys.executable, "-c", code], folder, environment)

    return run


def test_it_tells_when_it_began_and_how_long_it_took(observe, monkeypatch):
    clocks = types.SimpleNamespace(time=lambda: 1e9, perf_counter=iter([5.0, 7.5]).__next__)
    monkeypatch.setattr(observed, "time", clocks)
    found = observe("pass")
    assert (found.began, found.seconds) == (1e9, 2.5)


def test_work_is_told_apart_from_waiting(observe, monkeypatch):
    """The system counts the work of a process and of all that it waited for."""
    states = iter([usage(1.0, 2.0, 100), usage(1.5, 4.0, 103)])
    asked = []

    def getrusage(whose):
        asked.append(whose)
        return next(states)

    monkeypatch.setattr(resource, "getrusage", getrusage)
    found = observe("pass")
    assert (found.processor_seconds, found.bytes_written) == (2.5, 3 * 512)
    assert asked == [resource.RUSAGE_CHILDREN] * 2


def test_the_work_of_what_it_starts_counts(observe):
    """It works until it has counted half a second of the processor itself."""
    work = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}])"
    assert observe(child).processor_seconds >= 0.5


def usage(user, system, blocks):
    return types.SimpleNamespace(ru_utime=user, ru_stime=system, ru_oublock=blocks)


@pytest.fixture
def holders(tmp_path, monkeypatch):
    """Makes the code of processes, which end once all of them were seen at work together."""
    look, paths, end = observed._memory, [], tmp_path / "end"

    def memory(session):
        all_hold = all(path.exists() for path in paths)
        seen = look(session)
        if all_hold:
            end.touch()
        return seen

    def make(count):
        end.unlink(missing_ok=True)
        paths[:] = [tmp_path / f"{number} of {count}" for number in range(count)]
        return [HOLDS.format(held=str(path), end=str(end)) for path in paths]

    monkeypatch.setattr(observed, "_memory", memory)
    return make


def test_memory_is_that_of_all_its_processes(observe, holders):
    alone = observe(*holders(1)).peak_memory
    first, second = holders(2)
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {first!r}])"
    together = observe(child + second).peak_memory
    assert alone > 80 * MIB
    assert together > alone + 80 * MIB


def test_what_it_wrote_and_removed_again_counts_as_written(observe, tmp_path):
    kind = subprocess.check_output(["stat", "-f", "-c", "%T", tmp_path], text=True).strip()
    if kind == "tmpfs":
        pytest.skip("what is written to a file system in memory does not count")
    path = tmp_path / "file"
    code = f"import pathlib; path = pathlib.Path({str(path)!r})"
    code += "; path.write_bytes(bytes(9_000_000)); path.unlink()"
    assert observe(code).bytes_written >= 9_000_000


def test_what_it_leaves_in_its_temporary_folder_is_seen(observe):
    left = "import pathlib, tempfile; pathlib.Path(tempfile.mkdtemp(), 'left').write_bytes(b'123')"
    assert observe(left).bytes_left == 3
    assert observe("import tempfile; tempfile.TemporaryFile().write(b'123')").bytes_left == 0


def test_a_variable_reaches_it(observe):
    observe("import os; assert os.environ['NAME'] == 'value'", NAME="value")


def test_a_failure_is_told_with_its_last_words(observe):
    with pytest.raises(processes.MeasurementError, match=r"(?s)exit code 3.*no such luck"):
        observe("print('no such luck'); raise SystemExit(3)")


@pytest.mark.usefixtures("listening_to_signals")
def test_where_we_are_interrupted_it_ends_with_all_that_it_started(observe, ends, tmp_path):
    file = tmp_path / "process"
    child = "import subprocess; child = subprocess.Popen(['sleep', '60'])"
    code = f"{child}; open({str(file)!r}, 'w').write(str(child.pid)); child.wait()"

    def interrupt():
        while not file.exists() or not file.read_text():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        observe(code)
    assert ends(int(file.read_text()))


def test_a_file_with_two_names_is_one(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(bytes(100))
    os.link(tmp_path / "folder" / "file", tmp_path / "again")
    (tmp_path / "other").write_bytes(bytes(10))
    assert observed.size(tmp_path) == 110
