"""The convolution for small maps: outputs and gradients are those of Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from components.trainer import convolution
from components.trainer.convolution import SmallMapConvolution

SIDES = st.integers(1, 8)
CHANNELS = st.integers(1, 4)


def pair(kernel_size, outputs, shape, dtype):
    """Our layer and Keras's, with the same kernel."""
    layers = [
        kind(outputs, kernel_size, padding="same", use_bias=False, dtype=dtype)
        for kind in (SmallMapConvolution, keras.layers.Conv2D)
    ]
    for layer in layers:
        layer.build(shape)
    layers[1].set_weights(layers[0].get_weights())
    return layers


def learnt(layer, images, training=True):
    """Output, gradient of the images and gradient of the kernel."""
    images = tf.constant(images)
    arguments = {"training": training} if isinstance(layer, SmallMapConvolution) else {}
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images, **arguments)
        # Each output has a weight of its own, or a shift by a place might go unseen.
        weights = tf.reshape(tf.range(tf.size(outputs), dtype=tf.float32), tf.shape(outputs))
        loss = tf.reduce_sum(tf.sin(weights) * tf.cast(outputs, tf.float32))
    gradients = tape.gradient(loss, [images, layer.kernel.value])
    return [outputs.numpy(), *(gradient.numpy() for gradient in gradients)]


@given(
    st.integers(1, 5),
    SIDES,
    SIDES,
    CHANNELS,
    CHANNELS,
    st.sampled_from([(3, 3), (1, 1), (3, 5), (7, 1)]),
)
def test_outputs_and_gradients_are_those_of_keras(
    count, height, width, inputs, outputs, kernel_size
):
    shape = (count, height, width, inputs)
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    ours, keras_own = pair(kernel_size, outputs, shape, "mixed_bfloat16")
    for found, expected in zip(learnt(ours, images), learnt(keras_own, images), strict=True):
        assert found.dtype == expected.dtype
        largest = np.abs(expected.astype(np.float32)).max()
        np.testing.assert_allclose(
            found.astype(np.float32), expected.astype(np.float32), atol=0.02 * largest
        )


@given(SIDES, SIDES, CHANNELS, CHANNELS, st.sampled_from([(3, 3), (1, 1), (3, 5), (7, 1)]))
def test_without_rounding_the_gradient_of_the_kernel_is_that_of_keras(
    height, width, inputs, outputs, kernel_size
):
    random, shape = np.random.default_rng(0), (3, height, width, inputs)
    images = random.normal(size=shape).astype(np.float32)
    upstream = random.normal(size=(*shape[:3], outputs)).astype(np.float32)
    kernel_shape = (*kernel_size, inputs, outputs)
    found = convolution._kernel_gradient(tf.constant(images), upstream, kernel_shape)
    expected = tf.raw_ops.Conv2DBackpropFilter(
        input=images,
        filter_sizes=kernel_shape,
        out_backprop=upstream,
        strides=[1, 1, 1, 1],
        padding="SAME",
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def products(layer, images, training):
    """Whether the gradient is computed by matrix products."""
    taken = []
    with pytest.MonkeyPatch.context() as patch:
        own = convolution._kernel_gradient
        patch.setattr(
            convolution, "_kernel_gradient", lambda *found: taken.append(1) or own(*found)
        )
        learnt(layer, images, training)
    return bool(taken)


@pytest.mark.parametrize(
    ("side", "training", "arguments", "expected"),
    [
        (8, True, {}, True),
        (9, True, {}, False),
        (4, False, {}, False),
        (4, None, {}, False),
        (4, True, {"dtype": "float32"}, False),
        (4, True, {"use_bias": True}, False),
        (4, True, {"activation": "relu"}, False),
        (4, True, {"padding": "valid"}, False),
        (4, True, {"strides": 2}, False),
        (4, True, {"kernel_size": 2}, False),
        (4, True, {"groups": 2}, False),
    ],
)
def test_all_other_convolutions_are_those_of_keras(side, training, arguments, expected):
    images = np.ones((2, side, side, 2), np.float32)
    usual = {"filters": 2, "kernel_size": 3, "padding": "same", "use_bias": False}
    given = {**usual, "dtype": "mixed_bfloat16", **arguments}
    layer = SmallMapConvolution(**given)
    layer.build(images.shape)
    assert products(layer, images, training) == expected


def test_a_saved_layer_is_loaded(tmp_path):
    network = keras.Sequential([keras.Input((4, 4, 1)), SmallMapConvolution(2, 3, padding="same")])
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert isinstance(loaded.layers[0], SmallMapConvolution)
    images = np.ones((1, 4, 4, 1), np.float32)
    np.testing.assert_array_equal(loaded(images), network(images))
