"""Versioned folders of served models: published whole or not at all."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import time

from components import disk

# No reader takes such names for versions.
_INCOMING, _OUTGOING = ".incoming-", ".outgoing-"


def served_versions(base: pathlib.Path) -> list[int]:
    """All version numbers below `base`, lowest first; servers take the highest."""
    if not base.is_dir():
        return []
    return sorted(int(entry.name) for entry in base.iterdir() if _is_version(entry))


def publish(export: pathlib.Path, base: pathlib.Path) -> int:
    """Copies an export below `base` under a new, higher version, and returns the version.

    The copy is made under a name that no reader looks at, brought to the disk, and renamed:
    a reader sees the whole version or none of it. Versions are unix seconds, as TFX's Pusher names
    them, and one more than the newest where that is not higher.

    To be called by one process at a time, which the lock of the pipeline sees to: what an earlier
    one left unfinished is removed.

    Args:
      export: folder of a SavedModel.
      base: folder of the versions.

    Raises:
      OSError: where the copy fails; what was served stays as it was.
    """
    base.mkdir(parents=True, exist_ok=True)
    remove_unfinished(base)
    version = max([int(time.time()), *(number + 1 for number in served_versions(base))])
    incoming = base / f"{_INCOMING}{version}-{os.getpid()}"
    try:
        shutil.copytree(export, incoming)
        disk.sync_tree(incoming)
        incoming.rename(base / str(version))
    except OSError:
        shutil.rmtree(incoming, ignore_errors=True)
        raise
    disk.sync(base)
    return version


def withdraw(base: pathlib.Path, version: int) -> None:
    """Removes a version, out of the sight of readers first: none of them finds half of it.

    To be called by the holder of the pipeline's lock alone.

    Raises:
      OSError: where not all of it can be removed; `unfinished` finds the rest.
    """
    outgoing = base / f"{_OUTGOING}{version}"
    (base / str(version)).rename(outgoing)
    disk.sync(base)
    shutil.rmtree(outgoing)


def unfinished(base: pathlib.Path) -> list[pathlib.Path]:
    """What pushes and removals that were cut short left below `base`."""
    return [path for prefix in (_INCOMING, _OUTGOING) for path in sorted(base.glob(f"{prefix}*"))]


def remove_unfinished(base: pathlib.Path) -> None:
    """Removes what was left unfinished below `base`; for the holder of the lock alone."""
    for path in unfinished(base):
        shutil.rmtree(path)


def content_digest(folder: pathlib.Path) -> str:
    """SHA-256 over the names and the contents of all files below `folder`, hexadecimal."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _is_version(entry: pathlib.Path) -> bool:
    # str.isdigit alone takes digits that int does not, such as superscripts.
    return entry.name.isascii() and entry.name.isdigit() and entry.is_dir()
