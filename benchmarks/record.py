"""The record of a benchmark's run (`record.schema.json` is its form)."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import pathlib
import shlex
import sys
from typing import Any

from components.disk import write_whole
from pipeline.datasets.dataset import DataSet
from pipeline.errors import OutputError
from pipeline.records import provenance

SCHEMA_VERSION = 1
SCHEMA = pathlib.Path(__file__).with_name("record.schema.json")
FOLDER = pathlib.Path(__file__).with_name("records")
NOWHERE = "none"

_ROOT = pathlib.Path(__file__).resolve().parent.parent
# What decides what is measured.
_SOURCE_FOLDERS = ("benchmarks", "components", "operations", "pipeline", "review")


def begun(
    name: str, began: datetime.datetime, configuration: dict[str, Any], data: DataSet
) -> dict[str, Any]:
    """The record of a benchmark that has begun; it has no figures yet.

    Args:
      name: of the benchmark.
      began: with its time zone.
      configuration: all that was asked for, and the configurations that followed from it.
      data: the images that are measured with.
    """
    environment, code = provenance.environment(), provenance.code()
    return {
        "schema_version": SCHEMA_VERSION,
        "benchmark": name,
        "complete": False,
        "began": began.isoformat(timespec="seconds"),
        "seconds": 0.0,
        "command": shlex.join(
            ["python", "-m", f"benchmarks.{name}", *map(_portable, sys.argv[1:])]
        ),
        "configuration": configuration,
        "data": {"name": _portable(data.name), "sample": data.sample, "sha256": data.sha256s},
        "machine": environment.machine.model_dump(),
        "cpu_features": list(environment.cpu_features),
        # What else the machine was doing when the benchmark began.
        "load_average": os.getloadavg()[0],
        "versions": environment.versions,
        "code": {
            "revision": code.revision,
            "dirty": code.dirty,
            "sources_sha256": _sources_sha256(),
        },
        "repeats": [],
        "figures": {},
    }


def place(wanted: str | None, name: str, short: bool, began: datetime.datetime) -> str | None:
    """The file of a record; None where none is to be written.

    Args:
      wanted: a path, `none`, or None for a new file in `benchmarks/records/`, which a short form
        does not write.
      name: of the benchmark.
      short: whether it is its short form.
      began: stands in the file's name.
    """
    if wanted == NOWHERE or (wanted is None and short):
        return None
    return wanted or str(FOLDER / f"{name}-{began:%Y%m%d-%H%M%S}.json")


def write(record: dict[str, Any], path: str) -> None:
    """Writes the record whole or not at all.

    Raises:
      OutputError: where it cannot be written.
    """
    target = pathlib.Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, json.dumps(record, indent=1) + "\n")
    except OSError as error:
        raise OutputError(
            f"the record cannot be written to {path} ({error.strerror}); expected a file that can "
            "be written. Give another with --record PATH, or --record none."
        ) from error


def _portable(argument: str) -> str:
    """Of an absolute path its last part: the rest says nothing on another machine."""
    path = pathlib.Path(argument)
    return path.name if path.is_absolute() else argument


def _sources_sha256() -> str:
    """Tells apart what the revision does not: a checkout with changes."""
    digest = hashlib.sha256()
    for path in sorted(p for folder in _SOURCE_FOLDERS for p in (_ROOT / folder).rglob("*.py")):
        digest.update(f"{path.relative_to(_ROOT)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
