"""Calibration: a temperature that makes the probabilities match the accuracy."""

import math

import hypothesis
import keras
import numpy as np
import pytest
import scipy.special
from hypothesis import strategies

from components import features
from components.trainer.calibration import CalibratedSoftmax, fit_temperature
from review import statistics

# 20,000 labels drawn at random give the temperature to about one part in a hundred.
COUNT, TEMPERATURE_TOLERANCE = 20_000, 0.05
# Possible error of a search that stops at 1e-5 of the logarithm of the temperature.
CROSS_ENTROPY_TOLERANCE = 1e-6
# Minima that are narrower than the search looks are hardly lower.
MISSED = 1e-3
# A search for a minimum alone ends 0.03 above the lowest.
SEED_OF_TWO_MINIMA = 83

LOGITS = strategies.integers(0, 2**31).map(
    lambda seed: np.random.default_rng(seed).normal(0, 3, (50, 4)).astype(np.float32)
)


def cross_entropy(logits, labels, temperature, label_smoothing=0.0):
    """That of the answers of `CalibratedSoftmax`, in float64."""
    softened = scipy.special.softmax(logits.astype(np.float64) / temperature, axis=1)
    spread = label_smoothing / logits.shape[1]
    left = np.maximum(softened - spread, 0) + features.SMOOTHING_FLOOR * softened
    own = left[np.arange(len(labels)), labels] / left.sum(axis=1)
    return -np.log(np.maximum(own, np.finfo(np.float64).tiny)).mean()


def answers(logits, temperature, label_smoothing=0.0):
    softmax = CalibratedSoftmax(label_smoothing, dtype="float32")
    softmax.build(logits.shape)
    softmax.temperature.assign(temperature)
    return keras.ops.convert_to_numpy(softmax(logits))


def calibration_error(probabilities, labels):
    confidence = probabilities.max(axis=1).astype(np.float64)
    return statistics.expected_calibration_error(confidence, probabilities.argmax(axis=1) == labels)


@hypothesis.settings(max_examples=10)
@hypothesis.given(strategies.floats(0.3, 3.5), strategies.integers(0, 2**31))
def test_a_known_temperature_is_found(temperature, seed):
    """Labels are drawn from the probabilities, and the logits are multiplied by the temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (COUNT, 3)).astype(np.float32)
    # The index of the largest logit with Gumbel noise has the distribution of the softmax.
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    fitted = fit_temperature(logits * np.float32(temperature), labels, label_smoothing=0.0)
    assert fitted == pytest.approx(temperature, rel=TEMPERATURE_TOLERANCE)


@hypothesis.given(LOGITS, strategies.integers(0, 2**31))
def test_no_other_temperature_has_a_lower_cross_entropy(logits, seed):
    labels = np.random.default_rng(seed).integers(0, 4, len(logits))
    least = cross_entropy(logits, labels, fit_temperature(logits, labels, 0.0))
    for other in (0.26, 0.5, 0.9, 1.0, 1.1, 2.0, 3.9):
        assert least <= cross_entropy(logits, labels, other) + CROSS_ENTROPY_TOLERANCE


@hypothesis.given(
    strategies.integers(0, 2**31),
    strategies.integers(10, 60),
    strategies.sampled_from([2, 3, 10]),
    strategies.sampled_from([0.0, 0.05, 0.1, 0.4]),
    strategies.sampled_from([0.5, 1.0, 2.0, 4.0]),
)
@hypothesis.example(SEED_OF_TWO_MINIMA, 50, 3, 0.1, 2.0)
def test_no_local_minimum_passes_for_the_lowest(seed, count, classes, smoothing, scale):
    """With label smoothing, there may be several: where the floor begins for a label."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    logits = random.normal(size=(count, classes))
    logits[np.arange(count), labels] += 2
    logits *= scale
    least = cross_entropy(logits, labels, fit_temperature(logits, labels, smoothing), smoothing)
    for other in np.geomspace(1 / 4, 4, 101):
        assert least <= cross_entropy(logits, labels, other, smoothing) + MISSED


@pytest.mark.parametrize("right", [True, False])
def test_logits_that_are_always_right_or_always_wrong_give_a_number(right):
    logits = np.eye(3, dtype=np.float32)[np.arange(30) % 3]
    temperature = fit_temperature(logits, (np.arange(30) + (not right)) % 3, 0.0)
    assert temperature == pytest.approx(1 / 4 if right else 4, rel=1e-3)


SMOOTHINGS = strategies.sampled_from([0.0, 0.1, 0.5])


@hypothesis.given(LOGITS, strategies.floats(1 / 20, 20), SMOOTHINGS)
def test_calibration_never_changes_which_class_comes_first(logits, temperature, smoothing):
    probabilities = answers(logits, temperature, smoothing)
    first = probabilities[np.arange(len(logits)), logits.argmax(axis=1)]
    # At extreme temperatures, float32 rounds several classes to the same probability: a tie.
    np.testing.assert_array_equal(first, probabilities.max(axis=1))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_the_probabilities_are_the_softmax_of_the_divided_logits():
    logits = np.array([[2.0, 0.0, -2.0]], np.float32)
    for temperature in (1.0, 2.0):
        expected = scipy.special.softmax(logits / temperature, axis=1)
        np.testing.assert_allclose(answers(logits, temperature), expected, rtol=1e-6)


def test_the_temperature_is_1_at_first():
    logits = np.array([[2.0, 0.0, -2.0]], np.float32)
    np.testing.assert_array_equal(CalibratedSoftmax(dtype="float32")(logits), answers(logits, 1.0))


@hypothesis.settings(max_examples=25)
@hypothesis.given(strategies.integers(0, 2**31), strategies.floats(0.3, 3), SMOOTHINGS)
def test_the_effect_of_label_smoothing_is_reversed(seed, temperature, smoothing):
    """The output equals that of a network that learned from unsmoothed labels."""
    truth = np.random.default_rng(seed).dirichlet(np.full(4, 0.5), 50)
    learnt = (1 - smoothing) * truth + smoothing / 4
    result = answers(temperature * np.log(learnt).astype(np.float32), temperature, smoothing)
    # Up to the share that prevents a probability of 0.
    np.testing.assert_allclose(result, truth, atol=features.SMOOTHING_FLOOR * 2)


def test_the_temperature_is_fitted_to_answers_without_label_smoothing():
    """Labels are drawn from the probabilities; the network learned smoothed labels."""
    random = np.random.default_rng(3)
    logits = random.normal(0, 2, (COUNT, 3))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    learnt = np.log(0.9 * scipy.special.softmax(logits, axis=1) + 0.1 / 3)
    found = fit_temperature((1.5 * learnt).astype(np.float32), labels, label_smoothing=0.1)
    assert found == pytest.approx(1.5, rel=TEMPERATURE_TOLERANCE)
    freed = answers((1.5 * learnt).astype(np.float32), found, 0.1)
    alone = answers((1.5 * learnt).astype(np.float32), fit_temperature(1.5 * learnt, labels, 0.0))
    assert calibration_error(freed, labels) < calibration_error(alone, labels) / 2


def test_no_answer_is_impossible():
    result = answers(np.array([[30.0, 0.0, -30.0]], np.float32), 1.0, 0.1)
    assert (np.diff(result[0]) < 0).all() and result.min() > 0


def test_no_training_changes_the_temperature(tmp_path):
    inputs = keras.Input((2,))
    softmax = CalibratedSoftmax(0.1, name="probabilities")
    network = keras.Model(inputs, softmax(keras.layers.Dense(3, name="logits")(inputs)))
    softmax.temperature.assign(1.7)
    network.compile("sgd", "categorical_crossentropy", jit_compile=False)
    before = network.get_layer("logits").get_weights()[0]
    network.fit(np.ones((4, 2), np.float32), np.eye(3, dtype=np.float32)[[0, 1, 2, 0]], verbose=0)
    assert not np.array_equal(network.get_layer("logits").get_weights()[0], before)
    assert float(softmax.temperature) == pytest.approx(1.7)
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").get_layer("probabilities")
    assert float(loaded.temperature) == pytest.approx(1.7)
    assert loaded.label_smoothing == 0.1


def test_a_fitted_temperature_lowers_the_calibration_error_of_a_model_that_is_too_sure():
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (COUNT, 3)).astype(np.float32)
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    before = calibration_error(answers(3 * logits, 1.0), labels)
    temperature = fit_temperature(3 * logits, labels, 0.0)
    assert math.isclose(temperature, 3, rel_tol=TEMPERATURE_TOLERANCE)
    assert calibration_error(answers(3 * logits, temperature), labels) < before / 5
