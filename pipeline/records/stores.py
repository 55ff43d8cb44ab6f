"""Checks of a metadata store before ML Metadata opens it.

ML Metadata waits more than half a minute for a locked store, and reports damage with the messages
of SQLite. This module opens the file directly and answers within seconds.

It uses only the standard library and Python 3.8 syntax, since the doctor uses it too.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.locations import Locations

Kind = Literal["damaged", "other version", "locked", "inaccessible"]

# Schema version of the installed ML Metadata.
STORE_VERSION = 10
# Other processes usually lock a store for moments only; a longer lock will not end soon.
_PATIENCE_SECONDS = 3.0
# SQLite may quote a file at any length.
_LONGEST_REASON = 300
# SQLite's words for errors of the operating system. Its other errors mean damage.
_SYSTEM_ERRORS = ("unable to open", "readonly", "disk I/O error", "is full")


@dataclass(frozen=True)
class Fault:
    """The reason why a store cannot be used.

    Attributes:
      kind: Kind of the fault.
      found: What was found.
      expected: What was expected.
      fix: How to fix it.
    """

    kind: Kind
    found: str
    expected: str
    fix: str

    @property
    def message(self) -> str:
        """All three parts in one line."""
        return f"{self.found}; expected {self.expected}. Fix: {self.fix}"


def find_fault(store: Path, writing: bool) -> Fault | None:
    """Check whether a store can be used.

    Args:
      store: SQLite file of the store.
      writing: Whether the store has to be writable.

    Returns:
      The fault, or None if the store is usable. A missing or empty file is usable: ML Metadata
      creates the store.
    """
    try:
        if not os.path.lexists(store):
            return None
        if not store.exists():
            return _inaccessible(store, "it is a broken link")
        if store.is_dir():
            return _damaged(store, "it is a folder")
        return _check(store, writing)
    except sqlite3.Error as error:
        return _sqlite_fault(store, error)
    # Where SQLite cannot even say what is wrong.
    except UnicodeDecodeError:
        return _damaged(store, "its text is not UTF-8")
    except OSError as error:
        return _inaccessible(store, error.strerror or str(error))


def repair_command(store: Path) -> str:
    """Return the command that replaces a store by a new one."""
    return Locations(store.absolute().parent).command("repair")


def _check(store: Path, writing: bool) -> Fault | None:
    # Read-only mode is not enough: SQLite has to roll back the journal of a killed process.
    address = f"file:{urllib.parse.quote(os.fsencode(store.absolute()))}?mode=rw"
    connection = sqlite3.connect(address, uri=True, timeout=_PATIENCE_SECONDS, isolation_level=None)
    try:
        (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if answer != "ok":
            return _damaged(store, " ".join(answer.split()))
        fault = _version_fault(store, connection)
        if fault is None and writing:
            connection.execute("BEGIN IMMEDIATE")
            # BEGIN alone may succeed on a file that is not writable.
            connection.execute("PRAGMA user_version = 1")
            connection.execute("ROLLBACK")
        return fault
    finally:
        connection.close()


def _version_fault(store: Path, connection: sqlite3.Connection) -> Fault | None:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    names = {name for (name,) in tables}
    if not names:
        return None
    if "MLMDEnv" not in names:
        return _damaged(store, "it is the database of another program")
    versions = [version for (version,) in connection.execute("SELECT schema_version FROM MLMDEnv")]
    if len(versions) != 1 or not isinstance(versions[0], int):
        return _damaged(store, "it has no version")
    if versions[0] == STORE_VERSION:
        return None
    renew = f"move it away and create a new one with: {repair_command(store)}"
    known = f"version {STORE_VERSION}, the one of the installed ML Metadata"
    if versions[0] > STORE_VERSION:
        found = f"{store} has version {versions[0]}, of a later ML Metadata"
        return Fault("other version", found, known, f"update the project, or {renew}")
    found = f"{store} has version {versions[0]}, of an earlier ML Metadata"
    return Fault("other version", found, known, renew)


def _sqlite_fault(store: Path, error: sqlite3.Error) -> Fault:
    if "locked" in str(error):
        return Fault(
            "locked",
            f"{store} is locked by another process",
            f"the lock to be released within {_PATIENCE_SECONDS:.0f} seconds",
            f"end that process (`fuser {shlex.quote(str(store))}` shows its id), and try again",
        )
    if any(words in str(error) for words in _SYSTEM_ERRORS):
        return _inaccessible(store, str(error))
    return _damaged(store, str(error))


def _in_brief(how: str) -> str:
    """The beginning of what SQLite says, escaped: it may quote the damaged file."""
    return (how if how.isprintable() else ascii(how))[:_LONGEST_REASON]


def _damaged(store: Path, how: str) -> Fault:
    return Fault(
        "damaged",
        f"{store} is damaged ({_in_brief(how)})",
        "a readable SQLite database",
        f"move it away and create a new one with: {repair_command(store)}",
    )


def _inaccessible(store: Path, how: str) -> Fault:
    return Fault(
        "inaccessible",
        f"{store} cannot be used ({_in_brief(how)})",
        "a readable and writable file",
        "give this user read and write permission for the file and its folder, and free disk space",
    )
