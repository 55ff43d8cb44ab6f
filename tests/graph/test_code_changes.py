"""A real run whose checkout is updated between two nodes."""

import json
import subprocess
import sys
import time

import pytest

from components.pusher import versions
from pipeline.locations import Locations

PATIENCE_SECONDS = 300


@pytest.fixture
def begun(few, project_copy, tmp_path):
    """A run that works in a copy of the project, as a process."""
    arguments = [*few, "--output-dir", tmp_path / "outputs"]
    with (tmp_path / "errors.txt").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "pipeline_runner.py", "run", *map(str, arguments)],
            cwd=project_copy,
            stdout=errors,
            stderr=errors,
        )
    yield process
    process.kill()
    process.wait()


@pytest.mark.slow
def test_a_run_ends_where_its_code_changes_and_goes_on_where_that_is_taken_back(
    begun, project_copy, command, tmp_path
):
    locations = Locations(tmp_path / "outputs" / "fashion-mnist-smoke")
    model = project_copy / "components" / "trainer" / "model.py"
    content = model.read_bytes()
    examples = locations.artifacts / "ExampleGen" / "examples"
    until = time.monotonic() + PATIENCE_SECONDS
    while not examples.exists():
        assert begun.poll() is None, "the run ended too early"
        assert time.monotonic() < until, "the run did not come that far"
        time.sleep(0.02)
    # Trainer imports it only later.
    model.write_bytes(content + b"# Of the new version.\n")
    assert begun.wait(PATIENCE_SECONDS) == 1
    (path,) = locations.runs.glob("*/receipt.json")
    receipt = json.loads(path.read_text())
    assert "(components/trainer/model.py)" in receipt["failure"]["message"]
    assert receipt["nodes"]["Trainer"]["status"] == "not run"
    assert versions.served_versions(locations.serving) == []

    model.write_bytes(content)
    resumed = command("resume", "--output-dir", tmp_path / "outputs", root=project_copy)
    assert resumed.code == 0, resumed.errors
    (version,) = versions.served_versions(locations.serving)
    assert str(version) in resumed.output
