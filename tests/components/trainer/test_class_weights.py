"""Weights of the classes: as in scikit-learn, of mean 1, and all that they change is the loss."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from sklearn.utils.class_weight import compute_class_weight

from components.examples import Split
from components.trainer.batches import TrainingBatches, labelled_batches
from components.trainer.class_weights import by_label

CLASSES = ("a", "b", "c", "d")
LABELS = strategies.lists(strategies.integers(0, 3), min_size=1).map(np.array)


@hypothesis.given(LABELS)
def test_balanced_weights_are_those_of_scikit_learn(labels):
    present = np.unique(labels)
    expected = compute_class_weight("balanced", classes=present, y=labels)
    # Classes without images do not count there.
    expected = expected / np.mean(expected[np.searchsorted(present, labels)])
    found = by_label("balanced", labels, CLASSES)
    np.testing.assert_allclose(found[present], expected, rtol=1e-5)


@hypothesis.given(LABELS, strategies.tuples(*[strategies.floats(0.01, 100)] * 4))
def test_weights_keep_their_ratios_and_have_the_mean_one(labels, given):
    found = by_label(dict(zip(CLASSES, given, strict=True)), labels, CLASSES)
    assert np.mean(found[labels]) == pytest.approx(1, rel=1e-4)
    present = np.unique(labels)
    ratios = found[present] / np.array(given)[present]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-4)


def test_even_classes_of_another_split_get_even_weights():
    uneven, even = np.repeat([0, 1, 2, 3], [97, 1, 1, 1]), np.repeat([0, 1, 2, 3], 5)
    assert by_label("balanced", uneven, CLASSES)[1] > 20
    np.testing.assert_array_equal(by_label("balanced", even, CLASSES), np.ones(4, np.float32))


def test_without_weights_nothing_is_added(transform_output, schema):
    split = Split(np.zeros((4, schema.bytes_per_image), np.uint8), np.array([0, 1, 2, 0]), None)
    assert by_label("none", split.labels, schema.class_names) is None
    data = TrainingBatches(split, 3, 2, 1).dataset(transform_output, 0, 1)
    assert all(len(batch) == 2 for batch in data)


def test_every_image_has_the_weight_of_its_class(transform_output, schema):
    labels = np.array([0, 0, 0, 1, 2, 2])
    split = Split(np.zeros((6, schema.bytes_per_image), np.uint8), labels, None)
    weights = by_label("balanced", labels, schema.class_names)
    batches = TrainingBatches(split, 3, 3, 1, weights)
    validation = labelled_batches(split, transform_output, 3, weights)
    for data in (batches.dataset(transform_output, 0, 1), validation):
        for _, one_hot, given in data:
            expected = np.array([2 / 3, 2, 1])[one_hot.numpy().argmax(axis=1)]
            np.testing.assert_allclose(given, expected, rtol=1e-6)
