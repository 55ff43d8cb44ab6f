"""Copies the newest whole version from a bucket to a folder, for a model server."""

from __future__ import annotations

import dataclasses
import pathlib

from components.object_store import ObjectStoreError
from components.pusher import bucket
from operations.preparation import writable
from pipeline import paths
from pipeline.datasets.bucket import address
from pipeline.errors import OutputError
from pipeline.locations import Locations
from pipeline.lock import exclusive
from pipeline.records import served_version

_LOCK = ".fetch.lock"


@dataclasses.dataclass(frozen=True)
class Fetched:
    """A version that was fetched.

    Attributes:
      version: Its number.
      folder: Its folder.
      is_new: Whether it was not there before.
    """

    version: int
    folder: str
    is_new: bool


def fetch(place: str, folder: pathlib.Path) -> Fetched:
    """Copies the newest whole version of a bucket below a folder, in one step.

    Args:
      place: Address of the versions, as `serving.bucket` has it.
      folder: Folder of versions, which a model server watches.

    Raises:
      UsageError: The address or the folder cannot be used, or the bucket holds no whole version.
      UnreachableError: The bucket does not answer, or the version was withdrawn meanwhile.
      LockHeldError: Another process fetches into the folder, or the folder is that of a pipeline
        at work.
    """
    source = address(place, "ADDRESS").address
    base = writable(paths.resolved(folder, "FOLDER"))
    try:
        with exclusive(_lock(base), "fetch"):
            version, is_new = bucket.fetch_newest(source, base)
    except ObjectStoreError as error:
        raise served_version.in_bucket(error) from error
    except OSError as error:
        raise OutputError(
            f"{error.filename or base} cannot be written ({error.strerror}); expected room and "
            "write permission for the version. Free some room, or name another folder."
        ) from error
    return Fetched(version, str(base / str(version)), is_new)


def _lock(base: pathlib.Path) -> pathlib.Path:
    """The lock of the pipeline whose serving folder it is, or else one of the folder's own."""
    pipeline = Locations(base.parent)
    return pipeline.lock if pipeline.serving == base and pipeline.lock.exists() else base / _LOCK
