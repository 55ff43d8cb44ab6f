"""Finds images that are nearly or exactly the same, within and across splits."""

from __future__ import annotations

import dataclasses
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from scipy import spatial

from components.examples import Split

# Images are alike where their root mean square difference is at most this, of 255.
BOUND = 6.0
# What is looked at of the images, to find candidates.
_DIMENSIONS = 16
# Of images that have more candidates than this, the nearest ones are compared.
_CANDIDATES = 32
_FITTED_ON = 5_000
_BATCH = 8_192


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of images that are alike, each once.

    Attributes:
      first: positions of the earlier images, int64 [count].
      second: positions of the later images, int64 [count].
      distance: root mean square differences, float64 [count]; 0 for equal images.
    """

    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray


def find_pairs(images: np.ndarray) -> Pairs:
    """Finds the pairs of images that are alike.

    Equal images are paired with the first of their kind alone. Images that differ are projected on
    their principal components, which makes no distance larger, so that a search tree finds every
    pair that can be within the bound; then the images themselves are compared.

    Args:
      images: uint8 [N, bytes].
    """
    place_of: dict[bytes, int] = {}
    places = [place_of.setdefault(image.tobytes(), n) for n, image in enumerate(images)]
    kind = np.array(places, np.int64)
    repeated = np.flatnonzero(kind != np.arange(len(images)))
    different = np.flatnonzero(kind == np.arange(len(images)))
    first, second = _candidates(images[different])
    first, second = different[first], different[second]
    distance = _distances(images, first, second)
    alike = distance <= BOUND
    return Pairs(
        np.concatenate([kind[repeated], first[alike]]),
        np.concatenate([repeated, second[alike]]),
        np.concatenate([np.zeros(len(repeated)), distance[alike]]),
    )


def _candidates(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of positions whose projections are within the bound, the smaller position first."""
    if len(images) < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    points = _projected(images)
    radius = BOUND * np.sqrt(images.shape[1])
    _, neighbours = spatial.KDTree(points).query(
        points, k=min(_CANDIDATES + 1, len(points)), distance_upper_bound=radius
    )
    # The tree answers with the number of points where there is no further neighbour.
    rows, columns = np.nonzero(neighbours < len(points))
    found = np.sort(np.stack([rows, neighbours[rows, columns]], axis=1), axis=1)
    pairs = np.unique(found[found[:, 0] < found[:, 1]], axis=0)
    return pairs[:, 0], pairs[:, 1]


def _projected(images: np.ndarray) -> np.ndarray:
    sample = images[:: -(-len(images) // _FITTED_ON)].astype(np.float64)
    centred = sample - sample.mean(axis=0)
    _, components = np.linalg.eigh(centred.T @ centred)
    basis = components[:, -_DIMENSIONS:]
    starts = range(0, len(images), _BATCH)
    return np.concatenate([images[start : start + _BATCH] @ basis for start in starts])


def _distances(images: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    found = [np.empty(0)]
    for start in range(0, len(first), _BATCH):
        part = slice(start, start + _BATCH)
        difference = images[first[part]].astype(np.float32) - images[second[part]]
        found.append(np.sqrt(np.square(difference).mean(axis=1, dtype=np.float64)))
    return np.concatenate(found)


def report(splits: dict[str, Split], shown: int) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """What the review tells of images that are alike.

    Args:
      splits: by name.
      shown: of how many pairs the report tells.

    Returns:
      `counts` by pair of splits and the first `pairs`, as `features.SIMILAR_FILE` has them: those
      with other labels first, then those across splits, then the most alike. And the images of
      these pairs, uint8 [shown, bytes] each.
    """
    names = list(splits)
    images = np.concatenate([split.images for split in splits.values()])
    labels = np.concatenate([split.labels for split in splits.values()])
    ids = np.concatenate([split.ids for split in splits.values()])
    sizes = [len(split.ids) for split in splits.values()]
    split_of = np.repeat(np.arange(len(names)), sizes)
    pairs = find_pairs(images)
    first, second, distance = pairs.first, pairs.second, pairs.distance
    other_label = labels[first] != labels[second]
    across = split_of[first] != split_of[second]
    order = np.lexsort((second, first, distance, ~across, ~other_label))[:shown]
    described = [
        {
            "first": ids[first[n]].decode(),
            "second": ids[second[n]].decode(),
            "first_split": names[split_of[first[n]]],
            "second_split": names[split_of[second[n]]],
            "first_label": int(labels[first[n]]),
            "second_label": int(labels[second[n]]),
            "distance": float(distance[n]),
        }
        for n in order
    ]
    counts = _counts(names, split_of[first], split_of[second], distance == 0, other_label)
    return {"counts": counts, "pairs": described}, images[first[order]], images[second[order]]


def _counts(
    names: list[str],
    first: np.ndarray,
    second: np.ndarray,
    exact: np.ndarray,
    other_label: np.ndarray,
) -> list[dict[str, Any]]:
    found = []
    for one, other in combinations_with_replacement(range(len(names)), 2):
        here = (first == one) & (second == other)
        found.append(
            {
                "first_split": names[one],
                "second_split": names[other],
                "exact": int((here & exact).sum()),
                "near": int((here & ~exact).sum()),
                "other_label": int((here & other_label).sum()),
            }
        )
    return found
