"""Remembers the SHA-256 of unchanged files, so that an unchanged run need not read them.

A digest is kept under the path, device, inode, size and times of its file. Like Git, nothing is
trusted that could have changed within the resolution of its time stamp: a digest is kept only of a
file that was last changed a while before it was read. On a network file system, nothing is kept,
since its clock and its caches are not ours. An object in a bucket has its entity tag in the place
of device and inode: it changes whenever the object is written with other content.
"""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
import struct
import subprocess
import time
from collections.abc import Iterator

from components.object_store import is_address

# Of file systems on a disk or in the memory of this machine, as stat(1) names them. The table of
# mounts would not do: in a chroot, the mount that holds the files is not in it.
_LOCAL_FILE_SYSTEMS = frozenset(
    ("bcachefs", "btrfs", "ext2/ext3", "f2fs", "overlayfs", "tmpfs", "xfs", "zfs")
)
# Longer than the resolution of the time stamps of any of them.
_RACY_NANOSECONDS = 3_000_000_000
# What is read is kept at least so often: whoever is cut off goes on there the next time.
_SAVE_SECONDS = 60.0

# UnicodeDecodeError: what a damaged database says of itself is not UTF-8.
_UNUSABLE = (OSError, sqlite3.Error, UnicodeDecodeError)
# SQLITE_ERROR: it has other tables or columns.
_DAMAGE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

# Device, inode, size, and times of the last changes of content and of inode in nanoseconds; for an
# object in a bucket, what `BucketFiles.state` says.
State = tuple[int, ...]
_STATE = struct.Struct("<QQqqq")
# Path, packed state and SHA-256 of a file.
_Row = tuple[bytes, bytes, bytes]


class DigestCache:
    """Digests of the files of one data folder."""

    def __init__(self, file: pathlib.Path, root: str, *, trusted: bool):
        """Reads what is kept.

        Args:
          file: Database of the digests.
          root: Folder of the data, or its address.
          trusted: Whether to use what is kept; it is replaced in any case.
        """
        self._file = file
        self._is_in_bucket = is_address(root)
        self._is_kept = self._is_in_bucket or is_local(root)
        # A folder or a link below it may lead to another file system.
        is_folder = self._is_kept and not self._is_in_bucket
        self._device = pathlib.Path(root).stat().st_dev if is_folder else None
        known = self._read() if self._is_kept else {}
        self._known = known if trusted else {}
        self._current: dict[bytes, _Row] = {}
        self._unsaved: list[_Row] = []
        self._saved = time.monotonic()

    def find(self, path: str, state: State) -> str | None:
        """The digest of a file as it is kept, in hexadecimal form; None if it is not.

        Args:
          path: Path of the file, with what the digest is of.
          state: State of the file.
        """
        key = path.encode(errors="surrogateescape")
        kept = self._known.get(key)
        if kept is None or kept[1] != _STATE.pack(*state):
            return None
        self._current[key] = kept
        return kept[2].hex()

    def keep(self, path: str, state: State, digest: str, began: int) -> None:
        """Keeps the digest of a file, unless it was changed shortly before it was read.

        Args:
          path: Path of the file, with what the digest is of.
          state: State of the file.
          digest: The digest, in hexadecimal form.
          began: Time when the reading began, in nanoseconds.
        """
        is_ours = self._is_in_bucket or state[0] == self._device
        if is_ours and began - max(state[-2:]) > _RACY_NANOSECONDS:
            key = path.encode(errors="surrogateescape")
            self._current[key] = (key, _STATE.pack(*state), bytes.fromhex(digest))
            self._unsaved.append(self._current[key])
        if time.monotonic() - self._saved >= _SAVE_SECONDS:
            self._save_new()

    def save(self) -> None:
        """Keeps the digests of this time; without room or permission, the next run reads anew."""
        if not self._is_kept or self._current == self._known:
            return
        with contextlib.suppress(*_UNUSABLE), self._database() as database:
            database.execute("DELETE FROM files")
            database.executemany("INSERT INTO files VALUES (?, ?, ?)", self._current.values())

    def _save_new(self) -> None:
        """Keeps what was read since the last time, beside what was kept before."""
        if self._is_kept:
            with contextlib.suppress(*_UNUSABLE), self._database() as database:
                rows = "INSERT OR REPLACE INTO files VALUES (?, ?, ?)"
                database.executemany(rows, self._unsaved)
        self._unsaved.clear()
        self._saved = time.monotonic()

    def _read(self) -> dict[bytes, _Row]:
        with contextlib.suppress(*_UNUSABLE):
            try:
                if self._file.exists():
                    with self._database() as database:
                        rows = database.execute("SELECT path, state, sha256 FROM files")
                        return {row[0]: row for row in rows}
            except _UNUSABLE as error:
                # Or nothing would ever be kept again.
                if _is_damage(error):
                    self._file.unlink()
        return {}

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self._file, timeout=5)) as database, database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS files "
                "(path BLOB PRIMARY KEY, state BLOB, sha256 BLOB) WITHOUT ROWID"
            )
            yield database


def _is_damage(error: Exception) -> bool:
    """Whether a database will never be readable, other than one that is locked for example."""
    if isinstance(error, sqlite3.Error):
        # Of an extended code, the last byte is the kind; Python's own errors have no code.
        return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF in _DAMAGE
    return isinstance(error, UnicodeDecodeError)


def is_local(root: str) -> bool:
    """Whether a folder is known to be on this machine."""
    command = ["stat", "--file-system", "--format=%T", "--", root]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        # Not the stat of GNU: nothing is known.
        return False
    return ended.stdout.strip() in _LOCAL_FILE_SYSTEMS
