"""Corruptions: what they say they do, as strongly as they say, and the same in every run."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from hypothesis.extra import numpy as arrays

from components.robustness import corruptions
from components.robustness.corruptions import CORRUPTIONS, STRENGTHS

PAIRS = list(corruptions.amounts())
# The others do the same to every image, whatever the seed.
RANDOM = {"noise", "rotation", "shift", "occlusion"}


def ids_of(images):
    return [b"t10k-%08d" % number for number in range(len(images))]


def amount_of(corruption, strength):
    return CORRUPTIONS[corruption].amounts[strength - 1]


def corrupt(images, ids, corruption, strength, seed, background=0):
    return corruptions.corrupt(images, ids, corruption, strength, seed, background)


def alone(image, corruption, strength, seed=1, background=0):
    """One image [height, width, channels], corrupted."""
    return corrupt(image[None], [b"an image"], corruption, strength, seed, background)[0]


@pytest.fixture(scope="module")
def garments(sample_images):
    """Six drawn garments of each kind, uint8 [60, 28, 28, 1]."""
    return sample_images.first(1, 6).test_images[..., None]


@pytest.fixture(scope="module", params=["grey", "colour"])
def images(request, garments):
    """The garments, grey or each channel in a brightness of its own."""
    if request.param == "grey":
        return garments
    return (garments * np.array([1.0, 0.6, 0.3])).astype(np.uint8)


@hypothesis.given(
    images=arrays.arrays(
        np.uint8,
        strategies.tuples(
            strategies.integers(1, 3),
            strategies.integers(1, 12),
            strategies.integers(1, 12),
            strategies.sampled_from([1, 3]),
        ),
    ),
    pair=strategies.sampled_from(PAIRS),
    seed=strategies.integers(0, 2**31 - 1),
)
def test_any_images_keep_their_form(images, pair, seed):
    before = images.copy()
    found = corrupt(images, ids_of(images), *pair, seed)
    assert (found.shape, found.dtype) == (images.shape, np.uint8)
    assert np.array_equal(images, before)
    again = corrupt(images, ids_of(images), *pair, seed)
    assert np.array_equal(found, again)


@pytest.mark.parametrize(("corruption", "strength"), PAIRS)
def test_what_becomes_of_an_image_does_not_depend_on_the_others(garments, corruption, strength):
    ids = np.array(ids_of(garments))
    together = corrupt(garments, ids, corruption, strength, 1)
    order = np.random.default_rng(2).permutation(len(ids))[:20]
    apart = corrupt(garments[order], ids[order], corruption, strength, 1)
    assert np.array_equal(apart, together[order])


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_another_seed_and_another_id_draw_otherwise(garments, corruption):
    first = alone(garments[0], corruption, 3, seed=1)
    other_seeds = [alone(garments[0], corruption, 3, seed) for seed in range(2, 10)]
    ids = [b"%d" % number for number in range(8)]
    other_ids = corrupt(garments[:1].repeat(8, axis=0), ids, corruption, 3, 1)
    for others in (other_seeds, other_ids):
        differs = any(not np.array_equal(other, first) for other in others)
        assert differs == (corruption in RANDOM)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_each_strength_changes_images_more_than_the_one_before(images, corruption):
    changes = []
    for strength in STRENGTHS:
        found = corrupt(images, ids_of(images), corruption, strength, 1)
        changes.append(np.abs(found.astype(float) - images).mean())
    assert 0 < changes[0] < changes[1] < changes[2]


def test_strengths_draw_apart_from_each_other(garments):
    """The noise of strength 2 is not that of strength 1, only stronger."""
    flat = np.full((1, 28, 28, 1), 128, np.uint8)
    first, second = (
        corrupt(flat, [b"flat"], "noise", strength, 1).astype(float).ravel() for strength in (1, 2)
    )
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.15


def test_amounts_are_told_in_words():
    found = corruptions.amounts()
    assert list(found) == [(name, strength) for name in CORRUPTIONS for strength in STRENGTHS]
    assert found["noise", 1] == "standard deviation 20 of 255"
    assert found["rotation", 3] == "35 degrees, either way"
    assert found["shift", 2] == "8% of height and of width, either way"
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize("strength", STRENGTHS)
class TestTheAmountIsWhatTheImageShows:
    """Each measured in another way than it is made."""

    def test_noise(self, strength):
        deviation = amount_of("noise", strength)
        found = alone(np.full((100, 100, 3), 128, np.uint8), "noise", strength)
        # What is cut off at black and white makes strong noise a little weaker.
        assert found.std() == pytest.approx(deviation, rel=0.08)
        assert found.mean() == pytest.approx(128, abs=1.5)

    def test_blur(self, strength):
        point = np.zeros((101, 51, 1), np.uint8)
        point[45:56, 20:31] = 255
        before, after = (
            spread(each.astype(float)[..., 0]) for each in (point, alone(point, "blur", strength))
        )
        expected = (amount_of("blur", strength) * np.array([101, 51])) ** 2
        assert np.array(after) - np.array(before) == pytest.approx(expected, rel=0.1)

    def test_brightness(self, strength):
        added = amount_of("brightness", strength)
        image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
        found = alone(image, "brightness", strength)
        assert found.ravel().tolist() == [min(255, value + added) for value in range(256)]

    def test_contrast(self, strength):
        image = np.random.default_rng(1).integers(0, 256, (40, 40, 3)).astype(np.uint8)
        found = alone(image, "contrast", strength)
        left = amount_of("contrast", strength)
        for channel in range(3):
            before, after = image[..., channel], found[..., channel]
            assert after.std() == pytest.approx(left * before.std(), rel=0.02)
            assert after.mean() == pytest.approx(before.mean(), abs=0.5)

    def test_rotation(self, strength):
        bar = np.zeros((81, 81, 1), np.uint8)
        bar[38:43, 20:61] = 255
        found = alone(bar, "rotation", strength)
        rows, columns = np.nonzero(found[..., 0] > 127)
        slope = np.polyfit(columns - 40, rows - 40, 1)[0]
        angle = np.degrees(np.arctan(abs(slope)))
        assert angle == pytest.approx(amount_of("rotation", strength), abs=2)

    def test_shift(self, strength):
        block = np.zeros((80, 40, 1), np.uint8)
        block[35:45, 15:25] = 255
        found = alone(block, "shift", strength).astype(float)[..., 0]
        moved = np.abs(np.array(centre(found)) - centre(block.astype(float)[..., 0]))
        assert moved == pytest.approx(amount_of("shift", strength) * np.array([80, 40]), abs=0.1)

    def test_occlusion(self, strength):
        white = np.full((40, 20, 3), 255, np.uint8)
        found = alone(white, "occlusion", strength)
        rows, columns = np.nonzero((found != 255).all(axis=-1))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert (height / 40, width / 20) == pytest.approx((amount_of("occlusion", strength),) * 2)
        assert len(rows) == height * width
        assert set(np.unique(found)) == {128, 255}


@pytest.mark.parametrize("corruption", ["rotation", "shift"])
def test_what_comes_in_from_outside_is_background_or_a_mirror_image(corruption):
    grey = np.full((40, 40, 1), 100, np.uint8)
    assert set(np.unique(alone(grey, corruption, 3, background=0)[[0, -1]])) >= {0}
    assert alone(grey, corruption, 3, background=0).max() == 100
    assert alone(grey, corruption, 3, background=255).max() == 255
    assert alone(grey, corruption, 3, background=255).min() == 100
    assert set(np.unique(alone(grey, corruption, 3, background=None))) == {100}


def test_rotations_and_shifts_go_either_way():
    block = np.zeros((1, 40, 40, 1), np.uint8)
    block[0, 18:22, 5:35] = 255
    blocks = block.repeat(40, axis=0)
    for corruption, ways in (("rotation", 2), ("shift", 4)):
        found = corrupt(blocks, ids_of(blocks), corruption, 2, 1)
        assert len(np.unique(found, axis=0)) == ways


def centre(image):
    """Row and column of the centre of brightness of an image [height, width]."""
    rows, columns = np.indices(image.shape)
    return (rows * image).sum() / image.sum(), (columns * image).sum() / image.sum()


def spread(image):
    """The variance of brightness over rows and over columns."""
    row, column = centre(image)
    rows, columns = np.indices(image.shape)
    total = image.sum()
    return (
        ((rows - row) ** 2 * image).sum() / total,
        ((columns - column) ** 2 * image).sum() / total,
    )
