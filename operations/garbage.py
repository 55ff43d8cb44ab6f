"""Keeps Python's garbage collector away from imported libraries."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Collects no garbage in the block, and exempts all objects that exist after it.

    For the import of large libraries: what they define stays until the process ends, yet the
    collector would visit all of it again and again. That takes a quarter of the import time of
    TensorFlow and TFX, and part of the time of every node. Objects without references are still
    freed at once; only exempt cycles are not.
    """
    # Garbage from before should not become exempt.
    gc.collect()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
