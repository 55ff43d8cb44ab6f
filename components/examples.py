"""Serializes examples, and reads the splits of an examples artifact."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx.dsl.io import fileio
from tfx_bsl.coders import example_coder

from components import features
from components.messages import AGAIN_WITHOUT_CACHE, shown

# The names of files of examples begin with it, as those of TFX do.
FILE_PREFIX = "data_tfrecord"
_PARSE_BATCH = 4096
_DIGEST_ROWS = 4096
# All examples of a split have about the size of the first.
_MOST_BATCH_BYTES = 32 * 2**20
_SPEC = {
    features.IMAGE: tf.io.FixedLenFeature([], tf.string),
    features.LABEL: tf.io.FixedLenFeature([], tf.int64),
    features.EXAMPLE_ID: tf.io.FixedLenFeature([], tf.string),
}

_ADVICE = (
    "A full disk, a clean-up or a rule of the bucket may have removed some. " + AGAIN_WITHOUT_CACHE
)


class LostExamplesError(RuntimeError):
    """An artifact of examples does not have the files that were written."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Examples of a split: all of them in the order of their ids, or a batch in file order.

    Attributes:
      images: raw pixels, uint8 of shape [count, bytes per image]; a `numpy.memmap` if they are
        in a file.
      labels: int64 of shape [count].
      ids: bytes of shape [count].
    """

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray

    def at(self, rows: np.ndarray | slice) -> Split:
        """The examples at these rows."""
        return Split(self.images[rows], self.labels[rows], self.ids[rows])

    def digest(self) -> str:
        """SHA-256 of pixels, labels and ids, in their order."""
        found = hashlib.sha256(b"%d %d\n" % self.images.shape)
        found.update(b"\n".join(self.ids.tolist()))
        found.update(self.labels.tobytes())
        rows = rows_within(_MOST_BATCH_BYTES, self.images.shape[1], _DIGEST_ROWS)
        for start in range(0, len(self.images), rows):
            found.update(self.images[start : start + rows].tobytes())
        return found.hexdigest()


def read_split(examples_uri: str, name: str, most_in_memory: int | None = None) -> Split:
    """Reads the split `name` of the examples artifact at `examples_uri`.

    Files hold the examples in any order; sorting by id gives every run the same order. A first pass
    reads ids and labels, so that a second can put each image straight in its place: memory never
    holds an image twice.

    Args:
      examples_uri: folder of the artifact.
      name: name of the split.
      most_in_memory: maximum bytes of images in memory. Larger splits go to a temporary file, which
        the system caches. None means no limit.

    Raises:
      LostExamplesError: files of the split are missing.
      OSError: the disk has no room for that file.
    """
    ids, labels = _ids_and_labels(examples_uri, name)
    order = np.argsort(ids, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    batches = read_batches(examples_uri, name)
    first = next(batches)
    images = _room_for((len(ids), first.images.shape[1]), most_in_memory)
    start = 0
    for batch in itertools.chain([first], batches):
        images[place[start : start + len(batch.ids)]] = batch.images
        start += len(batch.ids)
    return Split(images, labels[order], ids[order])


def _ids_and_labels(examples_uri: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    spec = {key: _SPEC[key] for key in (features.EXAMPLE_ID, features.LABEL)}
    batches = [
        tf.io.parse_example(serialized, spec)
        for serialized in serialized_batches(examples_uri, name, _PARSE_BATCH)
    ]
    ids = [batch[features.EXAMPLE_ID].numpy().astype(np.bytes_) for batch in batches]
    labels = [batch[features.LABEL].numpy() for batch in batches]
    return np.concatenate(ids), np.concatenate(labels)


def _room_for(shape: tuple[int, int], most_in_memory: int | None) -> np.ndarray:
    size = math.prod(shape)
    if most_in_memory is None or size <= most_in_memory:
        return np.empty(shape, np.uint8)
    with tempfile.TemporaryFile() as file:
        # A full disk fails here. Writing to a mapped page would kill the process.
        os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, np.uint8, "r+", shape=shape)


def read_batches(examples_uri: str, name: str) -> Iterator[Split]:
    """Reads a split batch by batch, in the order of its files."""
    for serialized in serialized_batches(examples_uri, name, _PARSE_BATCH):
        yield parse(serialized)


def joined(parts: Sequence[Split]) -> Split:
    """All examples of several parts, one part after the other."""
    return Split(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.ids for part in parts]),
    )


def serialized_batches(examples_uri: str, name: str, size: int) -> Iterator[tf.Tensor]:
    """The serialized examples of a split, string [N] each, in the order of its files.

    Args:
      examples_uri: folder of the artifact.
      name: name of the split.
      size: maximum number of examples in a batch; of large images, fewer are taken at a time.
    """
    files = files_of(examples_uri, name)
    return batches_of(files, fitting(files, size))


def files_of(examples_uri: str, name: str) -> list[str]:
    """Paths of the files of a split, in their order.

    Raises:
      LostExamplesError: some are not there, or not as long as when they were written. A cache hands
        out an artifact without a look into its folder, and what is missing would show nowhere.
    """
    folder = _split_folder(examples_uri, name)
    written, found = _listing(examples_uri).get(name), _sizes(folder)
    if written is None:
        raise LostExamplesError(
            f"{examples_uri} has no list of the files of its split {name}; expected one in "
            f"{features.LISTING_FILE}. {_ADVICE}"
        )
    if written != found:
        names = sorted(each for each in written | found if written.get(each) != found.get(each))
        raise LostExamplesError(
            f"{folder} is not as it was written: {len(names):,} of {len(written):,} files "
            f"are missing or have another length, {shown(names[0])} the first; expected all of "
            f"them. {_ADVICE}"
        )
    return [os.path.join(folder, each) for each in sorted(found)]


def write_listing(examples_uri: str, names: Iterable[str]) -> None:
    """Writes which files the splits of an artifact have, when all of them are there.

    Args:
      examples_uri: folder of the artifact.
      names: names of the splits.
    """
    listing = {name: _sizes(_split_folder(examples_uri, name)) for name in names}
    with fileio.open(os.path.join(examples_uri, features.LISTING_FILE), "w") as file:
        file.write(json.dumps(listing, sort_keys=True))


def _listing(examples_uri: str) -> dict[str, dict[str, int]]:
    """The bytes of each file by split; empty where there is no list."""
    path = os.path.join(examples_uri, features.LISTING_FILE)
    if not fileio.exists(path):
        return {}
    with fileio.open(path, "r") as file:
        listing: dict[str, dict[str, int]] = json.loads(file.read())
    return listing


def _split_folder(examples_uri: str, name: str) -> str:
    return os.path.join(examples_uri, features.split_folder(name))


def _sizes(folder: str) -> dict[str, int]:
    # List the folder instead of matching a pattern: its name may contain pattern characters.
    names = fileio.listdir(folder) if fileio.exists(folder) else []
    return {each: size_of(os.path.join(folder, each)) for each in names if each[0] != "."}


def size_of(path: str) -> int:
    """Bytes of a file."""
    # TFX's own `stat` answers in the form of whichever system has the file.
    size: int = tf.io.gfile.stat(path).length
    return size


def fitting(files: Sequence[str], most: int) -> int:
    """Number of examples in a batch.

    Args:
      files: files of a split.
      most: maximum number; of large images, fewer fit.
    """
    return rows_within(_MOST_BATCH_BYTES, record_size(files), most)


def rows_within(most_bytes: int, row_bytes: int, most: int) -> int:
    """Number of rows in a batch, at least one.

    Args:
      most_bytes: bytes of a batch; a single row may have more.
      row_bytes: bytes of a row.
      most: maximum number; of large rows, fewer fit.
    """
    return min(most, max(1, most_bytes // row_bytes))


def record_size(files: Sequence[str]) -> int:
    """Bytes of the first example of some files; 1 without any."""
    return next((len(record) for record in _records(files)), 1)


def batches_of(files: Sequence[str], size: int) -> Iterator[tf.Tensor]:
    """The serialized examples of some files in batches of `size`, string [N] each."""
    records = _records(files)
    while batch := list(itertools.islice(records, size)):
        yield tf.constant(batch)


def _records(files: Sequence[str]) -> Iterator[bytes]:
    for path in files:
        # Not through tf.data, which takes twenty milliseconds for a file of a millisecond.
        compression = tf.io.TFRecordOptions("GZIP" if path.endswith(".gz") else "")
        yield from tf.compat.v1.io.tf_record_iterator(path, compression)


def record_batches(serialized: Iterable[tf.Tensor]) -> Iterator[pa.RecordBatch]:
    """Decodes batches of serialized examples: a list of values per example and feature."""
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    for batch in serialized:
        yield decoder.DecodeBatch(batch.numpy().tolist())


def parse(serialized: tf.Tensor) -> Split:
    """Parses serialized examples, string [N]."""
    batch = tf.io.parse_example(serialized, _SPEC)
    images = batch[features.IMAGE].numpy()
    return Split(
        np.frombuffer(b"".join(images), np.uint8).reshape(len(images), -1),
        batch[features.LABEL].numpy(),
        batch[features.EXAMPLE_ID].numpy().astype(np.bytes_),
    )


def serialize(columns: dict[str, list[Any]]) -> list[bytes]:
    """Serializes a batch of examples; equal values make equal bytes.

    Args:
      columns: one value (bytes or int) per example, by feature.
    """
    lists = {name: _lists(pa.array(values)) for name, values in columns.items()}
    records = example_coder.RecordBatchToExamples(pa.RecordBatch.from_pydict(lists))
    # The coder orders the features differently in each example.
    parsed = map(tf.train.Example.FromString, records)
    return [example.SerializeToString(deterministic=True) for example in parsed]


def _lists(values: pa.Array) -> pa.ListArray:
    """A list for each value, as the coder takes them."""
    return pa.ListArray.from_arrays(np.arange(len(values) + 1, dtype=np.int32), values)
