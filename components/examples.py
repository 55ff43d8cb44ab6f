"""Reads a split of an examples artifact into memory, as raw bytes."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf
from tfx.dsl.io import fileio

from components import features

_PARSE_BATCH = 4096


@dataclasses.dataclass(frozen=True)
class Split:
    """The examples of a split, in the order of their ids.

    Attributes:
      images: raw pixels, uint8 of shape [count, bytes per image].
      labels: int64 of shape [count].
      ids: byte strings, object array of shape [count].
    """

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray


def read_split(examples_uri: str, name: str) -> Split:
    """Reads the split `name` of the examples artifact at `examples_uri`.

    Files come in no particular order of examples; sorting by id makes every run see the same.
    """
    batches = serialized_batches(examples_uri, name, _PARSE_BATCH)
    return _sorted(list(batches.map(parse).as_numpy_iterator()))


def serialized_batches(examples_uri: str, name: str, size: int) -> tf.data.Dataset:
    """The serialized examples of a split, string [size] each, in the order of its files."""
    files = sorted(fileio.glob(f"{examples_uri}/Split-{name}/*"))
    return tf.data.TFRecordDataset(files).batch(size)


def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses serialized examples, string [N], into a tensor [N] by feature."""
    spec = {
        features.IMAGE: tf.io.FixedLenFeature([], tf.string),
        features.LABEL: tf.io.FixedLenFeature([], tf.int64),
        features.EXAMPLE_ID: tf.io.FixedLenFeature([], tf.string),
    }
    return tf.io.parse_example(serialized, spec)


def _sorted(batches: list[dict[str, np.ndarray]]) -> Split:
    ids = np.concatenate([batch[features.EXAMPLE_ID] for batch in batches])
    order = np.argsort(ids, kind="stable")
    rows = [_rows(batch[features.IMAGE]) for batch in batches]
    labels = np.concatenate([batch[features.LABEL] for batch in batches])
    return Split(np.concatenate(rows)[order], labels[order], ids[order])


def _rows(images: np.ndarray) -> np.ndarray:
    return np.frombuffer(b"".join(images), np.uint8).reshape(len(images), -1)
