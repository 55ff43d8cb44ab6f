"""What a run's result depends on beside data, code and configuration."""

from __future__ import annotations

import getpass
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

from components import environment
from pipeline.installation import packages

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_CODE = ("components", "pipeline")
# Code on which it depends what a receipt says: also that which sets a run up and digests it.
_SOURCES = (*_CODE, "cli", "operations", "review", "pipeline_runner.py")
# Hexadecimal digits that tell two versions of a file apart.
_SHORT_DIGEST = 12
_VERSIONS = (
    "tensorflow",
    "keras",
    "tfx",
    "apache-beam",
    "tensorflow-model-analysis",
    "tensorflow-data-validation",
    "tensorflow-transform",
    "ml-metadata",
    "numpy",
)
# Those by which TensorFlow and oneDNN choose their kernels.
_CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def versions() -> dict[str, str]:
    """Versions of Python, of glibc where the system has it, and of the libraries that compute."""
    found = {name: importlib.metadata.version(name) for name in _VERSIONS}
    glibc = packages.glibc()
    system = {"glibc": packages.dotted(glibc)} if glibc else {}
    return {"python": platform.python_version(), **system, **found}


def machine() -> dict[str, Any]:
    """The machine: name of its processor, cores for this process, memory in GiB, system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _cpu_info("model name"),
        "cores": cores(),
        "memory_gib": round(memory, 1),
        "system": platform.platform(),
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def user() -> str:
    """Name of the user; in a container a user may have a number alone."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
    # As the environment has it, in any encoding.
    return name.encode(errors="backslashreplace").decode()


def cpu_features() -> list[str]:
    """The processor's features on which the results of sums depend."""
    flags = _cpu_info("flags").split()
    return [feature for feature in _CPU_FEATURES if feature in flags]


def arithmetic() -> dict[str, Any]:
    """What the last digits of sums depend on, by the names that a receipt has for it."""
    return {"threads": cores(), "cpu_features": cpu_features(), "onednn": environment.onednn()}


def code() -> dict[str, Any]:
    """Revision of the checkout and whether it holds changes; None outside of git."""
    revision, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "-unormal")
    return {"revision": revision, "dirty": None if changes is None else bool(changes)}


def source_digest() -> str:
    """SHA-256 over the code that decides what a graph computes.

    Coarser than the fingerprints of the nodes, which need TFX.
    """
    digest = hashlib.sha256()
    for path in _python_files(_CODE):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(_ROOT)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def source_files() -> dict[str, str]:
    """The beginning of the SHA-256 of each source file of a run, by its path in the project."""
    contents = {path: path.read_bytes() for path in _python_files(_SOURCES)}
    return {
        path.relative_to(_ROOT).as_posix(): hashlib.sha256(content).hexdigest()[:_SHORT_DIGEST]
        for path, content in contents.items()
    }


def _python_files(places: tuple[str, ...]) -> list[pathlib.Path]:
    """The source files below folders of the project, and those that are named themselves."""
    paths = [_ROOT / place for place in places]
    files = [path for path in paths if path.is_file()]
    return sorted([*files, *(found for path in paths for found in path.rglob("*.py"))])


def _git(*arguments: str) -> str | None:
    try:
        ended = subprocess.run(
            ["git", "-C", str(_ROOT), *arguments],
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=20,
            # A hook of git names another repository in them.
            env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout.strip() if ended.returncode == 0 else None


def _cpu_info(key: str) -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
