"""Counts that are not those of the answers are refused."""

import numpy as np
import pytest
from sklearn import metrics

from components import features
from components.evaluator import executor
from components.examples import Split
from components.image_schema import ImageSchema
from components.predictions.executor import write

COUNT, CLASSES = 60, ("bag", "shirt", "shoe")


@pytest.fixture
def labels():
    return np.random.default_rng(3).integers(0, 3, COUNT)


@pytest.fixture
def answers():
    """Of both models, float32 [COUNT, 3]."""
    odds = np.random.default_rng(4).random((COUNT, 3), np.float32)
    candidate = odds / odds.sum(axis=1, keepdims=True)
    return {features.CANDIDATE: candidate, features.BASELINE: candidate[::-1]}


@pytest.fixture
def counted(labels, answers):
    """By scikit-learn, by name of the model."""
    return {
        name: metrics.confusion_matrix(labels, values.argmax(axis=1), labels=range(3))
        for name, values in answers.items()
    }


def predictions_file(folder, labels, answers):
    ids = np.array([f"t10k-{n:08d}".encode() for n in range(COUNT)], dtype=object)
    path = folder / features.PREDICTIONS_FILE
    split = Split(np.zeros((COUNT, 12), np.uint8), labels, ids)
    write(str(path), split, answers, ImageSchema(3, 4, 1, CLASSES))
    return str(path)


def test_each_model_that_answered_is_counted(labels, answers, counted, tmp_path):
    found = executor.confusions(predictions_file(tmp_path, labels, answers))
    assert found.keys() == counted.keys()
    assert all(np.array_equal(found[name], counts) for name, counts in counted.items())


def test_a_model_that_was_not_asked_is_not_counted(labels, answers, tmp_path):
    del answers[features.BASELINE]
    assert list(executor.confusions(predictions_file(tmp_path, labels, answers))) == ["candidate"]


def test_counts_that_agree_pass(counted):
    counts = counted[features.CANDIDATE]
    executor.check_agreement("candidate", counts, counts.tolist())


@pytest.mark.parametrize("cell", [(0, 0), (1, 2), (2, 1)])
def test_one_image_counted_elsewhere_is_refused_and_told(counted, cell):
    counts = counted[features.BASELINE]
    other = counts.copy()
    other[cell] += 1
    told = f"baseline model.*label {cell[0]}, choice {cell[1]}.*--no-cache"
    with pytest.raises(executor.DisagreementError, match=told):
        executor.check_agreement("baseline", counts, other.tolist())
