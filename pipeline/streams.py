"""Standard streams that cannot change what a command comes to.

A terminal goes away, a disk fills up, a reader such as `head` has seen enough, an encoding lacks a
letter: none of that may end a run half-way, or change its exit code. Standard library alone, and no
syntax newer than Python 3.8.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import Any, TextIO

# Escapes letters that the encoding of the terminal lacks.
_ENCODING_ERRORS = "backslashreplace"


class Descriptor(io.FileIO):
    """Writes to a file descriptor; what cannot be written is dropped.

    Attributes:
      failure: the first error.
    """

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Writes some of the bytes, or drops all of them."""
        try:
            while (written := super().write(data)) is None:
                # Somebody else has set the terminal to answer at once.
                select.select([], [self], [])
            return written
        except OSError as error:
            self.failure = self.failure or error
            return memoryview(data).nbytes


def enter_utf8() -> None:
    """Goes on in Python's UTF-8 mode where the locale has another encoding.

    Names of files are bytes, and the libraries take them for UTF-8. The terminal keeps its
    encoding.
    """
    if sys.getfilesystemencoding() == "utf-8":
        return
    if sys.stdout is not None:
        os.environ["PYTHONIOENCODING"] = sys.stdout.encoding
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def prepare() -> Descriptor:
    """Makes the standard streams of this process ones that never raise; to be called first.

    Returns:
      What the standard output writes to.
    """
    # It is for these streams; children and this process speak UTF-8 to each other.
    os.environ.pop("PYTHONIOENCODING", None)
    closed = _open_closed_descriptors()
    output = Descriptor(1, "w", closefd=False)
    if 1 in closed:
        output.failure = OSError(errno.EBADF, os.strerror(errno.EBADF))
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = _standard(sys.stdout, output)
    sys.stderr = _standard(sys.stderr, Descriptor(2, "w", closefd=False))
    return output


def copy(stream: TextIO) -> TextIO:
    """A second stream to where another one goes now; it never raises."""
    descriptor = Descriptor(os.dup(stream.fileno()), "w")
    return _text(descriptor, stream.encoding, line_buffering=True)


def _open_closed_descriptors() -> list[int]:
    """Opens what is closed of the first three, or the next file that is opened would be one."""
    closed = [number for number in range(3) if not _is_open(number)]
    for _ in closed:
        # The lowest number that is free.
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
    # Whoever has replaced the stream, a test say, wants to have what is written.
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
