"""The scheduler as a process, with real signals and clocks; stubs stand for look and run.

Each byte of a file `jumps` lets hours pass.
"""

import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from operations.scheduling.state import State, read_state
from operations.scheduling.timetable import Timetable

PROJECT = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 60
# Not due again while a test runs.
CRON = "0 0 1 1 *"
SERVICE = """
import json, pathlib, sys
from pipeline.lock import exclusive
from operations.notifications.metrics import Metrics
from operations.notifications.notifying import CurrentNotifier
from operations.scheduling.clock import Clock
from operations.scheduling.plan import Policy
from operations.scheduling.processes import ProcessGroup
from operations.scheduling.report import Report
from operations.scheduling.runs import Runs
from operations.scheduling.service import Service
from operations.scheduling.timetable import Timetable
from operations.scheduling.work import Work
from pipeline.locations import Locations

root, cron, policy, look, run = sys.argv[1:]

class Stubs:
    def look(self, answer, log):
        return ProcessGroup([sys.executable, "-c", look, str(answer)], log, {})

    def run(self, data, force, log, attempt):
        return ProcessGroup([sys.executable, "-c", run], log, {})

class Jumping(Clock):
    def seconds(self):
        jumps = locations.root / "jumps"
        return super().seconds() + 10_000 * (jumps.stat().st_size if jumps.exists() else 0)

locations, clock, timetable = Locations(pathlib.Path(root)), Jumping(), Timetable(cron, "UTC")
policy, file = Policy(**json.loads(policy)), locations.root / "schedule" / "state.json"
report = Report("clothes", timetable.zone, clock, Metrics("clothes"), CurrentNotifier(None))
with exclusive(locations.root / "schedule.lock", "schedule"), clock.listening():
    work = Work(Stubs(), policy, locations, clock, report)
    runs = Runs(work, policy, file, clock, report)
    Service(timetable, policy, runs, clock, report).serve()
"""
LOOK = """
import json, pathlib, sys
pathlib.Path(sys.argv[1]).write_text(json.dumps({"data": "/data", "arrivals": 0}))
"""
# Starts a process of its own, says which, and is at work until it is asked to end.
RUN = """
import os, signal, subprocess, sys, time
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
{on_term}
print("at work", os.getpid(), grandchild.pid, flush=True)
time.sleep(600)
"""
OBEDIENT = "signal.signal(signal.SIGTERM, lambda *_: (grandchild.kill(), sys.exit(130)))"
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"


class Scheduler:
    """A scheduler at work."""

    def __init__(self, root, run, policy, cron):
        self.folder = root / "schedule"
        arguments = [str(root), cron, json.dumps(policy), LOOK, run]
        self._output = (root / "output").open("a+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVICE, *arguments],
            stdout=self._output,
            stderr=self._output,
            # Nobody is told.
            env={**os.environ, "PYTHONPATH": str(PROJECT), "IMAGE_PIPELINE_NOTIFY": ""},
        )
        self.workers = []

    @property
    def output(self):
        return Path(self._output.name).read_text()

    def wait_for(self, condition, patience=PATIENCE_SECONDS):
        until = time.monotonic() + patience
        while not (found := condition()):
            assert time.monotonic() < until, self.output
            time.sleep(0.02)
        return found

    def wait_for_run(self):
        """Waits until a run is at work; returns its process and that which it started."""
        lines = self.wait_for(lambda: [line for line in self.log() if line.startswith("at work")])
        self.workers = [int(number) for number in lines[-1].split()[2:]]
        return self.workers

    def log(self):
        """Whole lines of what runs printed."""
        texts = [path.read_text() for path in sorted(self.folder.glob("*.log"))]
        return "".join(texts).rpartition("\n")[0].splitlines()

    def close(self):
        self.process.kill()
        self.process.wait()
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        self._output.close()


@pytest.fixture
def root(tmp_path):
    """The folder of a pipeline, whose last run was missed a moment ago."""
    (tmp_path / "clothes" / "schedule").mkdir(parents=True)
    now = datetime.datetime.now(datetime.UTC)
    missed = State(schedule=Timetable(CRON, "UTC").name, handled=now, at_work=now)
    (tmp_path / "clothes" / "schedule" / "state.json").write_text(missed.model_dump_json())
    return tmp_path / "clothes"


@pytest.fixture
def start(root):
    """Starts a scheduler, which the end of the test ends."""
    started = []

    def begin(run, cron=CRON, **policy):
        # The runs here leave no receipt, as those that find nothing changed.
        policy = {"stop_seconds": 30, "on_change": True, **policy}
        started.append(Scheduler(root, run, policy, cron))
        return started[-1]

    yield begin
    for scheduler in started:
        scheduler.close()


@pytest.mark.usefixtures("listening_to_signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_run_and_then_the_scheduler(start, root, ends, number):
    scheduler = start(RUN.format(on_term=OBEDIENT))
    workers = scheduler.wait_for_run()
    scheduler.process.send_signal(number)
    assert scheduler.process.wait(PATIENCE_SECONDS) == 0
    assert all(ends(worker) for worker in workers)
    assert scheduler.output.splitlines()[-1].endswith("stopped")
    assert "Traceback" not in scheduler.output
    # What was cut off is made up for.
    assert read_state(root / "schedule" / "state.json").at_work


def test_a_signal_kills_a_run_that_does_not_end(start, ends):
    scheduler = start(RUN.format(on_term=STUBBORN), stop_seconds=0.5)
    workers = scheduler.wait_for_run()
    scheduler.process.terminate()
    assert scheduler.process.wait(PATIENCE_SECONDS) == 0
    assert all(ends(worker) for worker in workers)


def test_a_signal_ends_a_scheduler_that_waits(start, root):
    (root / "schedule" / "state.json").unlink()
    scheduler = start(RUN)
    scheduler.wait_for((root / "schedule" / "state.json").exists)
    scheduler.process.terminate()
    assert scheduler.process.wait(PATIENCE_SECONDS) == 0


def test_a_time_limit_ends_all_that_a_run_started(start, root, ends):
    scheduler = start(RUN.format(on_term=STUBBORN), time_limit_seconds=600, stop_seconds=0.5)
    workers = scheduler.wait_for_run()

    def hours_pass():
        with (root / "jumps").open("a") as jumps:
            jumps.write(".")
        # It looks at the clock, as where a child process ends.
        scheduler.process.send_signal(signal.SIGCHLD)
        # The alarm comes after the end of all processes of the run.
        return "alarm: a run broke off" in scheduler.output

    scheduler.wait_for(hours_pass)
    assert "took longer than its limit of 10 min" in scheduler.output
    assert all(ends(worker) for worker in workers)
    assert scheduler.process.poll() is None


def test_a_killed_scheduler_goes_on_after_a_restart(start, root, is_alive):
    first = start(RUN.format(on_term=OBEDIENT))
    run, _ = first.wait_for_run()
    first.process.kill()
    first.process.wait()
    # The run is a process of its own: whether it ends well is not the scheduler's to decide.
    assert is_alive(run)
    os.kill(run, signal.SIGKILL)
    second = start("print('made up for', flush=True)")
    second.wait_for(lambda: "made up for" in second.log())
    second.wait_for(lambda: read_state(root / "schedule" / "state.json").last_run)


def test_a_run_that_ended_while_the_scheduler_stood_still_is_noticed(
    start, root, tmp_path, is_alive
):
    end = tmp_path / "end"
    scheduler = start(
        "import os, pathlib, time\n"
        "print('at work', os.getpid(), flush=True)\n"
        f"while not pathlib.Path({str(end)!r}).exists(): time.sleep(0.01)"
    )
    (run,) = scheduler.wait_for_run()
    scheduler.process.send_signal(signal.SIGSTOP)
    end.touch()
    scheduler.wait_for(lambda: not is_alive(run))
    scheduler.process.send_signal(signal.SIGCONT)
    ended = scheduler.wait_for(lambda: read_state(root / "schedule" / "state.json").last_run)
    assert ended.exit_code == 0
    assert scheduler.process.poll() is None


@pytest.mark.slow
def test_of_what_was_missed_while_the_machine_slept_one_run_is_made_up_for(start, root):
    file = root / "schedule" / "state.json"
    file.unlink()
    scheduler = start("print('a run', flush=True)", cron="* * * * *")
    scheduler.wait_for(file.exists)
    scheduler.process.send_signal(signal.SIGSTOP)
    begun = scheduler.output.count(" began; ")
    minute = read_state(file).handled.replace(second=0, microsecond=0)
    # Two runs were due by then, and the next one is not for nearly a minute.
    awake = minute + datetime.timedelta(minutes=2, seconds=2)
    scheduler.wait_for(lambda: datetime.datetime.now(datetime.UTC) > awake, patience=180)
    scheduler.process.send_signal(signal.SIGCONT)
    newest = minute + datetime.timedelta(minutes=2)
    scheduler.wait_for(lambda: (last := read_state(file).last_run) and last.scheduled == newest)
    assert scheduler.output.count(" began; ") == begun + 1
    # And so it goes on.
    newest += datetime.timedelta(minutes=1)
    scheduler.wait_for(lambda: read_state(file).last_run.scheduled == newest, patience=120)
    assert scheduler.output.count(" began; ") == begun + 2
    assert "Traceback" not in scheduler.output


def test_a_crash_is_survived_and_retried(start, tmp_path):
    crash_first = f"""
import os, pathlib
mark = pathlib.Path({str(tmp_path / "mark")!r})
if not mark.exists():
    mark.touch()
    os.abort()
"""
    scheduler = start(crash_first, retries=1, backoff_seconds=0.1)
    scheduler.wait_for(lambda: "nothing changed" in scheduler.output)
    # The crash was told before the retry.
    assert "was killed by SIGABRT" in scheduler.output
    assert scheduler.process.poll() is None


def test_there_is_one_scheduler_of_a_pipeline(start):
    first = start(RUN.format(on_term=OBEDIENT))
    first.wait_for_run()
    second = start(RUN.format(on_term=OBEDIENT))
    assert second.process.wait(PATIENCE_SECONDS) == 1
    assert f"clothes is in use by schedule (process {first.process.pid} of " in second.output
