"""A command is observed with all that it starts, and nothing of it is left running."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from benchmarks import observed, processes

MIB = 2**20
HOLDS_80_MIB = "held = b'1' * (80 * 2**20); import time; time.sleep(0.8)"


@pytest.fixture
def observe(tmp_path_factory):
    """Observes a piece of Python."""

    def run(code, **environment):
        folder = tmp_path_factory.mktemp("observed") / "process"
        return observed.observe([sys.executable, "-c", code], folder, environment)

    return run


def test_it_tells_when_it_began_and_how_long_it_took(observe):
    before = time.time()
    found = observe("import time; time.sleep(0.2)")
    assert before <= found.began <= time.time() - 0.2
    assert found.seconds >= 0.2


def test_work_is_told_apart_from_waiting(observe):
    work = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}])"
    assert observe("import time; time.sleep(0.5)").processor_seconds < 0.5
    assert observe(child).processor_seconds >= 0.5


def test_memory_is_that_of_all_its_processes(observe):
    alone = observe(HOLDS_80_MIB).peak_memory
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {HOLDS_80_MIB!r}])"
    together = observe(f"{child}; {HOLDS_80_MIB}").peak_memory
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
