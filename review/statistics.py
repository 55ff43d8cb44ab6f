"""The numbers of the review: intervals, tests and distances.

Random draws are seeded, so that the same run always has the same review.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special, stats

from components import features
from review.summary import (
    CONFIDENCE,
    CalibrationBin,
    CoveragePoint,
    Estimate,
    Interval,
    Proportion,
)

_BINS = 15
_RESAMPLES = 1_000
_COVERAGE_POINTS = 50
_SEED = 1
# Number of bisections after which float64 shows no further change.
_HALVINGS = 60
# Standard errors on each side of an interval.
_DEVIATIONS = float(special.ndtri((1 + CONFIDENCE) / 2))


def proportion(hits: int, total: int) -> Proportion:
    """A share of a number of images, with its Wilson interval (Wilson 1927)."""
    if total == 0:
        return Proportion(value=0.0, hits=0, total=0, interval=Interval(low=0.0, high=1.0))
    share, weight = hits / total, _DEVIATIONS**2 / total
    # By its formula: SciPy tests a hypothesis first, which takes a hundred times as long.
    middle = share + weight / 2
    spread = math.sqrt(weight * (share * (1 - share) + weight / 4))
    low = (middle - spread) / (1 + weight) if hits > 0 else 0.0
    high = (middle + spread) / (1 + weight) if hits < total else 1.0
    return Proportion(value=share, hits=hits, total=total, interval=Interval(low=low, high=high))


def proportion_of(share: float, total: int) -> Proportion:
    """As `proportion`, of a share whose number of images was not kept."""
    return proportion(round(share * total), total)


def mean(estimates: Sequence[Proportion | Estimate]) -> Estimate:
    """Plain mean of figures of different images, with its interval.

    The interval combines those of the figures (the method MOVER: Zou and Donner 2008, Construction
    of confidence limits about effect measures, Statistics in Medicine 27:1693-1702).

    Args:
      estimates: Figures to average; at least one.
    """
    count = len(estimates)
    value = math.fsum(each.value for each in estimates) / count
    below = math.hypot(*map(_below, estimates)) / count
    above = math.hypot(*map(_above, estimates)) / count
    return Estimate(value=value, interval=Interval(low=value - below, high=value + above))


def f1_score(true_positives: int, false_positives: int, false_negatives: int) -> Estimate:
    """F1 of a class.

    F1 = 2 J / (1 + J) rises with the Jaccard index J = TP / (TP + FP + FN), which is a share of
    images. So the ends of the interval of J give the ends of the interval of F1.
    """
    index = proportion(true_positives, true_positives + false_positives + false_negatives)
    low, high = (_f1_of_jaccard(end) for end in (index.interval.low, index.interval.high))
    return Estimate(value=_f1_of_jaccard(index.value), interval=Interval(low=low, high=high))


def _f1_of_jaccard(index: float) -> float:
    return 2 * index / (1 + index)


def mcnemar(only_first: int, only_second: int) -> float:
    """P-value of McNemar's exact test, two-sided (McNemar 1947).

    Args:
      only_first: Number of images that only the first model gets right.
      only_second: Number of images that only the second model gets right.
    """
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second).pvalue)


def accuracy_change(
    both_right: int, only_candidate: int, only_baseline: int, both_wrong: int
) -> Estimate:
    """Candidate's minus baseline's accuracy, with its interval for paired answers.

    The interval is Newcombe's (1998, Improved confidence intervals for the difference between
    binomial proportions based on paired data, Statistics in Medicine 17:2635-2650, method 10). It
    combines the Wilson intervals of both accuracies by how often the models err on the same images.
    It has a width even where all answers agree. Close to a p-value of 0.05, it may exclude 0 where
    McNemar's exact test, which is more conservative, does not reject.

    Args:
      both_right: Number of images that both get right.
      only_candidate: Number of images that only the candidate gets right.
      only_baseline: Number of images that only the baseline gets right.
      both_wrong: Number of images that neither gets right.
    """
    counts = both_right, only_candidate, only_baseline, both_wrong
    candidate = proportion(both_right + only_candidate, sum(counts))
    baseline = proportion(both_right + only_baseline, sum(counts))
    shared = _correlation(*counts)
    value = candidate.value - baseline.value
    low = value - _distance(_below(candidate), _above(baseline), shared)
    high = value + _distance(_above(candidate), _below(baseline), shared)
    return Estimate(value=value, interval=Interval(low=low, high=high))


def _correlation(both: int, first: int, second: int, neither: int) -> float:
    """Phi of a table of two by two, corrected for continuity as Newcombe does; 0 without any."""
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    total, surplus = both + first + second + neither, both * neither - first * second
    corrected = max(surplus - total / 2, 0) if surplus > 0 else surplus
    return corrected / math.sqrt(margins) if margins else 0.0


def _below(found: Proportion | Estimate) -> float:
    return found.value - found.interval.low


def _above(found: Proportion | Estimate) -> float:
    return found.interval.high - found.value


def _distance(first: float, second: float, correlation: float) -> float:
    """Possible error of a difference of two numbers with these possible errors."""
    return math.sqrt(first**2 - 2 * correlation * first * second + second**2)


def uncalibrated(
    probabilities: np.ndarray, temperature: float, label_smoothing: float
) -> np.ndarray:
    """Undoes `components.trainer.calibration.CalibratedSoftmax`: the answers of a plain softmax.

    From logits z, that layer computes q = softmax(z / T) and answers max(q - s / K, 0) + f q,
    divided by its sum. This function searches for the sum with which the q add up to 1. Then z is
    T log q, up to a constant that does not change the softmax.

    Args:
      probabilities: Answers, float [N, classes].
      temperature: T, the divisor of the logits.
      label_smoothing: s, the label smoothing that the answers make up for.

    Returns:
      Probabilities, float64 [N, classes].
    """
    spread, floor = label_smoothing / probabilities.shape[1], features.SMOOTHING_FLOOR

    def smoothed(sums: np.ndarray) -> np.ndarray:
        left = sums * probabilities
        smooth: np.ndarray = np.where(
            left < floor * spread, left / floor, (left + spread) / (1 + floor)
        )
        return smooth

    low = np.zeros((len(probabilities), 1))
    high = np.full_like(low, 1 + floor)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = smoothed(middle).sum(axis=1, keepdims=True) > 1
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    # The layer answers 0 where a probability is too small for float32.
    least = np.finfo(np.float32).tiny
    logits = np.log(np.maximum(smoothed(high), least))
    softmax: np.ndarray = special.softmax(temperature * logits, axis=1)
    return softmax


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error of the first choice, in 15 equal bins (Guo et al. 2017).

    Args:
      confidence: Probabilities of the first choices, float64 [N].
      right: Whether the first choices are right, bool [N].
    """
    return _error(_bin_numbers(confidence), right - confidence)


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> Estimate:
    """`expected_calibration_error` with its interval.

    Chance makes sums of absolute values too large, and those of resamples larger still: the
    percentiles of resamples are above the truth. The basic bootstrap interval corrects that
    (Davison & Hinkley 1997, Bootstrap Methods and their Application, section 5.2). It ends at 0 and
    contains the value itself. For about four in ten models without any error, it still excludes 0.

    Args:
      confidence: Probabilities of the first choices, float64 [N].
      right: Whether the first choices are right, bool [N].
    """
    total = len(confidence)
    bins, distances = _bin_numbers(confidence), right - confidence
    random = np.random.default_rng(_SEED)
    # One at a time: all of them together may be larger than the memory.
    drawn = (random.integers(0, total, total) for _ in range(_RESAMPLES))
    resampled = np.array([_error(bins[images], distances[images]) for images in drawn])
    value = _error(bins, distances)
    low, high = _middle(resampled)
    interval = Interval(
        low=min(value, max(0.0, 2 * value - high)), high=max(value, min(1.0, 2 * value - low))
    )
    return Estimate(value=value, interval=interval)


def _error(bins: np.ndarray, distances: np.ndarray) -> float:
    return float(np.abs(np.bincount(bins, distances, _BINS)).sum() / len(bins))


def _bin_numbers(confidence: np.ndarray) -> np.ndarray:
    # A bin includes its lower end, and the last one also its upper end.
    numbers: np.ndarray = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    return numbers


def reliability_bins(confidence: np.ndarray, right: np.ndarray) -> list[CalibrationBin]:
    """The bins of the reliability diagram.

    Args:
      confidence: Probabilities of the first choices, float64 [N].
      right: Whether the first choices are right, bool [N].
    """
    bins = _bin_numbers(confidence)
    totals = np.bincount(bins, minlength=_BINS)
    hits = np.bincount(bins[right], minlength=_BINS)
    sums = np.bincount(bins, confidence, _BINS)
    return [
        CalibrationBin(
            low=number / _BINS,
            high=(number + 1) / _BINS,
            confidence=float(sums[number] / totals[number]) if totals[number] else None,
            accuracy=proportion(int(hits[number]), int(totals[number])),
        )
        for number in range(_BINS)
    ]


def coverage_curve(confidence: np.ndarray, right: np.ndarray) -> list[CoveragePoint]:
    """Accuracy of the surest answers alone, from all images to the surest few.

    Images of equal confidence are answered together, so points may coincide; each is kept once.

    Args:
      confidence: Probabilities of the first choices, float64 [N].
      right: Whether the first choices are right, bool [N].
    """
    total = len(confidence)
    order = np.argsort(-confidence, kind="stable")
    falling, hits = confidence[order], np.cumsum(right[order])
    wanted = np.ceil(np.linspace(total, total / _COVERAGE_POINTS, _COVERAGE_POINTS)).astype(int)
    thresholds = falling[wanted - 1]
    answered = np.searchsorted(-falling, -thresholds, side="right")
    return [
        CoveragePoint(
            coverage=float(count / total),
            threshold=float(falling[count - 1]),
            accuracy=float(hits[count - 1] / count),
        )
        for count in np.unique(answered)[::-1]
    ]


def total_variation(first: Mapping[str, int], second: Mapping[str, int]) -> float:
    """Total variation distance of two distributions: the largest difference of any event's share.

    Args:
      first: Counts by class name, at least one above 0.
      second: Counts in the same form.
    """
    totals = sum(first.values()), sum(second.values())
    names = {*first, *second}
    shares = ((first.get(n, 0) / totals[0], second.get(n, 0) / totals[1]) for n in names)
    # Not `sum`: its rounding depends on the order, which a set does not have.
    return math.fsum(abs(one - other) for one, other in shares) / 2


def _middle(values: np.ndarray) -> tuple[float, float]:
    """Ends of the middle part of the values, whose share is `CONFIDENCE`."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
