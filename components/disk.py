"""What the standard library lacks: files that survive a power failure, and removal of any path."""

from __future__ import annotations

import os
import pathlib
import shutil


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


def remove(path: pathlib.Path) -> None:
    """Removes a file, a folder with all that it holds, or a link but not what it leads to.

    Raises:
      OSError: If this fails.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
