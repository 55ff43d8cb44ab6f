"""The input of training: its order, its batches, and the decoded images."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import transform
from components.examples import Split
from components.trainer import training
from components.trainer.batches import (
    TrainingBatches,
    image_batches,
    labelled_batches,
    prepared_images,
)
from pipeline.config import load_config

# Bytes of an image of 160x160x3.
LARGE = 76_800
# As many large images as 2 MiB hold.
LARGE_BATCH = 27


@pytest.fixture
def numbered(schema):
    """Makes a split of images with their number in the first byte."""

    def made(count):
        images = np.zeros((count, schema.bytes_per_image), np.uint8)
        images[:, 0] = np.arange(count)
        return Split(images, np.arange(count) % 3, np.array([b"id"] * count, dtype=object))

    return made


@pytest.fixture
def order(numbered, transform_output):
    """The numbers of the images, of shape [epochs, steps, batch size]."""

    def taken(count, batch_size, seed=1, first_epoch=0, epochs=1):
        batches = TrainingBatches(numbered(count), 3, batch_size, seed)
        epochs_seen = []
        for images, labels in batches.dataset(transform_output, first_epoch, epochs):
            numbers = np.rint(images.numpy()[:, 0, 0, 0] * 255).astype(int)
            np.testing.assert_array_equal(labels, np.eye(3, dtype=np.float32)[numbers % 3])
            epochs_seen.append(numbers)
        return np.array(epochs_seen).reshape(epochs - first_epoch, batches.steps, -1)

    return taken


def test_every_epoch_has_each_image_once_in_its_own_order(order):
    epochs = order(24, 6, epochs=5).reshape(5, -1)
    for epoch in epochs:
        assert sorted(epoch) == list(range(24))
    assert len({epoch.tobytes() for epoch in epochs}) == 5


@pytest.mark.parametrize("first_epoch", [1, 3])
def test_the_order_of_an_epoch_is_the_same_wherever_training_begins(order, first_epoch):
    from_the_start = order(20, 6, epochs=5)
    np.testing.assert_array_equal(
        order(20, 6, first_epoch=first_epoch, epochs=5), from_the_start[first_epoch:]
    )


def test_another_seed_gives_another_order(order):
    assert not np.array_equal(order(24, 6, seed=1), order(24, 6, seed=2))
    np.testing.assert_array_equal(order(24, 6, seed=2), order(24, 6, seed=2))


@pytest.mark.parametrize(
    ("count", "batch_size", "steps"), [(20, 6, 3), (24, 6, 4), (6, 6, 1), (11, 6, 1), (5, 1, 5)]
)
def test_every_batch_is_full_and_no_image_comes_twice_in_an_epoch(order, count, batch_size, steps):
    for epoch in order(count, batch_size, epochs=4):
        assert epoch.shape == (steps, batch_size)
        assert len(np.unique(epoch)) == steps * batch_size


def test_the_images_left_over_differ_between_epochs(order):
    epochs = order(20, 6, epochs=6).reshape(6, -1)
    left = {frozenset(range(20)) - frozenset(epoch) for epoch in epochs}
    assert len(left) > 1


def test_no_autotuner_keeps_a_training_waiting_for_its_iterators_to_end(numbered, transform_output):
    data = TrainingBatches(numbered(4), 3, 2, 1).dataset(transform_output, 0, 1)
    assert data.options().autotune.enabled is False
    assert labelled_batches(numbered(4), transform_output, 3).options().autotune.enabled is False


def test_a_batch_that_is_larger_than_the_data_is_all_of_it(order):
    epochs = order(7, 250, epochs=2)
    assert epochs.shape == (2, 1, 7)
    assert all(sorted(epoch[0]) == list(range(7)) for epoch in epochs)


def test_the_steps_taken_at_once_divide_those_of_an_epoch(numbered):
    steps_at_once = {}
    for count in range(1, 250):
        batches = TrainingBatches(numbered(count), 3, 2, seed=1)
        at_once = batches.steps_at_once(epochs=1000)
        assert batches.steps % at_once == 0
        assert 1 <= at_once <= 16
        steps_at_once[batches.steps] = at_once
    assert [steps_at_once[steps] for steps in (16, 18, 17, 48, 1)] == [16, 9, 1, 16, 1]


@pytest.mark.parametrize(
    ("steps", "epochs", "at_once"),
    [(16, 1, 1), (16, 4, 1), (16, 5, 2), (16, 15, 4), (16, 40, 16), (3, 3, 1), (220, 2, 11)],
)
def test_a_short_training_takes_few_steps_at_once(numbered, steps, epochs, at_once):
    """The learning rate is set once before them, so an epoch of 16 steps had a single one."""
    assert TrainingBatches(numbered(2 * steps), 3, 2, 1).steps_at_once(epochs) == at_once


@pytest.mark.parametrize("profile", ["smoke", "default", "best"])
def test_the_profiles_take_11_steps_of_fashion_mnist_at_once(profile):
    training_config = load_config(profile).training
    count = 55_000
    split = Split(np.zeros((count, 1), np.uint8), np.zeros(count, np.int64), np.zeros(count))
    batches = TrainingBatches(split, 10, training_config.batch_size, 1)
    assert batches.steps_at_once(training_config.epochs) == 11


def test_bytes_come_through_as_the_preprocessing_function_makes_them(
    schema, make_split, transform_output
):
    split = make_split(12, seed=3)
    raw = tf.constant([[image.tobytes()] for image in split.images])
    expected = transform.preprocessing_fn({"image": raw}, schema.shape)["image"].numpy()
    np.testing.assert_array_equal(prepared_images(split.images, transform_output), expected)
    (images,) = image_batches(split.images, transform_output)
    np.testing.assert_array_equal(images, expected)
    ((images, labels),) = labelled_batches(split, transform_output, 3)
    np.testing.assert_array_equal(images, expected)
    np.testing.assert_array_equal(labels, np.eye(3, dtype=np.float32)[split.labels])
    ((images, labels),) = TrainingBatches(split, 3, 12, seed=1).dataset(transform_output, 0, 1)
    by_bytes = {image.tobytes(): label for image, label in zip(expected, split.labels, strict=True)}
    assert len(by_bytes) == 12
    assert [by_bytes[image.tobytes()] for image in images.numpy()] == list(np.argmax(labels, 1))


def test_the_validation_batches_hold_all_images_in_their_order(numbered, transform_output):
    split = numbered(200)
    parts = (split.images, split.labels, split.ids)
    six_times = Split(*(np.concatenate([part] * 6) for part in parts))
    batches = list(labelled_batches(six_times, transform_output, 3))
    assert [len(labels) for _, labels in batches] == [1000, 200]
    numbers = np.concatenate([images.numpy()[:, 0, 0, 0] for images, _ in batches])
    np.testing.assert_array_equal(np.rint(numbers * 255), np.tile(np.arange(200), 6))


class Watched(np.ndarray):
    """Images that keep how many of them were asked for at a time."""

    asked: list[int]

    def __getitem__(self, rows):
        self.asked.append(len(rows))
        return np.asarray(self)[rows]


@pytest.fixture
def large_images():
    images = np.zeros((60, LARGE), np.uint8).view(Watched)
    images.asked = []
    return images


class FirstPixels:
    """Stands in for Transform's output: its graph returns the first bytes of each image."""

    def transform_features_layer(self):
        def first(raw):
            pixels = tf.io.decode_raw(tf.reshape(raw["image"], [-1]), tf.uint8)
            return {"image": tf.cast(pixels[:, :2], tf.float32)}

        return first


def test_large_images_are_predicted_a_few_at_a_time(large_images):
    """A split that was converted as a whole took 16 bytes of memory for each of its bytes."""
    inputs = keras.Input((2,))
    network = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    split = Split(large_images, np.zeros(60, np.int64), np.array([b"id"] * 60))
    assert training.predict(network, split, FirstPixels()).shape == (60, 3)
    assert large_images.asked == [LARGE_BATCH, LARGE_BATCH, 6]


def test_large_images_are_validated_a_few_at_a_time(large_images):
    split = Split(large_images, np.zeros(60, np.int64), np.array([b"id"] * 60))
    batches = labelled_batches(split, FirstPixels(), 3)
    assert large_images.asked == []
    assert [len(labels) for _, labels in batches] == [LARGE_BATCH, LARGE_BATCH, 6]
    assert large_images.asked == [LARGE_BATCH, LARGE_BATCH, 6]


def test_an_image_that_is_larger_than_a_batch_may_be_comes_alone():
    images = np.zeros((2, 3 * 2**20), np.uint8)
    assert [len(batch) for batch in image_batches(images, FirstPixels())] == [1, 1]


def test_small_images_are_predicted_in_batches_of_1000(make_split, transform_output):
    """The bits of an answer may depend on the size of its batch, so it stays for small images."""
    split = make_split(1200, seed=4)
    assert [len(batch) for batch in image_batches(split.images, transform_output)] == [1000, 200]
