"""Finds images that are nearly or exactly the same, within and across splits."""

from __future__ import annotations

import dataclasses
from itertools import combinations_with_replacement

import numpy as np
from scipy import linalg, spatial

from components import features
from components.data_gate import thumbnails
from components.data_gate.catalogue import Catalogue

# Images are similar if their root mean square difference is at most this, of 255.
BOUND = 6.0
# Maximum number of images in the search for similar ones. Its time grows faster than the number of
# images, and no decision depends on it.
SEARCHED = 100_000
# Maximum bytes of images in memory that look alike when small. Fewer are searched where more do.
COMPARED_BYTES = 2**28
# Number of principal components in the search for candidates.
_DIMENSIONS = 16
# Maximum number of candidates per image: the nearest ones.
_CANDIDATES = 32
_FITTED_ON = 5_000
_BATCH = 8_192
_BATCH_BYTES = 2**23


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of similar images, each once.

    Attributes:
      first: positions of the earlier images, int64 [count].
      second: positions of the later images, int64 [count].
      distance: root mean square differences, float64 [count]; 0 only for equal images.
    """

    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray

    def at(self, rows: np.ndarray) -> Pairs:
        """Some of the pairs."""
        return Pairs(self.first[rows], self.second[rows], self.distance[rows])


@dataclasses.dataclass(frozen=True)
class _Images:
    """Images in memory, or their small copies.

    Attributes:
      positions: positions in growing order, int64 [count].
      values: uint8 [count, values per image].
    """

    positions: np.ndarray
    values: np.ndarray

    def at(self, positions: np.ndarray) -> np.ndarray:
        if np.array_equal(positions, self.positions):
            return self.values
        return self.values[self.positions.searchsorted(positions)]


@dataclasses.dataclass(frozen=True)
class ReportedPair:
    """A pair of images that are alike, for the review.

    Attributes:
      first: Id of the earlier image.
      second: Id of the later image.
      first_split: Split of the earlier image.
      second_split: Split of the later image.
      first_label: Label of the earlier image.
      second_label: Label of the later image.
      distance: Root mean square difference; 0 for equal images.
    """

    first: str
    second: str
    first_split: str
    second_split: str
    first_label: int
    second_label: int
    distance: float


@dataclasses.dataclass(frozen=True)
class PairCount:
    """Numbers of pairs across two splits.

    Attributes:
      first_split: Split of one image.
      second_split: Split of the other image.
      exact: Pairs of equal images.
      near: Pairs of images that are nearly the same.
      other_label: Pairs with different labels.
    """

    first_split: str
    second_split: str
    exact: int
    near: int
    other_label: int


@dataclasses.dataclass(frozen=True)
class Report:
    """What the review shows about images that are alike, as `features.SIMILAR_FILE` has it.

    Attributes:
      counts: Numbers of pairs by pair of splits.
      pairs: First pairs: different labels first, then pairs across splits, then the most alike.
      searched: Number of images that were searched for near pairs.
      images: Number of different images.
    """

    counts: list[PairCount]
    pairs: list[ReportedPair]
    searched: int
    images: int


def _near_pairs(
    catalogue: Catalogue, first_equal: np.ndarray, also_read: np.ndarray
) -> tuple[int, Pairs, _Images]:
    """Finds the pairs of images that are nearly the same.

    Small copies are searched. Only images whose copies are alike are read, and compared.

    Args:
      catalogue: Catalogue of the images.
      first_equal: The catalogue's `first_equal`, int64 [count].
      also_read: Positions of further images to read, int64 [N].

    Returns:
      The number of images that were searched; the pairs; their images and the further ones.
    """
    drawn = _drawn(catalogue, first_equal)
    wanted = np.union1d(drawn, also_read)
    copies = _Images(wanted, catalogue.thumbnails_at(wanted))
    bound = BOUND + thumbnails.slack(catalogue.shape)
    candidates = _candidates(copies.at(drawn), bound)
    first, second = drawn[candidates.first], drawn[candidates.second]
    searched, kept = _affordable(catalogue, drawn, first, second)
    first, second = first[kept], second[kept]
    if thumbnails.is_whole(catalogue.shape):
        images = copies
    else:
        wanted = np.unique(np.concatenate([first, second, also_read]))
        images = _Images(wanted, catalogue.images_at(wanted))
    places = (images.positions.searchsorted(each) for each in (first, second))
    distance = _distances(images.values, *places)
    return searched, Pairs(first, second, distance).at(distance <= BOUND), images


def _drawn(catalogue: Catalogue, first_equal: np.ndarray) -> np.ndarray:
    """Positions of the different images, or of so many of them that the search stays short.

    The catalogue lists those with the lowest digests, and others that have equal ones.
    """
    different = np.unique(first_equal)
    if len(different) <= SEARCHED:
        return different
    return different[np.sort(_shuffled(catalogue, different)[:SEARCHED])]


def _shuffled(catalogue: Catalogue, positions: np.ndarray) -> np.ndarray:
    """An order that is as good as random, and the same in every run: that of the digests."""
    return np.argsort(catalogue.digests[positions, 0], kind="stable")


def _affordable(
    catalogue: Catalogue, drawn: np.ndarray, first: np.ndarray, second: np.ndarray
) -> tuple[int, np.ndarray]:
    """Leaves out images at random until those to compare fit in memory.

    Returns:
      How many of the drawn images remain, and which pairs, bool [pairs].
    """
    most = max(COMPARED_BYTES // catalogue.bytes_per_image, 2)
    turn = np.empty(len(catalogue.ids), np.int64)
    turn[drawn[_shuffled(catalogue, drawn)]] = np.arange(len(drawn))
    # A pair is compared once both are drawn, and an image is needed for the first of its pairs.
    pair_turn = np.maximum(turn[first], turn[second])
    needed_from = np.full(len(catalogue.ids), len(drawn))
    for each in (first, second):
        np.minimum.at(needed_from, each, pair_turn)
    needed_from = np.sort(needed_from)
    remaining = len(drawn) if len(needed_from) <= most else int(needed_from[most])
    return remaining, pair_turn < remaining


def _candidates(copies: np.ndarray, bound: float) -> Pairs:
    """Pairs of copies within the bound, the smaller position first.

    A projection on principal components makes no distance larger, so a search tree over the
    projections finds every pair that can be within the bound. Then the copies are compared.

    Args:
      copies: uint8 [N, values].
      bound: Maximum root mean square difference.
    """
    first, second = _near_projections(copies, bound)
    distance = _distances(copies, first, second)
    return Pairs(first, second, distance).at(distance <= bound)


def _near_projections(copies: np.ndarray, bound: float) -> tuple[np.ndarray, np.ndarray]:
    if len(copies) < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    points = _projected(copies)
    tree, found = spatial.KDTree(points), [np.empty((0, 2), np.int64)]
    for start in range(0, len(points), _BATCH):
        _, neighbours = tree.query(
            points[start : start + _BATCH],
            k=min(_CANDIDATES + 1, len(points)),
            distance_upper_bound=bound * np.sqrt(copies.shape[1]),
            workers=-1,
        )
        # For a missing neighbour, the tree returns the number of points.
        rows, columns = np.nonzero(neighbours < len(points))
        pairs = np.sort(np.stack([start + rows, neighbours[rows, columns]], axis=1), axis=1)
        found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _projected(copies: np.ndarray) -> np.ndarray:
    sample = copies[:: -(-len(copies) // _FITTED_ON)].astype(np.float64)
    centred = sample - sample.mean(axis=0)
    # Only the largest few: all of them, as NumPy computes them, take several times as long.
    largest = [max(copies.shape[1] - _DIMENSIONS, 0), copies.shape[1] - 1]
    _, basis = linalg.eigh(centred.T @ centred, subset_by_index=largest)
    starts = range(0, len(copies), _BATCH)
    return np.concatenate([copies[start : start + _BATCH] @ basis for start in starts])


def _distances(images: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    found, size = [np.empty(0)], max(_BATCH_BYTES // images.shape[1], 1)
    for start in range(0, len(first), size):
        part = slice(start, start + size)
        difference = images[first[part]].astype(np.float32) - images[second[part]]
        found.append(np.sqrt(np.square(difference).mean(axis=1, dtype=np.float64)))
    return np.concatenate(found)


def report(
    catalogue: Catalogue, first_equal: np.ndarray, shown: int
) -> tuple[Report, np.ndarray, np.ndarray]:
    """Reports images that are alike.

    Equal images are found among all, and paired with the first of their kind alone. Images that are
    nearly the same are looked for among the different ones: among `SEARCHED` of them, or as many as
    can be compared in `COMPARED_BYTES`.

    Args:
      catalogue: Catalogue of the images.
      first_equal: The catalogue's `first_equal`, int64 [count].
      shown: Maximum number of pairs in the report.

    Returns:
      The report, and the first and second images of its pairs, uint8 [shown, bytes] each.
    """
    equal = _equal_pairs(first_equal)
    # Those that the report may show of the equal ones, so that files are read once for all.
    shown_equal = np.unique(equal.first[_order(catalogue, equal)[:shown]])
    searched, near, images = _near_pairs(catalogue, first_equal, shown_equal)
    pairs = Pairs(
        np.concatenate([equal.first, near.first]),
        np.concatenate([equal.second, near.second]),
        np.concatenate([equal.distance, near.distance]),
    )
    order = _order(catalogue, pairs)[:shown]
    reported = Report(
        counts=_counts(catalogue, pairs),
        pairs=[_described(catalogue, pairs, number) for number in order],
        searched=searched,
        images=catalogue.different,
    )
    # An image looks as the first of its kind does.
    first, second = (images.at(first_equal[part[order]]) for part in (pairs.first, pairs.second))
    return reported, first, second


def _equal_pairs(first_equal: np.ndarray) -> Pairs:
    second = np.flatnonzero(first_equal != np.arange(len(first_equal)))
    return Pairs(first_equal[second], second, np.zeros(len(second)))


def _order(catalogue: Catalogue, pairs: Pairs) -> np.ndarray:
    """Other labels first, then pairs across splits, then the most alike."""
    one, other = pairs.first, pairs.second
    same_label = catalogue.labels[one] == catalogue.labels[other]
    same_split = catalogue.split[one] == catalogue.split[other]
    return np.lexsort((other, one, pairs.distance, same_split, same_label))


def _described(catalogue: Catalogue, pairs: Pairs, number: int) -> ReportedPair:
    first, second = pairs.first[number], pairs.second[number]
    return ReportedPair(
        first=catalogue.id_at(first),
        second=catalogue.id_at(second),
        first_split=features.SPLITS[catalogue.split[first]],
        second_split=features.SPLITS[catalogue.split[second]],
        first_label=int(catalogue.labels[first]),
        second_label=int(catalogue.labels[second]),
        distance=float(pairs.distance[number]),
    )


def _counts(catalogue: Catalogue, pairs: Pairs) -> list[PairCount]:
    first, second = catalogue.split[pairs.first], catalogue.split[pairs.second]
    exact = pairs.distance == 0
    other_label = catalogue.labels[pairs.first] != catalogue.labels[pairs.second]
    counts = []
    for one, other in combinations_with_replacement(range(len(features.SPLITS)), 2):
        here = (first == one) & (second == other)
        counts.append(
            PairCount(
                first_split=features.SPLITS[one],
                second_split=features.SPLITS[other],
                exact=int((here & exact).sum()),
                near=int((here & ~exact).sum()),
                other_label=int((here & other_label).sum()),
            )
        )
    return counts
