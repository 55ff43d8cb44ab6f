"""What the standard library lacks: files that survive a power failure, and removal of any path.

This module uses only the standard library and Python 3.8 syntax, since the doctor uses it too.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import pathlib
import re
import secrets
import shutil
from collections.abc import Iterator
from typing import BinaryIO

_RANDOM_BYTES = 8
# What follows the name of a file in that of its partial file.
_PARTIAL = re.compile(rf"\.[0-9a-f]{{{2 * _RANDOM_BYTES}}}")


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


def write_whole(path: pathlib.Path, content: str | bytes) -> None:
    """Writes a file, of text as UTF-8, whole or not at all: readers see the old one or the new one.

    The same holds after a power failure: without fsync first, a file may come back under its new
    name with nothing in it.

    Raises:
      OSError: where it cannot be written. It names the file, and nothing is left behind.
    """
    remove_partials(path.parent, glob.escape(path.name))
    # It stays locked until it has its name: another writer would take it for a leftover.
    with _named_in_errors(path), _begun(path) as file:
        partial = pathlib.Path(file.name)
        try:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _named_in_errors(path: pathlib.Path) -> Iterator[None]:
    """Names a file in errors that would name its partial file, which is gone, or none."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _begun(path: pathlib.Path) -> BinaryIO:
    """Opens a partial file, and locks it, which tells others that its writer is alive.

    No other writer has a file of this name: process ids are the same in two containers.
    """
    while True:
        partial = path.with_name(f".{path.name}.{secrets.token_hex(_RANDOM_BYTES)}")
        file = partial.open("xb")
        # A network drive may know no locks.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        # Another writer took it for a leftover before it was locked.
        file.close()


def remove_partials(folder: pathlib.Path, name: str = "*") -> None:
    """Removes what killed processes left in a folder while they wrote a file of a name.

    Args:
      folder: Folder of the file.
      name: Name of the file, as a pattern of `glob`; by default that of any file.
    """
    for partial in folder.glob(f".{name}.*"):
        # To open a pipe of such a name would wait for its other end.
        if not (_PARTIAL.fullmatch(partial.suffix) and partial.is_file()):
            continue
        with contextlib.suppress(OSError), partial.open("rb") as file:
            # Fails while its writer is at work.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()


def remove(path: pathlib.Path) -> None:
    """Removes a file, a folder with all that it holds, or a link but not what it leads to.

    Raises:
      OSError: If this fails.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
