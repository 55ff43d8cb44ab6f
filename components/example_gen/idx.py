"""Reads IDX files, the format in which MNIST and its relatives are published.

An IDX file is a magic number (two zero bytes, a type code, the number of dimensions), one
big-endian 32-bit size per dimension, and the values; Yann LeCun's MNIST page describes it. Only
unsigned bytes (type code 8) are read here: images have three dimensions (count, height, width) or
four (and channels), labels have one.

The files are the only untrusted input of the pipeline. Every value is checked before it is used,
and no more is decompressed than the header announces.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import math
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, cast

import numpy as np

_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"
_LARGEST_COUNT = 2**31 - 1

# The halves of a data set, and the file names of each: images, then labels.
TRAIN = "train"
TEST = "t10k"
FILES = {half: (f"{half}-images-idx3-ubyte", f"{half}-labels-idx1-ubyte") for half in (TRAIN, TEST)}

OpenBinary = Callable[[str, str], BinaryIO]


def _open_local(path: str, mode: str) -> BinaryIO:
    return cast(BinaryIO, open(path, mode))


class IdxError(ValueError):
    """An IDX file cannot be read; the message says what was expected and how to fix it."""


@dataclasses.dataclass(frozen=True)
class IdxPair:
    """An images file with its labels file, and the SHA-256 of what each holds, uncompressed.

    Attributes:
      name: first part of the ids of the examples.
      images: path of the images file.
      labels: path of the labels file.
      images_sha256: SHA-256 of the uncompressed images file, hexadecimal.
      labels_sha256: SHA-256 of the uncompressed labels file, hexadecimal.
      count: number of examples.
    """

    name: str
    images: str
    labels: str
    images_sha256: str
    labels_sha256: str
    count: int


def common_folder(pairs: Sequence[IdxPair]) -> str:
    """The common folder of all files."""
    paths = [path for pair in pairs for path in (pair.images, pair.labels)]
    # commonpath would remove a slash from gs://. dirname cuts a common beginning of file names.
    return os.path.dirname(os.path.commonprefix(paths))  # noqa: RUF071


def data_digest(pairs: Sequence[IdxPair]) -> str:
    """SHA-256, hexadecimal, of the content of a run's files and the names of their examples.

    The hashed text has one line per pair: its name, the SHA-256 of its images and the SHA-256 of
    its labels, separated by spaces.

    Args:
      pairs: the training pairs, then the test pair.
    """
    lines = [f"{pair.name} {pair.images_sha256} {pair.labels_sha256}\n" for pair in pairs]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_labels(
    path: str, class_count: int, open_binary: OpenBinary = _open_local
) -> tuple[np.ndarray, str]:
    """Reads a labels file.

    Returns:
      The labels, uint8 of shape [count], and the SHA-256 of the uncompressed file.

    Raises:
      IdxError: the file is no IDX file of labels from 0 to `class_count` - 1.
    """
    reader = IdxReader(path, 1, "labels", open_binary)
    batches = list(reader.batches(65536))
    labels = np.concatenate(batches) if batches else np.zeros(0, np.uint8)
    outside = np.flatnonzero(labels >= class_count)
    if outside.size:
        first = int(outside[0])
        raise IdxError(
            f"{path}: label {labels[first]} at position {first} ({outside.size} such labels in "
            f"all); expected labels from 0 to {class_count - 1}, as the schema names "
            f"{class_count} classes. Fix the labels, or add the class to the schema."
        )
    return labels, reader.sha256


def read_pair(
    name: str,
    images: str,
    labels: str,
    shape: tuple[int, int, int],
    class_count: int,
    open_binary: OpenBinary = _open_local,
) -> tuple[IdxPair, np.ndarray]:
    """Reads both files to the end and checks them; keeps the labels alone in memory.

    Args:
      name: first part of the ids of the examples.
      images: path of the images file.
      labels: path of the labels file.
      shape: height, width and channels that the schema gives.
      class_count: number of classes that the schema names.
      open_binary: opens a file; by default a local one.

    Returns:
      The pair and its labels, uint8 of shape [count].

    Raises:
      IdxError: a file is not what it should be, or the counts differ.
    """
    reader = image_reader(images, shape, open_binary)
    label_count = IdxReader(labels, 1, "labels", open_binary).count
    if reader.count != label_count:
        raise IdxError(
            f"{images} holds {reader.count} images and {labels} {label_count} labels; "
            "expected one label for each image. Get both files from the same release."
        )
    for _ in reader.batches(8192):
        pass
    # Read last because labels stay in memory: now there is known to be an image for each.
    values, labels_sha256 = read_labels(labels, class_count, open_binary)
    pair = IdxPair(name, images, labels, reader.sha256, labels_sha256, reader.count)
    return pair, values


def image_reader(
    path: str, shape: tuple[int, int, int], open_binary: OpenBinary = _open_local
) -> IdxReader:
    """Opens an images file and checks height, width and channels.

    Raises:
      IdxError: the file is no IDX file of such images.
    """
    height, width, channels = shape
    dimensions = 3 if channels == 1 else 4
    reader = IdxReader(path, dimensions, "images", open_binary)
    expected = (height, width) if channels == 1 else shape
    if reader.dimensions[1:] != expected:
        raise IdxError(
            f"{path}: images of {_by(reader.dimensions[1:])}; expected {_by(expected)}, as the "
            "schema says. Use images of that size, or change the shape in the schema."
        )
    return reader


class IdxReader:
    """One pass over an IDX file of unsigned bytes, plain or gzipped (by the name's `.gz`).

    The constructor reads and checks the header, `batches` the values.

    Attributes:
      dimensions: sizes in the header; the first is the number of records.
      sha256: SHA-256 of the uncompressed file; empty until `batches` is read to its end.
    """

    def __init__(
        self, path: str, dimension_count: int, content: str, open_binary: OpenBinary = _open_local
    ):
        """Reads the header; error messages name the `content`, "images" or "labels".

        Raises:
          IdxError: the header is not that of such a file.
        """
        self._path = path
        self._open_binary = open_binary
        with self._opened() as stream:
            self._header = self._read(stream, 4)
            self._check_magic(dimension_count, content)
            self._header += self._read(stream, 4 * dimension_count)
        self.dimensions = struct.unpack(f">{dimension_count}I", self._header[4:])
        self.sha256 = ""
        self._check_sizes(content)

    @property
    def count(self) -> int:
        """Number of records in the header."""
        return self.dimensions[0]

    def batches(self, batch_size: int) -> Iterator[np.ndarray]:
        """Yields the records in order, uint8 of shape [batch_size or fewer, ...].

        Raises:
          IdxError: the file ends early, continues after its end, or is damaged.
        """
        digest = hashlib.sha256(self._header)
        record_shape = self.dimensions[1:]
        with self._opened() as stream:
            self._read(stream, len(self._header))
            for start in range(0, self.count, batch_size):
                records = min(batch_size, self.count - start)
                values = self._read(stream, records * math.prod(record_shape))
                digest.update(values)
                yield np.frombuffer(values, np.uint8).reshape(records, *record_shape)
            self._check_end(stream)
        self.sha256 = digest.hexdigest()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        with self._stream() as stream:
            if not self._path.endswith(".gz"):
                yield stream
                return
            # GzipFile leaves the stream below it open.
            with gzip.GzipFile(fileobj=stream) as unzipped:
                yield cast(BinaryIO, unzipped)

    def _stream(self) -> BinaryIO:
        try:
            return self._open_binary(self._path, "rb")
        except OSError as error:
            reason = error.strerror or str(error)
            raise IdxError(
                f"{self._path} cannot be read ({reason}); expected a readable IDX file. "
                "Check the path and its permissions."
            ) from error

    def _read(self, stream: BinaryIO, size: int) -> bytes:
        try:
            values = stream.read(size)
        except gzip.BadGzipFile as error:
            raise IdxError(
                f"{self._path} is not gzip ({error}); expected a gzipped IDX file, as the name "
                "ends in .gz. Rename it without .gz if it is plain, or download it again."
            ) from error
        except (EOFError, zlib.error) as error:
            raise self._truncated(str(error)) from error
        except OSError as error:
            raise IdxError(
                f"{self._path} cannot be read ({error}); expected a readable file. "
                "Check its permissions and the disk."
            ) from error
        if len(values) != size:
            raise self._truncated(f"{len(values)} of {size} bytes were left")
        return values

    def _truncated(self, found: str) -> IdxError:
        announced = math.prod(getattr(self, "dimensions", ()) or (0,))
        expected = f"{announced} values after the header" if announced else "a whole IDX header"
        return IdxError(
            f"{self._path} is empty, truncated or damaged ({found}); expected {expected}. "
            "Download or copy it again, or run again when it is whole, if it is still being copied."
        )

    def _check_magic(self, dimension_count: int, content: str) -> None:
        if self._header[:2] == _GZIP_MAGIC:
            raise IdxError(
                f"{self._path} is gzipped, but its name does not end in .gz; expected a plain "
                "IDX file. Add .gz to the name."
            )
        expected = bytes([0, 0, _UNSIGNED_BYTE, dimension_count])
        if self._header != expected:
            raise IdxError(
                f"{self._path}: magic number 0x{self._header.hex()}; expected "
                f"0x{expected.hex()}, {content} in IDX format.{self._swap_hint()}"
            )

    def _swap_hint(self) -> str:
        if self._header[:3] == bytes([0, 0, _UNSIGNED_BYTE]) and self._header[3] in (1, 3, 4):
            return " Are the images and the labels swapped?"
        return " Use the original file."

    def _check_sizes(self, content: str) -> None:
        if min(self.dimensions) > 0 and self.count <= _LARGEST_COUNT:
            return
        raise IdxError(
            f"{self._path}: the header announces {_by(self.dimensions)} values; expected at least "
            f"one record of {content}, at most {_LARGEST_COUNT}. Use a file that holds examples."
        )

    def _check_end(self, stream: BinaryIO) -> None:
        try:
            surplus = stream.read(1)
        except (EOFError, OSError, zlib.error) as error:
            raise self._truncated(str(error)) from error
        if surplus:
            raise IdxError(
                f"{self._path} goes on after the {_by(self.dimensions)} values that its header "
                "announces; expected it to end there, and nothing more was read. Use the "
                "original file."
            )


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in sizes)


def file_name(path: str) -> str:
    """The name of an IDX file without its folder and without `.gz`."""
    return os.path.basename(path).removesuffix(".gz")
