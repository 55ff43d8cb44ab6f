"""The software bill of materials of this environment, as CycloneDX 1.6 in JSON.

    python -m pipeline.installation.bill_of_materials FILE

It lists each package of the installed lock file with version, licence and the hashes of the files
that the lock file accepts. The same environment gives the same bytes: it has no time stamp. No
known tool writes licences and hashes together: hashes are in lock files alone, and licences in the
metadata of what is installed.

This module uses only the standard library.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.disk import write_whole
from pipeline.installation import licences, packages

_NAME = "image-pipeline"
# The beginning of each package in a lock file.
_BLOCK = re.compile(r"\n(?=[\w.-]+==)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class BillError(Exception):
    """The bill cannot be written; the message has two lines: what happened, and what to do."""


@dataclass(frozen=True)
class Component:
    """A package of a lock file that is installed.

    Attributes:
      name: Name, as spelled in lock files.
      version: Version.
      licence: Licence as an SPDX expression; None if nothing names one.
      hashes: SHA-256 of each file that the lock file accepts.
    """

    name: str
    version: str
    licence: str | None
    hashes: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the bill of materials; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.installation.bill_of_materials",
        description="Write the software bill of materials of this environment.",
    )
    parser.add_argument("file", type=Path, help="JSON file to write")
    file = parser.parse_args(arguments).file
    try:
        written = bill(installed_lock())
        _write(file, json.dumps(written, indent=2) + "\n")
    except BillError as error:
        for line in str(error).splitlines():
            print(f"make: {line}", file=sys.stderr)
        return 1
    count, lock = len(written["components"]), written["metadata"]["properties"][0]["value"]
    print(f"{file}: {count} packages of {lock}, with licences and hashes.")
    return 0


def installed_lock() -> Path:
    """Returns the lock file that this environment was made from.

    Raises:
      BillError: If it was not made from one.
    """
    lock = packages.installed_lock(Path(sys.prefix))
    if lock is None:
        raise BillError(
            f"{sys.prefix} was not made from a lock file; expected the environment of this "
            "project.\nSet it up with: make setup"
        )
    return lock


def bill(lock: Path) -> dict[str, Any]:
    """Returns the bill of materials as a CycloneDX document.

    Raises:
      BillError: If a package of the lock file is not installed.
    """
    content = lock.read_bytes()
    properties = {
        "lock": lock.name,
        "lock-sha256": hashlib.sha256(content).hexdigest(),
        "python": packages.minor(platform.python_version()),
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "bom-ref": _NAME, "name": _NAME},
            "properties": [
                {"name": f"{_NAME}:{key}", "value": value} for key, value in properties.items()
            ],
        },
        "components": [_entry(each) for each in components(content.decode())],
    }


def components(lock: str) -> list[Component]:
    """Returns the packages of a lock file that are installed, in its order.

    A package with a marker may be absent, or there in the version of another line.

    Args:
      lock: Text of the lock file.

    Raises:
      BillError: If a package without a marker is absent or has another version.
    """
    there = packages.distributions()
    found = []
    for block in _BLOCK.split(lock):
        for name, version, marker in packages.pins(block):
            package = there.get(packages.canonical(name))
            if package and package.version == version:
                hashes = tuple(_HASH.findall(block))
                found.append(Component(name, version, licences.licence(package), hashes))
            elif not marker:
                raise BillError(
                    f"{name} {version} is not installed; expected every package of the lock file."
                    "\nInstall them with: make setup"
                )
    return found


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text)
    except OSError as error:
        raise BillError(
            f"{file} cannot be written ({error.strerror}); expected a file in a folder of your own."
            "\nName another file, or free some space."
        ) from error


def _entry(component: Component) -> dict[str, Any]:
    address = f"pkg:pypi/{component.name}@{component.version}"
    licence = component.licence
    return {
        "type": "library",
        "bom-ref": address,
        "name": component.name,
        "version": component.version,
        "purl": address,
        "licenses": [{"expression": licence}] if licence else [],
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in component.hashes],
    }


if __name__ == "__main__":
    sys.exit(main())
