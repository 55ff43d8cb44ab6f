"""Temporary files of a run, and what a run that was cut short left of them."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from components.disk import remove_partials
from components.pusher import versions
from pipeline.locations import TEMPORARY_FOLDER, Locations
from pipeline.records import metadata

# Enough for a receipt, ML Metadata's last entries and the page.
_RESERVE_BYTES = 4 * 2**20
# Folders below `.system` in which TFX keeps files of a running node.
_WORKING_FOLDERS = ("stateful_working_dir", "driver_execution")


def reserve(path: pathlib.Path) -> None:
    """Makes the temporary folder of a run, with a file that reserves disk space.

    A run that fills the disk removes the folder and then has the space to record its failure.

    Raises:
      OSError: The disk has too little space.
    """
    path.mkdir()
    with (path / "reserve").open("wb") as file:
        file.write(b"\0" * _RESERVE_BYTES)


@contextlib.contextmanager
def folder(path: pathlib.Path) -> Iterator[None]:
    """Makes all temporary files go to a folder, since TFX and Beam leave files behind.

    Args:
      path: The folder from `reserve`; it is removed in the end.
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
    """Removes the temporary files of killed runs; only the holder of the lock may call it."""
    for left in locations.runs.glob(f"*/{TEMPORARY_FOLDER}"):
        shutil.rmtree(left, ignore_errors=True)
    for run in locations.runs.glob("*"):
        remove_partials(run)
    for name in _WORKING_FOLDERS:
        for left in locations.artifacts.glob(f"*/.system/{name}/*"):
            shutil.rmtree(left, ignore_errors=True)
    versions.remove_unfinished(locations.serving)


def close_interrupted(store: metadata.Store, locations: Locations) -> None:
    """Marks executions of killed runs as interrupted, and removes their half-written folders.

    Only the holder of the pipeline's lock may call it.
    """
    for number in metadata.close_interrupted(store, locations.root.name):
        # TFX names folders of outputs, and its working folders, after the execution.
        for place in ("*/*", "*/.system/*"):
            for left in locations.artifacts.glob(f"{place}/{number}"):
                shutil.rmtree(left, ignore_errors=True)
