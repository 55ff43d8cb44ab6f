"""Runs that are killed, that start all at once, or that find the disk full: what is left, and how
to go on."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.pusher import versions
from pipeline.nodes import NODES
from pipeline.records import metadata

RUNNER = Path(__file__).resolve().parents[2] / "pipeline_runner.py"
PIPELINE = "fashion-mnist-smoke"
PATIENCE_SECONDS = 600
EPOCHS = 3
ENOUGH_TO_BEGIN = 4_600_000
# Lines of `python -X importtime`.
HEAVY = re.compile(r"\| +(tensorflow|tfx|apache_beam|keras)$", re.MULTILINE)

pytestmark = pytest.mark.slow


@pytest.fixture
def start(tmp_path):
    """Starts the command line in a process of its own, which the end of the test ends."""
    started = []

    def begin(*arguments, name="run", options=()):
        with (tmp_path / f"{name}.txt").open("a") as file:
            process = subprocess.Popen(
                [sys.executable, *options, RUNNER, *map(str, arguments)],
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def newest_log(root):
    """What the newest run has logged so far; its log begins after the receipt."""
    logs = sorted(root.glob("runs/*/log.txt"))
    return logs[-1].read_text(errors="replace") if logs else ""


def wait_for(condition, process):
    """Waits until something is so, as long as the process lives."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert process.poll() is None, "the process ended too early"
        assert time.monotonic() < until, "the process did not come that far"
        time.sleep(0.01)


def is_in(node, root, runs):
    """Whether the run after so many others has come to a node, and in it so far that it hurts."""
    if len(list(root.glob("runs/*/receipt.json"))) <= runs:
        return False
    log = newest_log(root)
    if node == "Trainer":
        return f"epoch 1 of {EPOCHS}" in log
    return re.search(rf"(?:Component|node) {node} is running\.", log) is not None


def receipts_of(root):
    paths = sorted(root.glob("runs/*/receipt.json"))
    return [json.loads(path.read_text()) for path in paths]


@pytest.mark.timeout(1800)
def test_a_run_that_is_killed_in_every_node_is_resumed_to_the_same_model(
    start, few, set_values, run_few, quick_command, tmp_path
):
    output_dir = tmp_path / "outputs"
    root = output_dir / PIPELINE
    epochs = set_values(training__epochs=EPOCHS)
    arguments = ["run", *few, *epochs]
    for killed, node in enumerate(NODES):
        process = start(*arguments, "--output-dir", output_dir)
        wait_for(lambda node=node, killed=killed: is_in(node, root, killed), process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        arguments = ["resume", "latest"]

    killed_runs = receipts_of(root)
    assert len(killed_runs) == len(NODES)
    assert {run["status"] for run in killed_runs} == {"interrupted"}
    assert versions.served_versions(root / "serving") in ([], [killed_runs[-1]["pushed_version"]])

    ended = quick_command("resume", "--output-dir", output_dir, "--json")
    assert ended.code == 0, ended.errors
    receipt = ended.json
    assert (receipt["status"], receipt["verdict"]) == ("completed", "pushed")
    cached = [node for node, how in receipt["nodes"].items() if how["status"] == "cached"]
    assert {"ExampleGen", "Transform", "Trainer"} <= set(cached)

    store = metadata.open_store(root / "metadata.db")
    states = {execution.last_known_state for execution in store.get_executions()}
    assert mlmd.Execution.RUNNING not in states
    assert versions.served_versions(root / "serving") == [receipt["pushed_version"]]
    assert leftovers(root) == []

    unbroken = run_few(tmp_path / "unbroken", *epochs)
    assert receipt["model_digest"] == unbroken.receipt["model_digest"]
    assert receipt["digests"] == unbroken.receipt["digests"]


@pytest.mark.timeout(1800)
def test_a_training_does_not_go_on_where_classes_have_changed_since(
    start, few, set_values, tmp_path
):
    """The data is the same to the byte, and what its labels mean is not."""
    text = (RUNNER.parent / "schema" / "schema.pbtxt").read_text()
    schema = tmp_path / "schema.pbtxt"
    schema.write_text(text)
    root = tmp_path / "outputs" / PIPELINE
    arguments = ["run", *few, *set_values(training__epochs=EPOCHS, schema_file=str(schema))]
    arguments += ["--output-dir", tmp_path / "outputs"]
    process = start(*arguments)
    wait_for(lambda: f"epoch 2 of {EPOCHS}" in newest_log(root), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    swapped = text.replace('"Coat"', '"?"').replace('"Sneaker"', '"Coat"')
    schema.write_text(swapped.replace('"?"', '"Sneaker"'))
    assert start(*arguments).wait(timeout=PATIENCE_SECONDS) in (0, 3)
    assert "resuming after epoch" not in newest_log(root)
    assert f"epoch 1 of {EPOCHS}" in newest_log(root)


def leftovers(root):
    """Files and folders that only a run at work needs."""
    finished = {
        str(execution.id)
        for execution in metadata.open_store(root / "metadata.db").get_executions()
        if execution.last_known_state in (mlmd.Execution.COMPLETE, mlmd.Execution.CACHED)
    }
    unfinished = [
        path
        for path in root.glob("artifacts/*/*/*")
        if path.parent.name not in ("backups",)
        and path.name.isdigit()
        and path.name not in finished
    ]
    return [
        *root.glob("runs/*/tmp"),
        *root.glob("runs/*/.*"),
        *versions.unfinished(root / "serving"),
        *root.glob("artifacts/*/.system/executor_execution/*/.temp"),
        *root.glob("artifacts/*/.system/stateful_working_dir/*"),
        *unfinished,
    ]


@pytest.mark.timeout(1800)
def test_of_twenty_runs_at_once_one_runs(start, few, tmp_path):
    root = tmp_path / "outputs" / PIPELINE
    processes = [
        start(
            *("run", *few, "--output-dir", tmp_path / "outputs"),
            name=f"run{number}",
            options=("-X", "importtime"),
        )
        for number in range(20)
    ]
    codes = [process.wait(timeout=PATIENCE_SECONDS) for process in processes]
    assert sorted(codes) == [0] + [4] * 19
    for number, code in enumerate(codes):
        printed = (tmp_path / f"run{number}.txt").read_text()
        lines = [line for line in printed.splitlines() if not line.startswith("import time:")]
        if code == 4:
            assert not HEAVY.search(printed)
            (line,) = lines
            assert re.match(r"error: fashion-mnist-smoke is in use by run \(process \d+ of ", line)
    assert len(receipts_of(root)) == 1
    assert len(versions.served_versions(root / "serving")) == 1


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, too small for a run."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and os.getuid() == 0
    if mounted:
        size = ["-o", "size=24m"]
        mounted = subprocess.run(["mount", "-t", "tmpfs", *size, "tmpfs", folder]).returncode == 0
    if not mounted:
        pytest.skip("no file system could be mounted, and this test needs a small one")
    yield folder
    with contextlib.suppress(subprocess.CalledProcessError):
        subprocess.run(["umount", folder], check=True)


@pytest.mark.timeout(1800)
def test_a_disk_that_fills_up_in_mid_run_costs_nothing_that_was_there(
    small_disk, command, few, set_values, digest_of
):
    small = ["run", *few, "--output-dir", small_disk / "outputs"]
    ballast = small_disk / "ballast"
    first = command(*small)
    assert first.code == 0, first.errors
    root = small_disk / "outputs" / PIPELINE
    (pushed,) = receipts_of(root)
    served = digest_of(root / "serving")

    # What is left is enough to begin with, and not enough for a second model.
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(b"\0" * (free - ENOUGH_TO_BEGIN))
    second = command(*small, "--seed", "2")
    assert second.code == 1, second.errors
    assert "Traceback" not in second.output + second.errors
    assert "full" in second.output + second.errors
    assert "resume" in second.output + second.errors
    assert digest_of(root / "serving") == served
    kept, failed = receipts_of(root)
    assert kept == pushed
    assert failed["status"] == "failed"
    assert "full" in failed["failure"]["message"]

    ballast.unlink()
    third = command("resume", "--output-dir", small_disk / "outputs", "--json")
    assert third.code == 0, third.errors
    assert third.json["verdict"] == "pushed"
    assert third.json["config"]["seed"] == 2
