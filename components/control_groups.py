"""Bounds of the control groups of this process: a container sets them, and Linux enforces them.

This module uses only the standard library and Python 3.8 syntax, since the doctor needs it too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# The groups of this process, a line for each hierarchy: number, controllers, path of the group.
MEMBERSHIPS = Path("/proc/self/cgroup")
# Version 2 has one hierarchy here, version 1 a folder for each controller.
ROOT = Path("/sys/fs/cgroup")


def folders(controller: str) -> list[Path]:
    """The folders of the groups that bound this process, innermost first, up to the root.

    In a container, the root is often the container's own group, while `MEMBERSHIPS` has the path on
    the machine outside. So some of the folders may not exist.

    Args:
      controller: Controller of version 1, such as `cpu` or `memory`; version 2 has all in one.
    """
    groups = {ROOT: "/", ROOT / controller: "/"}
    for line in _text(MEMBERSHIPS).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            groups[ROOT] = path
        elif controller in controllers.split(","):
            groups[ROOT / controller] = path
    return [folder for root, path in groups.items() for folder in _up_to(root, path)]


def cores() -> int:
    """Number of cores that this process may use, as its affinity and its control groups allow.

    A quota of 2.5 cores counts as three: the third one is used half of the time.
    """
    # macOS has no affinity.
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min([allowed or 1, *_quotas()])


def _quotas() -> Iterator[int]:
    for folder in folders("cpu"):
        # Microseconds of computing in a period, both in microseconds; `max` or -1 without a bound.
        for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
            numbers = " ".join(_text(folder / name) for name in names).split()
            if len(numbers) == 2 and all(n.isdecimal() and int(n) for n in numbers):
                quota, period = map(int, numbers)
                yield -(-quota // period)


def _up_to(root: Path, path: str) -> list[Path]:
    group = root / path.lstrip("/")
    return [group, *group.parents][: len(group.parts) - len(root.parts) + 1]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
