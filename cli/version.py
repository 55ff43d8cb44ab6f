"""The version of the project. Standard library alone."""

from pathlib import Path

_SETUP = Path(__file__).resolve().parent.parent / "setup.py"


def version() -> str:
    """The version, which stands in `setup.py`."""
    lines = _SETUP.read_text(encoding="utf-8").splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("VERSION = "))
