"""The network: its shapes, its names, and augmentation in training alone."""

import dataclasses

import keras
import numpy as np
import pytest

from components.trainer.model import augmentation_layers, build_model


def pixels(*shape):
    return np.random.default_rng(1).random(shape, dtype=np.float32)


def build(settings, shape=(28, 28, 1), classes=10):
    keras.utils.set_random_seed(1)
    return build_model(shape, classes, settings)


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (7, 5, 1), (1, 1, 3)])
@pytest.mark.parametrize("classes", [2, 10])
def test_images_of_any_size_become_probabilities(settings, all_augmentation, shape, classes):
    settings = dataclasses.replace(settings, augmentation=all_augmentation)
    network = build(settings, shape, classes)
    answers = network(pixels(3, *shape), training=False).numpy()
    assert answers.shape == (3, classes)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)


def test_every_layer_has_a_name_that_stays(settings, all_augmentation):
    """Keras numbers the layers that nobody named, on through all models of a process."""
    settings = dataclasses.replace(settings, augmentation=all_augmentation)
    first, second = (
        [layer.name for layer in build_model((28, 28, 1), 10, settings).layers] for _ in range(2)
    )
    assert first == second
    assert len(set(first)) == len(first)


def test_feature_maps_can_be_taken_by_name(settings):
    network = build(settings)
    for name in ("pixels", "block1_conv1", "block1_add", "block2_add", "features"):
        assert network.get_layer(name) is not None
    assert network.get_layer("block2_add").output.shape == (None, 7, 7, 6)


@pytest.mark.parametrize("widths", [(4,), (4, 6), (2, 3, 4, 5, 6)])
def test_there_is_a_stage_for_each_width(settings, widths):
    network = build(dataclasses.replace(settings, widths=widths))
    found = [layer.filters for layer in network.layers if layer.name.endswith("_conv1")]
    assert found == list(widths)


def test_the_same_seed_gives_the_same_network(settings):
    first, second = build(settings), build(settings)
    for ours, theirs in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


AUGMENTATIONS = {
    "rotation": (20.0, "rotation"),
    "shift": (0.2, "shift"),
    "shear": (0.3, "shear"),
    "zoom": (0.3, "zoom"),
    "flip": (True, "flip"),
    "erasing": (1.0, "erasing"),
}


def test_what_is_switched_off_is_no_layer(no_augmentation):
    assert augmentation_layers(no_augmentation, seed=1) == []


@pytest.mark.parametrize("key", AUGMENTATIONS)
def test_each_augmentation_has_a_switch_of_its_own(no_augmentation, key):
    value, name = AUGMENTATIONS[key]
    chosen = dataclasses.replace(no_augmentation, **{key: value})
    assert [layer.name for layer in augmentation_layers(chosen, seed=1)] == [name]


def test_every_augmentation_is_tried(no_augmentation):
    assert {field.name for field in dataclasses.fields(no_augmentation)} == set(AUGMENTATIONS)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("key", AUGMENTATIONS)
def test_an_augmentation_acts_in_training_alone(no_augmentation, key, channels):
    chosen = dataclasses.replace(no_augmentation, **{key: AUGMENTATIONS[key][0]})
    (layer,) = augmentation_layers(chosen, seed=1)
    images = pixels(16, 28, 28, channels)
    np.testing.assert_array_equal(layer(images, training=False), images)
    changed = np.asarray(layer(images, training=True))
    assert changed.shape == images.shape
    assert not np.array_equal(changed, images)
    assert changed.min() >= 0
    assert changed.max() <= 1 + 1e-5


def test_the_layers_draw_different_numbers(all_augmentation):
    seeds = [layer.seed for layer in augmentation_layers(all_augmentation, seed=1)]
    assert len(set(seeds)) == len(seeds) == 6


def test_the_network_answers_the_same_twice_and_trains_on_changed_images(
    settings, all_augmentation
):
    changing = dataclasses.replace(settings, augmentation=all_augmentation, dropout=0.0)
    network, images = build(changing), pixels(4, 28, 28, 1)
    first, second = (network(images, training=False).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)
    first, second = (network(images, training=True).numpy() for _ in range(2))
    assert not np.allclose(first, second, atol=1e-6)


def test_each_image_is_answered_by_itself(settings, all_augmentation):
    """What else is in a batch does not matter when the model is asked."""
    settings = dataclasses.replace(settings, augmentation=all_augmentation)
    network, images = build(settings), pixels(4, 28, 28, 1)
    together = network(images, training=False).numpy()
    alone = np.concatenate([network(image[None], training=False).numpy() for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-5)
