"""The numbers read from an evaluation are those that scikit-learn finds in the same answers."""

import numpy as np
import pandas as pd
import pytest
import tensorflow_model_analysis as tfma
from sklearn import metrics
from tensorflow_model_analysis.proto import config_pb2

import components.evaluation_metrics  # noqa: F401  registers the metric that the gates name
from components.slices import Slicing, stored
from pipeline import gates
from pipeline.records.evaluation import read_evaluation

CLASSES = ("Shirt", "Bag", "Boot", "Hat")
COUNT = 300
# Texts that are the same number.
SHOPS = np.repeat(["07", "7", "(missing)"], [180, 100, 20])


@pytest.fixture(scope="module")
def answers():
    """Labels of three of four classes, and answers of which most are right."""
    random = np.random.default_rng(5)
    labels = random.integers(0, 3, COUNT)
    scores = random.normal(size=(COUNT, len(CLASSES)))
    scores[np.arange(COUNT), labels] += 1.5
    # Boots are confused with bags more often than not.
    scores[labels == 2, 1] += 2
    odds = np.exp(scores).astype(np.float32)
    return labels, odds / odds.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def evaluation(answers, tmp_path_factory):
    """What is read of TFMA's evaluation of the answers."""
    labels, probabilities = answers
    wanted = gates.evaluation_config([], ["shop"])
    del wanted.model_specs[1:]
    wanted.model_specs[0].CopyFrom(
        config_pb2.ModelSpec(label_key="label", prediction_key="probabilities")
    )
    uri = str(tmp_path_factory.mktemp("evaluation"))
    frame = pd.DataFrame(
        {"label": labels, "probabilities": list(probabilities), "shop": list(map(stored, SHOPS))}
    )
    tfma.analyze_raw_data(frame, wanted, output_path=uri)
    return read_evaluation(uri, CLASSES, [Slicing("shop", 0.5, 100)])


def test_the_overall_figures_are_those_of_scikit_learn(evaluation, answers):
    labels, probabilities = answers
    every = np.arange(len(CLASSES))
    assert evaluation.count == COUNT
    accuracy = metrics.accuracy_score(labels, probabilities.argmax(axis=1))
    cross_entropy = metrics.log_loss(labels, probabilities, labels=every)
    top_2 = metrics.top_k_accuracy_score(labels, probabilities, k=2, labels=every)
    assert evaluation.accuracy == pytest.approx(accuracy)
    balanced = metrics.balanced_accuracy_score(labels, probabilities.argmax(axis=1))
    assert evaluation.balanced_accuracy == pytest.approx(balanced)
    assert evaluation.cross_entropy == pytest.approx(cross_entropy, rel=1e-4)
    assert evaluation.top_2_accuracy == pytest.approx(top_2)


def test_the_slices_are_those_of_the_values(evaluation, answers):
    labels, probabilities = answers
    right = probabilities.argmax(axis=1) == labels
    shop = evaluation.slices["shop"]
    assert (shop.threshold, shop.min_images) == (0.5, 100)
    assert list(shop.values) == ["(missing)", "07", "7"]
    for value, scores in shop.values.items():
        of_value = value == SHOPS
        assert scores.accuracy == pytest.approx(right[of_value].mean())
        assert scores.count == of_value.sum()
        assert scores.judged == (value != "(missing)")


def test_the_confusion_has_a_row_for_each_true_class(evaluation, answers):
    labels, probabilities = answers
    expected = metrics.confusion_matrix(labels, probabilities.argmax(axis=1), labels=range(4))
    assert [list(row) for row in evaluation.confusion] == expected.tolist()


def test_the_scores_of_the_classes_are_those_of_scikit_learn(evaluation, answers):
    labels, probabilities = answers
    expected = metrics.classification_report(
        labels,
        probabilities.argmax(axis=1),
        labels=range(4),
        target_names=CLASSES,
        output_dict=True,
        zero_division=0,
    )
    assert list(evaluation.per_class) == list(CLASSES)
    found = {**evaluation.per_class, "macro avg": evaluation.macro_avg}
    found["weighted avg"] = evaluation.weighted_avg
    for name, scores in found.items():
        renamed = {**expected[name], "f1": expected[name]["f1-score"]}
        del renamed["f1-score"]
        assert scores.model_dump() == pytest.approx(renamed)


def test_a_class_without_test_images_has_no_support(evaluation):
    assert evaluation.per_class["Hat"].support == 0
