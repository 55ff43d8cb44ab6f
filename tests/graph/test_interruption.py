"""Two runs at once, and runs that are cut short: what is left behind, and how to go on."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.records import metadata

pytestmark = pytest.mark.slow

RUNNER = Path(__file__).resolve().parents[2] / "pipeline_runner.py"
PATIENCE_SECONDS = 180


@pytest.fixture
def begin(few, tmp_path):
    """Begins a run in a process of its own, which the end of the test ends."""
    begun = []

    def start(*arguments):
        command = ["run", *few, "--output-dir", tmp_path / "outputs", *arguments]
        with (tmp_path / "errors.txt").open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, RUNNER, *map(str, command)], stdout=errors, stderr=errors
            )
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.wait()


def wait_for(condition, process):
    """Waits until something is so, as long as the process lives."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < until, "the run did not come that far"
        time.sleep(0.02)


def running(store):
    return [e.id for e in store.get_executions() if e.last_known_state == mlmd.Execution.RUNNING]


def test_a_second_run_at_the_same_time_is_turned_away(begin, command, few, tmp_path):
    first = begin()
    lock = tmp_path / "outputs" / "fashion-mnist-smoke" / "lock"
    wait_for(lambda: lock.exists() and lock.stat().st_size, first)
    second = command("run", *few, "--output-dir", tmp_path / "outputs")
    assert second.code == 4
    assert second.output == ""
    (line,) = second.errors.splitlines()
    assert line.startswith("error: ")
    assert f"in use by run (process {first.pid} of " in line
    runs = list((lock.parent / "runs").iterdir())
    assert len(runs) <= 1


def test_the_lock_of_a_killed_run_is_free(begin, command, few, tmp_path):
    first = begin()
    lock = tmp_path / "outputs" / "fashion-mnist-smoke" / "lock"
    wait_for(lambda: lock.exists() and lock.stat().st_size, first)
    first.kill()
    first.wait()
    # It gets past the lock, and then as far as the import that this stub refuses.
    stub = tmp_path / "stub" / "tensorflow"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text("raise SystemExit('past the lock')")
    second = command("run", *few, "--output-dir", tmp_path / "outputs", PYTHONPATH=str(stub.parent))
    assert "past the lock" in second.errors
    assert second.code != 4


@pytest.mark.usefixtures("listening_to_signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_training_that_is_cut_short_goes_on(
    number, begin, run_few, set_values, store_of, few, tmp_path
):
    output_dir = tmp_path / "outputs"
    epochs = set_values(training__epochs=6)
    process = begin(*epochs)
    errors = tmp_path / "errors.txt"
    wait_for(lambda: "epoch 2 of 6" in errors.read_text(), process)
    process.send_signal(number)
    code = process.wait(timeout=PATIENCE_SECONDS)
    killed = number == signal.SIGKILL
    assert code == (-signal.SIGKILL if killed else 130), errors.read_text()

    (path,) = output_dir.glob("*/runs/*/receipt.json")
    receipt = json.loads(path.read_text())
    assert (receipt["status"], receipt["verdict"]) == ("interrupted", "none")
    if not killed:
        assert receipt["nodes"]["Trainer"]["status"] in ("failed", "interrupted")
        assert receipt["nodes"]["Evaluator"]["status"] == "not run"
        assert not (path.parent / "tmp").exists()
        assert "Traceback" not in errors.read_text()
        assert running(metadata.open_store(path.parents[2] / "metadata.db")) == []

    following = run_few(output_dir, *epochs)
    assert following.receipt["verdict"] == "pushed"
    assert running(store_of(following)) == []
    # What was complete is not run again, and neither are the epochs that were trained.
    assert following.receipt["nodes"]["ExampleGen"]["status"] == "cached"
    first_epoch = re.search(r"epoch (\d) of 6", following.outcome.errors)
    assert int(first_epoch[1]) > 1, following.outcome.errors
