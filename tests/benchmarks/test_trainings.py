"""A benchmark trains on what the pipeline would train on, with the settings it would take."""

import dataclasses

import numpy as np
import pytest
import sklearn.metrics

from benchmarks import accuracy, processes, trainings
from components import features
from components.example_gen.readers.idx_files import IdxFiles
from pipeline import config as configurations
from pipeline.datasets.dataset import Source
from pipeline.errors import DataError


def test_validation_has_as_many_of_each_class_and_shares_none(inputs, small_config):
    splits = trainings.read_splits(inputs, small_config, features.SPLITS)
    counts = {name: np.bincount(split.labels).tolist() for name, split in splits.items()}
    assert counts == {"train": [9] * 10, "val": [3] * 10, "test": [5] * 10}
    assert len(set(np.concatenate([split.ids for split in splits.values()]))) == 170


def test_images_come_in_the_order_of_their_ids(inputs, small_config):
    for split in trainings.read_splits(inputs, small_config, features.SPLITS).values():
        assert split.ids.tolist() == sorted(split.ids)
        assert split.images.dtype == np.uint8
        assert split.images.shape == (len(split.labels), 28 * 28)
        assert split.labels.dtype == np.int64


def test_the_seed_decides_the_split(inputs, small_config):
    other = small_config.model_copy(update={"seed": small_config.seed + 1})
    first, second = (
        trainings.read_splits(inputs, config, trainings.LEARNT_FROM)["val"].ids.tolist()
        for config in (small_config, other)
    )
    assert first != second


def test_who_does_not_ask_for_the_test_split_does_not_read_it(inputs, small_config, monkeypatch):
    names = []
    read = IdxFiles.read

    def noted(self, shard, contents):
        names.append(shard.name)
        return read(self, shard, contents)

    monkeypatch.setattr(IdxFiles, "read", noted)
    splits = trainings.read_splits(inputs, small_config, trainings.LEARNT_FROM)
    assert set(splits) == {"train", "val"}
    assert names == ["train"]


def test_the_settings_are_those_of_the_configuration():
    config = configurations.load_config("smoke", ["training.precision=float32"], seed=5)
    settings = trainings.settings_of(config)
    assert (settings.seed, settings.precision) == (5, "float32")
    for key, value in config.training.model_dump(exclude={"augmentation"}).items():
        assert getattr(settings, key) == value
    assert dataclasses.asdict(settings.augmentation) == config.training.augmentation.model_dump()


def test_scores_are_those_of_scikit_learn(inputs):
    random = np.random.default_rng(3)
    probabilities = random.dirichlet(np.ones(10), 200)
    labels = random.integers(0, 10, 200)
    found = trainings.scores(probabilities, labels, inputs.schema.class_names)
    choices = probabilities.argmax(axis=1)
    expected = sklearn.metrics.classification_report(
        labels, choices, target_names=inputs.schema.class_names, output_dict=True, zero_division=0
    )
    assert found["accuracy"] == pytest.approx(expected["accuracy"])
    assert found["cross_entropy"] == pytest.approx(sklearn.metrics.log_loss(labels, probabilities))
    for name, scores in found["per_class"].items():
        assert scores["f1"] == pytest.approx(expected[name]["f1-score"])
        assert scores["recall"] == pytest.approx(expected[name]["recall"])


def test_the_sample_is_not_taken_for_the_real_images(monkeypatch):
    sample = Source(None, sample=True)
    monkeypatch.setattr(trainings, "find_source", lambda *_: sample)
    with pytest.raises(DataError, match="--data sample"), trainings.prepared("auto"):
        pass


@pytest.mark.slow
def test_a_training_is_that_of_the_pipeline(sample_run):
    with trainings.prepared("sample") as inputs:
        measured = processes.in_fresh_process(accuracy.measure, inputs, "smoke", 1, ())
    receipt = sample_run.receipt
    assert measured["accuracy"] == pytest.approx(receipt["evaluation"]["accuracy"], abs=1e-6)
    assert measured["temperature"] == receipt["calibration"]["temperature"]
    epochs = measured["epochs"]
    assert len(epochs) == 3
    # That of the best epoch, in float32.
    best = min(epochs, key=lambda epoch: epoch["val_loss"])
    assert measured["validation"]["accuracy"] == pytest.approx(best["val_accuracy"], abs=0.01)
    # A confidence on the edge of a bin falls to one side here and to the other in TFMA.
    assert measured["ece_after"] == pytest.approx(receipt["calibration"]["ece_after"], abs=1e-4)
