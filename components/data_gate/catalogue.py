"""Facts about every image, so that DataGate need not hold the images in memory."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterator

import numpy as np

from components import examples, features
from components.data_gate import thumbnails

# Bytes of a digest: enough that two different images never share one.
_DIGEST_SIZE = 16
# Maximum number of images in a batch, and of their bytes: memory holds a few times as much.
_BATCH, _BATCH_BYTES = 4_096, 2**24


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """All examples of an artifact, split after split, each in the order of its ids.

    Attributes:
      uri: folder of the artifact.
      shape: height, width and channels of the images.
      split: position of each example's split in `features.SPLITS`, int8 [count].
      labels: int64 [count].
      ids: bytes [count].
      digests: digests of the images, uint64 [count, 2].
      brightness: mean of each image's values, 0 to 255, float64 [count].
      file_order: position in this catalogue of each example in file order, int64 [count].
    """

    uri: str
    shape: thumbnails.Shape
    split: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    digests: np.ndarray
    brightness: np.ndarray
    file_order: np.ndarray

    def first_equal(self) -> np.ndarray:
        """The position of the first image that equals each image, int64 [count]."""
        count = len(self.ids)
        # The last key counts first: sort by digest, then by position.
        order = np.lexsort((np.arange(count), self.digests[:, 1], self.digests[:, 0]))
        ordered = self.digests[order]
        begins = np.ones(count, bool)
        begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        first = np.empty(count, np.int64)
        first[order] = order[begins][np.cumsum(begins) - 1]
        return first

    @property
    def bytes_per_image(self) -> int:
        """Size of an image, a byte per pixel and channel."""
        return math.prod(self.shape)

    def id_at(self, position: int) -> str:
        """The id of an example; what is not UTF-8 in it, as a file's name can be, is escaped."""
        return self.ids[position].decode(errors="backslashreplace")

    def images_at(self, positions: np.ndarray) -> np.ndarray:
        """Reads some of the images.

        Args:
          positions: distinct positions, int64 [N].

        Returns:
          uint8 [N, bytes per image], in the order of `positions`.
        """
        images = np.empty((len(positions), self.bytes_per_image), np.uint8)
        for rows, batch in self._batches_at(positions):
            images[rows] = batch
        return images

    def thumbnails_at(self, positions: np.ndarray) -> np.ndarray:
        """Reads some of the images batch by batch, and makes their small copies.

        Args:
          positions: distinct positions, int64 [N].

        Returns:
          uint8 [N, values per copy], in the order of `positions`.
        """
        copies = np.empty((len(positions), thumbnails.size(self.shape)), np.uint8)
        for rows, batch in self._batches_at(positions):
            copies[rows] = thumbnails.made(batch, self.shape)
        return copies

    def _batches_at(self, positions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Places in `positions`, and the images there."""
        if not len(positions):
            return
        row, start = np.full(len(self.ids), -1), 0
        row[positions] = np.arange(len(positions))
        for name in features.SPLITS:
            for batch in _batches(self.uri, name, self.bytes_per_image):
                rows = row[self.file_order[start : start + len(batch.ids)]]
                yield rows[rows >= 0], batch.images[rows >= 0]
                start += len(batch.ids)


def read(uri: str, shape: thumbnails.Shape) -> Catalogue:
    """Reads the examples at `uri` once, batch by batch.

    Args:
      uri: folder of the artifact.
      shape: height, width and channels of the images.
    """
    split, labels, ids, digests, brightness = [], [], [], [], []
    for number, name in enumerate(features.SPLITS):
        for batch in _batches(uri, name, math.prod(shape)):
            split.append(np.full(len(batch.ids), number, np.int8))
            labels.append(batch.labels)
            ids.append(batch.ids)
            digests.append(_digests(batch.images))
            brightness.append(batch.images.mean(axis=1))
    return _ordered(uri, shape, *map(np.concatenate, (split, labels, ids, digests, brightness)))


def _batches(uri: str, name: str, bytes_per_image: int) -> Iterator[examples.Split]:
    size = min(max(_BATCH_BYTES // bytes_per_image, 1), _BATCH)
    return map(examples.parse, examples.serialized_batches(uri, name, size))


def _ordered(
    uri: str,
    shape: thumbnails.Shape,
    split: np.ndarray,
    labels: np.ndarray,
    ids: np.ndarray,
    digests: np.ndarray,
    brightness: np.ndarray,
) -> Catalogue:
    order = np.lexsort((ids, split))
    file_order = np.empty_like(order)
    file_order[order] = np.arange(len(order))
    return Catalogue(
        uri,
        shape,
        split[order],
        labels[order],
        ids[order],
        digests[order],
        brightness[order],
        file_order,
    )


def _digests(images: np.ndarray) -> np.ndarray:
    found = b"".join(
        hashlib.blake2b(image.tobytes(), digest_size=_DIGEST_SIZE).digest() for image in images
    )
    return np.frombuffer(found, np.uint64).reshape(len(images), 2)
