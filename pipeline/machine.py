"""The machine that a process runs on: its processor, its memory and its user."""

from __future__ import annotations

import dataclasses
import getpass
import os
import pathlib
import platform

from components import control_groups, environment

# Those by which TensorFlow and oneDNN choose their kernels.
_CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """What the last digits of sums depend on beside the code.

    Attributes:
      threads: Number of threads that compute, one for each core that the process may use.
      cpu_features: Features of the processor by which kernels are chosen.
      onednn: Whether TensorFlow uses oneDNN's kernels.
    """

    threads: int
    cpu_features: tuple[str, ...]
    onednn: bool


def arithmetic() -> Arithmetic:
    """The arithmetic of this machine."""
    return Arithmetic(control_groups.cores(), cpu_features(), environment.onednn())


def memory_gib() -> float:
    """Memory in GiB, to one decimal."""
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def processor() -> str:
    """Name of the processor."""
    return _cpu_info("model name")


def cpu_features() -> tuple[str, ...]:
    """Features of the processor on which the results of sums depend."""
    flags = _cpu_info("flags").split()
    return tuple(feature for feature in _CPU_FEATURES if feature in flags)


def user() -> str:
    """Name of the user; in a container a user may have a number alone."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
    # As the environment has it, in any encoding.
    return name.encode(errors="backslashreplace").decode()


def _cpu_info(key: str) -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
