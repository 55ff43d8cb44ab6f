"""Numbers of executions, by which TFX names the folders of artifacts.

ML Metadata counts executions on from the last that it knows. Where `metadata.db` is new, or was
restored from an older copy, folders of those numbers may be there already: TFX would write into
them, and remove them where a node fails.
"""

from __future__ import annotations

import contextlib
import sqlite3

from operations.baseline import SERVED_FOLDER
from pipeline.locations import Locations

# Folders of outputs, and those in which TFX works.
_FOLDERS = ("*/*/*", "*/.system/*/*")
_LAST = "SELECT seq FROM sqlite_sequence WHERE name = 'Execution'"


def continue_after_folders(locations: Locations) -> str | None:
    """Has ML Metadata count on from the highest number that a folder of artifacts has.

    To be called by the holder of the pipeline's lock alone, once the store has been made.

    Returns:
      A line for people where folders were found of which ML Metadata knows nothing.
    """
    highest = _highest_folder(locations)
    with contextlib.closing(sqlite3.connect(locations.metadata)) as store, store:
        last = store.execute(_LAST).fetchone()
        if highest <= (last[0] if last else 0):
            return None
        # SQLite documents this table as one to be written to; ML Metadata has no call for it.
        store.execute("DELETE FROM sqlite_sequence WHERE name = 'Execution'")
        store.execute("INSERT INTO sqlite_sequence VALUES ('Execution', ?)", (highest,))
    return (
        f"{locations.artifacts} holds folders of which {locations.metadata.name} knows nothing: "
        "they stay as they are, and `clean` removes them."
    )


def _highest_folder(locations: Locations) -> int:
    found = (path for pattern in _FOLDERS for path in locations.artifacts.glob(pattern))
    # Served models are named by their versions, which no execution can have.
    numbered = (p.name for p in found if SERVED_FOLDER not in p.parts[-3:])
    return max((int(name) for name in numbered if name.isascii() and name.isdigit()), default=0)
