"""Copies the newest whole version from a bucket to a folder, for a model server."""

from __future__ import annotations

import contextlib
import dataclasses
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
    try:
        with _alone(base) as check:
            if check is not None:
                bucket.check_owner(base, source)
            version, is_new = bucket.fetch_newest(source, base, check)
    except ObjectStoreError as error:
        raise served_version.in_bucket(error) from error
    except OSError as error:
        raise OutputError(
            f"{error.filename or base} cannot be written ({error.strerror}); expected room and "
            "write permission for the version. Free some room, or name another folder."
        ) from error
    return Fetched(version, str(base / str(version)), is_new)


@contextlib.contextmanager
def _alone(base: pathlib.Path) -> Iterator[Callable[[], None] | None]:
    """Holds the lock of the pipeline whose serving folder it is, or else one of the folder's own.

    Yields what raises an error once the lock of the pipeline is lost.
    """
    pipeline = Locations(base.parent)
    is_used = pipeline.lock.exists() or pipeline.database.exists()
    if pipeline.serving == base and is_used:
        with exclusion.exclusive(pipeline, "fetch") as held:
            yield held.check
    else:
        with lock.exclusive(base / _LOCK, "fetch"):
            yield None
