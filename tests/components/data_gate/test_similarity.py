"""Images that are alike are found: all of them, once each, and no others."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.data_gate import similarity

# Images that are searched as they are, and images that are searched as small copies.
SMALL, LARGE = (6, 6, 1), (40, 33, 3)


def noise(count, seed=0, shape=SMALL):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)


def flat(images):
    return images.reshape(len(images), -1)


def by_looking_at_all(images):
    """Pairs of different images that are alike, by comparing each image with each other."""
    values = flat(images).astype(float)
    distances = {
        (one, other): np.sqrt(np.mean((values[one] - values[other]) ** 2))
        for one, other in itertools.combinations(range(len(images)), 2)
    }
    return {pair: d for pair, d in distances.items() if 0 < d <= similarity.BOUND}


@pytest.fixture
def report_of(catalogue_of):
    """The report on images and labels by split."""

    def make(shown=5, **splits):
        written = {
            name: (images, labels, [f"{name}-{n:02d}".encode() for n in range(len(images))])
            for name, (images, labels) in splits.items()
        }
        catalogue = catalogue_of(**written)
        report, first, second = similarity.report(catalogue, catalogue.first_equal(), shown)
        return dataclasses.asdict(report), first, second

    return make


def pairs_in(report):
    return {(pair["first"], pair["second"]): pair["distance"] for pair in report["pairs"]}


def counts_of(report):
    """The counts by pair of splits."""
    return {(c.pop("first_split"), c.pop("second_split")): c for c in report["counts"]}


@pytest.fixture
def found_in(report_of):
    """Finds the pairs among training images, as positions."""

    def find(images):
        report, _, _ = report_of(1000, train=(images, [0] * len(images)))
        return {
            (int(first[-2:]), int(second[-2:])): distance
            for (first, second), distance in pairs_in(report).items()
        }

    return find


@pytest.mark.parametrize("shape", [SMALL, LARGE])
def test_noise_is_unlike(shape, found_in):
    assert found_in(noise(90, shape=shape)) == {}


@pytest.mark.slow
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.sampled_from([SMALL, LARGE]),
    seed=st.integers(0, 2**32 - 1),
    amount=st.integers(1, 20),
    copies=st.integers(1, 6),
    count=st.integers(2, 40),
)
def test_all_pairs_are_found_that_a_look_at_each_finds(
    shape, seed, amount, copies, count, found_in
):
    random = np.random.default_rng(seed)
    originals = noise(count, seed, shape)
    changed = originals[random.integers(0, count, copies)].astype(int)
    changed += random.integers(-amount, amount + 1, changed.shape)
    images = np.concatenate([originals, np.clip(changed, 0, 255).astype(np.uint8)])
    images = images[np.sort(np.unique(images, axis=0, return_index=True)[1])]
    assert found_in(images) == pytest.approx(by_looking_at_all(images))


@pytest.mark.parametrize("shape", [SMALL, LARGE])
def test_a_single_image_has_no_pairs(shape, found_in):
    assert found_in(noise(1, shape=shape)) == {}


def test_images_that_are_alike_only_when_small_are_no_pair(found_in):
    """Their colours differ, or their details: the brightness of each area does not."""
    red, blue = np.zeros((2, *LARGE), np.uint8)
    red[:, :, 0] = blue[:, :, 2] = 120
    stripes = np.zeros((2, 280, 280, 1), np.uint8)
    stripes[0, ::2] = stripes[1, 1::2] = 90
    assert found_in(np.stack([red, blue])) == {}
    assert found_in(stripes) == {}


@pytest.fixture
def much_alike():
    """Thirty large images, each much like the others."""
    change = np.random.default_rng(1).integers(0, 9, (30, *LARGE))
    return (noise(1, shape=LARGE) // 2 + change).astype(np.uint8)


def test_where_much_is_alike_fewer_are_searched_so_that_memory_is_bounded(
    much_alike, report_of, monkeypatch
):
    splits = {"train": (much_alike, [0] * 30)}
    whole, _, _ = report_of(1000, **splits)
    assert (whole["searched"], whole["images"]) == (30, 30)
    assert len(whole["pairs"]) == 30 * 29 / 2
    monkeypatch.setattr(similarity, "COMPARED_BYTES", 10 * much_alike[0].nbytes)
    part, first, _ = report_of(1000, **splits)
    assert (part["searched"], part["images"]) == (10, 30)
    assert len(part["pairs"]) == len(first) == 10 * 9 / 2
    assert pairs_in(part).items() <= pairs_in(whole).items()
    again, _, _ = report_of(1000, **splits)
    assert again == part


def frames(count, brighter, seed):
    """Frames of one static scene."""
    noise_of_the_camera = np.random.default_rng(seed).normal(0, 1.5, (count, *SMALL))
    scene = 40 + noise(1) // 2 + brighter
    return np.clip(np.rint(scene + noise_of_the_camera), 0, 255).astype(np.uint8)


@pytest.fixture
def near_counts(report_of):
    """Numbers of pairs that are nearly the same, and whether none is missing, by pair of splits."""

    def count(train, test):
        splits = {"train": (train, [0] * len(train)), "test": (test, [0] * len(test))}
        report, _, _ = report_of(**splits)
        return {
            pair: (found["near"], found["complete"]) for pair, found in counts_of(report).items()
        }

    return count


def test_frames_of_its_own_clip_hide_no_twin_in_another_split(near_counts):
    """In brightness the clips differ more than the frames of each."""
    train, test = frames(40, 0, 1), frames(40, 4, 2)
    pairs = by_looking_at_all(np.concatenate([train, test]))
    assert all((one, 40 + other) in pairs for one in range(40) for other in range(40))
    found = near_counts(train, test)
    assert found["train", "test"] == (1600, True)
    assert found["train", "train"] == found["test", "test"] == (40 * 39 / 2, True)


def test_a_count_that_may_be_too_low_is_told(near_counts, monkeypatch):
    monkeypatch.setattr(similarity, "_FURTHER_CANDIDATES", 0)
    found = near_counts(frames(40, 0, 1), frames(40, 4, 2))
    for pair, everything in (("train", "train"), 780), (("train", "test"), 1600):
        near, is_complete = found[pair]
        assert everything / 2 < near < everything
        assert not is_complete
    # Each frame to train on is asked too, and has a single one.
    assert near_counts(frames(40, 0, 1), frames(1, 4, 2))["train", "test"] == (40, True)


def test_equal_images_are_paired_with_the_first_of_their_kind(report_of):
    images = noise(5)
    images[3] = images[4] = images[1]
    report, first, second = report_of(
        train=(images, [0] * 5), val=(noise(1, 1), [0]), test=(noise(1, 2), [0])
    )
    assert pairs_in(report) == {("train-01", "train-03"): 0.0, ("train-01", "train-04"): 0.0}
    assert np.array_equal(first, flat(images)[[1, 1]])
    assert np.array_equal(second, flat(images)[[1, 1]])


def test_the_report_counts_by_splits_and_shows_other_labels_first(report_of):
    images = noise(4)
    near = images[2].copy()
    near[0, 0, 0] ^= 1
    report, first, second = report_of(
        train=(images, [0, 1, 2, 0]),
        val=(noise(1, 7), [0]),
        test=(np.stack([images[0], near]), [0, 1]),
    )
    counts = counts_of(report)
    assert counts.pop(("train", "test")) == {
        "exact": 1,
        "near": 1,
        "other_label": 1,
        "complete": True,
    }
    nothing = {"exact": 0, "near": 0, "other_label": 0, "complete": True}
    assert list(counts.values()) == [nothing] * 5
    other, same = report["pairs"]
    assert (other["first"], other["second"]) == ("train-02", "test-01")
    assert (other["first_label"], other["second_label"]) == (2, 1)
    assert 0 < other["distance"] < 1
    assert (same["first_split"], same["second_split"], same["distance"]) == ("train", "test", 0.0)
    assert np.array_equal(first, flat(images)[[2, 0]])
    assert np.array_equal(second, flat(np.stack([near, images[0]])))
    assert (report["searched"], report["images"]) == (6, 6)


def test_the_report_shows_no_more_pairs_than_asked_but_counts_all(report_of):
    report, first, second = report_of(
        3,
        train=(np.zeros((9, *SMALL), np.uint8), [0] * 9),
        val=(noise(1, 1), [0]),
        test=(noise(1, 2), [0]),
    )
    assert len(report["pairs"]) == len(first) == len(second) == 3
    assert report["counts"][0]["exact"] == 8


def test_of_very_many_images_some_are_searched_and_equal_ones_are_found_all(report_of, monkeypatch):
    monkeypatch.setattr(similarity, "SEARCHED", 4)
    images = noise(20)
    images[15:] = images[:5]
    report, first, second = report_of(
        20, train=(images, range(20)), val=(noise(1, 1), [0]), test=(noise(1, 2), [0])
    )
    assert (report["searched"], report["images"]) == (4, 17)
    assert set(pairs_in(report)) == {(f"train-{n:02d}", f"train-{15 + n}") for n in range(5)}
    assert np.array_equal(first, flat(images)[:5])
    assert np.array_equal(second, flat(images)[:5])
