"""Shards of an artifact of examples, and work on them in Beam.

A shard is one or several files of a split. The files alone decide which, never the number of
workers. A worker reads a shard and writes one file about it; then the node reads these files in the
order of the shards. So Beam carries no more than names, and no result depends on which worker was
the first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import apache_beam as beam
import tensorflow as tf
from tfx.dsl.io import fileio

from components import examples, own_code

# A file of ExampleGen is full with so many examples, or so many bytes. So is a shard: few enough
# for the memory of a worker, and many enough for Beam, which takes its time for each.
EXAMPLES, BYTES = 5_000, 2**27
# The share of a full shard that is enough for one: the number of examples is an estimate.
_ENOUGH = 0.8


@dataclasses.dataclass(frozen=True)
class Shard:
    """Some files of a split.

    Attributes:
      split: Name of the split.
      number: Number among the shards of the split.
      files: Paths of the files, in order.
    """

    split: str
    number: int
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """Distinct name among all shards, as a file can have it."""
        return f"{self.split}-{self.number:06d}"

    def batches(self, most: int) -> Iterator[tf.Tensor]:
        """The serialized examples, string [N] each.

        Args:
          most: Maximum number of examples in a batch; of large images, fewer are taken at a time.
        """
        return examples.batches_of(self.files, examples.fitting(self.files, most))


# Writes the file about a shard.
Make = Callable[[Shard, BinaryIO], None]


def divided(examples_uri: str, split: str) -> list[Shard]:
    """Divides a split into shards.

    Args:
      examples_uri: Folder of the artifact.
      split: Name of the split.

    Raises:
      LostExamplesError: files of the split are missing.
    """
    files = examples.files_of(examples_uri, split)
    size = examples.record_size(files)
    full = min(BYTES, EXAMPLES * size) * _ENOUGH
    shards: list[Shard] = []
    gathered: list[str] = []
    gathered_bytes = 0
    for path in files:
        gathered.append(path)
        gathered_bytes += examples.size_of(path)
        if gathered_bytes >= full:
            shards.append(Shard(split, len(shards), tuple(gathered)))
            gathered, gathered_bytes = [], 0
    if gathered_bytes:
        shards.append(Shard(split, len(shards), tuple(gathered)))
    return shards


@dataclasses.dataclass(frozen=True)
class Workers:
    """Those who work on shards.

    Attributes:
      make_pipeline: Makes a Beam pipeline for the runner of the node.
      folder: Folder for the files about shards, which all workers share. It is made, and removed
        when the work is done.
    """

    make_pipeline: Callable[[], beam.Pipeline]
    folder: str

    @contextlib.contextmanager
    def made(self, shards: Sequence[Shard], make: Make) -> Iterator[list[str]]:
        """Has a file made about each shard; they are there as long as the block runs.

        Beam may process a shard again; the second time replaces the file with an equal one.

        Args:
          shards: The shards.
          make: Makes a file. It is pickled, so it is a function of a module, or a `partial` of one.

        Returns:
          The paths, in the order of the shards.
        """
        fileio.makedirs(self.folder)
        try:
            if shards:
                with self.make_pipeline() as pipeline:
                    names = pipeline | "Shards" >> beam.Create(list(shards))
                    _ = names | "Make" >> beam.ParDo(_Make(make, self.folder))
            yield [os.path.join(self.folder, shard.name) for shard in shards]
        finally:
            # Workers of a job that failed may still write there. Its own error is the one to tell.
            failed = sys.exc_info()[0] is not None
            with contextlib.suppress(Exception) if failed else contextlib.nullcontext():
                fileio.rmtree(self.folder)


class _Make(beam.DoFn):
    """Writes the file about a shard, and renames it into place when it is complete."""

    def __init__(self, make: Make, folder: str):
        self._make = make
        self._folder = folder
        self._code = own_code.digest()

    def setup(self) -> None:
        own_code.check(self._code)

    def process(self, element: Shard) -> None:
        with whole(os.path.join(self._folder, element.name)) as file:
            self._make(element, file)


@contextlib.contextmanager
def whole(path: str) -> Iterator[BinaryIO]:
    """Opens a file that takes its place when it is complete, also where one is there."""
    unfinished = f"{path}.{uuid.uuid4().hex}"
    with fileio.open(unfinished, "wb") as file:
        yield file
    fileio.rename(unfinished, path, overwrite=True)
