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
# Maximum number of candidates per image in each split: the nearest ones. Images with more of them
# share further ones.
_CANDIDATES = 32
_FURTHER_CANDIDATES = 2**20
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
      complete: Whether no near pair of the images that were searched can be missing.
    """

    first_split: str
    second_split: str
    exact: int
    near: int
    other_label: int
    complete: bool


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


@dataclasses.dataclass(frozen=True)
class _Near:
    """Pairs of images that are nearly the same.

    Attributes:
      pairs: The pairs.
      complete: Whether none can be missing, by split and split, bool [splits, splits].
      searched: Number of images that were searched.
      images: Images of the pairs, and others.
    """

    pairs: Pairs
    complete: np.ndarray
    searched: int
    images: _Images


def _near_pairs(catalogue: Catalogue, first_equal: np.ndarray, also_read: np.ndarray) -> _Near:
    """Finds the pairs of images that are nearly the same.

    Small copies are searched. Only images whose copies are alike are read, and compared.

    Args:
      catalogue: Catalogue of the images.
      first_equal: The catalogue's `first_equal`, int64 [count].
      also_read: Positions of further images to read, int64 [N].
    """
    drawn = _drawn(catalogue, first_equal)
    wanted = np.union1d(drawn, also_read)
    copies = _Images(wanted, catalogue.thumbnails_at(wanted))
    bound = BOUND + thumbnails.slack(catalogue.shape)
    candidates, complete = _candidates(copies.at(drawn), catalogue.split[drawn], bound)
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
    near = Pairs(first, second, distance).at(distance <= BOUND)
    return _Near(near, complete, searched, images)


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


def _candidates(copies: np.ndarray, split: np.ndarray, bound: float) -> tuple[Pairs, np.ndarray]:
    """Pairs of copies within the bound, the smaller position first.

    A projection on principal components makes no distance larger, so copies within the bound have
    projections within it. A search tree for each split finds those nearest to each copy. As each
    split is searched by itself, the frames of a copy's own clip take no place of copies in another
    split. Then the copies are compared.

    Args:
      copies: uint8 [N, values].
      split: Number of each copy's split, int8 [N].
      bound: Maximum root mean square difference.

    Returns:
      The pairs, and whether none can be missing, by split and split, bool [splits, splits].
    """
    first, second, complete = _near_projections(copies, split, bound)
    distance = _distances(copies, first, second)
    return Pairs(first, second, distance).at(distance <= bound), complete


def _near_projections(
    copies: np.ndarray, split: np.ndarray, bound: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    complete = np.ones((len(features.SPLITS), len(features.SPLITS)), bool)
    if len(copies) < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64), complete
    points, reach = _projected(copies), bound * np.sqrt(copies.shape[1])
    members = {number: np.flatnonzero(split == number) for number in np.unique(split)}
    trees = {number: spatial.KDTree(points[own]) for number, own in members.items()}
    found = []
    for one, other in combinations_with_replacement(members, 2):
        fewer, more = sorted((one, other), key=lambda number: len(members[number]))
        # A pair is missing only where both of its images have nearer candidates, so the larger
        # split is asked only if the smaller one does not find all.
        for asking, asked in dict.fromkeys([(fewer, more), (more, fewer)]):
            own, others = members[asking], members[asked]
            pairs, has_all = _nearest(trees[asked], points[own], reach)
            first, second = own[pairs[:, 0]], others[pairs[:, 1]]
            # As single numbers, they are sorted many times as fast.
            numbers = np.minimum(first, second) * len(copies) + np.maximum(first, second)
            found.append(numbers[first != second])
            if has_all:
                break
        complete[one, other] = has_all
    first, second = np.divmod(np.unique(np.concatenate(found)), len(copies))
    return first, second, complete


def _nearest(tree: spatial.KDTree, points: np.ndarray, reach: float) -> tuple[np.ndarray, bool]:
    """Points with their nearest neighbours, int64 [pairs, 2]; and whether these are all."""
    pairs, full = _queried(tree, points, reach, _CANDIDATES)
    most = _FURTHER_CANDIDATES // max(len(full), 1)
    if len(full) == 0 or most <= _CANDIDATES:
        return pairs, len(full) == 0
    further, still_full = _queried(tree, points[full], reach, most)
    further[:, 0] = full[further[:, 0]]
    return np.concatenate([pairs, further]), len(still_full) == 0


def _queried(
    tree: spatial.KDTree, points: np.ndarray, reach: float, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Points with their nearest neighbours, and the points that may have more of them."""
    pairs, full = [], []
    for start in range(0, len(points), _BATCH):
        _, neighbours = tree.query(
            points[start : start + _BATCH],
            # One more, since in its own split an image is its own neighbour.
            k=min(most, tree.n) + 1,
            distance_upper_bound=reach,
            workers=-1,
        )
        # For a missing neighbour, the tree returns the number of points.
        rows, columns = np.nonzero(neighbours < tree.n)
        pairs.append(np.stack([start + rows, neighbours[rows, columns]], axis=1))
        full.append(start + np.flatnonzero(neighbours[:, -1] < tree.n))
    return np.concatenate(pairs), np.concatenate(full)


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
    can be compared in `COMPARED_BYTES`. Of an image that is nearly the same as very many, not all
    pairs are found (`PairCount.complete`).

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
    near = _near_pairs(catalogue, first_equal, shown_equal)
    pairs = Pairs(
        np.concatenate([equal.first, near.pairs.first]),
        np.concatenate([equal.second, near.pairs.second]),
        np.concatenate([equal.distance, near.pairs.distance]),
    )
    order = _order(catalogue, pairs)[:shown]
    reported = Report(
        counts=_counts(catalogue, pairs, near.complete),
        pairs=[_described(catalogue, pairs, number) for number in order],
        searched=near.searched,
        images=catalogue.different,
    )
    # An image looks as the first of its kind does.
    images = near.images
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


def _counts(catalogue: Catalogue, pairs: Pairs, complete: np.ndarray) -> list[PairCount]:
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
                complete=bool(complete[one, other]),
            )
        )
    return counts
