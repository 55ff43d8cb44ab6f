"""What Python's garbage collector need not look at."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Collects no garbage in the block, and never looks again at what the block leaves behind.

    To be put around the import of large libraries. What they define stays until the process ends,
    yet the collector would go through all of it time and again: a quarter of the time that
    TensorFlow and TFX take to import, and part of that of every node. An object that nothing
    refers to is still freed at once; only cycles among what is kept are not.
    """
    # What is garbage by now should not be kept with the rest.
    gc.collect()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
