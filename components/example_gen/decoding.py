"""Decodes image files in processes of their own, as a single process cannot use all processors.

A worker imports neither TensorFlow nor Beam, and ends with the process that started it.
"""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import errno
import hashlib
import logging
import multiprocessing
import os
import signal
import stat
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from components import control_groups, images
from components.example_gen.reading_error import ReadingError

# Below this number, the start of the workers takes longer than they save.
_LEAST_FILES = 200
_BATCH, _BATCH_BYTES = 32, 8 * 2**20
# At the end of a shard, a process waits for the others, at most as long as they take for a batch.
_BATCHES_PER_PROCESS = 8
_BATCHES_AHEAD = 4

logger = logging.getLogger(__name__)


class File(NamedTuple):
    """An image file to decode.

    Attributes:
      name: Name for messages.
      path: Path on this machine; empty where `content` has the bytes.
      content: The bytes; empty where they are to be read.
      sha256: Expected SHA-256 of the bytes; empty where nothing is expected.
    """

    name: str
    path: str
    content: bytes
    sha256: str


class Decoded(NamedTuple):
    """A decoded image, or the reason why it cannot be used.

    Attributes:
      pixels: Raw pixels, one byte for each value; empty for a bad file.
      border: Mean brightness of the border, 0 to 255.
      name: Name of a bad file.
      reason: What is wrong with the file; empty if nothing is.
      changed: Whether the file is not the one that was hashed.
    """

    pixels: bytes
    border: float
    name: str
    reason: str
    changed: bool


class Decoder:
    """Decodes files in order, in this process or in others."""

    def __init__(self, preparation: images.Preparation, count: int):
        """Starts no process before `decode` has files.

        Args:
          preparation: The form that each image gets.
          count: Number of all files, of which few are decoded in this process.
        """
        self._preparation = preparation
        self._processes = 1 if count < _LEAST_FILES else control_groups.cores()
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None

    def decode(self, files: Iterable[File | Decoded], count: int) -> Iterator[Decoded]:
        """Yields the image of each file of a shard, in order.

        Args:
          files: Files, which are taken a few batches ahead; what is decoded stays as it is.
          count: Number of these files.

        Raises:
          ReadingError: A process was killed.
        """
        try:
            yield from self._decoded(files, count)
        except concurrent.futures.process.BrokenProcessPool as error:
            self._pool = None
            raise ReadingError(
                "a process that decodes images was killed; expected memory for "
                f"{self._processes} images at once. Free memory, or shrink the largest images."
            ) from error

    def _decoded(self, files: Iterable[File | Decoded], count: int) -> Iterator[Decoded]:
        batches = _batches(files, count // (_BATCHES_PER_PROCESS * self._processes))
        waiting: deque[concurrent.futures.Future[list[Decoded]]] = deque()
        for batch in batches:
            known = all(isinstance(file, Decoded) for file in batch)
            pool = None if known else self._started()
            if pool is None:
                yield from _results(waiting)
                yield from decode_batch(batch, self._preparation)
                continue
            waiting.append(pool.submit(decode_batch, batch, self._preparation))
            if len(waiting) > _BATCHES_AHEAD * self._processes:
                yield from waiting.popleft().result()
        yield from _results(waiting)

    def close(self) -> None:
        """Ends the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _started(self) -> concurrent.futures.ProcessPoolExecutor | None:
        """The other processes; None where this one decodes alone."""
        if self._pool is None and self._processes > 1:
            try:
                self._pool = concurrent.futures.ProcessPoolExecutor(
                    self._processes, multiprocessing.get_context("spawn"), initializer=_begin_worker
                )
            except OSError as error:
                # Their locks lie in /dev/shm, which a container may lack.
                logger.warning("Images are decoded in one process: no other starts (%s).", error)
                self._processes = 1
        return self._pool


def _results(waiting: deque[concurrent.futures.Future[list[Decoded]]]) -> Iterator[Decoded]:
    while waiting:
        yield from waiting.popleft().result()


def decode_batch(files: list[File | Decoded], preparation: images.Preparation) -> list[Decoded]:
    """Decodes a batch of files."""
    return [file if isinstance(file, Decoded) else _decoded(file, preparation) for file in files]


def _decoded(file: File, preparation: images.Preparation) -> Decoded:
    try:
        content = file.content or _content(file.path)
    except OSError as error:
        if file.sha256:
            return Decoded(b"", 0.0, file.name, str(error.strerror), changed=True)
        reason = f"it cannot be read ({error.strerror}); expected a readable file. Check it."
        return Decoded(b"", 0.0, file.name, reason, changed=False)
    if file.sha256 and hashlib.sha256(content).hexdigest() != file.sha256:
        return Decoded(b"", 0.0, file.name, "other content", changed=True)
    try:
        prepared = images.prepare(content, preparation)
    except images.ImageError as error:
        return Decoded(b"", 0.0, file.name, str(error), changed=False)
    return Decoded(prepared.pixels.tobytes(), prepared.border, "", "", changed=False)


def _content(path: str) -> bytes:
    # Should a pipe have taken the place of the file, nobody waits for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return file.read()


def _batches(files: Iterable[File | Decoded], most: int) -> Iterator[list[File | Decoded]]:
    most = min(max(most, 1), _BATCH)
    batch: list[File | Decoded] = []
    size = 0
    for file in files:
        batch.append(file)
        size += len(file.content) if isinstance(file, File) else len(file.pixels)
        if len(batch) == most or size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _begin_worker() -> None:
    # Ctrl-C reaches the whole group of processes; the parent ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers, which would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
