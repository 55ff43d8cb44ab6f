"""Reads only files. Needs the standard library alone."""

from __future__ import annotations

import errno
import pathlib


def read_regular(path: pathlib.Path) -> bytes:
    """Reads a file whole; a pipe would keep its reader waiting, and a device might have no end.

    Raises:
      OSError: If it cannot be read, or is no regular file.
    """
    check_regular(path)
    return path.read_bytes()


def check_regular(path: pathlib.Path) -> None:
    """Refuses what to open would wait for, or to read would never end.

    Raises:
      OSError: If it is there and no regular file.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
