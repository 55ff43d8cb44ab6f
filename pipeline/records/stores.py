"""What is wrong with a metadata store, before ML Metadata opens it.

ML Metadata waits more than half a minute for a store that is locked, takes an empty file for a new
store, and tells of damage in the words of SQLite. Here the file is asked directly, within seconds.

Standard library alone, and no syntax newer than Python 3.8: the doctor asks, too.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.locations import DEFAULT_OUTPUT_DIR

Kind = Literal["damaged", "other version", "locked", "inaccessible"]

# Of the tables that the installed ML Metadata makes.
STORE_VERSION = 10
# Others lock a store for moments; whoever holds it longer than this does not give it back soon.
_PATIENCE_SECONDS = 3.0
# In which SQLite says that the system keeps it from a file. Its other errors tell of damage.
_OF_THE_SYSTEM = ("unable to open", "readonly", "disk I/O error", "is full")


@dataclass(frozen=True)
class Fault:
    """Why a store cannot be used: what was found, what was expected and how to fix it, in words."""

    kind: Kind
    found: str
    expected: str
    fix: str

    @property
    def message(self) -> str:
        """All of it in one line."""
        return f"{self.found}; expected {self.expected}. Fix: {self.fix}"


def find_fault(store: Path, writing: bool) -> Fault | None:
    """Ask a store whether it can be used.

    Args:
      store: its SQLite file.
      writing: whether it has to be writable, too.

    Returns:
      None where it can, and where there is no file or an empty one: ML Metadata fills it.
    """
    try:
        if not os.path.lexists(store):
            return None
        if not store.exists():
            return _inaccessible(store, "it is a link that leads nowhere")
        if store.is_dir():
            return _damaged(store, "it is a folder")
        return _ask(store, writing)
    except sqlite3.Error as error:
        return _of_sqlite(store, error)
    except OSError as error:
        return _inaccessible(store, error.strerror or str(error))


def repair_command(store: Path) -> str:
    """Return the command that makes a new store in the place of this one."""
    root = store.absolute().parent
    command = ["python3", "pipeline_runner.py", "repair", "--pipeline", root.name]
    if root.parent != DEFAULT_OUTPUT_DIR.absolute():
        command += ["--output-dir", str(root.parent)]
    return shlex.join(command)


def _ask(store: Path, writing: bool) -> Fault | None:
    # A journal that a killed process left is rolled back, which needs more than reading.
    address = f"file:{urllib.parse.quote(os.fsencode(store.absolute()))}?mode=rw"
    connection = sqlite3.connect(address, uri=True, timeout=_PATIENCE_SECONDS, isolation_level=None)
    try:
        (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if answer != "ok":
            return _damaged(store, " ".join(answer.split()))
        fault = _of_version(store, connection)
        if fault is None and writing:
            connection.execute("BEGIN IMMEDIATE")
            # That much a file may allow that cannot be written to.
            connection.execute("PRAGMA user_version = 1")
            connection.execute("ROLLBACK")
        return fault
    finally:
        connection.close()


def _of_version(store: Path, connection: sqlite3.Connection) -> Fault | None:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    names = {name for (name,) in tables}
    if not names:
        return None
    if "MLMDEnv" not in names:
        return _damaged(store, "it is a database of something else")
    versions = [version for (version,) in connection.execute("SELECT schema_version FROM MLMDEnv")]
    if len(versions) != 1 or not isinstance(versions[0], int):
        return _damaged(store, "it does not say its version")
    if versions[0] == STORE_VERSION:
        return None
    renew = f"move it away and make a new one with: {repair_command(store)}"
    known = f"version {STORE_VERSION}, which this project knows"
    if versions[0] > STORE_VERSION:
        found = f"{store} has version {versions[0]}, of a later ML Metadata"
        return Fault("other version", found, known, f"update the project, or {renew}")
    found = f"{store} has version {versions[0]}, of an earlier ML Metadata"
    return Fault("other version", found, known, renew)


def _of_sqlite(store: Path, error: sqlite3.Error) -> Fault:
    if "locked" in str(error):
        return Fault(
            "locked",
            f"{store} is locked by another process",
            f"the lock to be released within {_PATIENCE_SECONDS:.0f} seconds",
            f"end whatever holds it (`fuser {shlex.quote(str(store))}` names it), and try again",
        )
    if any(words in str(error) for words in _OF_THE_SYSTEM):
        return _inaccessible(store, str(error))
    return _damaged(store, str(error))


def _damaged(store: Path, how: str) -> Fault:
    return Fault(
        "damaged",
        f"{store} is damaged ({how})",
        "a metadata store",
        f"move it away and make a new one with: {repair_command(store)}",
    )


def _inaccessible(store: Path, how: str) -> Fault:
    return Fault(
        "inaccessible",
        f"{store} cannot be used ({how})",
        "to read and write it",
        "give this user room, and read and write permission for it and its folder",
    )
