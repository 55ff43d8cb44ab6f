"""What counts as training where all else is compared: its epochs, and nothing around them."""

from __future__ import annotations

import json
import pathlib
import time
from typing import Any

_FILE = "epoch_clock.json"


class EpochClock:
    """Adds up the seconds of epochs, from the begin of each to its end, validation included.

    Its methods are for a `LambdaCallback`, of Keras 3 or of Keras 2.

    Attributes:
      seconds: of all epochs so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """An epoch begins."""
        self._began = time.perf_counter()

    def end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """It has ended, and was validated."""
        self.seconds += time.perf_counter() - self._began

    def write(self, folder: pathlib.Path) -> None:
        """Leaves the seconds in a folder, for `read`."""
        (folder / _FILE).write_text(json.dumps(self.seconds), encoding="utf-8")


def read(folder: pathlib.Path) -> float:
    """The seconds that the one clock below a folder has left."""
    (path,) = folder.rglob(_FILE)
    return json.loads(path.read_text(encoding="utf-8"))
