"""What a training does once, and what it says where it diverges.

Each step is traced once, and each weight is exported once.
"""

import dataclasses
import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import examples, features, image_schema
from components.images import Fit, Preparation
from components.trainer import export, training
from components.trainer.callbacks import TrainingDiverged


@pytest.fixture
def network(settings, schema):
    return training.compiled_network(settings, schema, 8, steps_at_once=2)


def test_a_step_is_traced_once(network, schema, monkeypatch):
    """TensorFlow runs the Python code of a step once per trace."""
    traced = []

    def counted(step, data):
        traced.append(step.__name__)
        return step(data)

    for name in ("train_step", "test_step"):
        monkeypatch.setattr(network, name, functools.partial(counted, getattr(network, name)))
    images = np.zeros((32, *schema.shape), np.float32)
    labels = np.eye(3, dtype=np.float32)[np.arange(32) % 3]
    network.fit(images, labels, batch_size=8, epochs=2, validation_data=(images, labels), verbose=0)
    assert traced == ["train_step", "test_step"]


@pytest.mark.parametrize(("epochs", "at_once"), [(2, 1), (10, 2)])
def test_a_short_training_takes_each_step_alone(settings, schema, make_split, epochs, at_once):
    """The learning rate is set before steps that are taken at once."""
    chosen = dataclasses.replace(settings, epochs=epochs)
    network, data = training.prepare(chosen, schema, make_split(80, 1))
    assert data.steps == 10
    assert network.steps_per_execution == at_once


def test_the_state_of_metrics_begins_empty(network):
    """The call that creates their variables leaves them unchanged."""
    for metric in network.metrics:
        for variable in metric.variables:
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), 0)


def test_an_export_holds_each_weight_once(network, settings, schema, transform_output, tmp_path):
    classifier = training.build_classifier(network, settings, schema)
    preparation = Preparation(*schema.shape, Fit.PAD, background=0)
    export.export_model(classifier, transform_output, schema, preparation, "dark", str(tmp_path))
    saved = tf.train.list_variables(str(tmp_path / "variables" / "variables"))
    numbers = sum(math.prod(shape) for name, shape in saved if "OBJECT_GRAPH" not in name)
    assert numbers == sum(math.prod(weight.shape) for weight in classifier.weights)


@pytest.fixture
def snapshots_of(settings, schema, arguments_of, monkeypatch):
    """Where a training of these splits and classes keeps its snapshots; it is not begun."""

    def place(splits, class_names):
        renamed = dataclasses.replace(schema, class_names=class_names)
        with monkeypatch.context() as patch:
            patch.setattr(image_schema, "read_artifact", lambda folder: renamed)
            patch.setattr(examples, "read_split", lambda folder, name, most: splits[name])
            found = []

            def train(settings, schema, transform, splits, backup_dir, base_model):
                found.append(backup_dir)
                raise KeyboardInterrupt

            patch.setattr(training, "train", train)
            with pytest.raises(KeyboardInterrupt):
                training.run_fn(arguments_of(settings))
        return found[0]

    return place


def test_a_training_goes_on_only_with_the_same_examples_and_classes(
    snapshots_of, make_split, schema
):
    """Spans, splits and schema decide what is trained on, and the digest of the data knows none."""
    names = (features.TRAIN_SPLIT, features.VALIDATION_SPLIT, features.TEST_SPLIT)
    splits = {name: make_split(24, number) for number, name in enumerate(names)}
    place = snapshots_of(splits, schema.class_names)
    assert snapshots_of({**splits, "test": make_split(24, 7)}, schema.class_names) == place

    train = splits["train"]
    pixels, labels = train.images.copy(), train.labels.copy()
    pixels[5, 3] ^= 1
    labels[5] = (labels[5] + 1) % 3
    others = [
        snapshots_of(splits, tuple(reversed(schema.class_names))),
        snapshots_of({**splits, "train": splits["val"], "val": train}, schema.class_names),
        *(
            snapshots_of({**splits, "train": changed}, schema.class_names)
            for changed in (
                dataclasses.replace(train, images=pixels),
                dataclasses.replace(train, labels=labels),
                train.at(slice(1, None)),
                train.at(slice(None, None, -1)),
            )
        ),
        snapshots_of({**splits, "val": splits["val"].at(slice(1, None))}, schema.class_names),
    ]
    assert len({place, *others}) == 1 + len(others)


@pytest.fixture
def run_fn(settings, schema, make_split, arguments_of, monkeypatch):
    """Trains like TFX's Trainer on little data, with a configured or a tuned rate."""
    monkeypatch.setattr(image_schema, "read_artifact", lambda folder: schema)
    monkeypatch.setattr(examples, "read_split", lambda folder, name, most: make_split(24, 1))

    def run(learning_rate, hyperparameters):
        changed = dataclasses.replace(settings, learning_rate=learning_rate)
        tuned = hyperparameters and {"values": hyperparameters}
        training.run_fn(arguments_of(changed, hyperparameters=tuned))

    return run


@pytest.mark.slow
@pytest.mark.parametrize("tuned", [None, {"dropout": 0.1}], ids=["no tuner", "not tuned"])
def test_a_divergence_at_a_configured_rate_suggests_a_smaller_one(run_fn, tuned):
    with pytest.raises(TrainingDiverged) as caught:
        run_fn(1e30, tuned)
    assert str(caught.value).endswith("before. Set a smaller training.learning_rate.")
    assert caught.value.changes == ("training.learning_rate=1e+29",)


def test_a_divergence_at_a_tuned_rate_suggests_to_disable_tuner(run_fn):
    """The rate of the configuration would be replaced again, however small."""
    with pytest.raises(TrainingDiverged) as caught:
        run_fn(0.001, {"learning_rate": 1e30})
    message = str(caught.value)
    assert message.startswith("the loss became ")
    assert "There is no good checkpoint" in message
    assert "set tuner.enabled=false and a smaller training.learning_rate" in message
    assert caught.value.changes == (
        "tuner.enabled=false",
        "training.learning_rate=1e+29",
    )
