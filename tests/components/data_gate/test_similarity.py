"""Images that are alike are found: all of them, once each, and no others."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data_gate import similarity

BYTES = 36


def noise(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, BYTES)).astype(np.uint8)


def found(images):
    pairs = similarity.near_pairs(images)
    numbers = zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    return dict(zip(numbers, pairs.distance.tolist(), strict=True))


def by_looking_at_all(images):
    """Pairs of different images that are alike, by comparing each image with each other."""
    values = images.astype(float)
    distances = {
        (one, other): np.sqrt(np.mean((values[one] - values[other]) ** 2))
        for one, other in itertools.combinations(range(len(images)), 2)
    }
    return {pair: d for pair, d in distances.items() if d <= similarity.BOUND}


def test_noise_is_unlike():
    assert found(noise(200)) == {}


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    amount=st.integers(1, 20),
    copies=st.integers(1, 6),
    count=st.integers(2, 40),
)
def test_all_pairs_are_found_that_a_look_at_each_finds(seed, amount, copies, count):
    random = np.random.default_rng(seed)
    originals = noise(count, seed)
    changed = originals[random.integers(0, count, copies)].astype(int)
    changed += random.integers(-amount, amount + 1, changed.shape)
    images = np.unique(
        np.concatenate([originals, np.clip(changed, 0, 255).astype(np.uint8)]), axis=0
    )
    assert found(images) == pytest.approx(by_looking_at_all(images))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_have_no_pairs(count):
    assert found(noise(count)) == {}


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


def test_equal_images_are_paired_with_the_first_of_their_kind(report_of):
    images = noise(5)
    images[3] = images[4] = images[1]
    report, first, second = report_of(
        train=(images, [0] * 5), val=(noise(1, 1), [0]), test=(noise(1, 2), [0])
    )
    assert pairs_in(report) == {("train-01", "train-03"): 0.0, ("train-01", "train-04"): 0.0}
    assert np.array_equal(first, images[[1, 1]])
    assert np.array_equal(second, images[[1, 1]])


def test_the_report_counts_by_splits_and_shows_other_labels_first(report_of):
    images = noise(4)
    near = images[2].copy()
    near[0] ^= 1
    report, first, second = report_of(
        train=(images, [0, 1, 2, 0]),
        val=(noise(1, 7), [0]),
        test=(np.stack([images[0], near]), [0, 1]),
    )
    across = {"exact": 1, "near": 1, "other_label": 1}
    counts = {(c.pop("first_split"), c.pop("second_split")): c for c in report["counts"]}
    assert counts.pop(("train", "test")) == across
    assert len(counts) == 5
    assert all(set(c.values()) == {0} for c in counts.values())
    other, same = report["pairs"]
    assert (other["first"], other["second"]) == ("train-02", "test-01")
    assert (other["first_label"], other["second_label"]) == (2, 1)
    assert 0 < other["distance"] < 1
    assert (same["first_split"], same["second_split"], same["distance"]) == ("train", "test", 0.0)
    assert np.array_equal(first, images[[2, 0]])
    assert np.array_equal(second, np.stack([near, images[0]]))
    assert (report["searched"], report["images"]) == (6, 6)


def test_the_report_shows_no_more_pairs_than_asked_but_counts_all(report_of):
    report, first, second = report_of(
        3,
        train=(np.zeros((9, BYTES), np.uint8), [0] * 9),
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
    assert np.array_equal(first, images[:5])
    assert np.array_equal(second, images[:5])
