"""Chooses how a run draws its splits, so that each class has images in all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from components import features
from components.example_gen import split
from components.example_gen.readers.base import Index
from operations.initialization.tested import Tested
from pipeline.config import Config, SplitConfig

_USUAL = SplitConfig()
# Shares that are tried for a drawn test split, and for a drawn validation split. A class with as
# many images has some in any of them.
_TEST_SHARES = (_USUAL.test_share, 0.2, 0.25, 0.3, 0.4, 0.5)
_VALIDATION_SHARES = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5)
_RARE = 200
# A number per class is taken where it leaves at least four fifths of each class to train on.
_SMALLEST_FOR_COUNT = 5
_FEW_IMAGES = 50


@dataclasses.dataclass(frozen=True)
class Division:
    """How a run draws the splits that the data does not give.

    Attributes:
      test_share: Share of the images for a drawn test split.
      validation: Number of validation images of each class, or a share of all below 1.
      is_complete: Whether each class has images in each split that is drawn, and in train; true
        where that is not looked at.
    """

    test_share: float
    validation: float
    is_complete: bool


@dataclasses.dataclass(frozen=True)
class Splits:
    """What decides the splits of data that does not come in spans.

    Attributes:
      index: All examples.
      group: Value of `split.group`.
      seed: Random seed of the validation split.
    """

    index: Index
    group: str | None
    seed: int

    def drawn(self, division: Division, chosen: np.ndarray) -> np.ndarray:
        """The split of each of some examples, as `split.assign` gives it.

        Equal files, which stay together, are not looked for: that would mean to read all of them.

        Args:
          division: How to draw.
          chosen: Positions of the examples, int64 [count]; all of a class that is of interest.

        Returns:
          int8 [count].
        """
        index = self.index
        # Whether the data gives test and validation images decides what is drawn.
        given = [np.flatnonzero(index.splits == each)[:1] for each in _DRAWN]
        rows = np.concatenate([chosen, *given])
        by_column = self.group is not None and index.columns is not None
        examples = split.Examples(
            ids=[index.ids[row] for row in rows.tolist()],
            labels=index.labels[rows],
            given=index.splits[rows],
            trains=np.ones(len(rows), bool),
            tests=np.ones(len(rows), bool),
            columns=index.columns.take(rows) if by_column and index.columns is not None else None,
        )
        settings = split.Settings(division.validation, division.test_share, self.group)
        return split.assign(examples, settings, self.seed)[: len(chosen)]


_DRAWN = (features.TEST, features.VALIDATION)


def usual(index: Index, tested: Tested, asked: Config) -> Division:
    """What is written where the splits cannot be looked at."""
    test_share = asked.split.test_share
    validation = _validations(index, tested, asked.split, test_share)[0]
    return Division(test_share, validation, is_complete=True)


def choose(index: Index, tested: Tested, asked: Config) -> Division:
    """The least shares with which each class has images in each split, among those that are tried.

    Args:
      index: All examples.
      tested: What a run tests on of them.
      asked: Configuration; the shares that it sets stay as they are.

    Raises:
      SplitError: `split.group` fits neither a column nor the ids.
    """
    splits = Splits(index, asked.split.group, asked.seed)
    counts = np.bincount(index.labels, minlength=len(index.values))
    # Without groups, what is drawn of a class does not depend on the others.
    labels = np.flatnonzero((counts < _RARE) | (asked.split.group is not None))
    rare = np.flatnonzero(np.isin(index.labels, labels))
    wanted = [features.TRAIN, *(each for each in _DRAWN if not (index.splits == each).any())]
    if not (counts[labels] < len(wanted)).any():
        for division in _divisions(index, tested, asked.split):
            assigned = splits.drawn(division, rare)
            if all(np.isin(labels, index.labels[rare[assigned == each]]).all() for each in wanted):
                return division
    return dataclasses.replace(usual(index, tested, asked), is_complete=False)


def _divisions(index: Index, tested: Tested, asked: SplitConfig) -> Iterator[Division]:
    """The divisions to try, the usual one first."""
    is_set = "test_share" in asked.model_fields_set
    tests = (asked.test_share,) if is_set or tested.is_given else _TEST_SHARES
    for test_share in tests:
        for validation in _validations(index, tested, asked, test_share):
            yield Division(test_share, validation, is_complete=True)


def _validations(
    index: Index, tested: Tested, asked: SplitConfig, test_share: float
) -> tuple[float, ...]:
    """The values of `split.validation` to try, the usual one first."""
    if "validation" in asked.model_fields_set or (index.splits == features.VALIDATION).any():
        return (asked.validation,)
    smallest = _smallest_to_train_on(index, tested, test_share)
    if asked.group is None and smallest >= _SMALLEST_FOR_COUNT * _USUAL.validation:
        return (_USUAL.validation,)
    least = _VALIDATION_SHARES[0 if smallest >= _FEW_IMAGES else 1]
    return tuple(share for share in _VALIDATION_SHARES if share >= least)


def _smallest_to_train_on(index: Index, tested: Tested, test_share: float) -> int:
    """About the number of images for train and val of the smallest class."""
    trained = index.labels[index.splits != features.TEST]
    counts = np.bincount(trained, minlength=len(index.values))
    return int((counts - tested.withheld(test_share)).min())


def largest_bad_share(
    splits: Splits | None, division: Division, tried: np.ndarray, is_bad: np.ndarray
) -> float:
    """The largest share of bad images, of all that were tried and of those of each split.

    A run skips one bad image of a split, however few images the split has.

    Args:
      splits: What decides the splits; None where they are not known.
      division: How they are drawn.
      tried: Positions of the images that were tried, int64 [count].
      is_bad: Whether each of them cannot be used, bool [count].
    """
    shares = [float(is_bad.mean())]
    if splits is None:
        return shares[0]
    total = len(splits.index.ids)
    assigned = splits.drawn(division, np.arange(total))[tried]
    for each in range(len(features.SPLITS)):
        of_split = is_bad[assigned == each]
        # In a sample, one may stand for several.
        if of_split.sum() > (1 if len(tried) == total else 0):
            shares.append(float(of_split.mean()))
    return max(shares)
