"""Lets operations on files fail, or the process die, one chosen operation at a time.

`Injector` watches what Python does to the files below a folder: it opens a file for writing,
writes, truncates, syncs, renames, links, makes or removes something, or changes its mode. Each is
an operation with a number. What libraries do in C, as SQLite does, is theirs: they are the engines.

Opening, renaming, making and removing are seen by an audit hook, which the interpreter calls first,
whoever calls the system. Such a hook cannot be taken off: use it in a process that ends afterwards.
Writing and syncing have no audit event, so the functions themselves are replaced.
"""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
import enum
import errno
import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

PROJECT = Path(__file__).resolve().parents[2]
SHIPPED = (
    "components",
    "pipeline",
    "operations",
    "review",
    "cli",
    "pipeline_runner.py",
    "setup.py",
)

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Audit events, with the positions of the path and of the descriptor of the folder that it is in.
_EVENTS = {
    "os.mkdir": ("mkdir", 0, 2),
    "os.rename": ("rename", 0, 2),
    "os.remove": ("unlink", 0, 1),
    "os.rmdir": ("rmdir", 0, 1),
    "os.link": ("link", 1, 3),
    "os.symlink": ("symlink", 1, 2),
    "os.chmod": ("chmod", 0, 2),
    "os.utime": ("utime", 0, 3),
    "os.truncate": ("truncate", 0, None),
}
# What needs room on the disk; the rest goes on when it is full.
# A file that is there can be opened, and emptied, on a full disk as well.
_NEEDS_ROOM = frozenset({"create", "write", "mkdir", "link", "symlink", "sync"})
# What needs no permission once the file is open.
_IS_OPEN = frozenset({"write", "sync", "truncate"})


class Death(enum.Enum):
    """When the process dies: after an operation is before the next one."""

    BEFORE = "killed before it"
    MIDDLE = "killed in the middle of it"


@dataclasses.dataclass(frozen=True)
class Refusal:
    """An error of the system.

    Attributes:
      number: The errno.
      lasts: Whether every later operation that it can hit fails too.
    """

    number: int
    lasts: bool

    def hits(self, kind: str) -> bool:
        """Whether the system gives this error for operations of a kind."""
        if self.number == errno.ENOSPC:
            return kind in _NEEDS_ROOM
        return self.number != errno.EACCES or kind not in _IS_OPEN

    def __str__(self) -> str:
        return f"{errno.errorcode[self.number]}{' from there on' if self.lasts else ''}"


Fault = Death | Refusal

REFUSALS: tuple[Refusal, ...] = tuple(
    Refusal(number, lasts)
    for number in (errno.ENOSPC, errno.EIO, errno.EACCES)
    for lasts in (False, True)
)


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation on a file.

    Attributes:
      kind: What is done.
      path: File, below the watched folder.
      lines: The lines of shipped code on the stack, innermost first, as `path:line`.
      functions: The functions in which they are, as `path::name`.
    """

    kind: str
    path: str
    lines: tuple[str, ...]
    functions: tuple[str, ...]


class Injector:
    """Watches the files below a folder, and lets one operation go wrong."""

    def __init__(self, root: Path, number: int | None, fault: Fault | None, notes: TextIO):
        """Watches from `start` on.

        Args:
          root: Folder to watch.
          number: Number of the operation that goes wrong, from 1; None for none.
          fault: What goes wrong.
          notes: Where each operation is noted before it happens, as a line of JSON.
        """
        self._count = 0
        self._notes = notes
        self._root = str(root)
        self._number = number
        self._fault = fault
        self._busy = False

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What happens in the block is somebody else's doing."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def start(self) -> None:
        """Begins to watch; there is no way back."""
        real_open, sync, sendfile, pwrite = builtins.open, os.fsync, os.sendfile, os.pwrite
        write, allocate = os.write, os.posix_fallocate
        injector = self

        class File(io.FileIO):
            """A file whose writes are watched."""

            def write(self, data: Any, /) -> int:
                content = bytes(data)
                return injector.writes(
                    injector.path_of(self.fileno()),
                    lambda share: super(File, self).write(content[: _part(len(content), share)]),
                )

            def truncate(self, size: int | None = None, /) -> int:
                injector.operation("truncate", injector.path_of(self.fileno()))
                return super().truncate(size)

        def opened(
            file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any
        ) -> Any:
            path = self.path_of(file)
            if self._busy or path is None or not set(mode) & set("wax+"):
                return real_open(file, mode, buffering, *rest, **named)
            kinds = ("encoding", "errors", "newline", "closefd", "opener")
            options = dict(zip(kinds, rest, strict=False)) | named
            raw = File(
                file,
                mode.replace("b", "").replace("t", ""),
                options.pop("closefd", True),
                options.pop("opener", None),
            )
            if buffering == 0:
                return raw
            buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffer if "b" in mode else io.TextIOWrapper(buffer, **options)

        def synced(descriptor: Any) -> None:
            self.operation("sync", self.path_of(_number(descriptor)))
            sync(descriptor)

        def sent(out: int, source: int, offset: int, count: int) -> int:
            size = os.fstat(source).st_size - (offset or 0)
            return self.writes(
                self.path_of(out),
                lambda share: sendfile(out, source, offset, min(count, _part(size, share)) or 1),
            )

        def written_at(descriptor: int, data: bytes, offset: int) -> int:
            return self.writes(
                self.path_of(descriptor),
                lambda share: pwrite(descriptor, data[: _part(len(data), share)], offset),
            )

        def written(descriptor: int, data: bytes) -> int:
            return self.writes(
                self.path_of(descriptor),
                lambda share: write(descriptor, data[: _part(len(data), share)]),
            )

        def allocated(descriptor: int, offset: int, count: int) -> None:
            self.operation("write", self.path_of(descriptor))
            allocate(descriptor, offset, count)

        builtins.open = io.open = opened  # type: ignore[assignment]
        os.write, os.posix_fallocate = written, allocated
        os.fsync, os.sendfile, os.pwrite = synced, sent, written_at  # type: ignore[assignment]
        sys.addaudithook(self._audit)

    def writes(self, path: str | None, write: Any) -> int:
        """Writes a share of something; where a write goes wrong, half of it is there.

        Args:
          path: File that is written to; None where it is not watched.
          write: Writes as much as its argument says, from 0.0 to 1.0; returns the bytes.
        """
        self.operation("write", path, lambda: write(0.5))
        return int(write(1.0))

    def operation(self, kind: str, path: str | None, half: Any = None) -> None:
        """Counts an operation, and lets it go wrong if it is its turn."""
        frames = list(_shipped(sys._getframe(1))) if path and not self._busy else []
        if not frames:
            return
        self._count += 1
        with self.paused():
            lines, functions = zip(*frames, strict=True)
            operation = dataclasses.asdict(Operation(kind, str(path), lines, functions))
            self._notes.write(json.dumps(operation) + "\n")
        number, fault = self._count, self._fault
        if self._number is None or number < self._number:
            return
        if isinstance(fault, Refusal):
            if (number == self._number or fault.lasts) and fault.hits(kind):
                if half and number == self._number:
                    half()
                raise OSError(fault.number, os.strerror(fault.number), f"{self._root}/{path}")
        elif number == self._number and (fault == Death.BEFORE or half):
            if fault == Death.MIDDLE:
                half()
            os.kill(os.getpid(), signal.SIGKILL)

    def path_of(self, file: Any) -> str | None:
        """The path below the watched folder; None for what lies elsewhere."""
        try:
            path = _opened(file) if isinstance(file, int) else Path(os.fsdecode(file)).absolute()
        except (OSError, TypeError):
            return None
        return str(path.relative_to(self._root)) if path.is_relative_to(self._root) else None

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._busy:
            return
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, int) and flags & _WRITING:
                is_new = flags & os.O_CREAT and not os.path.lexists(path)
                self.operation("create" if is_new else "open", self.path_of(path))
        elif event in _EVENTS:
            kind, place, folder = _EVENTS[event]
            within = arguments[folder] if folder is not None and folder < len(arguments) else -1
            self.operation(kind, self._path_in(arguments[place], within))

    def _path_in(self, path: Any, folder: int) -> str | None:
        if isinstance(path, int) or folder in (-1, None):
            return self.path_of(path)
        try:
            return self.path_of(_opened(folder) / os.fsdecode(path))
        except OSError:
            return None


def _shipped(frame: FrameType | None) -> Iterator[tuple[str, str]]:
    """The line and the function of each frame of shipped code, innermost first."""
    prefix = f"{PROJECT}/"
    while frame is not None:
        code = frame.f_code
        path = code.co_filename.removeprefix(prefix)
        if path != code.co_filename and path.startswith(SHIPPED):
            yield f"{path}:{frame.f_lineno}", f"{path}::{code.co_qualname}"
        frame = frame.f_back


def _opened(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def _number(descriptor: Any) -> int:
    return descriptor if isinstance(descriptor, int) else descriptor.fileno()


def _part(size: int, share: float) -> int:
    return size if share == 1.0 else size // 2


assert shutil._USE_CP_SENDFILE  # type: ignore[attr-defined]
