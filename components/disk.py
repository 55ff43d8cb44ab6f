"""Fsync helpers, so that files survive a power failure."""

from __future__ import annotations

import os
import pathlib


def sync(path: str | os.PathLike[str]) -> None:
    """Flushes a file, or the entries of a folder, to the disk.

    Raises:
      OSError: If this fails.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: str | os.PathLike[str]) -> None:
    """Flushes everything below a folder to the disk; call this before you rename the folder.

    Otherwise the renamed folder may have empty files after a power failure.

    Raises:
      OSError: If this fails.
    """
    for path in pathlib.Path(folder).rglob("*"):
        sync(path)
    sync(folder)
