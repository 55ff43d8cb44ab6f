"""Batch normalisation by the fused kernel: what Keras's own layer computes, in one operation."""

import dataclasses

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies

from components.trainer.model import build_network
from components.trainer.normalization import FusedBatchNormalization

# How far the two layers may be apart, as a share of the largest value. In float32: sums over a
# few hundred numbers, taken in another order. In bfloat16: neighbouring numbers are up to 2**-7
# apart, and what lies between two of them may be rounded to either.
TOLERANCES = {"float32": 1e-5, "mixed_bfloat16": 2**-7}
# Running statistics are float32 under either policy.
STATISTICS_TOLERANCE = 1e-5

POLICIES = pytest.mark.parametrize("policy", TOLERANCES)
SHAPES = strategies.tuples(
    strategies.integers(1, 6),
    strategies.integers(1, 9),
    strategies.integers(1, 9),
    strategies.integers(1, 8),
)
ODD_SHAPES = [(1, 1, 1, 1), (2, 1, 1, 8), (1, 7, 5, 3), (64, 3, 3, 5)]


def pair(policy, channels, **options):
    """Keras's layer and ours, with the same weights."""
    layers = [
        kind(momentum=0.9, dtype=policy, **options)
        for kind in (keras.layers.BatchNormalization, FusedBatchNormalization)
    ]
    random = np.random.default_rng(channels)
    weights = random.uniform(0.5, 2.0, (4, channels)).astype(np.float32)
    for layer in layers:
        layer.build((None, None, None, channels))
        layer.set_weights(list(weights))
    return layers


def images_of(shape, seed=0):
    """Images of no particular mean, in numbers that bfloat16 has as well."""
    drawn = tf.random.stateless_normal(shape, [seed, 1]) * 2.0 + 0.5
    return tf.cast(tf.cast(drawn, tf.bfloat16), tf.float32)


def assert_close(found, expected, tolerance):
    found, expected = (tf.cast(values, tf.float32).numpy() for values in (found, expected))
    assert found.shape == expected.shape
    assert np.isfinite(found).all()
    largest = max(np.abs(expected).max(), 1.0)
    assert np.abs(found - expected).max() <= tolerance * largest


def gradients(layer, images, training=True):
    """Of a weighted sum of the answers, with respect to the images, gamma and beta."""
    variables = [variable.value for variable in (layer.gamma, layer.beta)]
    with tf.GradientTape() as tape:
        tape.watch([images, *variables])
        answers = tf.cast(layer(images, training=training), tf.float32)
        total = tf.reduce_sum(answers * images_of(images.shape, seed=9))
    return tape.gradient(total, [images, *variables])


def operations(layer, images, training):
    """The types of the operations in the graph of a layer or a network."""
    function = tf.function(lambda inputs: layer(inputs, training=training))
    graph = function.get_concrete_function(images).graph
    return [operation.type for operation in graph.get_operations()]


@POLICIES
@hypothesis.settings(max_examples=25)
@hypothesis.given(SHAPES)
@hypothesis.example(ODD_SHAPES[0])
@hypothesis.example(ODD_SHAPES[3])
def test_its_answers_and_gradients_are_those_of_keras(policy, shape):
    layers, images = pair(policy, shape[-1]), images_of(shape)
    for training in (True, False):
        expected, found = (layer(images, training=training) for layer in layers)
        assert found.dtype == expected.dtype
        assert_close(found, expected, TOLERANCES[policy])
    expected, found = (gradients(layer, images) for layer in layers)
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs, TOLERANCES[policy])


@POLICIES
@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_the_running_statistics_are_those_of_keras_after_several_steps(policy, shape):
    layers = pair(policy, shape[-1])
    for step in range(5):
        for layer in layers:
            layer(images_of(shape, seed=step), training=True)
    keras_layer, layer = layers
    for name in ("moving_mean", "moving_variance"):
        found, expected = getattr(layer, name).value, getattr(keras_layer, name).value
        assert_close(found, expected, STATISTICS_TOLERANCE)


@POLICIES
def test_asking_changes_no_statistics(policy):
    _, layer = pair(policy, 3)
    before = layer.get_weights()
    layer(images_of((4, 5, 5, 3)), training=False)
    np.testing.assert_equal(layer.get_weights(), before)


@POLICIES
@pytest.mark.parametrize("training", [True, False])
def test_the_graph_holds_the_fused_kernel_and_nothing_of_keras_own(policy, training):
    keras_layer, layer = pair(policy, 3)
    images = images_of((4, 5, 5, 3))
    assert operations(layer, images, training).count("FusedBatchNormV3") == 1
    assert "Rsqrt" not in operations(layer, images, training)
    assert "Rsqrt" in operations(keras_layer, images, training)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_normalisation_of_the_network_is_fused(settings, precision):
    network = build_network((8, 8, 1), 3, dataclasses.replace(settings, precision=precision))
    found = operations(network, images_of((4, 8, 8, 1)), training=True)
    assert found.count("FusedBatchNormV3") == 2 * len(settings.widths)


@POLICIES
def test_it_is_itself_after_saving_and_loading(policy, tmp_path):
    images = images_of((4, 5, 5, 3))
    _, layer = pair(policy, 3)
    inputs = keras.Input((5, 5, 3))
    model = keras.Model(inputs, layer(inputs))
    model(images, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[-1]) is FusedBatchNormalization
    assert loaded.layers[-1].get_config() == layer.get_config()
    for training in (False, True):
        np.testing.assert_array_equal(
            loaded(images, training=training), model(images, training=training)
        )


@POLICIES
def test_frozen_it_answers_and_learns_by_its_running_statistics(policy):
    layers = pair(policy, 3)
    images = images_of((4, 5, 5, 3))
    for layer in layers:
        layer.trainable = False
    keras_layer, layer = layers
    before = layer.get_weights()
    answers = layer(images, training=True)
    np.testing.assert_array_equal(answers, layer(images, training=False))
    assert_close(answers, keras_layer(images, training=True), TOLERANCES[policy])
    expected, found = gradients(keras_layer, images), gradients(layer, images)
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs, TOLERANCES[policy])
    np.testing.assert_equal(layer.get_weights(), before)


@POLICIES
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((6, 3), {}),
        ((6, 4, 3), {}),
        ((2, 3, 4, 5, 3), {}),
        ((2, 3, 4, 5), {"axis": 1}),
        ((2, 4, 5, 3), {"scale": False}),
        ((2, 4, 5, 3), {"center": False}),
    ],
    ids=str,
)
def test_whatever_the_kernel_is_not_made_for_is_left_to_keras(policy, shape, options):
    layers = [
        kind(momentum=0.9, dtype=policy, **options)
        for kind in (keras.layers.BatchNormalization, FusedBatchNormalization)
    ]
    inputs = images_of(shape)
    for training in (True, False):
        expected, found = (layer(inputs, training=training) for layer in layers)
        np.testing.assert_array_equal(found, expected)
    assert "FusedBatchNormV3" not in operations(layers[1], inputs, training=True)
    np.testing.assert_equal(layers[1].get_weights(), layers[0].get_weights())
