"""The whole graph with its metadata in a real database: shared, restarted, cut off."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.pusher import versions
from tests.postgresql import PASSWORD

RUNNER = Path(__file__).resolve().parents[2] / "pipeline_runner.py"
PIPELINE = "fashion-mnist-smoke"
PATIENCE_SECONDS = 300

pytestmark = pytest.mark.slow


@pytest.fixture
def in_database(few, set_values, postgresql, database):
    """Arguments of `run` on few images, with the metadata in the database."""
    return ["run", *few, *set_values(metadata__uri=postgresql.uri(database))]


@pytest.fixture
def output_dir(tmp_path):
    return tmp_path / "outputs"


@pytest.fixture
def root(output_dir):
    return output_dir / PIPELINE


def stopped_in(node, arguments, root, output):
    """Starts a run in a process of its own, and stops it in a node."""
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, str(RUNNER), *map(str, arguments)],
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    until = time.monotonic() + PATIENCE_SECONDS
    while not any(
        re.search(rf"(?:Component|node) {node} is running\.", log.read_text(errors="replace"))
        for log in root.glob("runs/*/log.txt")
    ):
        assert process.poll() is None, output.read_text()
        assert time.monotonic() < until, output.read_text()
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)
    return process


def with_password(*places):
    """The files that hold the password."""
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if PASSWORD.encode() in path.read_bytes()]


def test_the_whole_graph_on_a_shared_database(
    light_command, quick_command, in_database, output_dir, root, postgresql, database, tmp_path
):
    """A run is stopped; another begins on a machine whose file system shares no locks; the session
    of the first one is cut before its Pusher; the server is restarted; all goes on from there."""
    arguments, log = [*in_database, "--output-dir", output_dir], tmp_path / "first.txt"
    said = []

    def ask(*arguments, code=0, ask=quick_command):
        ended = ask(*arguments, "--output-dir", output_dir)
        said.append(ended.output + ended.errors)
        assert ended.code == code, said[-1]
        return said[-1]

    process = stopped_in("Trainer", arguments, root, log)
    try:
        # What that machine locks is another file.
        (root / "lock").rename(tmp_path / "lock")
        held = ask(*in_database, "--force", code=4, ask=light_command)
        (tmp_path / "lock").replace(root / "lock")
        assert re.search(rf"in use by run \(process {process.pid} of \w+ on .*\) since", held)
        assert '"status": "running"' in ask("runs", "--json", ask=light_command)
        command_lines = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True)
        postgresql.cut(database)
    finally:
        process.send_signal(signal.SIGCONT)
    assert process.wait(timeout=PATIENCE_SECONDS) == 1
    assert f"the lock of the pipeline {PIPELINE} in the database" in log.read_text()
    assert versions.served_versions(root / "serving") == []
    (path,) = root.glob("runs/*/receipt.json")
    receipt = json.loads(path.read_text())
    assert (receipt["failure"]["node"], receipt["served_version"]) == ("Pusher", None)

    with postgresql.stopped():
        assert "cannot be reached" in ask("resume", "latest", code=1)
        assert "cannot be reached" in ask("doctor", code=1, ask=light_command)
    resumed = quick_command("resume", "latest", "--output-dir", output_dir, "--json")
    assert resumed.code == 0, resumed.errors
    # Nothing is served, so the blessing of the run that pushed nothing no longer counts.
    again = {name for name, node in resumed.json["nodes"].items() if node["status"] != "cached"}
    assert again <= {"Evaluator", "Blessing", "Pusher"}
    assert resumed.json["digests"] == receipt["digests"]
    assert versions.served_versions(root / "serving") == [resumed.json["pushed_version"]]
    assert not (root / "metadata.db").exists()

    # The commands that open a store work on it.
    assert "Nothing changed" in ask(*in_database, ask=light_command)
    lineage = ask("lineage", str(resumed.json["pushed_version"]), "--json")
    assert str(root / "artifacts") in lineage
    ask("repair")
    ask("clean", "--keep-last", "1", "--apply")
    ask("review", "latest")
    assert "whose server answers" in ask("doctor", ask=light_command)
    elsewhere = output_dir.with_name("elsewhere")
    refused = light_command(*in_database, "--output-dir", elsewhere)
    assert (refused.code, elsewhere.exists()) == (2, False)
    assert f"belongs to {root}, on" in refused.errors

    printed = [*said, log.read_text(), resumed.output, resumed.errors, refused.errors]
    assert not [text for text in (*printed, command_lines.stdout) if PASSWORD in text]
    assert with_password(output_dir) == []
