"""Disk usage of files and folders, as the file system counts it."""

from __future__ import annotations

import os
import pathlib
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

# Unit of `st_blocks`, whatever the file system's own block size.
_BLOCK_BYTES = 512

Paths = Mapping[str, Sequence[pathlib.Path]]


def freed_bytes(kinds: Paths) -> dict[str, int]:
    """The disk space that removing files and folders frees, by kind, without empty kinds.

    A file counts once, however many names it has, and only where all its names are removed.
    """
    sizes = {kind: 0 for kind, paths in kinds.items() if paths}
    names: Counter[tuple[int, int]] = Counter()
    for kind, paths in kinds.items():
        for status in _statuses(paths):
            names[status.st_dev, status.st_ino] += 1
            seen = names[status.st_dev, status.st_ino]
            if stat.S_ISDIR(status.st_mode) or seen == status.st_nlink:
                sizes[kind] += status.st_blocks * _BLOCK_BYTES
    return sizes


def kept_bytes(kinds: Paths) -> dict[str, int]:
    """The disk space of files and folders, by kind; each counts once, in its first kind."""
    sizes = dict.fromkeys(kinds, 0)
    seen: set[tuple[int, int]] = set()
    for kind, paths in kinds.items():
        for status in _statuses(paths):
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                sizes[kind] += status.st_blocks * _BLOCK_BYTES
    return sizes


def _statuses(paths: Iterable[pathlib.Path]) -> Iterator[os.stat_result]:
    """The statuses of files and folders, and of everything below them."""
    for path in paths:
        yield path.lstat()
        # A walk would follow a link that it begins at.
        below = () if path.is_symlink() else os.walk(path)
        for folder, folders, files in below:
            for name in (*folders, *files):
                yield pathlib.Path(folder, name).lstat()
