"""The search: its trials, its limits, its handling of failures, and its result."""

import dataclasses
import logging

import keras_tuner
import numpy as np
import pytest

from components.trainer.model import WHITENING
from components.trainer.settings import UnknownHyperparameterError, with_hyperparameters
from components.tuner import search
from pipeline import config

RANGES = {each.name: each for each in search.SPACE}


def statuses(made):
    return [trial.status for trial in made.oracle.trials.values()]


def in_the_table(values):
    return set(values) == set(RANGES) and all(
        RANGES[name].lowest <= value <= RANGES[name].highest for name, value in values.items()
    )


# Trials.


def test_every_range_is_one_of_a_setting(settings):
    lowest = {name: each.lowest for name, each in RANGES.items()}
    assert len(lowest) == len(search.SPACE)
    assert with_hyperparameters(settings, lowest) != settings
    for each in search.SPACE:
        assert each.lowest < each.highest
        assert each.lowest > 0 or not each.logarithmic


@pytest.mark.parametrize("name", RANGES)
def test_the_values_of_the_profiles_lie_inside_the_ranges(name):
    values = config.load_config("default").training
    for part in name.split("."):
        values = getattr(values, part)
    assert RANGES[name].holds(values)


def test_a_setting_outside_its_range_is_not_searched(make_search, settings):
    own = dataclasses.replace(settings, weight_decay=0.0, learning_rate=1.0)
    made = make_search(trials=2, own=own)
    made.search()
    searched = RANGES.keys() - {"weight_decay", "learning_rate"}
    assert all(values.keys() == searched for values in made.hypermodel.tried)


def test_with_class_weights_the_weighted_accuracy_counts(make_search, settings):
    assert make_search().oracle.objective.name == "val_accuracy"
    own = dataclasses.replace(settings, class_weights="balanced")
    assert make_search(own=own).oracle.objective.name == "val_weighted_accuracy"


def test_every_trial_takes_values_of_the_ranges_and_no_two_the_same(make_search):
    made = make_search(trials=8)
    made.hypermodel.outcomes = [0.3, 0.9, 0.5, 0.7, 0.6, 0.4]
    made.search()
    tried = made.hypermodel.tried
    assert len(tried) == 8
    assert all(in_the_table(values) for values in tried)
    assert len({tuple(values.items()) for values in tried}) == 8


def test_the_first_trial_is_that_of_the_settings(make_search, settings):
    made = make_search(trials=1)
    made.search()
    augmented = {"augmentation.erasing": 0.3, "augmentation.shift": 0.07}
    own = {name: getattr(settings, name) for name in RANGES if "." not in name}
    assert made.hypermodel.tried == [{**own, **augmented}]


@pytest.mark.parametrize("whitening", [True, False])
def test_a_trial_begins_as_the_training_would(make_search, settings, whitening):
    made = make_search(search.Trials, dataclasses.replace(settings, whitening=whitening))
    network = made.hypermodel.build(keras_tuner.HyperParameters())
    assert (WHITENING in [layer.name for layer in network.layers]) == whitening
    if whitening:
        # Only whitening filters come in pairs with both signs.
        kernel = network.get_layer(WHITENING).get_weights()[0]
        np.testing.assert_array_equal(kernel[..., ::2], -kernel[..., 1::2])


@pytest.mark.parametrize(("epochs", "at_once"), [(3, 1), (20, 6)])
def test_the_learning_rate_of_a_short_trial_changes_in_every_step(
    make_search, settings, epochs, at_once
):
    made = make_search(search.Trials, dataclasses.replace(settings, epochs=epochs))
    network = made.hypermodel.build(keras_tuner.HyperParameters())
    assert network.steps_per_execution == at_once


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_the_same_seed_tries_the_same(make_search, settings, seed):
    made = [make_search(own=dataclasses.replace(settings, seed=seed)) for _ in range(2)]
    for each in made:
        each.hypermodel.outcomes = [0.3, 0.9, 0.5]
        each.search()
    assert made[0].hypermodel.tried == made[1].hypermodel.tried


def test_another_seed_tries_something_else(make_search, settings):
    made = [make_search(own=dataclasses.replace(settings, seed=seed)) for seed in (0, 1)]
    for each in made:
        each.search()
    assert made[0].hypermodel.tried[0] == made[1].hypermodel.tried[0]
    assert made[0].hypermodel.tried[1] != made[1].hypermodel.tried[1]


# Limits.


def test_no_trial_begins_once_the_time_is_up(make_search, clock):
    made = make_search(minutes=5)
    clock.step = 120
    made.search()
    assert statuses(made) == ["COMPLETED"] * 3


def test_a_search_without_time_says_what_to_set(make_search, clock):
    made = make_search(minutes=5)
    clock.seconds += 300
    with pytest.raises(search.SearchFailed, match=r"none of 0 trials .* tuner\.minutes") as caught:
        made.search()
    assert made.hypermodel.tried == []
    assert caught.value.changes == (), "the same search may find more time"


class Watched(search.Trials):
    """Real trials that record the validation loss of each epoch."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.losses = []

    def fit(self, hp, model, callbacks, **arguments):
        history = super().fit(hp, model, callbacks, **arguments)
        self.losses.append(history.history["val_loss"])
        return history


def test_a_trial_under_way_ends_with_its_epoch_when_the_time_is_up(
    make_search, fit_arguments, clock
):
    made = make_search(Watched, minutes=1.5)
    clock.step = 60
    made.search(**fit_arguments)
    assert statuses(made) == ["COMPLETED"]
    assert [len(losses) for losses in made.hypermodel.losses] == [2]


def test_a_network_that_is_too_large_is_not_trained(make_search):
    made = make_search(max_parameters=2)
    with pytest.raises(search.SearchFailed, match=r"Oversized model: 3 .* tuner\.max_parameters"):
        made.search()
    assert statuses(made) == ["FAILED"] * 4
    assert made.hypermodel.tried == []


def test_a_network_of_just_the_size_is_trained(make_search):
    made = make_search(max_parameters=3)
    made.search()
    assert statuses(made) == ["COMPLETED"] * 4


# Failures.


def test_a_trial_that_fails_ends_no_search(make_search):
    made = make_search(trials=8)
    failure = keras_tuner.errors.FailedTrialError("the loss became nan")
    made.hypermodel.outcomes = [0.2, *[failure] * 5, 0.9, 0.1]
    made.search()
    assert statuses(made) == ["COMPLETED", *["FAILED"] * 5, "COMPLETED", "COMPLETED"]
    assert made.get_best_hyperparameters()[0].values == made.hypermodel.tried[6]


def test_the_search_fails_if_all_trials_fail(make_search):
    made = make_search()
    made.hypermodel.outcomes = [keras_tuner.errors.FailedTrialError("the loss became nan")]
    with pytest.raises(search.SearchFailed, match=r"none of 4 .* failed: the loss bec") as caught:
        made.search()
    assert caught.value.changes == ("tuner.enabled=false",)


def test_an_error_of_another_kind_ends_the_search(make_search):
    made = make_search()
    made.hypermodel.outcomes = [0.5, ValueError("what happened")]
    with pytest.raises(RuntimeError, match="trial 2 failed: what happened"):
        made.search()


@pytest.mark.slow
def test_a_loss_that_is_no_number_fails_only_the_trial(make_search, fit_arguments):
    space = [search.Range("learning_rate", 1e-2, 1e30, logarithmic=True)]
    made = make_search(search.Trials, space=space, trials=3)
    made.search(**fit_arguments)
    assert statuses(made)[0] == "COMPLETED"
    assert "FAILED" in statuses(made)
    assert made.get_best_hyperparameters()[0].values["learning_rate"] < 1e10


# Results.


@pytest.mark.slow
def test_a_real_trial_learns_and_ends_alike_each_time(make_search, fit_arguments):
    scores = []
    for _ in range(2):
        made = make_search(search.Trials, trials=1)
        made.search(**fit_arguments)
        scores.append(made.oracle.get_best_trials()[0].score)
    assert scores[0] == scores[1] > 0.5


@pytest.mark.slow
def test_a_trial_ignores_the_settings_that_its_node_does_not_get(
    make_search, settings, fit_arguments
):
    """The graph passes default values of these settings to Tuner, whatever the configuration."""
    patience = ("plateau_patience", "plateau_factor", "early_stopping_patience")
    # Code that used a patience would fail.
    averaging = {"flip_averaging": True, "shift_averaging": True}
    unheeded = {**dict.fromkeys(patience), **averaging, "warm_start": True}
    losses = []
    for own in (settings, dataclasses.replace(settings, **unheeded)):
        made = make_search(Watched, own=own, trials=1)
        made.search(**fit_arguments)
        losses += made.hypermodel.losses
    assert losses[0] == pytest.approx(losses[1])


@pytest.mark.slow
def test_a_trial_validates_the_averaged_weights(make_search, settings, fit_arguments):
    losses = []
    for momentum in (0.0, 0.9):
        own = dataclasses.replace(settings, ema_momentum=momentum)
        made = make_search(Watched, own=own, trials=1)
        made.search(**fit_arguments)
        losses += made.hypermodel.losses
    assert losses[0] != losses[1]


@pytest.mark.slow
def test_no_weights_are_kept(make_search, fit_arguments, tmp_path):
    made = make_search(search.Trials, trials=1)
    made.search(**fit_arguments)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".json"}


def test_each_trial_is_logged_in_a_line(make_search, caplog):
    made = make_search(trials=3)
    failure = keras_tuner.errors.FailedTrialError("the loss became nan")
    made.hypermodel.outcomes = [failure, 0.75, 0.5]
    with caplog.at_level(logging.INFO, logger=search.__name__):
        made.search()
    records = [record for record in caplog.records if hasattr(record, "trial")]
    lines = [record.getMessage() for record in records]
    assert [record.trial for record in records] == [1, 2, 3]
    assert lines[0].startswith("trial 1 of 3: learning_rate 0.01, weight_decay 0.1, dropout 0.1, ")
    assert "; failed: the loss became nan, " in lines[0]
    assert lines[0].endswith("; no success so far")
    assert "; validation accuracy 0.7500, " in lines[1]
    assert lines[2].endswith("; best so far 0.7500 in trial 2")


def test_the_best_hyperparameters_become_the_settings(make_search, settings):
    made = make_search()
    made.hypermodel.outcomes = [0.5, 0.6, 0.9, 0.7]
    made.search()
    best = made.get_best_hyperparameters()[0].get_config()["values"]
    assert best == made.hypermodel.tried[2]
    changed = with_hyperparameters(settings, best)
    assert changed.learning_rate == best["learning_rate"] != settings.learning_rate
    assert changed.augmentation.shift == best["augmentation.shift"] != settings.augmentation.shift
    back = {name: made.hypermodel.tried[0][name] for name in best}
    assert with_hyperparameters(changed, back) == settings


def test_no_hyperparameters_change_nothing(settings):
    assert with_hyperparameters(settings, {}) == settings


@pytest.mark.parametrize(
    "name", ["rate", "erasing", "augmentation", "augmentation.", "augmentation.dropout"]
)
def test_a_hyperparameter_of_an_unknown_name_is_refused(settings, name):
    told = f"{name!r}: no setting has this name; expected one of .*augmentation.shift"
    with pytest.raises(UnknownHyperparameterError, match=told):
        with_hyperparameters(settings, {"dropout": 0.5, name: 1.0})
