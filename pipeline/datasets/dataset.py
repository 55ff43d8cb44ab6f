"""The data of a run: the folder it was found in, and what is known once it was read."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from components.example_gen.request import Request
from pipeline.datasets import spans
from pipeline.datasets.bucket import Place


@dataclasses.dataclass(frozen=True)
class Holding:
    """What a part of the data holds, to find out later whether something was added.

    Attributes:
      span: number of the span; None where the data has no spans.
      images: number of images.
      digests: the first bytes of the SHA-256 of each image file, or of each file that holds many
        images, one after the other.
      shared: names of the files that hold many images each; empty where each image has its own.
    """

    DIGEST_BYTES: ClassVar[int] = 8

    span: int | None
    images: int
    digests: bytes
    shared: frozenset[str]


@dataclasses.dataclass(frozen=True)
class DataSet:
    """The data of a run, after it was read and checked.

    Attributes:
      name: the folder or file, or `sample`.
      sample: whether this is the synthetic sample.
      location: full path or address of the folder or file.
      request: what ExampleGen is asked for.
      digest: SHA-256 over the content of all files.
      sha256s: SHA-256 by file name (`span-1/...` if there are spans); one over all where there are
        many files.
      schema_sha256: SHA-256 of the schema file.
      form: form of the data, as `readers.base.Form` names it.
      summary: what was recognised, in words.
      ignored: what lies there and is not read, a line each.
      counts: number of images of each class in label order, by split.
      holdings: what each part of the data holds.
      window: the spans in use; None if the folder has no spans.
      doubts: what may not be as its owner means it, and what of the slices will not be judged, or
        will refuse every model, a sentence or more each.
    """

    name: str
    sample: bool
    location: str
    request: Request
    digest: str
    sha256s: dict[str, str]
    schema_sha256: str
    form: str
    summary: str
    ignored: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    holdings: tuple[Holding, ...]
    window: spans.Window | None = None
    doubts: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """Name and, if any, spans."""
        return f"{self.name} ({self.window.description})" if self.window else self.name

    def count(self, split: str) -> int:
        """Number of images of a split."""
        return sum(self.counts[split])


@dataclasses.dataclass(frozen=True)
class RemoteData:
    """Data that the nodes of a cluster will read: its location and its digest.

    Attributes:
      location: folder or file of the data, as the nodes see it.
      digest: `DataSet.digest` of the same data.
      schema_sha256: SHA-256 of the schema file.
      request: what ExampleGen is asked for.
    """

    location: str
    digest: str
    schema_sha256: str
    request: Request


@dataclasses.dataclass(frozen=True)
class Source:
    """A folder or file with data, not read yet.

    Attributes:
      place: folder or file of images, or folder of spans.
      sample: whether this is the synthetic sample.
      window: the spans to read; None if the folder has no spans.
    """

    place: Place
    sample: bool
    window: spans.Window | None = None
