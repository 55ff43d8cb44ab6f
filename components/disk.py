"""What was written survives a loss of power."""

from __future__ import annotations

import os
import pathlib


def sync(path: str | os.PathLike[str]) -> None:
    """Has a file, or the entries of a folder, reach the disk.

    Raises:
      OSError: where it does not.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: str | os.PathLike[str]) -> None:
    """Has all that lies below a folder reach the disk, so that the folder may take its name.

    Renamed before, it may come back after a loss of power with nothing in its files.

    Raises:
      OSError: where not all of it does.
    """
    for path in pathlib.Path(folder).rglob("*"):
        sync(path)
    sync(folder)
