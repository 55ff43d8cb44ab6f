"""Every fault at every operation of every command: an errno, or the end of the process."""

import json
import subprocess
import sys

import pytest

from tests.faults.injection import PROJECT
from tests.faults.reasons import REASONS

# A group takes a minute or two, on a busy machine ten times that.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# Each group in a process of its own, which has imported the commands once.
GROUPS = {
    "run": ("run, the store is lost",),
    "run, unusual": (
        "run, the version was put there by hand",
        "run, nobody can be told",
        "resume after a kill",
        "verify",
    ),
    "rollback": ("rollback",),
    "upkeep": ("clean --apply", "repair"),
    "pages": ("review", "runs compare"),
    "schedule": (
        "schedule --once, the first time",
        "schedule --once, with old logs",
        "schedule --once, nothing changed",
        "schedule, a look",
        "schedule --install-unit",
        "schedule, a morning",
    ),
    "files": (
        "compile",
        "init, a new folder",
        "init, a folder of theirs",
        "reading data",
        "doctor",
        "download",
    ),
    "environment": (
        "make setup, beside another environment",
        "make setup, over an old environment",
        "make setup, without a network",
        "make sbom",
        "make clean-env",
        "make clean-env, a link",
    ),
}


def sweep(*arguments):
    command = [sys.executable, "-m", "tests.faults.sweep", "--json", *arguments]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize("group", GROUPS)
def test_whatever_fails_what_was_promised_holds(group):
    swept = sweep(*GROUPS[group])
    assert [finding for scenario in swept.values() for finding in scenario["findings"]] == []
    assert all(scenario["faults"] == scenario["matrix"] > 0 for scenario in swept.values())
    for reason in REASONS:
        for name in reason.scenarios:
            assert name not in swept or set(reason.sites) <= set(swept[name]["sites"])


def test_a_training_ends_with_the_same_weights_whatever_fails():
    (swept,) = sweep("--training").values()
    assert swept["findings"] == []
    assert swept["faults"] == swept["matrix"] > 0
    (reason,) = (reason for reason in REASONS if "a training" in reason.scenarios)
    assert set(reason.sites) <= set(swept["sites"])


def test_every_scenario_is_in_a_group():
    ended = sweep("--list")
    assert sorted(ended) == sorted(name for names in GROUPS.values() for name in names)


def test_a_file_that_is_not_written_whole_is_found():
    """As `compile` would be, if it wrote its file in place."""
    swept = sweep("--in-place", "compile")
    findings = swept["compile"]["findings"]
    assert any("killed in the middle" in each and "is not whole" in each for each in findings)
    assert any("ENOSPC" in each and "is not whole" in each for each in findings)
