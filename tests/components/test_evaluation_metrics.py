"""The class scores equal those of scikit-learn's classification report."""

import warnings

import hypothesis
import pytest
from hypothesis import strategies
from sklearn import metrics
from tensorflow_model_analysis.metrics import metric_types

from components import evaluation_metrics

PAIRS = strategies.lists(
    strategies.tuples(strategies.integers(0, 5), strategies.integers(0, 5)), min_size=1
)


def matrix_of(pairs):
    matrix = {}
    for pair in pairs:
        matrix[pair] = matrix.get(pair, 0.0) + 1.0
    return matrix


def reference(pairs, **options):
    true, chosen = zip(*pairs, strict=True)
    return metrics.precision_recall_fscore_support(true, chosen, zero_division=0, **options)


@hypothesis.given(PAIRS)
def test_each_class_has_the_scores_of_scikit_learn(pairs):
    found = evaluation_metrics.scores(matrix_of(pairs))
    labels = sorted({number for pair in pairs for number in pair})
    assert list(found) == labels
    expected = zip(*reference(pairs, labels=labels), strict=True)
    for number, (precision, recall, f1, support) in zip(labels, expected, strict=True):
        assert found[number] == pytest.approx(
            {"precision": precision, "recall": recall, "f1": f1, "support": support}
        )


@hypothesis.given(PAIRS)
def test_the_averages_are_those_of_scikit_learn(pairs):
    factory = evaluation_metrics._KeyFactory("candidate", "", False)
    filed = factory.report(evaluation_metrics.scores(matrix_of(pairs)))
    for kind, average in (("macro_average", "macro"), ("weighted_macro_average", "weighted")):
        expected = reference(pairs, average=average)[:3]
        aggregation = metric_types.AggregationType(**{kind: True})
        scores = ("precision", "recall", "f1")
        found = [filed[factory(score, aggregation=aggregation)] for score in scores]
        assert found == pytest.approx(expected)


@hypothesis.given(PAIRS)
def test_balanced_accuracy_is_that_of_scikit_learn(pairs):
    with warnings.catch_warnings():
        # Of classes that are predicted only.
        warnings.simplefilter("ignore")
        expected = metrics.balanced_accuracy_score(*zip(*pairs, strict=True))
    assert evaluation_metrics.balanced_accuracy(matrix_of(pairs)) == pytest.approx(expected)


@hypothesis.given(PAIRS)
def test_the_averages_are_rounded_once(pairs):
    """So they are identical to the bit, for any order and any version of Python."""
    factory = evaluation_metrics._KeyFactory("candidate", "", False)
    classes = evaluation_metrics.scores(matrix_of(pairs))
    backwards = dict(reversed(classes.items()))
    assert factory.report(classes) == factory.report(backwards)


def test_a_class_that_is_never_chosen_or_does_not_occur_has_scores_of_0():
    nothing = {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert evaluation_metrics.scores({(0, 1): 3, (1, 1): 5})[0] == {**nothing, "support": 3}
    assert evaluation_metrics.scores({(0, 1): 3, (0, 0): 5})[1] == {**nothing, "support": 0}


def test_counts_of_0_divide_nothing():
    with warnings.catch_warnings(action="error"):
        found = evaluation_metrics.scores({(0, 0): 0.0, (1, 1): 2.0})
    assert found[0]["f1"] == 0.0
    assert found[1]["f1"] == 1.0


def test_tfma_finds_the_metric_by_its_name():
    registered = metric_types.registered_metrics()
    assert registered["ClassificationReport"] is evaluation_metrics.ClassificationReport
