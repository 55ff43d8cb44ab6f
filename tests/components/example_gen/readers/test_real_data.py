"""Fashion-MNIST in each form: the same pixels and labels, and the same ids of training images."""

import csv

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.example_gen import labels
from tests.components.example_gen.readers import made

# Slow: tables of 70,000 images are converted first.
pytestmark = [pytest.mark.real_data, pytest.mark.slow]

SHAPE = (28, 28, 1)
NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


@pytest.fixture(scope="module")
def parts(real_data_folder):
    """The two splits, from the IDX files."""
    read = made.read(real_data_folder, shape=SHAPE)
    assert len(read.items) == 70_000
    images, numbers = np.stack(read.items), read.index.labels
    of_split = {"train": read.index.splits == 0, "test": read.index.splits == 2}
    return {split: (images[chosen], numbers[chosen]) for split, chosen in of_split.items()}


def check(folder, parts, classes=None):
    read = made.read(folder, shape=SHAPE)
    numbers = labels.resolve(read.index.values, classes or [str(number) for number in range(10)])
    found = np.array([numbers[value] for value in read.labels])
    images, expected = (np.concatenate(each) for each in zip(*parts.values(), strict=True))
    np.testing.assert_array_equal(found, expected)
    assert read.index.ids[:60_000] == [f"train-{row:08d}" for row in range(60_000)]
    return read.items, images


def test_arrays(parts, tmp_path):
    (x_train, y_train), (x_test, y_test) = parts.values()
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    np.savez(tmp_path / "fashion.npz", **arrays)
    items, images = check(tmp_path, parts)
    np.testing.assert_array_equal(np.stack(items), images)


def test_pixel_tables_as_on_kaggle(parts, tmp_path):
    for split, (images, numbers) in parts.items():
        with (tmp_path / f"fashion-mnist_{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["label", *(f"pixel{number + 1}" for number in range(784))])
            writer.writerows(np.column_stack([numbers, images.reshape(-1, 784)]).tolist())
    items, images = check(tmp_path, parts)
    np.testing.assert_array_equal(np.stack(items), images)


def test_parquet_as_from_hugging_face(parts, tmp_path):
    (tmp_path / "data").mkdir()
    contents = {
        split: [image.tobytes() for image in images] for split, (images, _) in parts.items()
    }
    for split, (_, numbers) in parts.items():
        # The readers do not decode: the bytes of the pixels stand for files.
        table = made.image_table(contents[split], pa.array(numbers), NAMES)
        pq.write_table(table, tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    items, images = check(tmp_path, parts, NAMES)
    assert [item.content for item in items] == [image.tobytes() for image in images]
