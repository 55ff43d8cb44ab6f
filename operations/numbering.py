"""Numbers of executions, by which TFX names the folders of artifacts.

ML Metadata counts executions on from the last that it knows. Where `metadata.db` is new, or was
restored from an older copy, folders of those numbers may be there already: TFX would write into
them, and remove them where a node fails. And a store that is restored later would take a folder
for its own that another store has numbered. So no number is ever given twice, by any store.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time

from components.pusher import versions
from pipeline.errors import StoreError
from pipeline.locations import Locations
from pipeline.records import metadata
from pipeline.records.baseline import SERVED_FOLDER

# Folders of outputs, and those in which TFX works.
_FOLDERS = ("*/*/*", "*/.system/*/*")
_LAST = "SELECT seq FROM sqlite_sequence WHERE name = 'Execution'"


def continue_from_now(locations: Locations) -> str | None:
    """Has ML Metadata count on from the time, or from the highest number there is.

    That is the time in seconds, as versions are numbered. A run lasts more seconds than it makes
    executions, so the numbers stay behind the clock.

    To be called by the holder of the pipeline's lock alone, once the store has been made.

    Returns:
      A line for people where there are folders of which ML Metadata knows nothing.

    Raises:
      StoreError: where the store cannot be written to.
      StoreLockedError: where another process has locked it.
    """
    highest = _highest_folder(locations)
    try:
        last = _raise_to(locations, max(highest, int(time.time())))
    except sqlite3.Error as error:
        metadata.check_store(locations.metadata, writing=True)
        raise StoreError(f"{locations.metadata} cannot be written to: {error}") from error
    if highest <= last:
        return None
    return (
        f"{locations.artifacts} holds folders of which {locations.metadata.name} knows nothing: "
        "they stay as they are, until `clean --keep-last 10 --apply` removes them."
    )


def _raise_to(locations: Locations, least: int) -> int:
    """Has the next execution a higher number than `least`; returns the highest until now."""
    with contextlib.closing(sqlite3.connect(locations.metadata)) as store, store:
        row = store.execute(_LAST).fetchone()
        last = row[0] if row else 0
        # SQLite documents this table as one to be written to; ML Metadata has no call for it.
        store.execute("DELETE FROM sqlite_sequence WHERE name = 'Execution'")
        store.execute("INSERT INTO sqlite_sequence VALUES ('Execution', ?)", (max(last, least),))
    return last


def _highest_folder(locations: Locations) -> int:
    found = (path for pattern in _FOLDERS for path in locations.artifacts.glob(pattern))
    # Served models are named by their versions, which no execution can have.
    numbered = (p.name for p in found if SERVED_FOLDER not in p.parts[-3:])
    return max((int(name) for name in numbered if versions.is_number(name)), default=0)
