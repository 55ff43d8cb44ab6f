"""Time, and waits that a signal ends."""

from __future__ import annotations

import contextlib
import datetime
import os
import select
import signal
import time
from collections.abc import Iterator

# A machine that sleeps does not count the seconds; this soon after it wakes, the time is looked at.
_LONGEST_WAIT_SECONDS = 20.0
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Clock:
    """The clock of the machine, and the signals to the process.

    Attributes:
      stop_requested: Whether somebody asked the scheduler to end.
    """

    def __init__(self) -> None:
        self.stop_requested = False
        self._woken, self._wake = os.pipe()
        for descriptor in (self._woken, self._wake):
            os.set_blocking(descriptor, False)

    def now(self) -> datetime.datetime:
        """The time of day, in UTC."""
        return datetime.datetime.now(datetime.UTC)

    def seconds(self) -> float:
        """Seconds that pass whatever happens to the time of day."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Waits for at most so long, less where a signal comes or a child process ends."""
        wait = min(max(seconds, 0.0), _LONGEST_WAIT_SECONDS)
        if select.select([self._woken], [], [], wait)[0]:
            os.read(self._woken, 4096)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handles the signals that ask for the end, and those of children, until the block ends."""
        # A signal writes into the pipe before its handler runs, so none is lost before a wait.
        descriptor = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        before = {
            number: signal.signal(number, self._request_stop)
            for number in _STOP_SIGNALS
            # One that is ignored is meant to be: `nohup` does so.
            if signal.getsignal(number) != signal.SIG_IGN
        }
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(descriptor)

    def _request_stop(self, number: int, frame: object) -> None:
        self.stop_requested = True


def duration(seconds: float) -> str:
    """A duration in words, in its two largest units."""
    left, parts = round(seconds), []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
