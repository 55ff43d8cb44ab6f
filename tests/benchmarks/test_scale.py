"""Images of any size are made of the real ones: each another, the same from the same seed."""

import gzip
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import idx_files, processes, scale
from pipeline import config as configurations
from pipeline.datasets.dataset import Source
from pipeline.datasets.reading import read_dataset
from pipeline.errors import OutputError
from pipeline.nodes import NODES

COUNT = 500


@pytest.fixture
def make(inputs, tmp_path):
    """Writes a data set of `COUNT` images; returns its folder."""

    def write(name, seed):
        folder = tmp_path / name
        folder.mkdir()
        scale.write_images(folder, inputs.data, COUNT, seed)
        return folder

    return write


def images_of(folder):
    return idx_files.read(folder / "train-images-idx3-ubyte")


def test_there_are_as_many_images_as_asked_for_and_all_differ(make, inputs):
    found = read_dataset(Source(make("one", 1), sample=False), inputs.schema, "")
    assert found.train_count + found.test.count == COUNT
    images = images_of(make("two", 1))
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_no_image_is_nearly_another_made_of_the_same(make, inputs):
    images = images_of(make("one", 1)).astype(float)
    originals = inputs.data.train_count
    difference = images[: COUNT - inputs.data.test.count - originals] - images[originals:]
    assert np.sqrt((difference**2).mean(axis=(1, 2))).min() > 6


def test_the_test_split_stays_as_it_is(make, inputs):
    folder = make("one", 1)
    for path in (inputs.data.test.images, inputs.data.test.labels):
        assert (folder / Path(path).name).read_bytes() == Path(path).read_bytes()


def test_the_seed_decides(make):
    first, again, other = make("first", 1), make("again", 1), make("other", 2)
    assert np.array_equal(images_of(first), images_of(again))
    assert not np.array_equal(images_of(first), images_of(other))


def test_labels_stay_with_their_images(inputs, make):
    labels = idx_files.read(make("one", 1) / "train-labels-idx1-ubyte")
    originals = idx_files.read(inputs.data.train[0].labels)
    assert np.array_equal(labels, np.resize(originals, len(labels)))


@given(st.integers(1, 5), st.sampled_from([(4, 6), (6, 4, 3)]), st.integers(0, 2**32 - 1))
def test_an_image_keeps_its_form_and_black_stays_black(count, shape, seed):
    random = np.random.default_rng(seed)
    black = np.zeros((count, *shape), np.uint8)
    assert not scale.perturbed(black, random).any()
    grey = scale.perturbed(black + 99, random)
    assert grey.shape == black.shape
    assert grey.dtype == np.uint8
    assert grey.any()


def test_what_is_written_is_read(tmp_path):
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (7, 3, 2), dtype=np.uint8)
    labels = random.integers(0, 10, 7, dtype=np.uint8)
    batches = [(images[:4], labels[:4]), (images[4:], labels[4:])]
    idx_files.write(tmp_path, idx_files.TEST, images.shape, batches)
    paths = idx_files.paths(tmp_path, idx_files.TEST)
    assert idx_files.shape(paths[0]) == images.shape
    for path, array in zip(paths, (images, labels), strict=True):
        assert np.array_equal(idx_files.read(path), array)
        (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        assert np.array_equal(idx_files.read(tmp_path / f"{path.name}.gz"), array)


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(monkeypatch, inputs):
    usage = types.SimpleNamespace(free=100)
    monkeypatch.setattr(scale.shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(scale, "write_images", pytest.fail)
    arguments = ["--data", str(inputs.data.name), "--record", "none"]
    with pytest.raises(OutputError, match="TMPDIR"):
        scale.app([*arguments, "--sizes", "20000,40000"], standalone_mode=False)


def test_all_that_is_measured_is_a_node():
    assert set(scale.MEASURED) <= set(NODES)


@pytest.mark.slow
def test_a_node_runs_alone_on_what_those_before_it_made(inputs, tmp_path):
    config = configurations.load_config("smoke", ["split.validation_per_class=3"])
    case = scale.Case(inputs.data, inputs.schema, config, str(tmp_path))
    for node in ("ImportSchemaGen", "ExampleGen", "StatisticsGen"):
        found = processes.in_fresh_process(scale.measure_node, case, node)
        assert found["seconds"] > 0
        assert found["peak_memory"] > 2**20
    statistics = list(tmp_path.glob("artifacts/StatisticsGen/statistics/*/Split-*/FeatureStats.pb"))
    assert len(statistics) == 3
    assert not list(tmp_path.glob("artifacts/Trainer"))
