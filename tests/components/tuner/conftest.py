"""Fixtures for the tests of Tuner: a small search, with or without real networks."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.examples import Split
from components.image_schema import ImageSchema
from components.trainer.batches import TrainingBatches
from components.trainer.settings import Settings
from components.tuner import search
from pipeline import config

SCHEMA = ImageSchema(8, 8, 1, ("dark", "bright"))
IMAGES = 96
SEARCHED = {"learning_rate": 0.01, "weight_decay": 0.1, "dropout": 0.1, "label_smoothing": 0.1}


@pytest.fixture(autouse=True)
def quick_collection():
    """Speeds up the garbage collection before each trial: it skips all imported modules."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def settings():
    """Settings of a trial with three epochs, inside the search space."""
    values = config.load_config("smoke").training.model_dump()
    values |= {"precision": "float32", "seed": 1, "identity": "", "background": 0}
    values |= {"widths": [4], "epochs": 3, "batch_size": 8, **SEARCHED}
    values["augmentation"] |= {"shift": 0.07, "erasing": 0.3}
    return Settings.from_dict(values)


@pytest.fixture
def data():
    """Training data, which determines the length of an epoch."""
    images = np.zeros((IMAGES, 64), np.uint8)
    split = Split(images, np.arange(IMAGES) % 2, np.arange(IMAGES).astype(object))
    return TrainingBatches(split, 2, 8, seed=1)


@pytest.fixture
def fit_arguments():
    """Preprocessed images of two classes for three epochs, as in `tuner_fn`."""
    generator = np.random.default_rng(1)
    labels = np.arange(IMAGES) % 2
    noise = generator.random((IMAGES, 8, 8, 1), np.float32)
    images = (noise + labels[:, None, None, None]).astype(np.float32) / 2
    dataset = tf.data.Dataset.from_tensor_slices((images, tf.one_hot(labels, 2))).batch(8)
    return {"x": dataset.repeat(3), "validation_data": dataset, "verbose": 0}


class Clock:
    """A clock in seconds that advances by `step` at every call."""

    def __init__(self):
        self.seconds = 1000.0
        self.step = 0.0

    def __call__(self):
        now = self.seconds
        self.seconds += self.step
        return now


@pytest.fixture
def clock():
    return Clock()


class UntrainedTrials(search.Trials):
    """Trials without training; the test chooses their results.

    Attributes:
      outcomes: of the trials in turn, an accuracy or an error; the last one is that of all others.
      tried: the values of the trials.
    """

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.outcomes = [0.5]
        self.tried = []

    def build(self, hp):
        network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        network.compile(loss="mse")
        return network

    def fit(self, hp, model, callbacks, **arguments):
        self.tried.append(dict(hp.values))
        outcome = self.outcomes[min(len(self.tried), len(self.outcomes)) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return {"val_accuracy": outcome}


@pytest.fixture
def make_search(settings, data, clock, tmp_path):
    """Makes a search with changed settings and bounds."""

    def make(kind=UntrainedTrials, own=settings, space=search.SPACE, **bounds):
        asked = search.Bounds(**{"trials": 4, "minutes": 60, "max_parameters": 10_000, **bounds})
        sample = np.random.default_rng(1).random((4, 8, 8, 1), np.float32)
        trials = kind(own, SCHEMA, data, sample, search.Deadline(asked.minutes, clock))
        return search.Search(trials, asked, str(tmp_path), space)

    return make
