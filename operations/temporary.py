"""What a run needs for a while, and what one that was cut short left of it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from components.pusher import versions
from pipeline.locations import TEMPORARY_FOLDER, Locations
from pipeline.records import metadata

# Enough for a receipt, for what ML Metadata writes at the end of a run, and for the page.
_RESERVE_BYTES = 4 * 2**20
# What TFX keeps for a node while it is at work, below the `.system` folder of its artifacts.
_WORKING_FOLDERS = ("stateful_working_dir", "driver_execution")


def reserve(path: pathlib.Path) -> None:
    """Makes the temporary folder of a run, and keeps room in it until the run is over.

    A run that fills up the disk thus has room again, once the folder is gone, to say so.

    Raises:
      OSError: where there is no such room.
    """
    path.mkdir()
    with (path / "reserve").open("wb") as file:
        file.write(b"\0" * _RESERVE_BYTES)


@contextlib.contextmanager
def folder(path: pathlib.Path) -> Iterator[None]:
    """Makes a folder the one for temporary files, since TFX and Beam leave things behind in theirs.

    Args:
      path: of the folder, from `reserve`; in the end it is removed.
    """
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = tempfile.tempdir = str(path)
    try:
        yield
    finally:
        tempfile.tempdir = None
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before
        shutil.rmtree(path, ignore_errors=True)


def remove_leftovers(locations: Locations) -> None:
    """Removes the temporary files of runs that were killed.

    To be called by the holder of the pipeline's lock alone, who knows that nothing else runs.
    """
    for left in locations.runs.glob(f"*/{TEMPORARY_FOLDER}"):
        shutil.rmtree(left, ignore_errors=True)
    for name in _WORKING_FOLDERS:
        for left in locations.artifacts.glob(f"*/.system/{name}/*"):
            shutil.rmtree(left, ignore_errors=True)
    versions.remove_unfinished(locations.serving)


def close_interrupted(store: metadata.Store, locations: Locations) -> None:
    """Marks what a killed run left as running in ML Metadata, and removes what it had half written.

    To be called by the holder of the pipeline's lock alone.
    """
    for number in metadata.close_interrupted(store):
        # TFX names folders of outputs, and those that it works in, by the id of the execution.
        for place in ("*/*", "*/.system/*"):
            for left in locations.artifacts.glob(f"{place}/{number}"):
                shutil.rmtree(left, ignore_errors=True)
