"""Each measurement has a process of its own, which answers, fails or is killed."""

import math
import operator
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import processes


@pytest.fixture(autouse=True)
def nothing_imported(monkeypatch):
    """These functions need no TensorFlow."""
    monkeypatch.setattr(processes, "IMPORTED_ONCE", [])


def test_it_answers():
    assert processes.in_fresh_process(math.hypot, 3.0, 4.0) == 5.0


def test_each_process_is_another():
    found = {processes.in_fresh_process(os.getpid) for _ in range(2)}
    assert len(found | {os.getpid()}) == 3


def test_what_a_measurement_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        processes.in_fresh_process(operator.truediv, 1, 0)


def test_a_killed_process_is_told_in_words():
    with pytest.raises(processes.MeasurementError, match="was killed"):
        processes.in_fresh_process(os.abort)


WAITS_FOR_LONG = """
import time
from benchmarks import processes
processes.IMPORTED_ONCE = []
processes.in_fresh_process(time.sleep, 600)
"""


def children(process):
    return [
        int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()
    ]


def test_a_measurement_ends_with_the_benchmark_that_is_killed(ends):
    with subprocess.Popen([sys.executable, "-c", WAITS_FOR_LONG]) as benchmark:
        measuring = []
        while not measuring:
            time.sleep(0.05)
            # A server stands between them, which measuring processes are forked from.
            measuring = [each for server in children(benchmark.pid) for each in children(server)]
        benchmark.kill()
    assert all(ends(process) for process in measuring)


def test_lines_of_progress_are_shown_and_nothing_else(capfd):
    processes.in_fresh_process(print, "a library speaks")
    processes.in_fresh_process(processes.notify, "half of it is done")
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "half of it is done\n")
