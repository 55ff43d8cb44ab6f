"""Standard streams that never raise an error.

A terminal may close, a disk may fill up, a reader such as `head` may stop reading, and an encoding
may lack a letter. None of this may abort a run or change its exit code.

This module uses only the standard library and Python 3.8 syntax.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

# How to write letters that the encoding of the terminal lacks.
_ENCODING_ERRORS = "backslashreplace"
# Size of the terminal, as Python takes it before it asks; and the largest sensible one.
_SIZES = ("COLUMNS", "LINES")
_LARGEST = 10_000


class Descriptor(io.FileIO):
    """Writes to a file descriptor and drops what it cannot write.

    Attributes:
      failure: First error, or None.
    """

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Writes some of the bytes, or drops all of them."""
        try:
            while (written := super().write(data)) is None:
                # Another process made the terminal non-blocking: wait until it accepts bytes.
                select.select([], [self], [])
            return written
        except OSError as error:
            self.failure = self.failure or error
            return memoryview(data).nbytes


def enter_utf8() -> None:
    """Restarts Python in UTF-8 mode if the locale has another encoding.

    The libraries assume that file names are UTF-8. The terminal keeps its encoding.
    """
    if sys.getfilesystemencoding() == "utf-8":
        return
    if sys.stdout is not None:
        os.environ["PYTHONIOENCODING"] = sys.stdout.encoding
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def prepare() -> Descriptor:
    """Replaces the standard streams by streams that never raise; call this before anything else.

    Returns:
      The descriptor behind the standard output.
    """
    # It applies only to these streams: child processes exchange UTF-8 with this process.
    os.environ.pop("PYTHONIOENCODING", None)
    _forget_impossible_sizes()
    closed = _open_closed_descriptors()
    output = Descriptor(1, "w", closefd=False)
    if 1 in closed:
        output.failure = OSError(errno.EBADF, os.strerror(errno.EBADF))
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = _standard(sys.stdout, output)
    sys.stderr = _standard(sys.stderr, Descriptor(2, "w", closefd=False))
    return output


def _forget_impossible_sizes() -> None:
    """Removes sizes of a terminal that none has: lines as long would fill the memory."""
    for name in _SIZES:
        digits = os.environ.get(name, "0")
        if not digits.isdecimal() or len(digits) > len(str(_LARGEST)) or int(digits) > _LARGEST:
            del os.environ[name]


def copy(stream: TextIO) -> TextIO:
    """Returns a second stream to the current target of a stream; it never raises."""
    descriptor = Descriptor(os.dup(stream.fileno()), "w")
    return _text(descriptor, stream.encoding, line_buffering=True)


def _open_closed_descriptors() -> list[int]:
    """Opens closed standard descriptors; otherwise the next file would become a standard stream."""
    closed = [number for number in range(3) if not _is_open(number)]
    for _ in closed:
        # The system assigns the lowest free number.
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    return closed


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _standard(stream: TextIO | None, descriptor: Descriptor) -> TextIO:
    if stream is None:
        return _text(descriptor, "utf-8", line_buffering=True)
    # Somebody replaced the stream, for example a test, and wants to receive the output.
    if _number(stream) != descriptor.fileno():
        return stream
    stream.flush()
    line_buffering = stream.line_buffering or getattr(stream, "write_through", False)
    return _text(descriptor, stream.encoding, bool(line_buffering))


def _number(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _text(descriptor: Descriptor, encoding: str, line_buffering: bool) -> TextIO:
    buffer = io.BufferedWriter(descriptor)
    return io.TextIOWrapper(buffer, encoding, _ENCODING_ERRORS, line_buffering=line_buffering)


@contextlib.contextmanager
def output_to_log(path: Path, verbose: bool) -> Iterator[None]:
    """Redirects everything that libraries print to a log file.

    It redirects the file descriptors, since TensorFlow and Beam bypass Python's streams.

    Args:
      path: Log file to append to.
      verbose: Whether to leave the output on the terminal instead.
    """
    if verbose:
        yield
        return
    _flush()
    output, errors = os.dup(1), os.dup(2)
    with path.open("ab", buffering=0) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        _flush()
        os.dup2(output, 1)
        os.dup2(errors, 2)
        os.close(output)
        os.close(errors)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
