"""Intervals, tests and distances, against independent computations."""

import itertools
import math

import keras
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import special
from tensorflow_model_analysis.metrics import calibration_plot, metric_types

from components.trainer.calibration import CalibratedSoftmax
from review import statistics

COUNTS = st.integers(0, 400)
# Of float32 answers, of which each is known to one part in ten million.
ANSWERED = 1e-6
# By what a softmax may differ that is computed in float32, of logits up to some hundreds.
COMPUTED = 1e-5


def answers(seed, count=400, surplus=0.0):
    """Confidences, and whether the answers are right: as often as said, or more often."""
    random = np.random.default_rng(seed)
    confidence = random.uniform(0.2, 1.0, count)
    return confidence, random.random(count) < np.clip(confidence + surplus, 0, 1)


def inside(interval, value, lowest=0.0, highest=1.0):
    return lowest <= interval.low <= value <= interval.high <= highest


@given(st.integers(1, 5000), st.data())
def test_a_wilson_interval_holds_the_shares_that_the_score_test_does_not_reject(total, data):
    hits = data.draw(st.integers(0, total))
    found = statistics.proportion(hits, total)
    assert found.value == hits / total
    assert inside(found.interval, found.value)
    # 1.959964 standard errors of the share that is tested, not of the one that was found.
    for end in (found.interval.low, found.interval.high):
        error = math.sqrt(end * (1 - end) / total)
        assert abs(found.value - end) == pytest.approx(1.959964 * error, abs=1e-6)


def test_of_no_images_every_share_is_possible():
    found = statistics.proportion(0, 0)
    assert (found.value, found.interval.low, found.interval.high) == (0.0, 0.0, 1.0)


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(0, 1)), min_size=1, max_size=8))
def test_a_mean_of_shares_lies_in_its_interval(drawn):
    shares = [statistics.proportion(round(total * share), total) for total, share in drawn]
    found = statistics.mean(shares)
    assert found.value == pytest.approx(np.mean([share.value for share in shares]))
    assert inside(found.interval, found.value, -1e-9, 1 + 1e-9)
    if len(shares) == 1:
        assert found.interval.low == pytest.approx(shares[0].interval.low)
        assert found.interval.high == pytest.approx(shares[0].interval.high)


@pytest.mark.parametrize("sizes", [(1000, 20), (200, 200, 200), (5000, 50, 10)])
def test_the_interval_of_a_mean_of_shares_covers_the_truth_as_often_as_it_says(sizes):
    random, truths = np.random.default_rng(4), np.linspace(0.6, 0.95, len(sizes))
    covered = 0
    for _ in range(1000):
        drawn = random.binomial(sizes, truths)
        found = statistics.mean([*map(statistics.proportion, map(int, drawn), sizes)])
        covered += found.interval.low <= truths.mean() <= found.interval.high
    assert 0.93 < covered / 1000 < 0.985


@given(COUNTS, COUNTS, COUNTS)
def test_f1_is_the_harmonic_mean_and_lies_in_its_interval(hits, false, missed):
    found = statistics.f1_score(hits, false, missed)
    assert inside(found.interval, found.value)
    if hits:
        precision, recall = hits / (hits + false), hits / (hits + missed)
        assert found.value == pytest.approx(2 * precision * recall / (precision + recall))


@pytest.mark.slow
def test_the_interval_of_f1_covers_what_it_says():
    """Of two thousand test sets of one model, the interval holds the true F1 of about 95 %."""
    random = np.random.default_rng(4)
    shares = np.array([0.3, 0.1, 0.08, 0.52])
    truth = 2 * 0.3 / (2 * 0.3 + 0.1 + 0.08)
    drawn = random.multinomial(300, shares, 2000)
    intervals = [statistics.f1_score(*map(int, counts[:3])).interval for counts in drawn]
    assert np.mean([i.low <= truth <= i.high for i in intervals]) == pytest.approx(0.95, abs=0.02)


@given(COUNTS, COUNTS)
def test_mcnemar_is_the_sum_of_both_tails(first, second):
    total, smaller = first + second, min(first, second)
    tail = sum(math.comb(total, k) for k in range(smaller + 1)) / 2**total
    assert statistics.mcnemar(first, second) == pytest.approx(min(1.0, 2 * tail))


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_the_interval_of_a_change_holds_the_change_and_turns_with_the_models(
    both, fixed, broken, neither
):
    found = statistics.accuracy_change(both, fixed, broken, neither)
    turned = statistics.accuracy_change(both, broken, fixed, neither)
    assert inside(found.interval, found.value, -1.0, 1.0)
    assert found.interval.low < found.interval.high
    assert (turned.value, turned.interval.low, turned.interval.high) == pytest.approx(
        (-found.value, -found.interval.high, -found.interval.low)
    )


# The first is Newcombe's own (1998), the second that of Fagerland, Lydersen & Laake (2014).
@pytest.mark.parametrize(
    ("counts", "value", "low", "high"),
    [((36, 12, 2, 0), 0.2, 0.0569, 0.3404), ((1, 1, 7, 12), -0.2857, -0.5069, -0.0256)],
)
def test_the_interval_of_a_change_is_the_published_one(counts, value, low, high):
    found = statistics.accuracy_change(*counts)
    assert (found.value, found.interval.low, found.interval.high) == pytest.approx(
        (value, low, high), abs=5e-5
    )


@settings(max_examples=8)
@given(st.integers(0, 10_000), st.sampled_from([100, 1000, 10_000]))
def test_the_interval_of_a_change_covers_what_it_says(seed, total):
    """At least about so often, of models that agree on most images, whatever they are."""
    random = np.random.default_rng(seed)
    shares = random.dirichlet([60, 4, 4, 6])
    drawn = random.multinomial(total, shares, 400)
    intervals = [statistics.accuracy_change(*map(int, counts)).interval for counts in drawn]
    truth = shares[1] - shares[2]
    # Of 400 draws, a share of 0.95 comes out below 0.9 once in a hundred thousand times.
    assert np.mean([i.low <= truth <= i.high for i in intervals]) >= 0.9


# On less than a hundred images, the two may differ by more.
@given(st.integers(100, 9000), st.integers(0, 120), st.integers(0, 120), st.integers(0, 900))
def test_a_change_that_may_well_be_chance_may_be_none(both, fixed, broken, neither):
    """Where McNemar's exact test says so, but for p-values at the very border."""
    interval = statistics.accuracy_change(both, fixed, broken, neither).interval
    if statistics.mcnemar(fixed, broken) > 0.08:
        assert interval.low <= 0 <= interval.high


def test_models_that_differ_on_no_image_seen_may_differ_on_others():
    found = statistics.accuracy_change(900, 0, 0, 100).interval
    assert found.low == pytest.approx(-found.high)
    assert found.high == pytest.approx(0.0036, abs=5e-5)


def test_without_images_any_change_is_possible():
    found = statistics.accuracy_change(0, 0, 0, 0)
    assert (found.value, found.interval.low, found.interval.high) == (0.0, -1.0, 1.0)


def naive_calibration_error(confidence, right):
    """In a loop over the bins, whose ends are compared with each confidence."""
    total = 0.0
    for number in range(15):
        low, high = number / 15, (number + 1) / 15
        members = (confidence >= low) & ((confidence < high) | (number == 14))
        if members.any():
            total += members.sum() * abs(right[members].mean() - confidence[members].mean())
    return total / len(confidence)


# Each of them resamples a thousand times.
@settings(max_examples=20)
@given(st.integers(0, 100), st.floats(-0.3, 0.3))
def test_the_calibration_error_is_that_of_a_loop_over_bins(seed, surplus):
    confidence, right = answers(seed, 200, surplus)
    found = statistics.calibration_error(confidence, right)
    assert found.value == pytest.approx(naive_calibration_error(confidence, right))
    assert inside(found.interval, found.value)


def of_tfma(confidences, right):
    """Computes the same from the histogram of TFMA's CalibrationPlot."""
    *first, last = calibration_plot.CalibrationPlot(num_buckets=15).computations()
    combiner = first[0].combiner
    accumulator = combiner.create_accumulator()
    for confidence, correct in zip(confidences, right, strict=True):
        element = metric_types.StandardMetricInputs(
            label=np.array([float(correct)]),
            prediction=np.array([confidence]),
            example_weight=np.array([1.0]),
        )
        accumulator = combiner.add_input(accumulator, element)
    (histogram,) = last.result(combiner.extract_output(accumulator)).values()
    distances = [
        abs(bucket.total_weighted_label.value - bucket.total_weighted_refined_prediction.value)
        for bucket in histogram.buckets
    ]
    return sum(distances) / len(confidences)


@settings(max_examples=40)
@given(
    st.lists(
        # TFMA rounds down to four digits; so does this, to between two of its finest buckets.
        st.tuples(st.integers(5000, 10_000), st.booleans()),
        min_size=1,
    )
)
def test_the_calibration_error_is_that_of_tfmas_calibration_plot(drawn):
    confidences = np.array([min((number + 0.5) / 10_000, 1.0) for number, _ in drawn])
    right = np.array([correct for _, correct in drawn])
    # Between a bin's edge and TFMA's next finest bucket they may count into different bins.
    assume((np.abs(confidences * 15 - np.round(confidences * 15)) > 0.002).all())
    error = statistics.expected_calibration_error(confidences, right)
    assert error == pytest.approx(of_tfma(confidences, right), abs=1e-9)


def test_the_interval_of_the_calibration_error_is_that_of_resampled_images():
    confidence, right = answers(3, 1000, 0.2)
    random = np.random.default_rng(9)
    drawn = [random.integers(0, 1000, 1000) for _ in range(1000)]
    errors = [naive_calibration_error(confidence[images], right[images]) for images in drawn]
    low, high = np.percentile(errors, [2.5, 97.5])
    found = statistics.calibration_error(confidence, right)
    expected = (2 * found.value - high, 2 * found.value - low)
    assert (found.interval.low, found.interval.high) == pytest.approx(expected, abs=0.004)


def test_a_calibrated_model_may_have_no_error_at_all():
    """Percentiles of resamples would deny it: the error of a sample is always above 0."""
    found = [statistics.calibration_error(*answers(seed)).interval for seed in range(20)]
    assert np.mean([interval.low == 0 for interval in found]) > 0.25


def test_the_same_answers_have_the_same_interval():
    assert statistics.calibration_error(*answers(1)) == statistics.calibration_error(*answers(1))


@given(st.integers(0, 100))
def test_the_bins_share_out_all_images(seed):
    confidence, right = answers(seed)
    bins = statistics.reliability_bins(confidence, right)
    assert [(b.low, b.high) for b in bins] == [(n / 15, (n + 1) / 15) for n in range(15)]
    assert sum(b.accuracy.total for b in bins) == len(right)
    assert sum(b.accuracy.hits for b in bins) == right.sum()
    for entry in bins:
        if entry.accuracy.total:
            assert entry.low <= entry.confidence <= entry.high
        else:
            assert entry.confidence is None


def test_the_ends_of_the_bins_belong_to_the_upper_one_and_1_to_the_last():
    bins = statistics.reliability_bins(np.array([0.0, 1.0, 0.2]), np.array([True, True, False]))
    assert [n for n, b in enumerate(bins) if b.accuracy.total] == [0, 3, 14]


@given(st.integers(0, 100), st.sampled_from([3, 49, 50, 400]))
def test_each_point_of_the_coverage_curve_is_what_its_threshold_leaves(seed, count):
    confidence, right = answers(seed, count)
    points = statistics.coverage_curve(confidence, right)
    assert points[0].coverage == 1.0
    assert len(points) <= 50
    assert all(a.coverage > b.coverage for a, b in itertools.pairwise(points))
    for point in points:
        answered = confidence >= point.threshold
        assert point.coverage == pytest.approx(answered.mean())
        assert point.accuracy == pytest.approx(right[answered].mean())


def test_answers_of_one_confidence_are_given_together():
    confidence = np.array([1.0] * 90 + [0.5] * 10)
    points = statistics.coverage_curve(confidence, np.arange(100) < 80)
    assert [(p.coverage, p.threshold) for p in points] == [(1.0, 0.5), (0.9, 1.0)]


SHARES = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 50), min_size=1).filter(
    lambda counts: any(counts.values())
)


@given(SHARES, SHARES)
def test_total_variation_is_the_greatest_difference_of_any_event(first, second):
    names = sorted({*first, *second})
    events = [[n for k, n in enumerate(names) if pick >> k & 1] for pick in range(2 ** len(names))]

    def share(counts, event):
        return sum(counts.get(name, 0) for name in event) / sum(counts.values())

    greatest = max(abs(share(first, event) - share(second, event)) for event in events)
    assert statistics.total_variation(first, second) == pytest.approx(greatest)


def test_the_wilson_interval_covers_what_it_says():
    """Exactly, by summing over all that can be observed."""
    total, truth = 100, 0.9
    held = 0.0
    for hits in range(total + 1):
        interval = statistics.proportion(hits, total).interval
        if interval.low <= truth <= interval.high:
            held += special.comb(total, hits) * truth**hits * (1 - truth) ** (total - hits)
    assert held == pytest.approx(0.95, abs=0.02)


@given(
    st.integers(0, 2**31), st.floats(0.25, 4), st.sampled_from([0.0, 0.1, 0.4]), st.floats(0.1, 100)
)
def test_what_calibration_does_is_undone(seed, temperature, smoothing, spread):
    logits = np.random.default_rng(seed).normal(0, spread, (20, 10)).astype(np.float32)
    softmax = CalibratedSoftmax(smoothing, dtype="float32")
    softmax.build(logits.shape)
    softmax.temperature.assign(temperature)
    answered = keras.ops.convert_to_numpy(softmax(logits))
    found = statistics.uncalibrated(answered, temperature, smoothing)
    expected = special.softmax(logits.astype(np.float64), axis=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=COMPUTED)


def test_an_answer_of_zero_stays_next_to_nothing():
    answered = np.array([[1.0, 0.0, 0.0]], np.float32)
    for temperature in (0.25, 1.0, 4.0):
        found = statistics.uncalibrated(answered, temperature, 0.0)
        np.testing.assert_allclose(found, answered, rtol=0, atol=ANSWERED)


def test_a_calibration_error_is_the_middle_of_what_has_an_interval():
    confidence, right = answers(3, surplus=0.1)
    value = statistics.expected_calibration_error(confidence, right)
    assert value == statistics.calibration_error(confidence, right).value > 0
