"""The examples of an artifact: serialized, and read into memory as raw bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx.dsl.io import fileio
from tfx_bsl.coders import example_coder

from components import features

_PARSE_BATCH = 4096


@dataclasses.dataclass(frozen=True)
class Split:
    """Examples of a split: all of them in the order of their ids, or a batch in that of its file.

    Attributes:
      images: raw pixels, uint8 of shape [count, bytes per image].
      labels: int64 of shape [count].
      ids: bytes of shape [count].
    """

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray


def read_split(examples_uri: str, name: str) -> Split:
    """Reads the split `name` of the examples artifact at `examples_uri`.

    Files come in no particular order of examples; sorting by id makes every run see the same.
    """
    batches = list(read_batches(examples_uri, name))
    ids = np.concatenate([batch.ids for batch in batches])
    labels = np.concatenate([batch.labels for batch in batches])
    order = np.argsort(ids, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    images = np.empty((len(ids), batches[0].images.shape[1]), np.uint8)
    start = 0
    while batches:
        # Let go of as it is placed, so that memory holds the images once, not twice.
        batch = batches.pop(0)
        images[place[start : start + len(batch.ids)]] = batch.images
        start += len(batch.ids)
    return Split(images, labels[order], ids[order])


def read_batches(examples_uri: str, name: str) -> Iterator[Split]:
    """Reads a split batch by batch, in the order of its files."""
    for batch in serialized_batches(examples_uri, name, _PARSE_BATCH).map(parse):
        images = batch[features.IMAGE].numpy()
        yield Split(
            np.frombuffer(b"".join(images), np.uint8).reshape(len(images), -1),
            batch[features.LABEL].numpy(),
            batch[features.EXAMPLE_ID].numpy().astype(np.bytes_),
        )


def serialized_batches(examples_uri: str, name: str, size: int) -> tf.data.Dataset:
    """The serialized examples of a split, string [size] each, in the order of its files."""
    files = sorted(fileio.glob(f"{examples_uri}/Split-{name}/*"))
    compression = "GZIP" if files and files[0].endswith(".gz") else ""
    return tf.data.TFRecordDataset(files, compression).batch(size)


def record_batches(examples_uri: str, name: str, size: int) -> Iterator[pa.RecordBatch]:
    """The examples of a split, `size` at a time, a list of values per example and feature."""
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    for serialized in serialized_batches(examples_uri, name, size):
        yield decoder.DecodeBatch(serialized.numpy().tolist())


def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses serialized examples, string [N], into a tensor [N] by feature."""
    spec = {
        features.IMAGE: tf.io.FixedLenFeature([], tf.string),
        features.LABEL: tf.io.FixedLenFeature([], tf.int64),
        features.EXAMPLE_ID: tf.io.FixedLenFeature([], tf.string),
    }
    return tf.io.parse_example(serialized, spec)


def serialize(columns: dict[str, list[Any]]) -> list[bytes]:
    """Serializes a batch of examples; equal values make equal bytes.

    Args:
      columns: a value (bytes or int) per example, by feature.
    """
    lists = {name: _lists(pa.array(values)) for name, values in columns.items()}
    records = example_coder.RecordBatchToExamples(pa.RecordBatch.from_pydict(lists))
    # The coder orders the features otherwise in each example.
    parsed = map(tf.train.Example.FromString, records)
    return [example.SerializeToString(deterministic=True) for example in parsed]


def _lists(values: pa.Array) -> pa.ListArray:
    """A list for each value, as the coder takes them."""
    return pa.ListArray.from_arrays(np.arange(len(values) + 1, dtype=np.int32), values)
