"""Copies the newest whole version from a bucket to a folder, for a model server."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator

from components.object_store import ObjectStoreError
from components.pusher import bucket
from operations.preparation import writable
from pipeline import exclusion, lock, paths
from pipeline.datasets.bucket import address
from pipeline.errors import OutputError
from pipeline.locations import Locations
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
      LockLostError: The lock is no longer held; nothing was changed.
      StoreError: The database of the pipeline's lock refuses it.
      StoreUnreachableError: That database does not answer.
    """
    source = address(place, "ADDRESS").address
    base = writable(paths.resolved(folder, "FOLDER"), "Name another FOLDER.")
    pipeline = _pipeline_of(paths.expanded(folder, "FOLDER"))
    try:
        with _alone(base, pipeline) as check:
            if pipeline is not None:
                bucket.check_owner(pipeline.serving, source)
            version, is_new = bucket.fetch_newest(source, base, check)
    except ObjectStoreError as error:
        raise served_version.in_bucket(error) from error
    except OSError as error:
        raise OutputError(
            f"{error.filename or base} cannot be written ({error.strerror}); expected room and "
            "write permission for the version. Free some room, or name another folder."
        ) from error
    return Fetched(version, str(base / str(version)), is_new)


def _pipeline_of(folder: pathlib.Path) -> Locations | None:
    """The pipeline whose serving folder it is; None for any other folder.

    A serving folder may be a link to another disk, and a link may lead to one. So each link is
    looked at before it is followed.
    """
    place = _without_links_above(folder)
    while not _is_serving(place) and place.is_symlink():
        place = _without_links_above(place.parent / place.readlink())
    return Locations(place.parent) if _is_serving(place) else None


def _without_links_above(path: pathlib.Path) -> pathlib.Path:
    """The full path of a file or folder, which may itself be a link."""
    # What `..` leads to has another name.
    path = pathlib.Path(os.path.realpath(path)) if path.name == ".." else path
    return pathlib.Path(os.path.realpath(path.parent), path.name)


def _is_serving(place: pathlib.Path) -> bool:
    pipeline = Locations(place.parent)
    return pipeline.serving == place and (pipeline.lock.exists() or pipeline.database.exists())


@contextlib.contextmanager
def _alone(base: pathlib.Path, pipeline: Locations | None) -> Iterator[Callable[[], None] | None]:
    """Holds the lock of the pipeline that serves from the folder, or else one of the folder's own.

    Yields what raises an error once the lock of the pipeline is lost.
    """
    if pipeline is not None:
        with exclusion.exclusive(pipeline, "fetch") as held:
            yield held.check
    else:
        with lock.exclusive(base / _LOCK, "fetch"):
            yield None
