"""Each trick changes the training in the way that it says, while it lasts and no longer."""

import dataclasses

import numpy as np
import pytest

from benchmarks import trainings, tricks
from components.examples import Split
from components.image_schema import ImageSchema
from components.trainer import model, training
from pipeline import config

CLASSES = ("Trouser", "Shirt", "Coat")
SMOOTHING = 0.1
SETTINGS = trainings.settings_of(
    config.load(
        "smoke",
        [
            "training.precision=float32",
            "training.widths=[24]",
            "training.warm_up=0",
            f"training.label_smoothing={SMOOTHING}",
        ],
    )
)


@pytest.fixture(scope="module")
def schema():
    return ImageSchema(height=12, width=12, channels=1, class_names=CLASSES)


@pytest.fixture(scope="module")
def split(schema):
    """Images that are smooth, as those of things are."""
    random = np.random.default_rng(0)
    rough = random.integers(0, 256, (40, 13, 13))
    smooth = (rough[:, 1:, 1:] + rough[:, :-1, 1:] + rough[:, 1:, :-1] + rough[:, :-1, :-1]) // 4
    images = smooth.reshape(40, -1).astype(np.uint8)
    return Split(images, random.integers(0, 3, 40), np.arange(40).astype(str).astype(object))


def losses(trick, schema, split):
    """The loss of one image of each class, under a trick and without it."""
    labels = np.eye(3, dtype=np.float32)
    logits = np.array([[2.0, 0.5, -1.0], [0.3, 0.1, 0.2], [-1.0, 2.0, 0.0]], np.float32)

    def each():
        loss = training.loss_function(SETTINGS)
        return np.array([float(np.mean(loss(labels[[n]], logits[[n]]))) for n in range(3)])

    plain = each()
    with trick(schema, split):
        changed = each()
    assert np.array_equal(each(), plain), "the trick outlasts its context"
    return plain, changed, labels, logits


def test_what_is_erased_becomes_black(schema, split):
    images = np.full((8, *schema.shape), 0.5, np.float32)
    erasing = dataclasses.replace(SETTINGS.augmentation, flip=False, shift=0.0, erasing=1.0)
    chosen = dataclasses.replace(SETTINGS, augmentation=erasing)

    def colours():
        network = model.build_network(schema.shape, len(CLASSES), chosen)
        return set(np.unique(network.get_layer("erasing")(images, training=True)))

    with tricks.black_erasing(schema, split):
        assert colours() == {0.0, 0.5}
    assert len(colours()) > 2, "the trick outlasts its context"


def test_a_weight_makes_errors_on_its_class_dearer(schema, split):
    plain, changed, *_ = losses(tricks.class_weight, schema, split)
    np.testing.assert_allclose(changed, plain * [1, 1.5, 1], rtol=1e-5)


def test_focal_loss_counts_sure_answers_less(schema, split):
    plain, changed, *_ = losses(tricks.focal, schema, split)
    assert (changed < plain).all()
    # The first answer is sure and right, the last one sure and wrong.
    assert changed[0] / plain[0] < changed[2] / plain[2]


def test_labels_are_smoothed_among_classes_that_are_alike(schema, split):
    _, changed, _, logits = losses(tricks.confusion_aware, schema, split)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    # Trousers are like nothing else; shirts and coats are like each other.
    targets = np.array([[1, 0, 0], [0, 0.95, 0.05], [0, 0.05, 0.95]])
    np.testing.assert_allclose(changed, -(targets * logs).sum(axis=1), rtol=1e-5)
