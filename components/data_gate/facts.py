"""What DataGate keeps of every image: facts of a few bytes, in a file for each shard.

A file is ordered by the digests of its images and divided into partitions by their first bits. So
equal images are in the same partition of all files, and the node holds one partition at a time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from components import examples, rows
from components.data_gate import thumbnails
from components.shards import EXAMPLES, Shard

# Fields of a row, beside the id: the digest of the image, its label, its position in the shard, and
# the sum of its values.
DIGEST, LABEL, ROW, VALUES, ID = "digest", "label", "row", "values", "id"
_FIELDS = [(DIGEST, "<u8", 2), (LABEL, "<i8"), (ROW, "<i8"), (VALUES, "<i8")]
# Bytes of a digest: enough that two different images never share one.
_DIGEST_SIZE = 16
# Maximum number of images in a batch, and of their bytes: memory holds a few times as much.
_BATCH, _BATCH_BYTES = 4_096, 2**24
# About the number of images in a partition, and the maximum number of partitions: for each, the
# node reads a part of every file.
_PARTITION, _MOST_PARTITIONS = 2**18, 2**8


def partition_count(shard_count: int) -> int:
    """Number of partitions of the facts about so many shards."""
    return min(max(shard_count * EXAMPLES // _PARTITION, 1), _MOST_PARTITIONS)


def write(shard: Shard, file: BinaryIO, shape: thumbnails.Shape, partitions: int) -> None:
    """Writes the facts about a shard.

    Args:
      shard: The shard.
      file: File to write.
      shape: Height, width and channels of the images.
      partitions: Number of partitions.
    """
    facts = np.concatenate([_facts(batch) for batch in batches(shard, shape)])
    facts[ROW] = np.arange(len(facts))
    facts = facts[np.lexsort(facts[DIGEST].T[::-1])]
    bounds = [number * 2**64 // partitions for number in range(1, partitions)]
    inner = facts[DIGEST][:, 0].searchsorted(np.array(bounds, np.uint64))
    rows.write(file, np.array([0, *inner, len(facts)]), facts)


def batches(shard: Shard, shape: thumbnails.Shape) -> Iterator[examples.Split]:
    """The examples of a shard, in the order of its files."""
    size = min(max(_BATCH_BYTES // math.prod(shape), 1), _BATCH)
    return map(examples.parse, shard.batches(size))


def _facts(batch: examples.Split) -> np.ndarray:
    facts = np.empty(len(batch.ids), [*_FIELDS, (ID, batch.ids.dtype)])
    facts[DIGEST] = _digests(batch.images)
    facts[LABEL] = batch.labels
    facts[VALUES] = batch.images.sum(axis=1, dtype=np.int64)
    facts[ID] = batch.ids
    return facts


def _digests(images: np.ndarray) -> np.ndarray:
    digests = b"".join(
        hashlib.blake2b(image, digest_size=_DIGEST_SIZE).digest() for image in images
    )
    return np.frombuffer(digests, np.uint64).reshape(len(images), 2)


def read_partitions(files: Sequence[rows.RowFile]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Reads the facts about all shards, partition by partition.

    Args:
      files: The files of the shards.

    Returns:
      For each partition the number of the shard of each image, int64 [count], and the facts in the
      order of the digests, [count].
    """
    bounds = np.stack([file.index for file in files])
    for number in range(bounds.shape[1] - 1):
        starts, stops = bounds[:, number], bounds[:, number + 1]
        facts = np.concatenate(
            [file.at(*ends) for file, *ends in zip(files, starts, stops, strict=True)]
        )
        order = np.lexsort(facts[DIGEST].T[::-1])
        yield np.repeat(np.arange(len(files)), stops - starts)[order], facts[order]
