"""Access to the files of one folder, on this machine or elsewhere.

Readers name files by paths relative to the folder. Nothing outside the folder is opened unless
the configuration allows it, and nothing but regular files: a named pipe would never end.
"""

from __future__ import annotations

import collections
import dataclasses
import errno
import functools
import hashlib
import io
import os
import posixpath
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent import futures
from typing import Any, BinaryIO, Protocol, TypeVar, cast

from components import object_store
from components.example_gen.readers import base
from components.messages import is_utf8, shown

# In lower case.
_JUNK_NAMES = frozenset(
    [
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "$recycle.bin",
        "system volume information",
        "__macosx",
        "lost+found",
        # Thumbnails, bins and snapshots of Synology and QNAP.
        "@eadir",
        "#recycle",
        "#snapshot",
        "@recycle",
        "@recently-snapshot",
    ]
)
_JUNK_SUFFIX = ".partial"
# Some file systems tell times in whole seconds, and some by a clock of their own.
_YOUNG_NANOSECONDS = 10 * 10**9
_READ_AT_ONCE = 2**20
# Files elsewhere that are fetched at the same time: most of the time is spent waiting.
_FETCHED_AT_ONCE = 16
# Bytes of the longest path that Linux opens, which has a NUL behind it. To follow the links of a
# longer one would take minutes.
LONGEST_PATH = 4095
WRITE_SLASHES = "Write / instead of \\ in paths."
_ALLOW = "Copy it into the folder, or set data.outside_files=true"

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Listing:
    """What lies below a folder.

    Attributes:
      paths: Relative paths of all files, sorted.
      folders: Relative paths of all folders, sorted.
      doubtful: Those of `paths` that are links or no regular files, or whose names are not UTF-8.
      junk: Number of hidden and temporary files and folders, which are left out.
      unfollowed: Links to folders that lead back to where they are, or lie below another link.
    """

    paths: tuple[str, ...]
    folders: tuple[str, ...]
    doubtful: frozenset[str]
    junk: int
    unfollowed: tuple[str, ...]

    @functools.cached_property
    def by_suffix(self) -> dict[str, list[str]]:
        """The paths of each suffix, sorted."""
        by_suffix: dict[str, list[str]] = {}
        for path in self.paths:
            by_suffix.setdefault(suffix(path), []).append(path)
        return dict(sorted(by_suffix.items()))

    def with_suffix(self, suffixes: Collection[str]) -> list[str]:
        """The paths with one of these suffixes, sorted."""
        chosen = [paths for ending, paths in self.by_suffix.items() if ending in suffixes]
        return chosen[0] if len(chosen) == 1 else sorted(path for paths in chosen for path in paths)


class Files(Protocol):
    """The files of one folder."""

    def walk(self) -> Listing:
        """Lists everything below the folder.

        Raises:
          ReadingError: A folder cannot be listed, or a link to a folder leads out of this one.
        """

    def shown(self, path: str) -> str:
        """The whole path of a file, as a message may show it."""

    def why_unusable(self, path: str) -> str | None:
        """Why a file cannot be opened, and how to fix that; None if it can."""

    def open(self, path: str) -> BinaryIO:
        """Opens a file.

        Raises:
          OSError: It cannot be opened.
        """

    def local(self, path: str) -> str | None:
        """The path of a file on this machine; None if it lies elsewhere."""

    def state(self, path: str) -> tuple[int, ...]:
        """What changes when a file does; the time of the last change comes last."""


def suffix(path: str) -> str:
    """The suffix of a file, in lower case, with its dot; empty if it has none."""
    name = path.rpartition("/")[2]
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is hidden, temporary or made by an operating system."""
    lower = name.lower()
    return name[0] == "." or lower in _JUNK_NAMES or lower.endswith(_JUNK_SUFFIX)


def is_too_long(path: str) -> bool:
    """Whether a path has more bytes than Linux opens."""
    return len(os.fsencode(path)) > LONGEST_PATH


def _refuse_lexically(path: str) -> str | None:
    """Why a path is refused whatever it leads to."""
    if posixpath.isabs(path):
        return f"the path is absolute; expected one that counts from the data folder. {_ALLOW}."
    if ".." in path.split("/"):
        return f"the path has `..`; expected one inside the data folder. {_ALLOW}."
    return None


class LocalFiles:
    """A folder on this machine."""

    def __init__(self, root: str, outside_files: bool):
        """Names the folder; `outside_files` allows paths and links that lead out of it."""
        self._root = root
        self._absolute_root = os.path.join(os.getcwd(), root)
        self._outside_files = outside_files
        self._real_root = os.path.realpath(root)
        self._real = functools.lru_cache(maxsize=4096)(os.path.realpath)

    def walk(self) -> Listing:
        """Lists everything below the folder."""
        walked = _Walk(self)
        walked.run()
        return walked.listing()

    def shown(self, path: str) -> str:
        """The whole path of a file, as a message may show it."""
        return shown(self._full(path))

    def why_unusable(self, path: str) -> str | None:
        """Why a file cannot be opened, and how to fix that; None if it can."""
        if self._is_plain(path):
            return None
        if not is_utf8(path):
            return "the name is not UTF-8; expected one that is. Rename the file."
        if not self._outside_files and (refused := _refuse_lexically(path)):
            return refused
        full = self._full(path)
        if is_too_long(full):
            return f"the path is too long; expected at most {LONGEST_PATH:,} bytes. Shorten it."
        try:
            return self._problem(full)
        except FileNotFoundError:
            if os.path.islink(full):
                return "the link leads to nothing; expected a file. Remove the link, or mend it."
            slash = f" {WRITE_SLASHES}" if "\\" in path else ""
            return f"there is no such file; expected one. Copy it there, or fix the path.{slash}"
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return f"it cannot be opened ({reason}); expected a file. Check its path and rights."

    def _is_plain(self, path: str) -> bool:
        """Whether a path obviously leads to a readable file inside; nearly all of them do."""
        if not path.isascii() or _refuse_lexically(path):
            return False
        full = f"{self._root}/{path}"
        try:
            plain = stat.S_ISREG(os.lstat(full).st_mode)
        except (OSError, ValueError):
            return False
        return plain and self._holds(full.rpartition("/")[0]) and os.access(full, os.R_OK)

    def _holds(self, folder: str) -> bool:
        """Whether a folder lies in this one, wherever links lead."""
        return f"{self._real(folder)}/".startswith(f"{self._real_root.rstrip('/')}/")

    def _problem(self, full: str) -> str | None:
        if not self._outside_files and not self.is_inside(full):
            return f"a link leads out of the data folder; expected a file inside. {_ALLOW}."
        kind = os.stat(full).st_mode
        if not stat.S_ISREG(kind):
            return f"it is {_kind(kind)}; expected a regular file. Remove it, or fix the path."
        if not os.access(full, os.R_OK):
            return "it cannot be opened (Permission denied); expected a readable file. chmod it."
        return None

    def is_inside(self, full: str) -> bool:
        """Whether a path leads to something inside the folder."""
        # Most files share their folder with others, so that its place is found but once.
        real = os.path.join(self._real(os.path.dirname(full)), os.path.basename(full))
        if os.path.islink(real):
            real = os.path.realpath(real)
        return real == self._real_root or real.startswith(f"{self._real_root.rstrip('/')}/")

    def open(self, path: str) -> BinaryIO:
        """Opens a file."""
        return cast(BinaryIO, open(self._full(path), "rb"))

    def local(self, path: str) -> str | None:
        """The path of a file on this machine."""
        # Not abspath: it would take `..` behind a link out by itself.
        if path.startswith("/"):
            return path
        return f"{self._absolute_root}/{path}" if path else self._absolute_root

    def state(self, path: str) -> tuple[int, ...]:
        """Device, inode, size, and the times of the last changes of content and of inode."""
        status = os.stat(self._full(path))
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def _full(self, path: str) -> str:
        # Nearly all paths are relative, and then this is what os.path.join gives.
        if path and path[0] != "/":
            return f"{self._root}/{path}"
        return path or self._root

    @property
    def outside_files(self) -> bool:
        """Whether links may lead out of the folder."""
        return self._outside_files


def _kind(mode: int) -> str:
    kinds: list[tuple[Callable[[int], bool], str]] = [
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
    ]
    return next((name for test, name in kinds if test(mode)), "a device")


class _Walk:
    """One walk through a folder; links to folders are followed, but not those below such a link.

    So the walk ends whatever the links, and its length is bounded.
    """

    def __init__(self, files: LocalFiles):
        self._files = files
        self._paths: list[str] = []
        self._folders: list[str] = []
        self._doubtful: list[str] = []
        self._unfollowed: list[str] = []
        self._junk = 0
        # Folders that are still to be listed, with a slash at their end, and whether they lie
        # below a link.
        self._waiting: list[tuple[str, bool]] = [("", False)]

    def run(self) -> None:
        while self._waiting:
            folder, linked = self._waiting.pop()
            try:
                with os.scandir(self._files.local(folder)) as entries:
                    for entry in entries:
                        self._add(entry, folder, linked)
            except OSError as error:
                raise base.ReadingError(
                    f"{self._files.shown(folder)} cannot be listed ({error.strerror or error}); "
                    "expected a readable folder. Check the path and its permissions."
                ) from error

    def _add(self, entry: os.DirEntry[str], folder: str, linked: bool) -> None:
        path = f"{folder}{entry.name}"
        if is_junk(entry.name):
            self._junk += 1
        elif entry.is_file(follow_symlinks=False):
            self._paths.append(path)
            if not path.isascii() and not is_utf8(path):
                self._doubtful.append(path)
        elif entry.is_symlink() and os.path.isdir(entry.path):
            self._add_link(path, linked)
        elif entry.is_dir(follow_symlinks=False):
            self._add_folder(path, linked)
        else:
            self._paths.append(path)
            self._doubtful.append(path)

    def _add_folder(self, path: str, linked: bool) -> None:
        self._folders.append(path)
        self._waiting.append((f"{path}/", linked))

    def _add_link(self, path: str, linked: bool) -> None:
        full = self._files.local(path) or ""
        if not self._files.outside_files and not self._files.is_inside(full):
            raise base.ReadingError(
                f"{self._files.shown(path)} is a link that leads out of the data folder; expected "
                f"folders inside. {_ALLOW}."
            )
        place = os.path.realpath(os.path.dirname(full))
        if linked or f"{place}/".startswith(f"{os.path.realpath(full).rstrip('/')}/"):
            self._unfollowed.append(path)
        else:
            self._add_folder(path, True)

    def listing(self) -> Listing:
        return Listing(
            tuple(sorted(self._paths)),
            tuple(sorted(self._folders)),
            frozenset(self._doubtful),
            self._junk,
            tuple(sorted(self._unfollowed)),
        )


class RemoteFiles:
    """A folder that TFX's file access reaches, such as gs://bucket/folder."""

    def __init__(self, root: str):
        """Names the folder."""
        self._root = root.rstrip("/")

    def walk(self) -> Listing:
        """Lists everything below the folder."""
        # Imported here, as everywhere in this class: TFX loads TensorFlow.
        from tfx.dsl.io import fileio

        paths, folders, junk = [], [], 0
        for place, below, names in _reading(self._root, lambda: list(fileio.walk(self._root))):
            folder = _text(place).rstrip("/")[len(self._root) :].strip("/")
            if any(is_junk(part) for part in folder.split("/") if part):
                continue
            kept = [name for name in map(_text, names) if not is_junk(name)]
            inner = [name for name in (_text(name).strip("/") for name in below) if name]
            junk += len(names) - len(kept) + sum(map(is_junk, inner))
            paths += [posixpath.join(folder, name) for name in kept if name]
            folders += [posixpath.join(folder, name) for name in inner if not is_junk(name)]
        return Listing(tuple(sorted(paths)), tuple(sorted(folders)), frozenset(), junk, ())

    def shown(self, path: str) -> str:
        """The whole path of a file, as a message may show it."""
        return shown(self._full(path))

    def why_unusable(self, path: str) -> str | None:
        """Why a file cannot be opened, and how to fix that; None if it can."""
        from tfx.dsl.io import fileio

        if refused := _refuse_lexically(path):
            return refused
        if not _reading(self._full(path), lambda: fileio.exists(self._full(path))):
            return "there is no such file; expected one. Copy it there, or fix the path."
        return None

    def open(self, path: str) -> BinaryIO:
        """Opens a file."""
        from tfx.dsl.io import fileio

        full = self._full(path)
        return cast(BinaryIO, io.BufferedReader(_RemoteStream(full, fileio.open(full, "rb"))))

    def local(self, path: str) -> str | None:
        """None: the file lies elsewhere."""
        return None

    def state(self, path: str) -> tuple[int, ...]:
        """Size and time of the last change."""
        from tfx.dsl.io import fileio

        status = _reading(self._full(path), lambda: fileio.stat(self._full(path)))
        return status.length, status.mtime_nsec

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root


class BucketFiles:
    """A folder in a bucket of S3, as it was when it was listed: `s3://bucket/folder`."""

    def __init__(self, root: str):
        """Names the folder."""
        self._folder = object_store.Folder(root)
        self._objects: dict[str, object_store.Object] = {}
        self._is_listed = False

    def walk(self) -> Listing:
        """Lists everything below the folder.

        Raises:
          ReadingError: An object is called as no file can be.
          ObjectStoreError: The store refuses or does not answer.
        """
        folders, junk = set(), set()
        for each in self._folder.list():
            # Programs that show a bucket as folders write an empty object for each of them.
            path = each.path.removesuffix("/")
            if not each.path:
                # The data folder itself.
                continue
            self._refuse_odd(each, path)
            parts = path.split("/")
            hidden = next((n for n, part in enumerate(parts) if is_junk(part)), None)
            if hidden is not None:
                junk.add("/".join(parts[: hidden + 1]))
            else:
                inner = parts if path != each.path else parts[:-1]
                folders |= {"/".join(inner[:n]) for n in range(1, len(inner) + 1)}
            if path == each.path:
                self._objects[path] = each
        self._is_listed = True
        paths = sorted(path for path in self._objects if not _is_below(path, junk))
        return Listing(tuple(paths), tuple(sorted(folders)), frozenset(), len(junk), unfollowed=())

    def _refuse_odd(self, each: object_store.Object, path: str) -> None:
        reason = object_store.odd_name(path)
        if reason is None and each.size and path != each.path:
            reason = "a slash at its end, and content"
        if reason is None and path == each.path and path in self._objects:
            reason = "been listed twice"
        if reason is not None:
            raise base.ReadingError(
                f"the object {self.shown(each.path)} has {reason}; expected the name of a file, "
                "such as folder/name.png. Rename it, or remove it."
            )

    def shown(self, path: str) -> str:
        """The whole address of a file, as a message may show it."""
        return self._folder.shown(path)

    def why_unusable(self, path: str) -> str | None:
        """Why a file cannot be opened, and how to fix that; None if it can."""
        if refused := _refuse_lexically(path):
            return refused
        if self._found(path) is None:
            return "there is no such object; expected one. Copy it there, or fix the path."
        return None

    def _found(self, path: str) -> object_store.Object | None:
        if path not in self._objects and not self._is_listed:
            found = self._folder.find(path)
            if found is not None:
                self._objects[path] = found
        return self._objects.get(path)

    def _object(self, path: str) -> object_store.Object:
        found = self._found(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.shown(path))
        return found

    def open(self, path: str) -> BinaryIO:
        """Opens a file; it is read as it was listed, or not at all."""
        return self._folder.open(self._object(path))

    def local(self, path: str) -> str | None:
        """None: the file lies elsewhere."""
        return None

    def state(self, path: str) -> tuple[int, ...]:
        """128 bits of the digest of the entity tag, the size, and the time of writing twice.

        These are five numbers like those of a file on this machine.
        """
        found = self._object(path)
        tag = hashlib.sha256(found.tag.encode()).digest()
        first, second = (int.from_bytes(tag[start : start + 8]) for start in (0, 8))
        return first, second, found.size, found.modified, found.modified


def _is_below(path: str, folders: Collection[str]) -> bool:
    """Whether a path, or a folder around it, is among some."""
    parts = path.split("/")
    return any("/".join(parts[:n]) in folders for n in range(1, len(parts) + 1))


class _RemoteStream(io.RawIOBase):
    """A stream of TFX's file access, with the errors and the methods of Python's own."""

    def __init__(self, path: str, stream: Any):
        self._path = path
        self._stream = stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = _translated(lambda: self._stream.read(len(buffer)))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        _translated(lambda: self._stream.seek(offset, whence))
        return self.tell()

    def tell(self) -> int:
        return _translated(self._stream.tell)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _translated(action: Callable[[], Any]) -> Any:
    """What an action returns; TensorFlow's errors become those of Python."""
    import tensorflow as tf

    try:
        return action()
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def _reading(path: str, action: Callable[[], Any]) -> Any:
    try:
        return _translated(action)
    except OSError as error:
        raise base.ReadingError(
            f"{shown(path)} cannot be read ({str(error) or 'not found'}); expected a folder that "
            "this machine can read. Check the path and its permissions."
        ) from error


def _text(name: str | bytes) -> str:
    return name.decode(errors="surrogateescape") if isinstance(name, bytes) else name


def each_of(
    action: Callable[[Item], Result], items: Iterable[Item], *, several: bool
) -> Iterator[Result]:
    """What an action returns for each item, in their order.

    Args:
      action: What reads one file.
      items: Files to read.
      several: Whether to read several at the same time, as is worth while for those elsewhere.
    """
    if not several:
        yield from map(action, items)
        return
    with futures.ThreadPoolExecutor(_FETCHED_AT_ONCE) as pool:
        begun: collections.deque[futures.Future[Result]] = collections.deque()
        try:
            for item in items:
                begun.append(pool.submit(action, item))
                if len(begun) > _FETCHED_AT_ONCE:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            # After an error, what has not begun is not needed.
            for each in begun:
                each.cancel()


def require_usable(files: Files, path: str) -> None:
    """Refuses a file that cannot be opened.

    Raises:
      ReadingError: It cannot.
    """
    if reason := files.why_unusable(path):
        raise base.ReadingError(f"{files.shown(path)}: {reason}")


def hash_file(files: Files, path: str) -> str:
    """SHA-256 of the bytes of a file, hexadecimal.

    Raises:
      ReadingError: It cannot be read.
    """
    require_usable(files, path)
    try:
        with files.open(path) as stream:
            digest = hashlib.sha256()
            while content := stream.read(_READ_AT_ONCE):
                digest.update(content)
            return digest.hexdigest()
    except OSError as error:
        raise unreadable(files, path, error) from error


def unreadable(files: Files, path: str, error: Exception) -> base.ReadingError:
    """The error for a file that cannot be read."""
    reason = getattr(error, "strerror", None) or str(error)
    return base.ReadingError(
        f"{files.shown(path)} cannot be read ({reason}); expected a readable file. Check its "
        "permissions and the disk, or copy it again."
    )


def changed(files: Files, paths: Iterable[str]) -> base.ReadingError:
    """The error for files that are not those that were hashed."""
    names = " or ".join(files.shown(path) for path in paths)
    return base.ReadingError(
        f"{names} changed while the run was reading it; expected the content that was checked "
        "when the run began. Run again when the files are at rest."
    )


class Unchanged:
    """Checks that files are still those that were hashed, reading each but once while it rests."""

    def __init__(self, files: Files):
        """Checks files of a folder."""
        self._files = files
        self._checked: dict[str, tuple[str, tuple[int, ...]]] = {}

    def check(self, path: str, contents: Mapping[str, str]) -> None:
        """Checks a file; cheap if it was checked before and has not changed since.

        Raises:
          ReadingError: It changed, or cannot be read.
        """
        expected = contents[path]
        require_usable(self._files, path)
        state = self._files.state(path)
        # A further change of a file that has just changed might not show in its times.
        rests = time.time_ns() - state[-1] > _YOUNG_NANOSECONDS
        if rests and self._checked.get(path) == (expected, state):
            return
        if hash_file(self._files, path) != expected:
            raise changed(self._files, [path])
        if rests:
            self._checked[path] = expected, state
