"""Facts about every image, so that DataGate need not hold the images in memory."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np

from components import examples, features

# Bytes of a digest: enough that two different images never share one.
_DIGEST_SIZE = 16


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """All examples of an artifact, split after split, each in the order of its ids.

    Attributes:
      uri: folder of the artifact.
      split: position of each example's split in `features.SPLITS`, int8 [count].
      labels: int64 [count].
      ids: bytes [count].
      digests: digests of the images, uint64 [count, 2].
      brightness: mean of each image's values, 0 to 255, float64 [count].
      file_order: position in this catalogue of each example in file order, int64 [count].
    """

    uri: str
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

    def images_at(self, positions: np.ndarray) -> np.ndarray:
        """Reads some of the images.

        Args:
          positions: int64 [N].

        Returns:
          uint8 [N, bytes per image], in the order of `positions`.
        """
        wanted, places = np.unique(positions, return_inverse=True)
        row = np.full(len(self.ids), -1)
        row[wanted] = np.arange(len(wanted))
        images, start = np.empty((len(wanted), 0), np.uint8), 0
        for name in features.SPLITS:
            for batch in examples.read_batches(self.uri, name):
                if not images.size:
                    images = np.empty((len(wanted), batch.images.shape[1]), np.uint8)
                rows = row[self.file_order[start : start + len(batch.ids)]]
                images[rows[rows >= 0]] = batch.images[rows >= 0]
                start += len(batch.ids)
        # Usually the positions are in this order, and no copy is needed.
        return images if np.array_equal(wanted, positions) else images[places]


def read(uri: str) -> Catalogue:
    """Reads the examples at `uri` once, batch by batch."""
    split, labels, ids, digests, brightness = [], [], [], [], []
    for number, name in enumerate(features.SPLITS):
        for batch in examples.read_batches(uri, name):
            split.append(np.full(len(batch.ids), number, np.int8))
            labels.append(batch.labels)
            ids.append(batch.ids)
            digests.append(_digests(batch.images))
            brightness.append(batch.images.mean(axis=1))
    return _ordered(uri, *map(np.concatenate, (split, labels, ids, digests, brightness)))


def _ordered(
    uri: str,
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
