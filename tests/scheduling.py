"""Which worker gets which tests, and when, where several run side by side."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadFileScheduling

GRAPH = "tests/graph/"
# Those that take a quarter of a minute or more. They begin first, so that no worker is left with
# one of them when the others have nothing to do.
LONG = (
    GRAPH,
    "tests/components/blessing/test_executor.py",
    "tests/components/trainer/test_export.py",
    "tests/components/trainer/test_resumption.py",
    "tests/components/tuner/test_search.py",
)


def longest_first(items: list[pytest.Item]) -> None:
    """Moves the tests of the long files to the front."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


class GraphOnOneWorker(LoadFileScheduling):
    """Gives each worker whole files, and all tests of the graph to one of them.

    They share runs of a quarter of a minute or more, which each worker would otherwise make anew.
    """

    def _split_scope(self, nodeid: str) -> str:
        return GRAPH if nodeid.startswith(GRAPH) else super()._split_scope(nodeid)
