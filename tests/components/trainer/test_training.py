"""What a training does once: each step is traced once, and each weight is exported once."""

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.trainer import export, training


@pytest.fixture
def network(settings, schema):
    return training.compiled_network(settings, schema, steps_at_once=2)


def test_a_step_is_traced_once(network, schema, monkeypatch):
    """Keras makes a graph of the Python of a step; how often that runs is how often it did."""
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


def test_the_state_of_metrics_begins_empty(network):
    """What creates their variables leaves no trace in them."""
    for metric in network.metrics:
        for variable in metric.variables:
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), 0)


def test_an_export_holds_each_weight_once(network, settings, schema, transform_output, tmp_path):
    classifier = training.build_classifier(network, settings, schema)
    export.export_model(classifier, transform_output, schema, str(tmp_path))
    saved = tf.train.list_variables(str(tmp_path / "variables" / "variables"))
    numbers = sum(math.prod(shape) for name, shape in saved if "OBJECT_GRAPH" not in name)
    assert numbers == sum(math.prod(weight.shape) for weight in classifier.weights)
