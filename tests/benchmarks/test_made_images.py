"""Data sets are made in each form: with the images asked for, the same each time."""

import csv
import io
import json
import tomllib

import numpy as np
import pyarrow.parquet
import pytest
from PIL import ExifTags, Image, ImageOps
from typer.testing import CliRunner

from benchmarks import idx_files, made_images
from pipeline.errors import OutputError

COUNT = 210
TRAINED, TESTED = 180, 30


@pytest.fixture
def make(folder_of_images, tmp_path):
    """Makes a data set with the command; returns its folder."""

    def run(form, *arguments, name="made"):
        folder = tmp_path / name
        words = [form, str(folder), *map(str, arguments)]
        if form != "photographs":
            words += ["--data", str(folder_of_images)]
        CliRunner().invoke(made_images.app, words, catch_exceptions=False)
        return folder

    return run


@pytest.fixture
def expected(folder_of_images, inputs):
    """Images and labels by split, and the classes; there are fewer originals than asked for."""
    names = inputs.schema.class_names
    halves = made_images.halves(folder_of_images, names, COUNT, seed=1)
    found = {}
    for half in halves:
        images, labels = zip(*half.batches(), strict=True)
        found[half.split] = np.concatenate(images), np.concatenate(labels)
    return found["train"], found["test"], names


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_there_are_as_many_images_as_asked_for_and_all_are_originals_as_long_as_there_are_enough(
    expected, folder_of_images
):
    (trained, _), (tested, labels), _ = expected
    assert (len(trained), len(tested)) == (TRAINED, TESTED)
    originals, _ = idx_files.read_pair(folder_of_images, idx_files.TRAIN)
    assert len(originals) < TRAINED
    assert np.array_equal(trained[: len(originals)], originals)
    assert len(np.unique(trained, axis=0)) == TRAINED
    originals, named = idx_files.read_pair(folder_of_images, idx_files.TEST)
    rows = [(originals == image).all((1, 2)).nonzero()[0][0] for image in tested]
    assert rows == sorted(set(rows))
    assert np.array_equal(labels, named[rows])
    # Of each class, though the originals are in the order of their classes.
    assert set(labels) == set(named)


def test_without_a_count_the_originals_are_taken_as_they_are(make, folder_of_images):
    with np.load(make("arrays") / "images.npz") as arrays:
        for split, half in (("train", idx_files.TRAIN), ("test", idx_files.TEST)):
            images, labels = idx_files.read_pair(folder_of_images, half)
            assert np.array_equal(arrays[f"x_{split}"], images)
            assert np.array_equal(arrays[f"y_{split}"], labels)


def test_class_folders(make, expected):
    folder = make("class-folders", "--count", COUNT)
    meant = tomllib.loads((folder / "classes.toml").read_text())
    assert meant == {"T-shirt-top": "T-shirt/top"}
    for split, (images, labels) in zip(("train", "test"), expected[:2], strict=True):
        paths = sorted((folder / split).glob("*/*.png"), key=lambda path: path.name)
        assert len(paths) == len(images)
        for path, image, label in zip(paths, images, labels, strict=True):
            assert meant.get(path.parent.name, path.parent.name) == expected[2][label]
            assert np.array_equal(pixels(path.read_bytes()), image)


def test_a_manifest_has_the_ids_of_idx_files(make, expected):
    folder = make("manifest", "--count", COUNT)
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    (trained, labels), (tested, _), names = expected
    assert [row["split"] for row in rows] == ["train"] * TRAINED + ["test"] * TESTED
    assert rows[7]["id"] == "train-00000007"
    assert rows[TRAINED + 2]["id"] == "t10k-00000002"
    assert rows[7]["label"] == names[labels[7]]
    for row, image in zip(rows, [*trained, *tested], strict=True):
        assert np.array_equal(pixels((folder / row["path"]).read_bytes()), image)


def test_a_pixel_table_is_as_on_kaggle(make, expected):
    folder = make("pixel-table", "--count", COUNT)
    for split, (images, labels) in zip(("train", "test"), expected[:2], strict=True):
        lines = (folder / f"fashion-mnist_{split}.csv").read_text().splitlines()
        assert lines[0].startswith("label,pixel1,pixel2,")
        assert lines[0].endswith(",pixel784")
        values = np.loadtxt(lines[1:], delimiter=",", dtype=int)
        assert np.array_equal(values[:, 0], labels)
        assert np.array_equal(values[:, 1:], images.reshape(len(images), -1))


def test_parquet_files_say_the_classes_in_their_metadata(make, expected, monkeypatch):
    monkeypatch.setattr(made_images, "_ROWS_OF_FILE", 100)
    monkeypatch.setattr(made_images, "_ROWS_OF_GROUP", 20)
    folder = make("parquet", "--count", COUNT)
    assert sorted(path.name for path in (folder / "data").iterdir()) == [
        "test-00000-of-00001.parquet",
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
    ]
    for split, (images, labels) in zip(("train", "test"), expected[:2], strict=True):
        parts = sorted((folder / "data").glob(f"{split}-*"))
        tables = [pyarrow.parquet.read_table(path) for path in parts]
        described = json.loads(tables[0].schema.metadata[b"huggingface"])["info"]["features"]
        assert described["label"]["names"] == list(expected[2])
        rows = [row for table in tables for row in table.to_pylist()]
        assert [row["label"] for row in rows] == labels.tolist()
        for row, image in zip(rows, images, strict=True):
            assert np.array_equal(pixels(row["image"]["bytes"]), image)


def test_arrays(make, expected):
    with np.load(make("arrays", "--count", COUNT) / "images.npz") as arrays:
        assert sorted(arrays) == ["x_test", "x_train", "y_test", "y_train"]
        for split, (images, labels) in zip(("train", "test"), expected[:2], strict=True):
            assert np.array_equal(arrays[f"x_{split}"], images)
            assert np.array_equal(arrays[f"y_{split}"], labels)


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_photographs_are_the_same_each_time_and_the_first_of_more(make):
    once = contents(make("photographs", "--count", 10, name="once"))
    more = contents(make("photographs", "--count", 15, name="more"))
    other = contents(make("photographs", "--count", 10, "--seed", 2, name="other"))
    assert len(once) == 10
    assert len(more) == 15
    assert once.items() <= more.items()
    assert not set(once.values()) & set(other.values())


def test_photographs_of_all_kinds_are_made():
    turned, formats, sides = 0, set(), []
    for seed in range(60):
        random = np.random.default_rng(seed)
        image = made_images.photograph(made_images.SHAPES[seed % 5], random)
        suffix, content = made_images.encoded(image, random)
        formats.add(suffix)
        stored = Image.open(io.BytesIO(content))
        turned += stored.getexif().get(ExifTags.Base.Orientation, 1) != 1
        assert ImageOps.exif_transpose(stored).size == image.size
        sides += image.size
    assert formats == {".jpg", ".png"}
    assert 0 < turned < 30
    assert 100 <= min(sides) < 150
    assert 1000 < max(sides) <= 2000


def test_a_folder_with_files_is_left_alone(make, tmp_path):
    (tmp_path / "made").mkdir()
    kept = tmp_path / "made" / "kept.txt"
    kept.write_text("mine")
    with pytest.raises(OutputError, match="is not empty; expected a new or an empty folder"):
        made_images.app(["photographs", str(kept.parent)], standalone_mode=False)
    assert [path.name for path in kept.parent.iterdir()] == ["kept.txt"]
    with pytest.raises(OutputError, match="cannot be used"):
        made_images.app(["photographs", str(kept)], standalone_mode=False)
