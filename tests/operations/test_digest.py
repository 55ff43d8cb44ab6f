"""The digest of a data set: the one that `compile` needs, of what a run would read."""

import gzip

import numpy as np
import pytest

from operations.digest import digest
from pipeline import config_file
from pipeline.errors import DataError

COUNT = 24
NAMES = {"train": ("train-images-idx3", "train-labels-idx1")}
NAMES["t10k"] = ("t10k-images-idx3", "t10k-labels-idx1")


@pytest.fixture
def data(tmp_path, as_idx):
    """A sound folder of IDX files: every class in both halves."""
    random = np.random.default_rng(1)
    folder = tmp_path / "data"
    folder.mkdir()
    for images, labels in NAMES.values():
        pixels, classes = random.integers(0, 256, (COUNT, 28, 28)), np.arange(COUNT) % 10
        (folder / f"{images}-ubyte.gz").write_bytes(gzip.compress(as_idx(pixels)))
        (folder / f"{labels}-ubyte.gz").write_bytes(gzip.compress(as_idx(classes)))
    return folder


def settings(**asked):
    return config_file.combine(None, **asked, assignments=["split.validation=1"])


def test_classes_and_digest_are_those_of_a_run(data):
    found = digest(settings(data=str(data)), print)
    assert found.data == str(data)
    assert found.form == "IDX"
    assert str(COUNT) in found.summary
    assert len(found.digest) == 64
    assert [each.train for each in found.classes] == [2, 2, 2, 2, 1, 1, 1, 1, 1, 1]
    assert [each.val for each in found.classes] == [1] * 10
    assert [each.test for each in found.classes] == [3, 3, 3, 3, 2, 2, 2, 2, 2, 2]
    assert found.classes[0].name == "T-shirt/top"
    again = digest(settings(data=str(data)), print)
    assert again == found


def test_what_is_not_read_is_told(data):
    zipped = data / "train-labels-idx1-ubyte.gz"
    (data / "train-labels-idx1-ubyte").write_bytes(gzip.decompress(zipped.read_bytes()))
    (ignored,) = digest(settings(data=str(data)), print).ignored
    assert zipped.name in ignored


def test_another_content_has_another_digest(data, as_idx):
    before = digest(settings(data=str(data)), print)
    pixels = np.zeros((COUNT, 28, 28))
    (data / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(as_idx(pixels)))
    assert digest(settings(data=str(data)), print).digest != before.digest


def test_data_and_schema_of_a_configuration_file_are_read(data, tmp_path):
    (tmp_path / "pipeline.toml").write_text('data = "data"\nsplit.validation = 1\n')
    found = digest(config_file.combine(tmp_path / "pipeline.toml"), print)
    assert found.data == str(data)


def test_the_spans_are_named(data, tmp_path):
    (tmp_path / "spans").mkdir()
    data.rename(tmp_path / "spans" / "span-1")
    found = digest(settings(data=str(tmp_path / "spans")), print)
    assert found.data == f"{tmp_path / 'spans'} (span 1; tested on span 1)"


def test_data_that_a_run_refuses_is_refused(data):
    (data / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError):
        digest(settings(data=str(data)), print)
