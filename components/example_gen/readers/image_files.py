"""What readers of class folders and of manifests share: each example is an image file."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence

from components.example_gen.readers import base
from components.example_gen.readers.files import (
    Files,
    each_of,
    hash_file,
    require_usable,
    unreadable,
)
from components.messages import shown

# Many enough for work on several processes, few enough for files of a useful size.
_SHARDS = 32
_FEWEST, _MOST = 64, 2000


def hash_image(files: Files, path: str) -> str:
    """SHA-256 of a file, hexadecimal; empty if it cannot be read."""
    try:
        return hash_file(files, path)
    except base.ReadingError:
        return ""


def digest_line(path: str, sha256: str) -> str:
    """A line of the digest of the data: the path in ASCII, then the SHA-256 of the file."""
    return f"{path.encode('unicode_escape').decode('ascii')} {sha256 or '-'}\n"


def shards(paths: Sequence[str]) -> list[base.Shard]:
    """Divides files into equal shards.

    Args:
      paths: File of each example of the index.
    """
    size = min(max(-(-len(paths) // _SHARDS), _FEWEST), _MOST)
    return [
        base.Shard(name=f"{first:09d}", first=first, count=len(part), files=tuple(part))
        for first in range(0, len(paths), size)
        for part in [paths[first : first + size]]
    ]


def read(files: Files, paths: Sequence[str], contents: Mapping[str, str]) -> Iterator[base.Item]:
    """Yields each file, yet to be decoded; those that could never be opened as bad items.

    Raises:
      ReadingError: A file that was hashed cannot be read any more.
    """

    def item(path: str) -> base.Item:
        sha256 = contents.get(path, "")
        return _hashed_item(files, path, sha256) if sha256 else _bad(files, path)

    is_remote = bool(paths) and files.local(paths[0]) is None
    yield from each_of(item, paths, several=is_remote)


def _bad(files: Files, path: str) -> base.Bad:
    reason = files.why_unusable(path)
    unread = "it could not be read; expected a readable file. Copy it again."
    return base.Bad(shown(path), reason or unread)


def _hashed_item(files: Files, path: str, sha256: str) -> base.Encoded:
    """A file that was sound: what fails now is the access to it, so it must not be skipped."""
    local = files.local(path)
    if local is not None:
        # Whoever decodes it checks that it still holds what was hashed.
        return base.Encoded(shown(path), path=local, sha256=sha256)
    require_usable(files, path)
    try:
        with files.open(path) as stream:
            return base.Encoded(shown(path), content=stream.read(), sha256=sha256)
    except OSError as error:
        raise unreadable(files, path, error) from error


def ids(paths: Sequence[str]) -> list[str]:
    """The paths as ids, with bytes that are not UTF-8 escaped.

    Raises:
      ReadingError: Two files have the same id.
    """
    if all(path.isascii() for path in paths):
        return list(paths)
    names = [path.encode(errors="backslashreplace").decode() for path in paths]
    if len(set(names)) < len(names):
        twice = next(name for name, count in collections.Counter(names).items() if count > 1)
        raise base.ReadingError(
            f"two files are both {shown(twice)} once the bytes that are not UTF-8 are escaped; "
            "expected distinct names. Rename one of them."
        )
    return names
