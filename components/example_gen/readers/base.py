"""The types that all readers share.

A reader lists the examples of one folder or file (`index`), divides the work of reading them
(`shards`), and reads the images of a piece of that work (`read`). It decodes nothing: an image file
becomes pixels in `components.images` alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from components.data_form import Form as Form
from components.example_gen.reading_error import ReadingError as ReadingError

if TYPE_CHECKING:
    import pyarrow as pa

# Split of an example whose data does not say.
UNDECIDED = -1


@dataclasses.dataclass(frozen=True)
class Options:
    """What the configuration says about reading (section `data`).

    Attributes:
      form: Expected form of the data; None takes whatever is recognised.
      path_column: Column of a manifest with the path; None finds it by the usual names.
      label_column: Column with the label; None finds it by the usual names.
      id_column: Column with the id; None finds it by the usual names.
      split_column: Column with the split; None finds it by the usual names.
      outside_files: Whether absolute paths, `..` and links may leave the data folder.
    """

    form: Form | None = None
    path_column: str | None = None
    label_column: str | None = None
    id_column: str | None = None
    split_column: str | None = None
    outside_files: bool = False


@dataclasses.dataclass(frozen=True)
class Index:
    """All examples of a reader, without their images, in a fixed order.

    Attributes:
      ids: Distinct stable id of each example.
      values: The distinct labels as the data writes them, as text, in a fixed order.
      labels: Position in `values` of each example's label, int32 [count].
      splits: Position in `features.SPLITS` of the split that the data gives each example, or
        `UNDECIDED`, int8 [count].
      contents: SHA-256 of each example's own file, hexadecimal; None where many share a file.
      columns: Further columns of a manifest, a row per example; None without any.
    """

    ids: Sequence[str]
    values: tuple[str, ...]
    labels: np.ndarray
    splits: np.ndarray
    contents: Sequence[str] | None = None
    columns: pa.Table | None = None


@dataclasses.dataclass(frozen=True)
class Shard:
    """A piece of work: consecutive examples of an index. Beam sends it to a worker.

    Attributes:
      name: Distinct name, which is safe as part of a file name.
      first: Position in the index of the first example.
      count: Number of examples.
      source: File that the examples are rows of, relative to the folder; empty where each is a
        file.
      row: Number of the first row in that file.
      files: File of each example, relative to the folder; empty where they are rows.
    """

    name: str
    first: int
    count: int
    source: str = ""
    row: int = 0
    files: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Encoded:
    """An image file that is yet to be decoded.

    Attributes:
      name: Name for messages: relative path, or source and row.
      path: Path of the file on this machine; empty where `content` has its bytes.
      content: The bytes of the file; empty where it is to be read from `path`.
      sha256: Expected SHA-256 of the bytes, hexadecimal; empty where the source was checked.
    """

    name: str
    path: str = ""
    content: bytes = b""
    sha256: str = ""


@dataclasses.dataclass(frozen=True)
class Bad:
    """An image that cannot be used.

    Attributes:
      name: Name for messages: relative path, or source and row.
      reason: What is wrong, what was expected, how to fix it.
    """

    name: str
    reason: str


# What a reader makes of an example: its pixels, uint8 [height, width, channels]; or a file.
Item = np.ndarray | Encoded | Bad


class Reader(Protocol):
    """A data set of one form in one folder, opened but not read.

    Opening looks at names and headers alone. Every method raises `ReadingError` for data that
    cannot be used; a single image that cannot be used is a `Bad` item instead.

    Attributes:
      form: The form that was recognised.
      summary: What was recognised, in words: "class folders with 5 classes in train/ and test/".
      ignored: What lies there and is not read, a line each.
      doubts: What may not be as its owner means it, and what to do, some sentences each.
      splits: Positions in `features.SPLITS` of the splits that folders, names of files or a column
        give; never `UNDECIDED`.
    """

    form: Form
    summary: str
    ignored: tuple[str, ...]
    doubts: tuple[str, ...]
    splits: frozenset[int]

    def sources(self) -> Sequence[str]:
        """Relative paths of all files whose content decides the data, in a fixed order."""

    def state(self, path: str) -> tuple[int, ...] | None:
        """What changes when a source does.

        Returns:
          Device, inode, size, and the times of the last changes of content and of inode in
          nanoseconds; None where that is unknown.
        """

    def hash_source(self, path: str) -> str:
        """SHA-256 of a source, hexadecimal: of what it holds uncompressed, if it is an IDX file.

        Reads the file to its end, and checks it as far as that is possible on the way. Empty for
        the file of a single image that cannot be read: `read` yields a `Bad` item for it.
        """

    def digest_lines(self, contents: Mapping[str, str]) -> Sequence[str]:
        """The lines that the digest of the data is computed from.

        Args:
          contents: `hash_source` of every source, by path.
        """

    def index(self, contents: Mapping[str, str]) -> Index:
        """Lists all examples.

        Args:
          contents: `hash_source` of every source, by path.
        """

    def shards(self, index: Index) -> Sequence[Shard]:
        """Divides the work; the shards together hold each example of the index once, in order.

        They depend on the examples alone, not on the number of workers.
        """

    def read(self, shard: Shard, contents: Mapping[str, str]) -> Iterator[Item]:
        """Yields an item per example of the shard, in order.

        Needs no call of `index` before: a worker has just opened the data.

        Pixels are views into a batch of up to 16 MiB. Copy those that outlive the next batch.

        Args:
          shard: The work.
          contents: `hash_source` of the sources of the shard, by path.

        Raises:
          ReadingError: A source changed since it was hashed, or is damaged.
        """
