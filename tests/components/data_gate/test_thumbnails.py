"""Small copies of images are averages, and never further apart than the images."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data_gate import thumbnails

SIDES = st.integers(1, 70)
SHAPES = st.tuples(SIDES, SIDES, st.sampled_from([1, 3, 4]))


def root_mean_square(values):
    return np.sqrt(np.mean(np.square(values.astype(float)), axis=1))


@given(shape=SHAPES, amount=st.integers(1, 255), seed=st.integers(0, 2**32 - 1))
def test_copies_are_no_further_apart_than_their_images(shape, amount, seed):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (5, math.prod(shape)))
    changed = np.clip(images + random.integers(-amount, amount + 1, images.shape), 0, 255)
    images, changed = images.astype(np.uint8), changed.astype(np.uint8)
    copies, others = thumbnails.made(images, shape), thumbnails.made(changed, shape)
    apart = root_mean_square(copies.astype(int) - others)
    limit = root_mean_square(images.astype(int) - changed) + thumbnails.slack(shape)
    assert (apart <= limit + 1e-6).all()


@given(shape=SHAPES, count=st.integers(0, 2))
def test_copies_are_small_and_of_the_size_that_is_told(shape, count):
    images = np.full((count, math.prod(shape)), 255, np.uint8)
    copies = thumbnails.made(images, shape)
    assert copies.shape == (count, thumbnails.size(shape))
    assert copies.shape[1] <= 784
    # An average of equal values is that value.
    assert (copies == 255).all()


@pytest.mark.parametrize("shape", [(28, 28, 1), (16, 16, 3), (1, 784, 1)])
def test_a_small_image_is_its_own_copy(shape):
    images = np.random.default_rng(1).integers(0, 256, (3, math.prod(shape)), dtype=np.uint8)
    assert thumbnails.is_whole(shape)
    assert thumbnails.slack(shape) == 0
    assert np.array_equal(thumbnails.made(images, shape), images)


def test_areas_and_channels_are_averaged():
    small = np.random.default_rng(1).integers(0, 250, (2, 28, 28, 1))
    # Each value three wide and two high, in three channels about it.
    image = small.repeat(2, axis=1).repeat(3, axis=2) + np.array([0, 1, 5])
    copies = thumbnails.made(image.astype(np.uint8).reshape(2, -1), (56, 84, 3))
    assert np.array_equal(copies, small.reshape(2, -1) + 2)


def test_a_pixel_at_the_border_of_two_areas_counts_in_both():
    image = np.zeros((1, 1, 42, 56), np.uint8)
    image[0, 0, 1] = 90
    copies = thumbnails.made(image.reshape(1, -1), (42, 56, 1)).reshape(28, 28)
    # An area is a row and a half: of the second row, a half is in each of the first two areas.
    assert copies[:3, 0].tolist() == [30, 30, 0]
