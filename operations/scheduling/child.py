"""A process that the scheduler starts, with all that this one starts in turn."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Protocol


class Child(Protocol):
    """A process at work, or ended."""

    def poll(self) -> int | None:
        """Its exit code, negative where a signal ended it; None while it is at work."""

    def terminate(self) -> None:
        """Asks it to end."""

    def kill(self) -> None:
        """Ends it and all that it started."""


class ProcessGroup:
    """A process in a session of its own: neither crash nor leak nor Ctrl-C is shared with it."""

    def __init__(self, command: Sequence[str], log: pathlib.Path, environment: Mapping[str, str]):
        """Starts it.

        Args:
          command: its program and arguments.
          log: what it prints is added to this file.
          environment: variables that it has beside those of this process.

        Raises:
          OSError: where it cannot be started, or the log cannot be written.
        """
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """Its exit code, negative where a signal ended it; None while it is at work.

        What it started and did not end, ends with it.
        """
        if self._process.returncode is None and self._has_ended():
            # Before its number is given back, so that no other process can have it.
            self.kill()
            self._process.wait()
        return self._process.returncode

    def terminate(self) -> None:
        """Asks it to end; what it started is its own to end."""
        self._process.terminate()

    def kill(self) -> None:
        """Ends it and all that it started."""
        os.killpg(self._process.pid, signal.SIGKILL)

    def _has_ended(self) -> bool:
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, flags) is not None
