"""The tuner: its best values are those that the model is trained with, and it tunes but once."""

import json

import numpy as np
import pytest

from components.tuner import search
from pipeline.nodes import expected_nodes

NODES = list(expected_nodes(tuner=True, robustness=False))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def asked(set_values):
    return set_values(tuner__enabled="true", tuner__trials=2, tuner__epochs=1)


@pytest.fixture(scope="module")
def tuned_run(run_few, asked, tmp_path_factory):
    return run_few(tmp_path_factory.mktemp("tuned_run") / "outputs", *asked)


def answers(run):
    """What the trained model says of the golden images."""
    (path,) = run.root.glob("artifacts/Trainer/model/*/golden.npz")
    with np.load(path) as golden:
        return golden["probabilities"]


def test_its_receipt_names_the_values_that_were_best(tuned_run, check_receipt):
    receipt = tuned_run.receipt
    check_receipt(receipt)
    assert list(receipt["nodes"]) == NODES
    assert {node["status"] for node in receipt["nodes"].values()} == {"complete"}
    (path,) = tuned_run.root.glob("artifacts/Tuner/tuner_results/*/tuner_results.json")
    trials = json.loads(path.read_text(encoding="utf-8"))
    best = max(trials, key=lambda trial: trial["score"])
    assert len(trials) == 2
    assert receipt["hyperparameters"] == {each.name: best[each.name] for each in search.SPACE}


def test_it_tells_of_each_trial(tuned_run):
    assert "trial 1 of 2: learning_rate " in tuned_run.outcome.errors
    assert "trial 2 of 2: learning_rate " in tuned_run.outcome.errors
    assert "[14/14]" in tuned_run.outcome.errors


def test_it_keeps_what_it_found_and_nothing_else(tuned_run):
    files = (tuned_run.root / "artifacts" / "Tuner").rglob("*")
    names = {path.name for path in files if path.is_file()}
    assert names == {"best_hyperparameters.txt", "tuner_results.json"}


def test_the_values_set_by_hand_give_the_same_model(tuned_run, run_few, tmp_path):
    """They are what is trained with, and the search leaves no other trace in the training."""
    values = tuned_run.receipt["hyperparameters"].items()
    by_hand = [part for name, value in values for part in ("--set", f"training.{name}={value!r}")]
    plain = run_few(tmp_path / "outputs", *by_hand)
    assert plain.receipt["hyperparameters"] is None
    # The bytes of an export differ from process to process; its answers do not.
    assert np.array_equal(answers(plain), answers(tuned_run))


def test_the_second_run_searches_for_nothing(tuned_run, run_few, asked, tmp_path):
    output_dir = tuned_run.copy(tmp_path / "outputs")
    second = run_few(output_dir, *asked)
    for node in ("Tuner", "Trainer"):
        assert second.receipt["nodes"][node]["status"] == "cached"
    assert second.receipt["hyperparameters"] == tuned_run.receipt["hyperparameters"]


def test_a_search_in_which_no_trial_ends_well_fails_the_run(run_few, asked, set_values, tmp_path):
    small = set_values(tuner__max_parameters=10)
    run = run_few(tmp_path / "outputs", *asked, *small, code=1)
    assert run.receipt["failure"]["node"] == "Tuner"
    assert "none of 2 trials succeeded" in run.receipt["failure"]["message"]
    assert run.receipt["nodes"]["Trainer"]["status"] == "not run"
    command = f"{run.receipt['command']} --set tuner.enabled=false"
    assert f"Go on     {command} (what is complete is not run again)" in run.outcome.output
