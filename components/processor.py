"""What the processor says of itself."""

from __future__ import annotations

import pathlib
import platform

_FILE = pathlib.Path("/proc/cpuinfo")


def name() -> str:
    """Name of the processor; where the system does not say, its architecture."""
    return _line("model name") or platform.processor()


def flags() -> frozenset[str]:
    """Names of its features, as Linux has them; empty on other systems and architectures."""
    return frozenset(_line("flags").split())


def _line(key: str) -> str:
    """The first line of a key; empty where there is none."""
    try:
        lines = _FILE.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
