"""Reads IDX files, the format in which MNIST and its relatives are published.

An IDX file is a magic number (two zero bytes, a type code, the number of dimensions), one
big-endian 32-bit size per dimension, and the values; Yann LeCun's MNIST page describes it. Images
are unsigned bytes (type code 8) of three dimensions (count, height, width) or four (and channels).
Labels have one dimension; they are unsigned bytes or 32-bit integers (type code 12).

The files are untrusted input. Every value is checked before it is used, and no more is decompressed
than the header announces.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, Literal, cast

import numpy as np

from components.example_gen.example_ids import MOST_EXAMPLES, advice_on_count
from components.example_gen.reading_error import ReadingError
from components.features import MOST_IMAGE_PIXELS
from components.messages import by

_UNSIGNED_BYTE = 0x08
_INTEGER = 0x0C
_TYPES: dict[int, np.dtype[Any]] = {_UNSIGNED_BYTE: np.dtype(np.uint8), _INTEGER: np.dtype(">i4")}
_OTHER_TYPES = {
    0x09: "signed bytes",
    0x0B: "16-bit integers",
    _INTEGER: "32-bit integers",
    0x0D: "32-bit floating-point numbers",
    0x0E: "64-bit floating-point numbers",
}
# What the third byte may be. Pictures of phones and icons begin with two zero bytes, too.
TYPE_CODES = frozenset({*_TYPES, *_OTHER_TYPES})
_GZIP_MAGIC = b"\x1f\x8b"
_BATCH_BYTES = 2**24

# The halves of a data set, and the file names of each: images, then labels.
TRAIN = "train"
TEST = "t10k"
FILES = {half: (f"{half}-images-idx3-ubyte", f"{half}-labels-idx1-ubyte") for half in (TRAIN, TEST)}

Content = Literal["images", "labels"]
OpenBinary = Callable[[], BinaryIO]


class IdxError(ReadingError):
    """An IDX file cannot be read; the message says what was expected and how to fix it."""


def read_any_labels(path: str, open_binary: OpenBinary | None = None) -> tuple[np.ndarray, str]:
    """Reads a labels file, whatever the labels are.

    Returns:
      The labels, uint8 or int32 of shape [count], and the SHA-256 of the uncompressed file.

    Raises:
      IdxError: the file is no IDX file of labels.
    """
    reader = label_reader(path, open_binary)
    return np.concatenate(list(reader.batches(65536))), reader.sha256


def check_counts(images: IdxReader, labels: IdxReader) -> None:
    """Checks that there is a label for each image.

    Raises:
      IdxError: the counts differ.
    """
    if images.count != labels.count:
        raise IdxError(
            f"{images.path} holds {images.count} images and {labels.path} {labels.count} labels; "
            "expected one label for each image. Get both files from the same release."
        )


def label_reader(path: str, open_binary: OpenBinary | None = None) -> IdxReader:
    """Opens a labels file.

    Raises:
      IdxError: the file is no IDX file of labels.
    """
    return IdxReader(path, "labels", [(_UNSIGNED_BYTE, 1), (_INTEGER, 1)], open_binary)


def any_image_reader(path: str, open_binary: OpenBinary | None = None) -> IdxReader:
    """Opens an images file, whatever the size of the images.

    Raises:
      IdxError: the file is no IDX file of images with one or three channels.
    """
    reader = IdxReader(path, "images", [(_UNSIGNED_BYTE, 3), (_UNSIGNED_BYTE, 4)], open_binary)
    if reader.dimensions[3:] not in ((), (1,), (3,)):
        raise IdxError(
            f"{path}: images of {by(reader.dimensions[1:])}; expected 1 or 3 channels, as the "
            "last size. Use images of gray or of red, green and blue."
        )
    return reader


def image_reader(
    path: str, shape: tuple[int, int, int], open_binary: OpenBinary | None = None
) -> IdxReader:
    """Opens an images file and checks height, width and channels.

    Raises:
      IdxError: the file is no IDX file of such images.
    """
    height, width, channels = shape
    # Some programs give images of one channel a fourth dimension, of 1.
    kinds = [(_UNSIGNED_BYTE, 3), (_UNSIGNED_BYTE, 4)] if channels == 1 else [(_UNSIGNED_BYTE, 4)]
    reader = IdxReader(path, "images", kinds, open_binary)
    expected = (height, width) if channels == 1 else shape
    if reader.dimensions[1:] not in (expected, shape):
        if channels == 1 and reader.dimensions[3:] not in ((), (1,)):
            raise reader.wrong_magic(
                "The images have several channels and the schema's have one: change one of them."
            )
        raise IdxError(
            f"{path}: images of {by(reader.dimensions[1:])}; expected {by(expected)}, as the "
            "schema says. Use images of that size, or change the shape in the schema."
        )
    return reader


class IdxReader:
    """One pass over an IDX file, plain or gzipped (by the name's `.gz`).

    The constructor reads and checks the header, `batches` the values.

    Attributes:
      path: path of the file, as messages show it.
      dimensions: sizes in the header; the first is the number of records.
      sha256: SHA-256 of the uncompressed file; empty until `batches` is read to its end.
    """

    def __init__(
        self,
        path: str,
        content: Content,
        kinds: Sequence[tuple[int, int]],
        open_binary: OpenBinary | None = None,
    ):
        """Reads the header.

        Args:
          path: path of the file.
          content: what the file should hold.
          kinds: type code and number of dimensions that are accepted, the usual ones first.
          open_binary: opens the file, if `path` is no local one.

        Raises:
          IdxError: the header is not that of such a file.
        """
        self.path = path
        self._content = content
        self._kinds = kinds
        self._open_binary = open_binary
        with self._opened() as stream:
            self._header = self._read(stream, 4)
            self._check_magic()
            self._header += self._read(stream, 4 * self._header[3])
        self.dimensions: tuple[int, ...] = struct.unpack(f">{self._header[3]}I", self._header[4:])
        self.sha256 = ""
        self._check_sizes()

    @property
    def count(self) -> int:
        """Number of records in the header."""
        return self.dimensions[0]

    def batches(self, batch_size: int) -> Iterator[np.ndarray]:
        """Yields the records in order, of shape [batch_size or fewer, ...].

        They are uint8, or int32 if the file holds 32-bit integers. A batch of large records has
        fewer of them.

        Raises:
          IdxError: the file ends early, continues after its end, or is damaged.
        """
        digest = hashlib.sha256(self._header)
        record_shape, stored = self.dimensions[1:], _TYPES[self._header[2]]
        record_bytes = math.prod(record_shape) * stored.itemsize
        at_once = max(1, min(batch_size, _BATCH_BYTES // record_bytes))
        with self._opened() as stream:
            self._read(stream, len(self._header))
            for start in range(0, self.count, at_once):
                records = min(at_once, self.count - start)
                values = self._read(stream, records * record_bytes)
                digest.update(values)
                array = np.frombuffer(values, stored).reshape(records, *record_shape)
                yield array.astype(stored.newbyteorder("="), copy=False)
            self._check_end(stream)
        self.sha256 = digest.hexdigest()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        with self._stream() as stream:
            if not self.path.endswith(".gz"):
                yield stream
                return
            # GzipFile leaves the stream below it open.
            with gzip.GzipFile(fileobj=stream) as unzipped:
                yield cast(BinaryIO, unzipped)

    def _stream(self) -> BinaryIO:
        try:
            return open(self.path, "rb") if self._open_binary is None else self._open_binary()
        except OSError as error:
            reason = error.strerror or str(error)
            raise IdxError(
                f"{self.path} cannot be read ({reason}); expected a readable IDX file. "
                "Check the path and its permissions."
            ) from error

    def _read(self, stream: BinaryIO, size: int) -> bytes:
        try:
            # In pieces, so that a header alone cannot make room for what the file does not hold.
            pieces = [
                stream.read(min(_BATCH_BYTES, size - at)) for at in range(0, size, _BATCH_BYTES)
            ]
            values = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        except gzip.BadGzipFile as error:
            raise IdxError(
                f"{self.path} is not gzip ({error}); expected a gzipped IDX file, as the name "
                "ends in .gz. Rename it without .gz if it is plain, or download it again."
            ) from error
        except (EOFError, zlib.error) as error:
            raise self._truncated(str(error)) from error
        except OSError as error:
            raise IdxError(
                f"{self.path} cannot be read ({error}); expected a readable file. "
                "Check its permissions and the disk."
            ) from error
        if len(values) != size:
            raise self._truncated(f"{len(values)} of {size} bytes were left")
        return values

    def _truncated(self, found: str) -> IdxError:
        announced = math.prod(getattr(self, "dimensions", ()) or (0,))
        expected = f"{announced} values after the header" if announced else "a whole IDX header"
        return IdxError(
            f"{self.path} is empty, truncated or damaged ({found}); expected {expected}. "
            "Download or copy it again, or run again when it is whole, if it is still being copied."
        )

    def _check_magic(self) -> None:
        if self._header[:2] == _GZIP_MAGIC:
            raise IdxError(
                f"{self.path} is gzipped, but its name does not end in .gz; expected a plain "
                "IDX file. Add .gz to the name."
            )
        if self._header[:2] != bytes(2) or (self._header[2], self._header[3]) not in self._kinds:
            raise self.wrong_magic(self._hint())

    def wrong_magic(self, hint: str) -> IdxError:
        """The error for a file of another type or another number of dimensions."""
        expected = bytes([0, 0, *self._kinds[0]])
        return IdxError(
            f"{self.path}: magic number 0x{self._header[:4].hex()}; expected "
            f"0x{expected.hex()}, {self._content} in IDX format. {hint}"
        )

    def _hint(self) -> str:
        first, second, code, dimensions = self._header[:4]
        if (first, second) != (0, 0):
            # The header of a file from a program that wrote it in its own byte order.
            if (code, dimensions) == (0, 0) and second in {_UNSIGNED_BYTE, *_OTHER_TYPES}:
                return "The file is little-endian: write its header in big-endian order."
            return "Use the original file."
        if self._content == "labels" and (code, dimensions) == (_INTEGER, 2):
            return (
                "The labels have several columns, as QMNIST's: write the first column, the class, "
                "to a file of its own."
            )
        if self._content == "images" and code == _INTEGER and dimensions == 1:
            return "Are the images and the labels swapped?"
        if code in _OTHER_TYPES and (code, dimensions) not in self._kinds:
            scaled = " from 0 to 255" if self._content == "images" else ""
            return (
                f"The file holds {_OTHER_TYPES[code]}: convert them to whole numbers{scaled}, and "
                "write these as unsigned bytes."
            )
        if (self._content, code, dimensions) == ("images", _UNSIGNED_BYTE, 3):
            return (
                "The images are gray and the schema's have three channels: change the shape in the "
                "schema to one channel, or write the red, green and blue of each pixel."
            )
        if code == _UNSIGNED_BYTE and dimensions in (1, 3, 4):
            return "Are the images and the labels swapped?"
        return "Use the original file."

    def _check_sizes(self) -> None:
        pixels = math.prod(self.dimensions[1:3])
        if pixels > MOST_IMAGE_PIXELS:
            raise IdxError(
                f"{self.path}: the header announces images of {by(self.dimensions[1:])}; expected "
                f"at most {MOST_IMAGE_PIXELS:,} pixels. Use smaller images."
            )
        if min(self.dimensions) > 0 and self.count <= MOST_EXAMPLES:
            return
        raise IdxError(
            f"{self.path}: the header announces {by(self.dimensions)} values; expected at least "
            f"one record of {self._content}, at most {MOST_EXAMPLES:,}. "
            f"{advice_on_count(self.count)}"
        )

    def _check_end(self, stream: BinaryIO) -> None:
        try:
            surplus = stream.read(1)
        except (EOFError, OSError, zlib.error) as error:
            raise self._truncated(str(error)) from error
        if surplus:
            raise IdxError(
                f"{self.path} goes on after the {by(self.dimensions)} values that its header "
                "announces; expected it to end there, and nothing more was read. Use the "
                "original file."
            )
