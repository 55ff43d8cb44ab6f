"""How many cores a process may use, by its affinity and by the bounds of its container."""

import os

import pytest

from components import control_groups

# What lies below /sys/fs/cgroup, and the number of cores. The machine has 64.
GROUPS = {
    "no bound": ("0::/\n", {}, 64),
    "version 2": ("0::/\n", {"cpu.max": "400000 100000"}, 4),
    "version 2 without a bound": ("0::/\n", {"cpu.max": "max 100000"}, 64),
    "a part of a core more": ("0::/\n", {"cpu.max": "250000 100000"}, 3),
    "less than a core": ("0::/\n", {"cpu.max": "10000 100000"}, 1),
    "more than the machine has": ("0::/\n", {"cpu.max": "12800000 100000"}, 64),
    "its own group": ("0::/a/b\n", {"a/b/cpu.max": "200000 100000"}, 2),
    "a group around it": (
        "0::/a/b\n",
        {"a/b/cpu.max": "800000 100000", "a/cpu.max": "300000 100000", "c/cpu.max": "1 100000"},
        3,
    ),
    "version 1": (
        "4:memory:/\n1:cpu,cpuacct:/docker/f00\n",
        {"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"},
        4,
    ),
    "version 1, its own group": (
        "1:cpu:/a\n0::/\n",
        {"cpu/a/cpu.cfs_quota_us": "500000", "cpu/a/cpu.cfs_period_us": "100000"},
        5,
    ),
    "version 1 without a bound": (
        "1:cpu:/\n",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        64,
    ),
    "nothing that can be read": ("?", {"cpu.max": "of a later version"}, 64),
}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of 64 cores whose control groups are files."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    monkeypatch.setattr(control_groups, "MEMBERSHIPS", tmp_path / "memberships")
    monkeypatch.setattr(control_groups, "ROOT", tmp_path / "groups")
    return tmp_path


@pytest.mark.parametrize("groups", GROUPS)
def test_the_bound_of_a_container_counts(groups, machine):
    memberships, files, expected = GROUPS[groups]
    (machine / "memberships").write_text(memberships)
    for name, text in files.items():
        path = machine / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    assert control_groups.cores() == expected


def test_a_system_without_control_groups_and_affinity_has_the_cores_of_the_machine(
    machine, monkeypatch
):
    """As macOS."""
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    assert control_groups.cores() == 10
