"""What is read of the evaluation on corrupted images is what counting finds in the same answers."""

import numpy as np
import pandas as pd
import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.robustness import corruptions
from pipeline import gates
from pipeline.records.evaluation import read_robustness

CLASSES = ("Shirt", "Bag", "Boot", "Hat")
# Of each corruption and strength; no image is a hat.
COUNT = 40


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
def scores(answers, tmp_path_factory):
    """What is read of TFMA's evaluation of the answers."""
    wanted = gates.robustness_evaluation_config([])
    wanted.model_specs[0].CopyFrom(
        config_pb2.ModelSpec(label_key="label", prediction_key="probabilities")
    )
    uri = str(tmp_path_factory.mktemp("evaluation"))
    tfma.analyze_raw_data(answers, wanted, output_path=uri)
    return read_robustness(uri, CLASSES, corruptions.amounts())


@pytest.fixture(scope="module")
def counted(answers):
    """Whether each answer is right, by corruption and strength, label by label."""
    right = np.stack(answers["probabilities"]).argmax(axis=1) == answers["label"]
    return answers.assign(right=right).groupby(["corruption", "strength"])


def test_there_are_scores_of_each_corruption_in_their_order(scores):
    found = {(s.corruption, s.strength): s.amount for s in scores}
    assert list(found.items()) == list(corruptions.amounts().items())


@pytest.mark.slow
def test_accuracy_and_recall_are_the_shares_that_counting_finds(scores, counted):
    for corrupted in scores:
        rows = counted.get_group((corrupted.corruption, corrupted.strength))
        assert corrupted.count == len(rows) == COUNT
        assert corrupted.accuracy == pytest.approx(rows["right"].mean())
        assert list(corrupted.per_class) == list(CLASSES)
        for label, found in enumerate(corrupted.per_class.values()):
            of_class = rows["right"][rows["label"] == label]
            assert found.support == len(of_class)
            assert found.recall == pytest.approx(of_class.mean() if len(of_class) else 0)
