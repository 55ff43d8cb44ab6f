"""What is read of the evaluation on corrupted images is what counting finds in the same answers."""

import numpy as np
import pandas as pd
import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.robustness import corruptions
from pipeline import config, gates
from review.robustness_evaluation import read_robustness

CLASSES = ("Shirt", "Bag", "Boot", "Hat")
# Of each corruption and strength; no image is a hat.
COUNT = 40
THRESHOLDS = {1: 0.75, 3: 0.5}


@pytest.fixture(scope="module")
def answers():
    """A row per image: what was done to it, its label, and answers that grow worse."""
    random = np.random.default_rng(5)
    rows = []
    for number, (corruption, strength) in enumerate(corruptions.amounts()):
        labels = random.integers(0, 3, COUNT)
        odds = random.random((COUNT, len(CLASSES)))
        odds[np.arange(COUNT), labels] += 1 - 0.03 * number
        probabilities = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
        for label, answer in zip(labels, probabilities, strict=True):
            rows.append((corruption, strength, label, answer))
    return pd.DataFrame(rows, columns=["corruption", "strength", "label", "probabilities"])


@pytest.fixture(scope="module")
def evaluate(answers, tmp_path_factory):
    """Reads what TFMA makes of the answers, with the thresholds of a configuration."""

    def read(*assignments):
        asked = config.load("default", ["robustness.enabled=true", *assignments]).robustness
        wanted = gates.robustness_evaluation_config(asked)
        wanted.model_specs[0].CopyFrom(
            config_pb2.ModelSpec(label_key="label", prediction_key="probabilities")
        )
        uri = str(tmp_path_factory.mktemp("evaluation"))
        tfma.analyze_raw_data(answers, wanted, output_path=uri)
        return read_robustness(uri, CLASSES, corruptions.amounts(), asked.thresholds())

    return read


@pytest.fixture(scope="module")
def evaluation(evaluate):
    return evaluate(*(f"robustness.accuracy_{s}={least}" for s, least in THRESHOLDS.items()))


@pytest.fixture(scope="module")
def counted(answers):
    """Whether each answer is right, by corruption and strength, label by label."""
    right = np.stack(answers["probabilities"]).argmax(axis=1) == answers["label"]
    return answers.assign(right=right).groupby(["corruption", "strength"])


def test_there_are_scores_of_each_corruption_in_their_order(evaluation):
    found = {(s.corruption, s.strength): s.amount for s in evaluation.scores}
    assert list(found.items()) == list(corruptions.amounts().items())


def test_accuracy_and_recall_are_the_shares_that_counting_finds(evaluation, counted):
    for scores in evaluation.scores:
        rows = counted.get_group((scores.corruption, scores.strength))
        assert scores.count == len(rows) == COUNT
        assert scores.accuracy == pytest.approx(rows["right"].mean())
        assert list(scores.per_class) == list(CLASSES)
        for label, found in enumerate(scores.per_class.values()):
            of_class = rows["right"][rows["label"] == label]
            assert found["support"] == len(of_class)
            assert found["recall"] == pytest.approx(of_class.mean() if len(of_class) else 0)


def test_there_is_a_gate_for_each_corruption_at_a_strength_that_has_one(evaluation):
    expected = [
        (f"{corruption}, strength {strength}", THRESHOLDS[strength])
        for corruption, strength in corruptions.amounts()
        if strength in THRESHOLDS
    ]
    assert [(gate.slice, gate.threshold) for gate in evaluation.gates] == expected
    assert {gate.metric for gate in evaluation.gates} == {"accuracy under corruption"}


def test_a_gate_passes_exactly_where_its_threshold_is_reached(evaluation):
    accuracies = {f"{s.corruption}, strength {s.strength}": s.accuracy for s in evaluation.scores}
    for gate in evaluation.gates:
        assert gate.value == accuracies[gate.slice]
        assert gate.passed == (gate.value >= gate.threshold)
    assert {gate.passed for gate in evaluation.gates} == {True, False}


def test_without_thresholds_there_are_scores_and_no_gates(evaluate, evaluation):
    found = evaluate()
    assert found.gates == []
    assert found.scores == evaluation.scores
