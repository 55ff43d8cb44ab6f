"""Which worker gets which tests, and when, where several run side by side."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadFileScheduling

# Folders whose tests share what takes long: runs of the graph, and pages of many kinds of data.
TOGETHER = ("tests/graph/", "tests/review/pages/")
# What takes minutes in `make test-full`, or a quarter of a minute in `make test`. It begins first,
# so that no worker is left with one of these files when the others have nothing to do.
LONG = (
    "tests/test_fresh_machine.py",
    "tests/graph/test_robustness.py",
    "tests/graph/test_data_gate.py",
    "tests/graph/test_cache.py",
    "tests/graph/test_what_is_lost.py",
    "tests/graph/test_system_calls.py",
    "tests/faults/test_matrix.py",
    "tests/graph/test_forms.py",
    "tests/graph/test_real_data.py",
    "tests/pipeline/installation/test_virtual_environment.py",
    "tests/graph/test_verify.py",
    "tests/graph/test_crashes.py",
    "tests/graph/test_clean.py",
    "tests/fuzzing/test_fresh.py",
    "tests/notebooks/",
    "tests/operations/scheduling/test_process.py",
    *TOGETHER,
    "tests/components/blessing/test_executor.py",
    "tests/components/trainer/test_export.py",
    "tests/components/trainer/test_resumption.py",
    "tests/components/tuner/test_search.py",
    "tests/test_streams.py",
)


def longest_first(items: list[pytest.Item]) -> None:
    """Moves the tests of the long files to the front."""
    items.sort(key=lambda item: _place(item.nodeid))


def _place(nodeid: str) -> int:
    return next((n for n, start in enumerate(LONG) if nodeid.startswith(start)), len(LONG))


class SharingScheduling(LoadFileScheduling):
    """Gives a worker whole files, and all files of some folders to one worker.

    Each worker would otherwise make anew what the tests of such a folder share.
    """

    def _split_scope(self, nodeid: str) -> str:
        folder = next(filter(nodeid.startswith, TOGETHER), None)
        return folder or super()._split_scope(nodeid)
