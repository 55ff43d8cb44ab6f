"""Which images of the data a run tests on, or draws its test split from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from components import features
from components.example_gen.readers.base import Index


@dataclasses.dataclass(frozen=True)
class Tested:
    """The images that a run tests on, or draws its test split from.

    Attributes:
      counts: Number of them, of each class.
      is_given: Whether the data names them as test images; else a share of them is drawn.
      is_trained: Whether a run trains on those of them that it does not draw: not where they are
        given, nor where their span is only tested on.
      span: Number of the span that has them; None where the data has no spans.
      whole_spans: Numbers of the spans that have such images of each class.
    """

    counts: tuple[int, ...]
    is_given: bool
    is_trained: bool
    span: int | None
    whole_spans: tuple[int, ...]

    def ordered(self, order: Sequence[int]) -> Tested:
        """The same, with the classes in another order, given as positions in this one."""
        return dataclasses.replace(self, counts=tuple(self.counts[each] for each in order))

    def expected(self, test_share: float) -> tuple[float, ...]:
        """Number of test images of each class, or what the draw is expected to take."""
        return tuple((1.0 if self.is_given else test_share) * count for count in self.counts)

    def withheld(self, test_share: float) -> tuple[float, ...]:
        """Number of images of each class that a run would train on if it did not draw them."""
        share = test_share if self.is_trained else 0.0
        return tuple(share * count for count in self.counts)


def of_whole(index: Index) -> Tested:
    """What is tested on of data that does not come in spans."""
    counts = np.bincount(candidates(index), minlength=len(index.values))
    is_given = gives_tests(index)
    return Tested(tuple(counts.tolist()), is_given, not is_given, None, ())


def gives_tests(index: Index) -> bool:
    """Whether the data names test images."""
    return bool((index.splits == features.TEST).any())


def candidates(index: Index) -> np.ndarray:
    """The labels of the test images, or of those that they are drawn from, int32 [count]."""
    splits = index.splits
    chosen = splits == features.TEST if gives_tests(index) else splits != features.VALIDATION
    labels: np.ndarray = index.labels[chosen]
    return labels
