"""Numbers of executions, which TFX gives to the folders of artifacts as names.

ML Metadata counts on from the last execution that it knows. Where `metadata.db` is new, or was
restored from an older copy, folders with the next numbers may exist already: TFX would write into
them, and remove them where a node fails. And a store that is restored later would take another
store's folder for its own. So no store ever gives a number twice.
"""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
import time

from components.pusher import versions
from pipeline.database.address import Address
from pipeline.errors import StoreError
from pipeline.locations import Locations
from pipeline.records import metadata, server_store
from pipeline.records.baseline import SERVED_FOLDER

# Folders of outputs, and TFX's working folders.
_FOLDERS = ("*/*/*", "*/.system/*/*")
_LAST = "SELECT seq FROM sqlite_sequence WHERE name = 'Execution'"


def continue_from_now(locations: Locations) -> str | None:
    """Makes ML Metadata count on from the time in seconds, or from the highest number in use.

    A run lasts more seconds than it has executions, so the numbers stay behind the clock. Only the
    holder of the pipeline's lock may call it, once the store exists.

    Returns:
      A line for people where there are folders that ML Metadata does not know; else None.

    Raises:
      StoreError: The store cannot be written to.
      StoreLockedError: Another process has locked the store.
    """
    highest = _highest_folder(locations)
    least, place = max(highest, int(time.time())), metadata.place_of(locations)
    if isinstance(place, Address):
        last = server_store.raise_execution_number(place, least)
    else:
        last = _raise_in_file(place, least)
    if highest <= last:
        return None
    return (
        f"{locations.artifacts} holds folders that {metadata.shown_place(place)} does not know: "
        "they stay as they are, until `clean --keep-last 10 --apply` removes them."
    )


def _raise_in_file(path: pathlib.Path, least: int) -> int:
    """Gives the next execution a number above `least`; returns the highest number until now."""
    try:
        return _raise_to(path, least)
    except sqlite3.Error as error:
        metadata.check_store(path, writing=True)
        raise StoreError(f"{path} cannot be written to: {error}") from error


def _raise_to(path: pathlib.Path, least: int) -> int:
    with contextlib.closing(sqlite3.connect(path)) as store, store:
        row = store.execute(_LAST).fetchone()
        last = row[0] if row else 0
        # SQLite allows writing to this table; ML Metadata has no call for it.
        store.execute("DELETE FROM sqlite_sequence WHERE name = 'Execution'")
        store.execute("INSERT INTO sqlite_sequence VALUES ('Execution', ?)", (max(last, least),))
    return last


def _highest_folder(locations: Locations) -> int:
    paths = (path for pattern in _FOLDERS for path in locations.artifacts.glob(pattern))
    # Folders of served models are named after versions, not executions.
    names = (path.name for path in paths if SERVED_FOLDER not in path.parts[-3:])
    return max((int(name) for name in names if versions.is_number(name)), default=0)
