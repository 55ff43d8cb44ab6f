"""IDX files as arrays, in a few lines: for baselines, which trust their files, and for scale."""

from __future__ import annotations

import gzip
import pathlib
import struct
from collections.abc import Iterable
from typing import BinaryIO, cast

import numpy as np

from pipeline.errors import DataError

TRAIN, TEST = "train", "t10k"


def paths(folder: pathlib.Path, half: str) -> tuple[pathlib.Path, pathlib.Path]:
    """The images file and the labels file of a half of the data, gzipped or not.

    Raises:
      DataError: The folder has others, or more of them.
    """
    found = sorted(folder.glob(f"{half}-*-ubyte*"))
    if len(found) != 2:
        raise DataError(
            f"{folder} has {len(found)} files called {half}-*-ubyte*; expected one of images and "
            "one of labels. Name a folder of the four IDX files with --data."
        )
    return found[0], found[1]


def count(folder: pathlib.Path, half: str) -> int:
    """The number of images of a half of the data."""
    return shape(paths(folder, half)[0])[0]


def read_pair(folder: pathlib.Path, half: str) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels of a half of the data, uint8 [count, ...] and [count]."""
    images, labels = paths(folder, half)
    return read(images), read(labels)


def read(path: pathlib.Path | str) -> np.ndarray:
    """Reads a whole file: uint8, of the shape that its header gives."""
    with _opened(path) as file:
        shape = _shape(file)
        return np.frombuffer(file.read(), np.uint8).reshape(shape)


def shape(path: pathlib.Path | str) -> tuple[int, ...]:
    """The shape that the header of a file gives; the first size counts its records."""
    with _opened(path) as file:
        return _shape(file)


def write(
    folder: pathlib.Path,
    half: str,
    sizes: tuple[int, ...],
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
) -> None:
    """Writes a half of the data batch by batch.

    Args:
      folder: where the two files go.
      half: `TRAIN` or `TEST`.
      sizes: the shape of all images together.
      batches: images, uint8 [N, ...], and their labels, uint8 [N]; as many in all as `sizes` says.
    """
    names = (f"{half}-images-idx3-ubyte", f"{half}-labels-idx1-ubyte")
    with (folder / names[0]).open("wb") as images, (folder / names[1]).open("wb") as labels:
        images.write(_header(sizes))
        labels.write(_header(sizes[:1]))
        for some_images, some_labels in batches:
            images.write(some_images.tobytes())
            labels.write(some_labels.tobytes())


def _opened(path: pathlib.Path | str) -> BinaryIO:
    opener = gzip.open if str(path).endswith(".gz") else open
    return cast(BinaryIO, opener(path, "rb"))


def _shape(file: BinaryIO) -> tuple[int, ...]:
    rank = file.read(4)[3]
    return struct.unpack(f">{rank}I", file.read(4 * rank))


def _header(sizes: tuple[int, ...]) -> bytes:
    # 8 stands for unsigned bytes.
    return struct.pack(f">BBBB{len(sizes)}I", 0, 0, 8, len(sizes), *sizes)
