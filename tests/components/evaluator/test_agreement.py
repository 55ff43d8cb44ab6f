"""Counts that are not those of the answers are refused."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn import metrics

from components import features
from components.evaluator import executor
from components.examples import Split
from components.image_schema import ImageSchema
from components.predictions.executor import Answers, answers_table, predictions_table

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


def answers_file(folder, labels, answers, columns):
    ids = np.zeros(COUNT, "S1")
    path = folder / features.ANSWERS_FILE
    split = Split(np.zeros((COUNT, 12), np.uint8), labels, ids)
    pq.write_table(answers_table(Answers(split, answers), columns), path)
    return str(path)


def predictions_file(folder, labels, answers):
    ids = np.array([f"t10k-{n:08d}".encode() for n in range(COUNT)], dtype=object)
    path = folder / features.PREDICTIONS_FILE
    split = Split(np.zeros((COUNT, 12), np.uint8), labels, ids)
    schema = ImageSchema(3, 4, 1, CLASSES)
    pq.write_table(predictions_table(Answers(split, answers), schema), path)
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


def test_slices_are_counted_by_their_values(labels, answers, tmp_path):
    shops = np.array(["07", "7", "(missing)"])[np.arange(COUNT) % 3]
    columns = {"shop": shops.tolist(), "year": ["2026"] * COUNT}
    path = answers_file(tmp_path, labels, answers, columns)
    right = answers[features.CANDIDATE].argmax(axis=1) == labels
    of_shops = {("shop", f"={shop}"): (20, right[shops == shop].sum()) for shop in set(shops)}
    assert executor.hits_by_slice(path) == {**of_shops, ("year", "=2026"): (COUNT, right.sum())}


def test_without_slices_none_are_counted(labels, answers, tmp_path):
    assert executor.hits_by_slice(answers_file(tmp_path, labels, answers, {})) == {}


HITS = {("shop", "=07"): (20, 3), ("shop", "=7"): (20, 20)}


def test_slices_that_agree_pass():
    executor.check_slices(HITS, dict(reversed(HITS.items())))


@pytest.mark.parametrize(
    ("counted", "told"),
    [
        ({("shop", "=7"): (40, 23)}, "shop=07, 3 of 20 images right here and 0 of 0 there"),
        ({**HITS, ("shop", "=07"): (20, 4)}, "shop=07, 3 of 20 .* and 4 of 20 there"),
        ({**HITS, ("shop", "=x"): (1, 0)}, "shop=x, 0 of 0 images right here and 0 of 1 there"),
    ],
)
def test_a_slice_that_tfma_counted_otherwise_is_refused_and_told(counted, told):
    with pytest.raises(executor.DisagreementError, match=f"{told}.*--no-cache"):
        executor.check_slices(HITS, counted)
