"""What DataGate knows of all images, so that it need not hold them in memory."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from tfx.dsl.io import fileio

from components import features, rows
from components.data_gate import facts, thumbnails
from components.shards import Shard, Workers, divided

# Folder of the positions of images that are wanted, beside the files about the shards.
_WANTED = "wanted"


@dataclasses.dataclass(frozen=True)
class Brightness:
    """How bright the images of a split are, 0 to 255.

    Attributes:
      count: number of images.
      mean: mean over the images of the mean of their values.
      variance: its variance.
    """

    count: int
    mean: float
    variance: float


@dataclasses.dataclass(frozen=True)
class TrainedClass:
    """The training images of a class.

    Attributes:
      count: number of images.
      digest: digest of each of them; None if they differ.
    """

    count: int
    digest: bytes | None


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """The images that need a look, split after split, each in the order of its ids; and totals.

    Images that equal another one are all listed. Of the different images, so many are listed as are
    searched for similar ones: those with the lowest digests, which is as good as at random.

    Attributes:
      shape: height, width and channels of the images.
      split: position of each listed example's split in `features.SPLITS`, int8 [count].
      labels: int64 [count].
      ids: bytes [count].
      digests: digests of the images, uint64 [count, 2].
      shard: number of each listed example's shard, int64 [count].
      row: its position in the shard, int64 [count].
      different: number of different images of the data.
      trained: training images of each class of which there are some, by label.
      brightness: of all images, by split; splits without any are left out.
      shards: shards of all splits.
      workers: those who read images again.
    """

    shape: thumbnails.Shape
    split: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    digests: np.ndarray
    shard: np.ndarray
    row: np.ndarray
    different: int
    trained: dict[int, TrainedClass]
    brightness: dict[str, Brightness]
    shards: Sequence[Shard]
    workers: Workers

    def first_equal(self) -> np.ndarray:
        """The position of the first image that equals each image, int64 [count]."""
        count = len(self.ids)
        # The last key counts first: sort by digest, then by position.
        order = np.lexsort((np.arange(count), self.digests[:, 1], self.digests[:, 0]))
        begins = _begins(self.digests[order])
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
        return self._read_at(positions, self.bytes_per_image, small=False)

    def thumbnails_at(self, positions: np.ndarray) -> np.ndarray:
        """Reads some of the images batch by batch, and makes their small copies.

        Args:
          positions: distinct positions, int64 [N].

        Returns:
          uint8 [N, values per copy], in the order of `positions`.
        """
        return self._read_at(positions, thumbnails.size(self.shape), small=True)

    def _read_at(self, positions: np.ndarray, size: int, small: bool) -> np.ndarray:
        images = np.empty((len(positions), size), np.uint8)
        order = np.lexsort((self.row[positions], self.shard[positions]))
        numbers, starts = np.unique(self.shard[positions][order], return_index=True)
        # Of no positions, NumPy makes one part, and there is no shard for it.
        wanted = {
            self.shards[number]: places
            for number, places in zip(numbers, np.split(order, starts[1:]), strict=False)
        }
        folder = os.path.join(self.workers.folder, _WANTED)
        fileio.makedirs(folder)
        for shard, places in wanted.items():
            with fileio.open(os.path.join(folder, shard.name), "wb") as file:
                file.write(self.row[positions[places]].tobytes())
        write = functools.partial(_write_images, shape=self.shape, wanted=folder, small=small)
        with self.workers.made(list(wanted), write) as paths:
            for path, places in zip(paths, wanted.values(), strict=True):
                with fileio.open(path, "rb") as file:
                    images[places] = np.frombuffer(file.read(), np.uint8).reshape(-1, size)
        return images


def _write_images(
    shard: Shard, file: BinaryIO, shape: thumbnails.Shape, wanted: str, small: bool
) -> None:
    """Writes some images of a shard in its order, or their small copies."""
    with fileio.open(os.path.join(wanted, shard.name), "rb") as listed:
        waiting = np.frombuffer(listed.read(), np.int64)
    start = 0
    for batch in facts.batches(shard, shape):
        stop = start + len(batch.ids)
        here, waiting = np.split(waiting, [waiting.searchsorted(stop)])
        images = batch.images[here - start]
        file.write((thumbnails.made(images, shape) if small else images).tobytes())
        start = stop


def read(workers: Workers, uri: str, shape: thumbnails.Shape, searched: int) -> Catalogue:
    """Reads all examples once, shard by shard.

    Args:
      workers: those who read them.
      uri: folder of the artifact.
      shape: height, width and channels of the images.
      searched: number of different images that are searched for similar ones.
    """
    shards = [shard for name in features.SPLITS for shard in divided(uri, name)]
    splits = np.array([features.SPLITS.index(shard.split) for shard in shards], np.int8)
    write = functools.partial(
        facts.write, shape=shape, partitions=facts.partition_count(len(shards))
    )
    totals, listed, different = _Totals(), [], 0
    with workers.made(shards, write) as paths:
        for shard, found in facts.read_partitions([rows.RowFile(path) for path in paths]):
            totals.add(splits[shard], found)
            begins = _begins(found[facts.DIGEST])
            kind = np.cumsum(begins) - 1
            listed_here = (np.bincount(kind)[kind] > 1) | (different + kind < searched)
            listed.append((shard[listed_here], found[listed_here]))
            different += int(begins.sum())
    shard, found = (np.concatenate(parts) for parts in zip(*listed, strict=True))
    order = np.lexsort((found[facts.ID], splits[shard]))
    shard, found = shard[order], found[order]
    return Catalogue(
        shape=shape,
        split=splits[shard],
        labels=found[facts.LABEL],
        ids=found[facts.ID],
        digests=found[facts.DIGEST],
        shard=shard,
        row=found[facts.ROW],
        different=different,
        trained=totals.trained,
        brightness=totals.brightness(math.prod(shape)),
        shards=shards,
        workers=workers,
    )


def _begins(digests: np.ndarray) -> np.ndarray:
    """Which of the digests, uint64 [count, 2], differ from the one before; bool [count]."""
    begins = np.ones(len(digests), bool)
    begins[1:] = (digests[1:] != digests[:-1]).any(axis=1)
    return begins


class _Totals:
    """Sums over all images, which are exact in any order."""

    def __init__(self) -> None:
        self.trained: dict[int, TrainedClass] = {}
        # Number of images, sum of their values, and sum of the squares of these, by split.
        self._sums = {name: [0, 0, 0] for name in features.SPLITS}

    def add(self, splits: np.ndarray, found: np.ndarray) -> None:
        """Adds facts about images in these splits."""
        for number, name in enumerate(features.SPLITS):
            # Whole numbers of Python: the squares of large images exceed 64 bits.
            values = found[facts.VALUES][splits == number].tolist()
            further = len(values), sum(values), sum(value * value for value in values)
            before = self._sums[name]
            self._sums[name] = [sum(pair) for pair in zip(before, further, strict=True)]
        self._add_trained(found[splits == features.TRAIN])

    def _add_trained(self, found: np.ndarray) -> None:
        labels, first, label, counts = np.unique(
            found[facts.LABEL], return_index=True, return_inverse=True, return_counts=True
        )
        digests = found[facts.DIGEST]
        differs = (digests != digests[first[label]]).any(axis=1)
        differing = np.bincount(label, differs, len(labels))
        for number, place, count, others in zip(
            labels.tolist(), first, counts.tolist(), differing, strict=True
        ):
            digest = None if others else digests[place].tobytes()
            before = self.trained.get(number, TrainedClass(0, digest))
            common = digest if digest == before.digest else None
            self.trained[number] = TrainedClass(before.count + count, common)

    def brightness(self, bytes_per_image: int) -> dict[str, Brightness]:
        return {
            name: Brightness(
                count,
                total / (count * bytes_per_image),
                (count * squares - total**2) / (count * bytes_per_image) ** 2,
            )
            for name, (count, total, squares) in self._sums.items()
            if count
        }
