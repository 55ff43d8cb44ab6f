"""Skips tests that need more of a machine than it has."""

from typing import NoReturn

import pytest


def skip_loudly(request: pytest.FixtureRequest, said: str) -> NoReturn:
    """Skips a test, and says why where nobody overlooks it."""
    plugins = request.config.pluginmanager
    with plugins.get_plugin("capturemanager").global_and_fixture_disabled():
        plugins.get_plugin("terminalreporter").write_line(f"\n{said}", red=True, bold=True)
    pytest.skip(said)
