"""Images of any size are made of the real ones: each another, the same from the same seed."""

import dataclasses
import gzip
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import idx_files, processes, scale
from components import features
from pipeline import config as configurations
from pipeline.datasets.dataset import Source
from pipeline.datasets.reading import read_dataset
from pipeline.errors import ConfigurationError, OutputError
from pipeline.nodes import NODES

COUNT = 500


@pytest.fixture
def make(folder_of_images, tmp_path):
    """Writes a data set of `COUNT` images; returns its folder."""

    def write(name, seed):
        folder = tmp_path / name
        folder.mkdir()
        scale.write_images(folder, folder_of_images, COUNT, seed)
        return folder

    return write


def images_of(folder):
    return idx_files.read(folder / "train-images-idx3-ubyte")


def test_there_are_as_many_images_as_asked_for_and_all_differ(make, inputs):
    config = configurations.load_config("smoke", ["split.validation=3"])
    found = read_dataset(Source(make("one", 1), sample=False), inputs.schema, "", config)
    assert sum(map(found.count, features.SPLITS)) == COUNT
    images = images_of(make("two", 1))
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_no_image_is_nearly_another_made_of_the_same(make, folder_of_images):
    images = images_of(make("one", 1)).astype(float)
    originals = idx_files.count(folder_of_images, idx_files.TRAIN)
    difference = images[: len(images) - originals] - images[originals:]
    assert np.sqrt((difference**2).mean(axis=(1, 2))).min() > 6


def test_the_test_split_stays_as_it_is(make, folder_of_images):
    folder = make("one", 1)
    for path in idx_files.paths(folder_of_images, idx_files.TEST):
        assert (folder / path.name).read_bytes() == path.read_bytes()


def test_the_seed_decides(make):
    first, again, other = make("first", 1), make("again", 1), make("other", 2)
    assert np.array_equal(images_of(first), images_of(again))
    assert not np.array_equal(images_of(first), images_of(other))


def test_labels_stay_with_their_images(folder_of_images, make):
    labels = idx_files.read(make("one", 1) / "train-labels-idx1-ubyte")
    _, originals = idx_files.read_pair(folder_of_images, idx_files.TRAIN)
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


@pytest.mark.parametrize("shape", [(28, 28, 1), (40, 30, 3)])
def test_images_of_another_shape_are_read(shape, inputs, folder_of_images, tmp_path):
    scale.write_shaped_images(tmp_path, folder_of_images, shape, 210, 1)
    schema = dataclasses.replace(
        inputs.schema, **dict(zip(("height", "width", "channels"), shape, strict=True))
    )
    config = configurations.load_config("smoke", ["split.validation=3"])
    found = read_dataset(Source(tmp_path, sample=False), schema, "", config)
    assert [found.count(name) for name in features.SPLITS] == [150, 30, 30]
    _, labels = idx_files.read_pair(tmp_path, idx_files.TRAIN)
    _, originals = idx_files.read_pair(folder_of_images, idx_files.TRAIN)
    assert np.array_equal(labels, np.resize(originals, 180))


def test_an_enlarged_image_is_the_same_in_each_channel_but_for_its_brightness():
    images = np.random.default_rng(1).integers(100, 256, (2, 3, 2), dtype=np.uint8)
    made = scale.enlarged(images, (6, 5, 3), np.random.default_rng(1))
    assert made.shape == (2, 6, 5, 3)
    ratios = made / images[:, [0, 0, 1, 1, 2, 2]][:, :, [0, 0, 0, 1, 1], None]
    assert ratios.max() <= 1
    assert np.ptp(ratios, axis=(1, 2)).max() < 0.02


@pytest.mark.parametrize("text", ["", "28x28x1", "28x28", "28x28x1,28x28x2", "0x1x1,2x2x1", "a,b"])
def test_what_is_no_list_of_shapes_is_refused(text, folder_of_images):
    arguments = ["--data", str(folder_of_images), "--record", "none", "--sizes", "none"]
    with pytest.raises(ConfigurationError, match="two shapes or more between commas"):
        scale.app([*arguments, "--shapes", f"{text} "], standalone_mode=False)


def test_nothing_to_measure_and_too_few_images_are_refused(folder_of_images):
    arguments = ["--data", str(folder_of_images), "--record", "none", "--sizes", "none"]
    with pytest.raises(ConfigurationError, match="expected something to measure"):
        scale.app([*arguments, "--shapes", "none"], standalone_mode=False)
    with pytest.raises(ConfigurationError, match="expected at least 11,667"):
        scale.app([*arguments, "--shaped-images", "100"], standalone_mode=False)


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
    config = configurations.load_config("smoke", ["split.validation=3"])
    case = scale.Case(inputs.data, inputs.schema, config, str(tmp_path))
    for node in ("ImportSchemaGen", "ExampleGen", "StatisticsGen"):
        found = processes.in_fresh_process(scale.measure_node, case, node)
        assert found["seconds"] > 0
        assert found["peak_memory"] > found["anonymous_memory"] > 2**20
    statistics = list(tmp_path.glob("artifacts/StatisticsGen/statistics/*/Split-*/FeatureStats.pb"))
    assert len(statistics) == 3
    assert not list(tmp_path.glob("artifacts/Trainer"))
