"""Skips tests that need more of a machine than it has."""

import os
from typing import NoReturn

import pytest


def skip_loudly(said: str, *tools: str) -> NoReturn:
    """Skips a test, and says why: `make test` and `make test-full` list the reasons at their end.

    Fails instead where `.ci/run` has made sure that one of these tools is there and works.
    """
    if set(tools) & set(os.environ.get("CI_TOOLS", "").split()):
        pytest.fail(said)
    pytest.skip(said)
