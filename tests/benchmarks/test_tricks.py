"""Each trick changes the training in the way that it says."""

import dataclasses

import numpy as np
import pytest

from benchmarks import trainings, tricks
from components.image_schema import ImageSchema
from components.trainer import training
from pipeline import config

CLASSES = ("Trouser", "Shirt", "Coat")
ASSIGNED = ("precision=float32", "widths=[24]", "warm_up=0", "label_smoothing=0.1")
SETTINGS = trainings.settings_of(
    config.load_config("smoke", [f"training.{each}" for each in ASSIGNED])
)


@pytest.fixture(scope="module")
def schema():
    return ImageSchema(height=12, width=12, channels=1, class_names=CLASSES)


def losses(trick, schema):
    """The loss of one image of each class, without a trick and with it."""
    labels = np.eye(3, dtype=np.float32)
    logits = np.array([[2.0, 0.5, -1.0], [0.3, 0.1, 0.2], [-1.0, 2.0, 0.0]], np.float32)
    network = training.compiled_network(SETTINGS, schema, SETTINGS.batch_size, steps_at_once=1)

    def each():
        return np.array([float(network.loss(labels[[n]], logits[[n]])) for n in range(3)])

    plain = each()
    trick(network, SETTINGS, schema)
    return plain, each(), labels, logits


def test_what_is_erased_becomes_black(schema):
    images = np.full((8, *schema.shape), 0.5, np.float32)
    erasing = dataclasses.replace(SETTINGS.augmentation, flip=False, shift=0.0, erasing=1.0)
    chosen = dataclasses.replace(SETTINGS, augmentation=erasing)
    network = training.compiled_network(chosen, schema, chosen.batch_size, steps_at_once=1)

    def colours():
        return set(np.unique(network.get_layer("erasing")(images, training=True)))

    assert len(colours()) > 2
    tricks.black_erasing(network, chosen, schema)
    assert colours() == {0.0, 0.5}


def test_a_weight_makes_errors_on_its_class_dearer(schema):
    plain, changed, *_ = losses(tricks.class_weight, schema)
    np.testing.assert_allclose(changed, plain * [1, 1.5, 1], rtol=1e-5)


def test_focal_loss_counts_sure_answers_less(schema):
    plain, changed, *_ = losses(tricks.focal, schema)
    assert (changed < plain).all()
    # The first answer is sure and right, the last one sure and wrong.
    assert changed[0] / plain[0] < changed[2] / plain[2]


def test_labels_are_smoothed_among_classes_that_are_alike(schema):
    _, changed, _, logits = losses(tricks.confusion_aware, schema)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    # Trousers are like nothing else; shirts and coats are like each other.
    targets = np.array([[1, 0, 0], [0, 0.95, 0.05], [0, 0.05, 0.95]])
    np.testing.assert_allclose(changed, -(targets * logs).sum(axis=1), rtol=1e-5)
