"""What a machine lacks is told: by the tests that are skipped, and by CI."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.skipping import skip_loudly

PROJECT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("tools", ["", "strace", "strace postgresql"])
def test_a_tool_that_ci_has_must_be_found(tools, monkeypatch):
    monkeypatch.setenv("CI_TOOLS", tools)
    ends = pytest.fail.Exception if "postgresql" in tools else pytest.skip.Exception
    with pytest.raises(ends, match="no server"):
        skip_loudly("no server", "postgresql")
    with pytest.raises(pytest.skip.Exception, match="no Prism"):
        skip_loudly("no Prism")


@pytest.mark.parametrize("target", ["test", "test-full"])
def test_make_lists_what_was_skipped(target):
    """Tests that run side by side have no other way to the terminal."""
    said = subprocess.check_output(["make", "--dry-run", target], cwd=PROJECT, text=True)
    (command,) = [line for line in said.splitlines() if " -m pytest " in line]
    assert "-rs" in command.split()


def write_program(path, text):
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("works", [True, False])
def test_ci_names_the_tools_that_work_and_tells_of_the_others(works, tmp_path):
    """Root may install packages, but no package can be had."""
    programs = {
        "make": 'echo "$1 with:$CI_TOOLS."',
        "strace": f"exit {0 if works else 1}",
        "id": "echo 0",
        "apt-get": "exit 100",
    }
    for name, text in programs.items():
        write_program(tmp_path / name, text)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ended = subprocess.run(
        [PROJECT / ".ci" / "run"], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout
    for target in ("check", "test", "test-full"):
        (line,) = [line for line in ended.stdout.splitlines() if line.startswith(f"{target} with:")]
        assert ("strace" in line) is works
    told = "strace does not work here: its tests were skipped"
    assert (told in ended.stdout) is not works
    assert ("strace could not be installed." in ended.stdout) is not works
