"""One run at a time per pipeline, across processes and users of a machine."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import functools
import json
import os
import pathlib
import socket
import time
from collections.abc import Iterator
from typing import IO, Annotated

import pydantic

from components.files import check_regular
from components.messages import shown
from pipeline import machine
from pipeline.errors import LockHeldError, OutputError

# Every user of the machine may take the lock; it says who holds it and guards nothing secret.
_MODE = 0o666
_TRIES, _PAUSE_SECONDS = 10, 0.02
# Whoever takes the lock signs it at once; on a busy machine, a little later.
_TRIES_TO_READ = 100
# What to do once a lost lock is free again; both runs and other commands hold it.
GO_ON = "give the command again; resume goes on with a run, as the cache has its complete nodes."
# No signature is as long: every user of the machine may write the file.
_MOST_CHARACTERS = 10_000


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a lock; an attribute is None where it is not known.

    Attributes:
      process: Id of the process.
      user: Name of its user.
      host: Name of its machine.
      since: When it took the lock, in ISO 8601.
      purpose: What it does under the lock.
      run: Id of the run at work, if any.
    """

    process: Annotated[int, pydantic.Field(ge=0, lt=2**32)] | None = None
    user: str | None = None
    host: str | None = None
    since: str | None = None
    purpose: str | None = None
    run: str | None = None

    @property
    def description(self) -> str:
        """The holder in words."""
        if None in (self.process, self.user, self.host, self.since, self.purpose):
            return "another process"
        # Every user of the machine may write the file.
        purpose, user, host, since = map(
            shown, map(str, (self.purpose, self.user, self.host, self.since))
        )
        return f"{purpose} (process {self.process} of {user} on {host}) since {since}"


_UNSIGNED = Holder()


class Held:
    """The lock, as long as it is held.

    Attributes:
      path: Its file.
    """

    def __init__(self, path: pathlib.Path, file: IO[str], purpose: str):
        self.path = path
        self._file = file
        self._signature = signature(purpose)
        _write(file, self._signature)

    @property
    def is_lost(self) -> bool:
        """Whether somebody removed or replaced the file, so that others can take the lock."""
        try:
            return not os.path.samestat(os.fstat(self._file.fileno()), self.path.stat())
        except OSError:
            return True

    def note_run(self, run_id: str) -> None:
        """Notes which run is at work, so that no other run is taken for it."""
        _write(self._file, dataclasses.replace(self._signature, run=run_id))


@contextlib.contextmanager
def exclusive(path: pathlib.Path, purpose: str) -> Iterator[Held]:
    """Holds the lock of a pipeline; the system gives it back when the process dies.

    Args:
      path: Lock file.
      purpose: What is done under the lock, for whoever finds it taken.

    Raises:
      LockHeldError: where another process holds it.
      OutputError: where its file can be neither made nor opened, or the system has no locks.
    """
    with _open(path) as file:
        if not _take_soon(path, file):
            raise LockHeldError(refusal(path.parent.name, _signed_holder(path)))
        held = Held(path, file, purpose)
        try:
            yield held
        finally:
            _take_back_signature(file)


def check_free(path: pathlib.Path) -> None:
    """Refuses early, before work that only the holder of the lock needs to do.

    Raises:
      LockHeldError: where another process holds the lock.
    """
    if holder(path) is not None:
        raise LockHeldError(refusal(path.parent.name, _signed_holder(path)))


def holder(path: pathlib.Path) -> Holder | None:
    """Who holds the lock; None where nobody does.

    Raises:
      OutputError: where its file cannot be opened, or the system has no locks.
    """
    file = _open_to_read(path)
    if file is None:
        return None
    with file:
        # Shared, so that two who ask do not take each other for the holder.
        if _take(path, file, fcntl.LOCK_SH):
            return None
        return _signature(file)


def _open_to_read(path: pathlib.Path) -> IO[str] | None:
    """Opens a lock file; None if there is none."""
    try:
        check_regular(path)
        return path.open(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unopened(path, error) from error


def _open(path: pathlib.Path) -> IO[str]:
    try:
        check_regular(path)
        return _opened(path)
    except OSError as error:
        raise _unopened(path, error) from error


def _unopened(path: pathlib.Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} cannot be opened ({error.strerror or error}); expected a lock file, and write "
        f"permission in {path.parent}. Fix that, or use another folder."
    )


def _opened(path: pathlib.Path) -> IO[str]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, _MODE)
    except PermissionError:
        # Of another user, who made it before all might write to it: it can be held, not signed.
        return path.open(encoding="utf-8")
    if os.fstat(descriptor).st_uid == os.getuid():
        # What the process takes off the mode of new files is put back.
        os.fchmod(descriptor, _MODE)
    return os.fdopen(descriptor, "r+", encoding="utf-8")


def _take_soon(path: pathlib.Path, file: IO[str]) -> bool:
    # Whoever asks for the holder has the lock for a moment: that is no holder.
    for _ in range(_TRIES):
        if _take(path, file, fcntl.LOCK_EX):
            return True
        time.sleep(_PAUSE_SECONDS)
    return False


def _take(path: pathlib.Path, file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise OutputError(
            f"{path} cannot be locked ({error.strerror}); expected a file system with locks, which "
            "a network drive may lack. Use a folder on another disk."
        ) from error
    return True


def signature(purpose: str) -> Holder:
    """What a holder signs with: this process, which takes a lock now."""
    return Holder(
        process=os.getpid(),
        user=machine.user(),
        host=socket.gethostname(),
        since=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        purpose=purpose,
    )


def _write(file: IO[str], signature: Holder) -> None:
    if not file.writable():
        return
    # On a full disk it is held all the same, by somebody without a name.
    with contextlib.suppress(OSError):
        file.truncate(0)
        # Past the buffer of the file, which would be written, and fail, once more at its end.
        os.pwrite(file.fileno(), json.dumps(dataclasses.asdict(signature)).encode(), 0)


def _take_back_signature(file: IO[str]) -> None:
    # Or the next holder would go by the name of this one until it has signed. Where the disk fails,
    # what was done under the lock is done all the same.
    if file.writable():
        with contextlib.suppress(OSError):
            file.truncate(0)


@functools.cache
def _form() -> pydantic.TypeAdapter[Holder]:
    # Built when a holder is read: most commands that start never do.
    return pydantic.TypeAdapter(Holder)


def parse_holder(text: str) -> Holder:
    """Reads what a holder signed; one without a name where it is something else."""
    try:
        return _form().validate_json(text)
    except pydantic.ValidationError:
        # It was taken a moment ago, or by somebody who could not sign.
        return _UNSIGNED


def _signature(file: IO[str]) -> Holder:
    try:
        return parse_holder(file.read(_MOST_CHARACTERS))
    # The file is not text.
    except UnicodeDecodeError:
        return _UNSIGNED


def refusal(pipeline: str, by: Holder) -> str:
    """The message for whoever finds a pipeline in use."""
    return (
        f"{pipeline} is in use by {by.description}; expected no other command at work. Wait for "
        "it to end, or stop it, then give the command again."
    )


def _signed_holder(path: pathlib.Path) -> Holder:
    for _ in range(_TRIES_TO_READ):
        found = holder(path)
        if found != _UNSIGNED:
            return found or _UNSIGNED
        time.sleep(_PAUSE_SECONDS)
    return _UNSIGNED
