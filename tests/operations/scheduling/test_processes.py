"""Processes of the scheduler: their ends, and the ends of what they started."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from operations.scheduling.processes import ProcessGroup
from tests.skipping import skip_loudly

PROJECT = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 60
# Starts a process of its own, says which, and goes on as it is told.
PARENT = """
import signal, subprocess, sys, time
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(grandchild.pid, flush=True)
{then}
"""

# Process 1 of a container, whose runs each leave a process of another session, which ends later.
FIRST = """
import os, pathlib, sys, time
from operations.scheduling.processes import ProcessGroup

def left():
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True

assert os.getpid() == 1
leaving = "import subprocess; subprocess.Popen(['sleep', '0.1'], start_new_session=True)"
for code in (0, 3, 7):
    run = f"{leaving}; raise SystemExit({code})"
    child = ProcessGroup([sys.executable, "-c", run], pathlib.Path(sys.argv[1]), {})
    while child.poll() is None:
        time.sleep(0.01)
    print(child.poll(), flush=True)
while left():
    child.poll()
    time.sleep(0.01)
print("nothing is left")
"""


@pytest.fixture
def start(tmp_path):
    """Starts Python code as a process of the scheduler; the end of the test ends it."""
    started = []

    def begin(code, **environment):
        child = ProcessGroup([sys.executable, "-c", code], tmp_path / "log", environment)
        started.append(child)
        return child

    yield begin
    for child in started:
        if child.poll() is None:
            child.kill()
            wait_for(lambda child=child: child.poll() is not None)


@pytest.fixture
def said(tmp_path):
    """What the processes printed."""
    return lambda: (tmp_path / "log").read_text()


def wait_for(condition):
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def ended(child):
    wait_for(lambda: child.poll() is not None)
    return child.poll()


@pytest.mark.parametrize("code", [0, 1, 3, 130])
def test_a_process_ends_with_its_code(start, code):
    assert ended(start(f"raise SystemExit({code})")) == code


def test_a_process_that_is_killed_ends_with_the_signal(start):
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    assert ended(start(code)) == -signal.SIGSEGV


def test_what_it_prints_is_added_to_the_log(start, said):
    ended(start("print('first')"))
    ended(start("import sys; print('second', file=sys.stderr)"))
    assert said() == "first\nsecond\n"


def test_it_has_no_input_and_the_environment(start, said, monkeypatch):
    code = (
        "import os, sys; print(repr(sys.stdin.read()), os.environ['GIVEN'], 'PATH' in os.environ)"
    )
    ended(start(code, GIVEN="value"))
    assert said() == "'' value True\n"


def test_it_can_be_asked_to_end(start, said):
    then = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print('ready', flush=True)"
    child = start(f"import signal, sys, time; {then}; time.sleep(600)")
    wait_for(lambda: "ready" in said())
    child.terminate()
    assert ended(child) == 7


def test_ctrl_c_at_the_terminal_does_not_reach_it(start, said):
    child = start(
        "import os, time; print(os.getpgid(0), os.getsid(0), flush=True); time.sleep(600)"
    )
    wait_for(lambda: said().endswith("\n"))
    group, session = map(int, said().split())
    assert group != os.getpgid(0)
    assert session != os.getsid(0)
    assert child.poll() is None


@pytest.mark.parametrize("before", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
def test_killing_it_kills_what_it_started(start, said, is_alive, ends, before):
    child = start(PARENT.format(then=f"{before}\ntime.sleep(600)"))
    wait_for(lambda: said().endswith("\n"))
    grandchild = int(said())
    assert is_alive(grandchild)
    child.kill()
    assert ended(child) == -signal.SIGKILL
    assert ends(grandchild)


@pytest.mark.parametrize("then", ["sys.exit(0)", "import os; os.kill(os.getpid(), 11)"])
def test_what_it_leaves_behind_ends_with_it(start, said, ends, then):
    child = start(PARENT.format(then=then))
    ended(child)
    grandchild = int(said())
    assert ends(grandchild)


def test_the_first_process_of_a_container_collects_no_zombies(tmp_path):
    """And still learns how its own processes ended."""
    if os.getuid() != 0 or not shutil.which("unshare"):
        skip_loudly("No root rights, or no unshare: nothing shows what process 1 reaps")
    apart = ["unshare", "--pid", "--fork", "--kill-child"]
    ended = subprocess.run(
        [*apart, sys.executable, "-c", FIRST, str(tmp_path / "log")],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    if "unshare failed" in ended.stderr:
        skip_loudly(f"No process namespace here: {ended.stderr}")
    assert ended.stdout.splitlines() == ["0", "3", "7", "nothing is left"], ended.stderr


def test_what_cannot_be_started_raises(tmp_path):
    with pytest.raises(OSError):
        ProcessGroup([str(tmp_path / "absent")], tmp_path / "log", {})
    with pytest.raises(OSError):
        ProcessGroup([sys.executable], tmp_path / "absent" / "log", {})
