"""The convolution before the first stage whitens patches of the images, and stays frozen."""

import dataclasses

import keras
import numpy as np
import pytest

from components.trainer import batches, training, whitening
from components.trainer.model import WHITENING, build_network


def smooth_images(count, size, channels):
    """Float32 images in [0, 1] with similar neighbouring pixels, like real images."""
    rough = np.random.default_rng(0).random((count, size + 1, size + 1, channels), np.float32)
    return (rough[:, 1:, 1:] + rough[:, :-1, 1:] + rough[:, 1:, :-1] + rough[:, :-1, :-1]) / 4


@pytest.fixture
def splits(make_split):
    return {"train": make_split(48, seed=0), "val": make_split(16, seed=1)}


def begun(settings, images, width):
    network = build_network(images.shape[1:], 3, dataclasses.replace(settings, widths=(width,)))
    whitening.begin(network, images)
    return network.get_layer(WHITENING)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_directions_of_a_patch_become_independent(settings, channels):
    images = smooth_images(200, 12, channels)
    directions = 8 * channels
    layer = begun(settings, images, width=2 * directions)
    answers = keras.ops.convert_to_numpy(layer(images))[..., ::2].reshape(-1, directions)
    covariance = np.cov(answers, rowvar=False)
    # Uncorrelated, with a variance of at most 1: lower for directions with hardly any variance.
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.01
    assert 0.5 < np.diag(covariance).max() <= 1.01
    assert (np.diff(np.diag(covariance)) <= 1e-3).all()


def test_each_direction_comes_with_both_signs(settings):
    kernel = begun(settings, smooth_images(20, 8, 1), width=48).get_weights()[0]
    np.testing.assert_array_equal(kernel[..., ::2], -kernel[..., 1::2])


@pytest.mark.parametrize(
    ("channels", "width", "expected"),
    [(1, 1, 1), (1, 4, 4), (1, 16, 16), (1, 48, 16), (3, 16, 16), (3, 64, 48)],
)
def test_filters_are_16_for_each_channel_at_most_and_no_more_than_the_first_stage_has(
    settings, channels, width, expected
):
    images = smooth_images(20, 8, channels)
    kernel = begun(settings, images, width).get_weights()[0]
    assert kernel.shape == (3, 3, channels, expected)
    most = begun(settings, images, 64).get_weights()[0]
    np.testing.assert_array_equal(kernel, most[..., :expected])
    assert np.isfinite(kernel).all()
    assert (np.abs(kernel).max(axis=(0, 1, 2)) > 0).all()


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 2, 1, 3), (2, 8, 8, 1)])
def test_images_may_be_tiny_few_and_all_alike(settings, shape):
    kernel = begun(settings, np.ones(shape, np.float32), width=4).get_weights()[0]
    assert np.isfinite(kernel).all()


def test_the_sample_comes_from_all_over_the_split(make_split, schema, transform_output):
    split = make_split(40, seed=0)
    every = batches.prepared_sample(split, transform_output, 50)
    assert every.shape == (40, *schema.shape)
    some = batches.prepared_sample(split, transform_output, 4)
    np.testing.assert_array_equal(some, every[[0, 13, 26, 39]])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_leaves_the_filters_as_they_began(
    settings, schema, splits, transform_output, tmp_path, precision
):
    chosen = dataclasses.replace(settings, precision=precision)
    trained = training.train(chosen, schema, transform_output, splits, str(tmp_path))
    wanted = whitening.images_needed(schema.shape)
    images = batches.prepared_sample(splits["train"], transform_output, wanted)
    expected = begun(settings, images, width=4).get_weights()[0]
    np.testing.assert_array_equal(trained.get_layer(WHITENING).get_weights()[0], expected)
    served = training.build_classifier(trained, chosen, schema).get_layer("network")
    np.testing.assert_array_equal(served.get_layer(WHITENING).get_weights()[0], expected)


def test_a_warm_start_keeps_the_filters_of_the_model_that_it_begins_at(
    settings, schema, splits, transform_output, tmp_path
):
    served = begun(settings, smooth_images(20, 8, 1), width=4)
    network = build_network(schema.shape, 3, settings)
    network.get_layer(WHITENING).set_weights(served.get_weights())
    training.build_classifier(network, settings, schema).save(tmp_path / "model.keras")
    trained = training.train(
        settings, schema, transform_output, splits, str(tmp_path / "backup"), str(tmp_path)
    )
    np.testing.assert_equal(trained.get_layer(WHITENING).get_weights(), served.get_weights())


def test_without_it_no_layer_is_frozen(settings, schema):
    network = build_network(schema.shape, 3, dataclasses.replace(settings, whitening=False))
    assert WHITENING not in [layer.name for layer in network.layers]
    assert all(layer.trainable for layer in network.layers)


@pytest.mark.slow
@pytest.mark.parametrize("has_whitening", [True, False])
def test_the_convolution_of_the_first_stage_is_trained(
    settings, schema, splits, transform_output, tmp_path, has_whitening
):
    chosen = dataclasses.replace(settings, whitening=has_whitening)
    trained = training.train(chosen, schema, transform_output, splits, str(tmp_path))
    keras.utils.set_random_seed(chosen.seed)
    fresh = build_network(schema.shape, 3, chosen)
    kernels = [each.get_layer("block1_conv1").get_weights()[0] for each in (trained, fresh)]
    assert not np.array_equal(*kernels)
