"""Batches in halves: what the whole model computes, with the batch statistics of each half."""

import dataclasses
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.trainer import halves, threads, training
from components.trainer.model import build_network

HALVED, WHOLE = 128, 127
# In float32: sums over a few thousand numbers, taken in another order.
TOLERANCE = 1e-5

SHARED = """
import json, sys
import tensorflow as tf
from components.trainer import threads

threads.share(*json.loads(sys.argv[1]))
threading = tf.config.threading
print(threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads())
"""


@pytest.fixture
def whole(settings, schema):
    """A network whose head, which begins at zero, tells images apart."""
    keras.utils.set_random_seed(1)
    network = build_network(schema.shape, 3, dataclasses.replace(settings, dropout=0.0))
    head = network.get_layer("logits")
    head.set_weights([np.random.default_rng(1).normal(size=w.shape) for w in head.get_weights()])
    return network


def images(count, schema):
    return np.random.default_rng(count).random((count, *schema.shape), np.float32)


def variables(network):
    return [keras.ops.convert_to_numpy(each) for each in network.variables]


@pytest.mark.parametrize("count", [1, 2, 3, WHOLE, 1001])
def test_predictions_are_those_of_the_whole_model(whole, schema, count):
    given = images(count, schema)
    found = halves.in_halves(whole).predict(given, batch_size=1000, verbose=0)
    expected = whole.predict(given, batch_size=1000, verbose=0)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE * np.abs(expected).max())


def test_a_training_batch_has_the_statistics_of_its_halves(whole, schema):
    given = images(HALVED, schema)
    begin = whole.get_weights()
    found, after = halves.in_halves(whole, in_training=True)(given, training=True), variables(whole)
    whole.set_weights(begin)
    expected = [whole(half, training=True) for half in np.split(given, 2)]
    np.testing.assert_array_equal(found, np.concatenate(expected))
    for mine, theirs in zip(after, variables(whole), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_training_batch_stays_whole_unless_it_is_asked_for(whole, schema):
    given = images(WHOLE, schema)
    found = halves.in_halves(whole)(given, training=True)
    np.testing.assert_array_equal(found, whole(given, training=True))


def test_a_training_step_learns_from_both_halves(whole, schema):
    given = tf.constant(images(HALVED, schema))
    labels = tf.one_hot(np.arange(HALVED) % 3, 3)

    def gradients(answer):
        with tf.GradientTape() as tape:
            loss = tf.nn.softmax_cross_entropy_with_logits(labels, answer())
        return tape.gradient(loss, [weight.value for weight in whole.trainable_weights])

    network = halves.in_halves(whole, in_training=True)
    found = gradients(lambda: network(given, training=True))
    parts = tf.split(given, 2)
    expected = gradients(lambda: tf.concat([whole(part, training=True) for part in parts], 0))
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=TOLERANCE * np.abs(theirs).max())


@pytest.mark.parametrize(
    ("batch_size", "count", "halved"),
    [(HALVED, HALVED, True), (WHOLE, 2 * WHOLE, False), (HALVED, WHOLE, False)],
    ids=["large batches", "small batches", "less data than a large batch"],
)
def test_a_training_takes_large_batches_in_halves(
    settings, schema, make_split, batch_size, count, halved
):
    chosen = dataclasses.replace(settings, batch_size=batch_size)
    network, _ = training.prepare(chosen, schema, make_split(count, 1))
    assert network.trains_in_halves is halved


@pytest.mark.parametrize(
    ("cores", "batch_size", "pool"),
    [(1, HALVED, 1), (2, HALVED, 1), (3, HALVED, 3), (16, HALVED, 16), (2, WHOLE, 2)],
)
def test_on_two_cores_each_half_has_one(cores, batch_size, pool):
    assert threads.pool_size(cores, batch_size) == pool


@pytest.mark.slow
def test_tensorflow_shares_the_cores_as_told():
    command = [sys.executable, "-c", SHARED, json.dumps([2, HALVED])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "2"]


def test_the_batches_of_the_profiles_are_halved():
    from pipeline.config import load_config
    from pipeline.profiles import PROFILES

    halved = {name: threads.are_halved(load_config(name).training.batch_size) for name in PROFILES}
    assert halved == {"smoke": True, "default": True, "best": True, "classic": False}
