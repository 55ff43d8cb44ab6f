"""The synthetic sample: the same bytes every time, valid IDX, no image twice, and not too easy."""

import gzip
import struct

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from pipeline.datasets import sample

CLASSES = 10
SIZE = sample.IMAGE_SIZE
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = sample.FILE_NAMES


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder with a small sample."""
    folder = tmp_path_factory.mktemp("sample") / "data"
    sample.write_sample(folder, train_per_class=12, test_per_class=5)
    return folder


@pytest.fixture(scope="module")
def full():
    """The sample as a run gets it."""
    return sample.draw_sample(600, 100, 20170825)


def read(folder, name):
    """An independent reader of the format, so that the writer is not its own judge."""
    content = gzip.decompress((folder / name).read_bytes())
    zeros, kind, dimensions = struct.unpack(">HBB", content[:4])
    assert (zeros, kind) == (0, 8)
    end = 4 + 4 * dimensions
    return np.frombuffer(content[end:], np.uint8).reshape(
        struct.unpack(f">{dimensions}I", content[4:end])
    )


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def in_rows(images):
    return images.reshape(len(images), -1)


def test_equal_arguments_give_equal_bytes(small, tmp_path):
    sample.write_sample(tmp_path / "again", train_per_class=12, test_per_class=5)
    assert contents(tmp_path / "again") == contents(small)


def test_another_seed_gives_other_images(small, tmp_path):
    sample.write_sample(tmp_path / "other", train_per_class=12, test_per_class=5, seed=1)
    assert contents(tmp_path / "other")[TRAIN_IMAGES] != contents(small)[TRAIN_IMAGES]


def test_headers_hold_neither_time_nor_name(small):
    for content in contents(small).values():
        flags, time = struct.unpack("<BI", content[3:8])
        assert (flags, time) == (0, 0)


def test_writes_the_four_standard_files_alone(small):
    assert set(contents(small)) == {
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    }
    assert [path.name for path in small.parent.iterdir()] == [small.name]


@pytest.mark.parametrize(
    ("images", "labels", "per_class"),
    [(TRAIN_IMAGES, TRAIN_LABELS, 12), (TEST_IMAGES, TEST_LABELS, 5)],
)
def test_files_hold_every_class_equally_often(small, images, labels, per_class):
    assert read(small, images).shape == (CLASSES * per_class, SIZE, SIZE)
    assert np.bincount(read(small, labels)).tolist() == [per_class] * CLASSES


def test_labels_are_shuffled(small):
    labels = read(small, TRAIN_LABELS)
    assert len(set(labels[:12].tolist())) > 3


def test_files_hold_what_is_drawn(small):
    drawn = sample.draw_sample(12, 5, 20170825)
    arrays = [array for split in drawn for array in split]
    for name, array in zip(sample.FILE_NAMES, arrays, strict=True):
        np.testing.assert_array_equal(read(small, name), array)


def test_no_image_occurs_twice(full):
    (train, _), (test, _) = full
    both = in_rows(np.concatenate([train, test]))
    assert len(np.unique(both, axis=0)) == len(both) == 7000


def test_garments_are_light_on_black(full):
    (images, _), _ = full
    assert np.median(images) == 0
    assert in_rows(images).max(axis=1).min() >= 80


def test_repeated_drawings_are_drawn_anew(monkeypatch):
    draw, calls = sample._draw_images, []

    def draw_alike_at_first(labels, random):
        calls.append(len(labels))
        images = draw(labels, random)
        return images if len(calls) > 1 else np.repeat(images[:1], len(images), axis=0)

    monkeypatch.setattr(sample, "_draw_images", draw_alike_at_first)
    (train, _), (test, _) = sample.draw_sample(1, 1, 3)
    assert calls == [20, 19]
    assert len(np.unique(in_rows(np.concatenate([train, test])), axis=0)) == 20


def test_leaves_a_complete_directory_alone(tmp_path):
    for name in sample.FILE_NAMES:
        (tmp_path / name).write_bytes(b"as it was")
    sample.write_sample(tmp_path, train_per_class=1, test_per_class=1)
    assert set(contents(tmp_path).values()) == {b"as it was"}


def test_fills_an_empty_directory(tmp_path):
    sample.write_sample(tmp_path, train_per_class=1, test_per_class=1)
    assert len(contents(tmp_path)) == 4


def test_refuses_a_directory_with_other_files(tmp_path):
    (tmp_path / TRAIN_IMAGES).write_bytes(b"half a data set")
    with pytest.raises(FileExistsError, match="not all four"):
        sample.write_sample(tmp_path, train_per_class=1, test_per_class=1)
    assert contents(tmp_path) == {TRAIN_IMAGES: b"half a data set"}


def test_accepts_what_a_quicker_run_wrote(small, tmp_path, monkeypatch):
    target = tmp_path / "data"

    def encode_while_another_run_finishes(splits):
        sample_files = contents(small)
        target.mkdir()
        for name, content in sample_files.items():
            (target / name).write_bytes(content)
        return dict.fromkeys(sample_files, b"slower")

    monkeypatch.setattr(sample, "_encode_splits", encode_while_another_run_finishes)
    sample.write_sample(target, train_per_class=1, test_per_class=1)
    assert contents(target) == contents(small)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def encode_what_cannot_be_written(splits):
        return {TRAIN_IMAGES: b"", TRAIN_LABELS: None}

    monkeypatch.setattr(sample, "_encode_splits", encode_what_cannot_be_written)
    with pytest.raises(TypeError):
        sample.write_sample(tmp_path / "data", train_per_class=1, test_per_class=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", ["train_per_class", "test_per_class"])
def test_refuses_classes_without_images(tmp_path, count):
    with pytest.raises(ValueError, match=f"{count}=0"):
        sample.write_sample(tmp_path / "data", **{count: 0})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_is_too_hard_for_a_linear_model(full):
    (train_images, train_labels), (test_images, test_labels) = full
    # Matrices this small gain nothing from threads, which wait for each other on a busy machine.
    with threadpool_limits(1):
        model = LogisticRegression(max_iter=1000).fit(in_rows(train_images) / 255, train_labels)
        accuracy = model.score(in_rows(test_images) / 255, test_labels)
    # Above chance by far, too: garments that nobody could tell apart would be hard as well.
    assert 0.5 < accuracy <= 0.80
