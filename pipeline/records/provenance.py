"""What the results of a run come from beside its data: code, libraries and machine."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from components import control_groups, own_code, processor
from pipeline import machine
from pipeline.errors import CodeChangedError
from pipeline.installation import packages
from pipeline.records.receipt import Code, Environment, Machine

_ROOT = packages.PROJECT
# Sources that decide what a graph computes: what runs in its nodes, and what builds it.
_CODE = (
    "components",
    "pipeline/config.py",
    "pipeline/config_file.py",
    "pipeline/dag.py",
    "pipeline/datasets",
    "pipeline/fingerprint.py",
    "pipeline/gates.py",
    "pipeline/nodes.py",
    "pipeline/precision.py",
    "pipeline/profiles.py",
    "pipeline/runners",
)
# Sources that decide what a receipt says: also those that set a run up and digest it.
_SOURCES = ("cli", "components", "operations", "pipeline", "review", "pipeline_runner.py")
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


def environment() -> Environment:
    """Libraries, arithmetic and machine of this process."""
    libraries = packages.installed()
    return Environment(
        lock=libraries.lock,
        lock_sha256=libraries.sha256,
        versions=versions(),
        machine=Machine(
            processor=processor.name(),
            cores=control_groups.cores(),
            memory_gib=machine.memory_gib(),
            system=platform.platform(),
        ),
        **dataclasses.asdict(machine.arithmetic()),
    )


def versions() -> dict[str, str]:
    """Versions of Python, of glibc where the system has it, and of the libraries that compute."""
    glibc = packages.glibc()
    system = {"glibc": packages.dotted(glibc)} if glibc else {}
    libraries = {name: importlib.metadata.version(name) for name in _VERSIONS}
    return {"python": platform.python_version(), **system, **libraries}


def code() -> Code:
    """The code of this checkout."""
    revision, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "-unormal")
    return Code(
        revision=revision,
        dirty=None if changes is None else bool(changes),
        sha256=source_digest(),
        files=source_files(),
    )


def input_digest(
    config: Mapping[str, JsonValue],
    data_digest: str,
    parts: Sequence[tuple[str, str]],
    schema_sha256: str,
    precision: str,
) -> str:
    """SHA-256 over what a run depends on.

    It covers data, schema, code, configuration, precision, libraries and arithmetic.

    Args:
      config: Configuration.
      data_digest: Digest of the data.
      parts: Name and use of each part of the data.
      schema_sha256: SHA-256 of the schema file.
      precision: Precision of the training.
    """
    libraries = packages.installed()
    # The schema counts by its content, wherever it lies; spans by the digests of what was taken.
    # Neither the engine nor the place of the metadata changes a result. A bucket that lacks the
    # served version gets it without a run.
    left_out = ("beam", "metadata", "schema_file", "serving", "spans")
    told = {key: value for key, value in config.items() if key not in left_out}
    described = [
        told,
        data_digest,
        parts,
        schema_sha256,
        precision,
        dataclasses.asdict(machine.arithmetic()),
        source_digest(),
        [libraries.python, libraries.sha256],
    ]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def source_digest() -> str:
    """SHA-256 over the code that decides what a graph computes.

    Coarser than the fingerprints of the nodes, which need TFX.
    """
    digest = hashlib.sha256()
    for path, content in _contents(_CODE).items():
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def source_files() -> dict[str, str]:
    """First digits of the SHA-256 of each source file, by its path in the project."""
    return _digests(_SOURCES)


@functools.cache
def code_at_start() -> dict[str, str]:
    """Digests of the code that decides what a graph computes, when this process first asks.

    It has to ask before it imports that code.
    """
    return _digests(_CODE)


def check_code() -> None:
    """Checks that the code is still that of `code_at_start`.

    A run imports modules until its end, and somewhere in between it reads what names its results:
    the digest of the code, and the fingerprints of the nodes.

    Raises:
      CodeChangedError: A source changed, came or went.
    """
    before, now = code_at_start(), _digests(_CODE)
    changed = [path for path in sorted({*before, *now}) if before.get(path) != now.get(path)]
    if not changed:
        return
    others = f" and {len(changed) - 1} more" if changed[1:] else ""
    raise CodeChangedError(
        f"the code of the project changed while the command was at work ({changed[0]}{others}); "
        "expected the same code from beginning to end, since the cache and the receipt name the "
        "code of each result. When the update or the edit is complete, run again: nodes whose "
        "input and code are the same come from the cache."
    )


def _digests(places: tuple[str, ...]) -> dict[str, str]:
    return {
        path: hashlib.sha256(content).hexdigest()[:_SHORT_DIGEST]
        for path, content in _contents(places).items()
    }


def _contents(places: tuple[str, ...]) -> dict[str, bytes]:
    """The source files in folders of the project, and those named directly, by their paths."""
    found: dict[str, bytes] = {}
    for place in places:
        for path, content in own_code.sources(_ROOT / place).items():
            found[path.relative_to(_ROOT).as_posix()] = content
    return found


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
