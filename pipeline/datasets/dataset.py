"""The data of a run: the folder it was found in, and its files once they are read."""

from __future__ import annotations

import dataclasses
import pathlib

from components.example_gen import idx
from pipeline.datasets import spans


@dataclasses.dataclass(frozen=True)
class DataSet:
    """The files of a run, after they were read and checked.

    Attributes:
      name: the folder, or `sample`.
      sample: whether this is the built-in sample.
      train: the files for `train` and `val`: one pair, or one per span.
      test: the files for `test`.
      schema_sha256: SHA-256 of the schema file.
      train_per_class: number of images of each class for `train` and `val`, in label order.
      test_per_class: number of test images of each class, in label order.
      window: the spans in use; None if the folder has no spans.
    """

    name: str
    sample: bool
    train: tuple[idx.IdxPair, ...]
    test: idx.IdxPair
    schema_sha256: str
    train_per_class: tuple[int, ...]
    test_per_class: tuple[int, ...]
    window: spans.Window | None = None

    @property
    def description(self) -> str:
        """Name and, if any, spans."""
        return f"{self.name} ({self.window.description})" if self.window else self.name

    @property
    def train_count(self) -> int:
        """Number of examples for `train` and `val` together."""
        return sum(pair.count for pair in self.train)

    @property
    def sha256s(self) -> dict[str, str]:
        """SHA-256 of the uncompressed content, by file name (`span-1/...` if there are spans)."""
        return {
            self._key(path): digest
            for pair in (*self.train, self.test)
            for path, digest in (
                (pair.images, pair.images_sha256),
                (pair.labels, pair.labels_sha256),
            )
        }

    @property
    def location(self) -> str:
        """Common folder of all files."""
        return idx.common_folder([*self.train, self.test])

    @property
    def digest(self) -> str:
        """SHA-256 over the content of all files."""
        return idx.data_digest([*self.train, self.test])

    def _key(self, path: str) -> str:
        span = f"{pathlib.Path(path).parent.name}/" if self.window else ""
        return f"{span}{idx.file_name(path)}"


@dataclasses.dataclass(frozen=True)
class RemoteData:
    """Data that the nodes of a cluster will read: its location and its digest.

    Attributes:
      location: folder of the four IDX files, as the nodes see it.
      digest: `DataSet.digest` of the same files.
      schema_sha256: SHA-256 of the schema file.
      train: empty, because the nodes find the files themselves.
      test: None, for the same reason.
    """

    location: str
    digest: str
    schema_sha256: str
    train: tuple[()] = ()
    test: None = None


@dataclasses.dataclass(frozen=True)
class Source:
    """A folder with data, not read yet.

    Attributes:
      folder: folder of IDX files or of spans.
      sample: whether this is the built-in sample.
      window: the spans to read; None if the folder has no spans.
    """

    folder: pathlib.Path
    sample: bool
    window: spans.Window | None = None
