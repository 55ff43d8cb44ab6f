"""Files of rows of one size, of which any range can be read, and a small index of them."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from tfx.dsl.io import fileio


def write(file: BinaryIO, index: np.ndarray, rows: np.ndarray) -> None:
    """Writes a file of rows.

    Args:
      file: The opened file.
      index: What is known of the rows, and is read with all of it.
      rows: A structured array, [count].
    """
    for array in (index, rows):
        np.lib.format.write_array(file, array, allow_pickle=False)


class RowFile:
    """A file of rows.

    Attributes:
      index: What `write` was given.
      count: Number of rows.
      dtype: Fields of a row.
    """

    def __init__(self, path: str):
        """Reads the index and nothing else."""
        self._path = path
        with fileio.open(path, "rb") as file:
            self.index = np.lib.format.read_array(file, allow_pickle=False)
            np.lib.format.read_magic(file)
            shape, _, self.dtype = np.lib.format.read_array_header_1_0(file)
            self.count = shape[0]
            self._first = file.tell()

    def at(self, start: int, stop: int) -> np.ndarray:
        """The rows from `start` on, up to and without `stop`.

        Raises:
          OSError: The file is shorter than it was written.
        """
        with fileio.open(self._path, "rb") as file:
            file.seek(self._first + start * self.dtype.itemsize)
            content = file.read((stop - start) * self.dtype.itemsize)
        if len(content) != (stop - start) * self.dtype.itemsize:
            raise OSError(
                f"{self._path} is cut off; expected {self.count:,} rows. Check the disk, or the "
                "volume that the workers share, and run again."
            )
        return np.frombuffer(content, self.dtype)
