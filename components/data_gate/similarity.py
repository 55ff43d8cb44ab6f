"""Finds images that are nearly or exactly the same, within and across splits."""

from __future__ import annotations

import dataclasses
from itertools import combinations_with_replacement

import numpy as np
from scipy import linalg, spatial

from components import features
from components.data_gate.catalogue import Catalogue

# Images are similar if their root mean square difference is at most this, of 255.
BOUND = 6.0
# Maximum number of images in the search for similar ones. Its time grows faster than the number of
# images, and no decision depends on it.
SEARCHED = 100_000
# Number of principal components in the search for candidates.
_DIMENSIONS = 16
# Maximum number of candidates per image: the nearest ones.
_CANDIDATES = 32
_FITTED_ON = 5_000
_BATCH = 8_192


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


def near_pairs(images: np.ndarray) -> Pairs:
    """Finds the pairs of similar images.

    A projection on principal components makes no distance larger, so a search tree over the
    projections finds every pair that can be within the bound. Then the images are compared.

    Args:
      images: uint8 [N, bytes], no two equal.
    """
    first, second = _candidates(images)
    distance = _distances(images, first, second)
    alike = distance <= BOUND
    return Pairs(first[alike], second[alike], distance[alike])


def _candidates(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of positions whose projections are within the bound, the smaller position first."""
    if len(images) < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    points = _projected(images)
    tree, found = spatial.KDTree(points), [np.empty((0, 2), np.int64)]
    for start in range(0, len(points), _BATCH):
        _, neighbours = tree.query(
            points[start : start + _BATCH],
            k=min(_CANDIDATES + 1, len(points)),
            distance_upper_bound=BOUND * np.sqrt(images.shape[1]),
            workers=-1,
        )
        # For a missing neighbour, the tree returns the number of points.
        rows, columns = np.nonzero(neighbours < len(points))
        pairs = np.sort(np.stack([start + rows, neighbours[rows, columns]], axis=1), axis=1)
        found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _projected(images: np.ndarray) -> np.ndarray:
    sample = images[:: -(-len(images) // _FITTED_ON)].astype(np.float64)
    centred = sample - sample.mean(axis=0)
    # Only the largest few: all of them, as NumPy computes them, take several times as long.
    largest = [max(images.shape[1] - _DIMENSIONS, 0), images.shape[1] - 1]
    _, basis = linalg.eigh(centred.T @ centred, subset_by_index=largest)
    starts = range(0, len(images), _BATCH)
    return np.concatenate([images[start : start + _BATCH] @ basis for start in starts])


def _distances(images: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    found = [np.empty(0)]
    for start in range(0, len(first), _BATCH):
        part = slice(start, start + _BATCH)
        difference = images[first[part]].astype(np.float32) - images[second[part]]
        found.append(np.sqrt(np.square(difference).mean(axis=1, dtype=np.float64)))
    return np.concatenate(found)


def report(
    catalogue: Catalogue, first_equal: np.ndarray, shown: int
) -> tuple[Report, np.ndarray, np.ndarray]:
    """Reports images that are alike.

    Equal images are found among all, and paired with the first of their kind alone. Images that are
    nearly the same are looked for among the different ones, or among `SEARCHED` of them.

    Args:
      catalogue: Catalogue of all images.
      first_equal: The catalogue's `first_equal`, int64 [count].
      shown: Maximum number of pairs in the report.

    Returns:
      The report, and the first and second images of its pairs, uint8 [shown, bytes] each.
    """
    equal = _equal_pairs(first_equal)
    searched = _searched(catalogue, first_equal)
    # With those that the report may show of the equal ones, so that files are read once.
    shown_equal = equal.first[_order(catalogue, equal)[:shown]]
    needed = np.union1d(searched, shown_equal)
    images = catalogue.images_at(needed)
    near = near_pairs(
        images if len(needed) == len(searched) else images[needed.searchsorted(searched)]
    )
    pairs = Pairs(
        np.concatenate([equal.first, searched[near.first]]),
        np.concatenate([equal.second, searched[near.second]]),
        np.concatenate([equal.distance, near.distance]),
    )
    order = _order(catalogue, pairs)[:shown]
    reported = Report(
        counts=_counts(catalogue, pairs),
        pairs=[_described(catalogue, pairs, number) for number in order],
        searched=len(searched),
        images=len(np.unique(first_equal)),
    )
    # An image looks as the first of its kind does.
    first, second = (
        images[needed.searchsorted(first_equal[part[order]])]
        for part in (pairs.first, pairs.second)
    )
    return reported, first, second


def _equal_pairs(first_equal: np.ndarray) -> Pairs:
    second = np.flatnonzero(first_equal != np.arange(len(first_equal)))
    return Pairs(first_equal[second], second, np.zeros(len(second)))


def _searched(catalogue: Catalogue, first_equal: np.ndarray) -> np.ndarray:
    """Positions of the different images, or of so many of them that the search stays short."""
    different = np.unique(first_equal)
    if len(different) <= SEARCHED:
        return different
    # By their digests, which is as good as at random and the same in every run.
    drawn = np.argsort(catalogue.digests[different, 0], kind="stable")[:SEARCHED]
    return different[np.sort(drawn)]


def _order(catalogue: Catalogue, pairs: Pairs) -> np.ndarray:
    """Other labels first, then pairs across splits, then the most alike."""
    one, other = pairs.first, pairs.second
    same_label = catalogue.labels[one] == catalogue.labels[other]
    same_split = catalogue.split[one] == catalogue.split[other]
    return np.lexsort((other, one, pairs.distance, same_split, same_label))


def _described(catalogue: Catalogue, pairs: Pairs, number: int) -> ReportedPair:
    first, second = pairs.first[number], pairs.second[number]
    return ReportedPair(
        first=catalogue.ids[first].decode(),
        second=catalogue.ids[second].decode(),
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
