"""One run at a time per pipeline."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import pathlib
from collections.abc import Iterator

from pipeline.errors import LockHeldError


@contextlib.contextmanager
def exclusive(path: pathlib.Path, purpose: str) -> Iterator[None]:
    """Holds the lock of a pipeline; the system gives it back when the process dies.

    Args:
      path: the lock file.
      purpose: what is done under it, told to whoever finds it taken.

    Raises:
      LockHeldError: where another process holds it.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockHeldError(_held_by(path)) from error
        _sign(file, purpose)
        yield


def _sign(file, purpose: str) -> None:
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    file.truncate(0)
    json.dump({"process": os.getpid(), "since": since, "purpose": purpose}, file)
    file.flush()


def _held_by(path: pathlib.Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        who = f"{holder['purpose']} (process {holder['process']}) since {holder['since']}"
    except (OSError, ValueError, KeyError):
        who = "another process"
    return (
        f"{path.parent.name} is held by {who}; expected to be alone. "
        "Wait for it to end, or choose another --output-dir."
    )
