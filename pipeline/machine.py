"""The machine that a process runs on: its processor, its memory and its user."""

from __future__ import annotations

import dataclasses
import getpass
import os

from components import control_groups, environment, processor

# Those by which TensorFlow and oneDNN choose their kernels.
_CPU_FEATURES = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
)


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


def cpu_features() -> tuple[str, ...]:
    """Features of the processor on which the results of sums depend."""
    flags = processor.flags()
    return tuple(feature for feature in _CPU_FEATURES if feature in flags)


def user() -> str:
    """Name of the user; in a container a user may have a number alone."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
    # As the environment has it, in any encoding.
    return name.encode(errors="backslashreplace").decode()
