"""A folder or file in a bucket, with as much of a path's manner as finding data takes."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import pathlib
import re
from collections.abc import Iterator

from components import object_store
from components.object_store import Folder, ObjectStoreError
from pipeline import paths
from pipeline.errors import DataError, PathError, PipelineError, UnreachableError

# What stores take as the name of a bucket.
_ADDRESS = re.compile(r"s3://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/.*)?", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class BucketPath:
    """A folder or file in a bucket.

    Each method asks the store, and raises `ObjectStoreError` if it refuses or does not answer.

    Attributes:
      address: `s3://bucket/folder`, without a slash at its end.
    """

    address: str

    def __str__(self) -> str:
        """The address."""
        return self.address

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.address.rpartition("/")[2]

    @property
    def parent(self) -> BucketPath:
        """The folder around it."""
        return BucketPath(self.address.rpartition("/")[0])

    def __truediv__(self, name: str) -> BucketPath:
        """A folder or file in it."""
        return BucketPath(f"{self.address}/{name}")

    def is_dir(self) -> bool:
        """Whether it is a folder that holds anything."""
        return any(self._entries)

    def is_file(self) -> bool:
        """Whether it is an object."""
        if "/" not in self.address.removeprefix(object_store.SCHEME):
            return False
        return Folder(self.parent.address).find(self.name) is not None

    def iterdir(self) -> Iterator[BucketPath]:
        """Yields what lies directly in it."""
        folders, files = self._entries
        yield from (self / name for name in (*folders, *files))

    def glob(self, pattern: str) -> Iterator[BucketPath]:
        """Yields what lies directly in it and has a name of this pattern."""
        return (path for path in self.iterdir() if fnmatch.fnmatchcase(path.name, pattern))

    @functools.cached_property
    def _entries(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        found = Folder(self.address).entries()
        return found.folders, found.files


# Where data lies, or comes from.
Place = pathlib.Path | BucketPath


def address(text: str, origin: str) -> BucketPath:
    """The place that an address names, after checking the address alone.

    Args:
      text: Address as the user wrote it.
      origin: Name of the option or variable with it.

    Raises:
      PathError: It names no folder in a bucket, cannot be printed, or has a password or a query.
    """
    paths.refuse_secrets(text, origin)
    paths.refuse_untold(text, origin)
    place = text.rstrip("/")
    reason = object_store.odd_name(place.removeprefix(object_store.SCHEME))
    if reason or not _ADDRESS.fullmatch(place):
        raise PathError(
            f"{origin} {text} names no folder in a bucket{f' ({reason})' if reason else ''}; "
            "expected s3://BUCKET/FOLDER, with a bucket of 3 to 63 lower-case letters, digits, "
            "dots and dashes. Correct the address."
        )
    return BucketPath(place)


def told(error: ObjectStoreError) -> PipelineError:
    """The error of a command that could not read data from a bucket."""
    return UnreachableError(str(error)) if error.is_passing else DataError(str(error))
