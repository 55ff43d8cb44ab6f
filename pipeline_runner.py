#!/usr/bin/env python3
"""The command line. Finds its environment; `cli` has the commands."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent
_ENTERED = "IMAGE_PIPELINE_ENTERED"


def _enter_environment() -> None:
    """Goes on in `.venv` if the running Python lacks the libraries of the project."""
    # A damaged `.venv` may be taken for another Python: it is entered once, not for ever.
    entered = os.environ.pop(_ENTERED, None)
    # Many a Python has Typer; one that has TFX, too, was made for this project.
    if all(map(importlib.util.find_spec, ("typer", "tfx"))):
        return
    python = _ROOT / ".venv" / "bin" / "python"
    # Not `exists`, which raises an error where another user keeps the environment to himself.
    if os.access(python, os.X_OK) and not entered:
        os.environ[_ENTERED] = "1"
        os.execv(python, [str(python), *sys.argv])
    from cli import without_libraries

    sys.exit(without_libraries.answer(sys.argv[1:]))


_enter_environment()

from cli.main import main  # noqa: E402

if __name__ == "__main__":
    main()
