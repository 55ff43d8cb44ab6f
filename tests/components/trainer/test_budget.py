"""A budget of minutes becomes a number of epochs, once, and changes nothing else of a training."""

import dataclasses

import numpy as np
import pytest

from components.trainer import budget, training


@pytest.fixture
def arguments(settings, no_augmentation, schema, make_split, transform_output, tmp_path):
    changing = dataclasses.replace(no_augmentation, shift=0.1, flip=True, erasing=0.5)
    return {
        "settings": dataclasses.replace(settings, widths=(4,), augmentation=changing),
        "schema": schema,
        "transform": transform_output,
        "splits": {"train": make_split(100, 1), "val": make_split(30, 2)},
        "backup_dir": str(tmp_path / "backup"),
    }


@pytest.mark.slow
def test_to_measure_the_speed_changes_no_bit_of_the_training(arguments, tmp_path):
    epochs = training.epochs_within(1 / 600, **arguments)
    assert epochs == 1
    settled = dataclasses.replace(arguments["settings"], epochs=epochs)
    measured = training.train(**{**arguments, "settings": settled})
    elsewhere = {"settings": settled, "backup_dir": str(tmp_path / "elsewhere")}
    plain = training.train(**{**arguments, **elsewhere})
    assert [layer.name for layer in measured.layers] == [layer.name for layer in plain.layers]
    for ours, theirs in zip(measured.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_speed_of_this_machine_settles_the_number_once(arguments, monkeypatch):
    epochs = training.epochs_within(1.0, **arguments)
    assert epochs >= 1
    monkeypatch.setattr(budget, "measured_epochs", pytest.fail)
    assert training.epochs_within(1.0, **arguments) == epochs


def test_a_kill_before_the_number_is_kept_has_it_settled_anew(arguments, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(budget, "measured_epochs", lambda *_: 7)
    with monkeypatch.context() as patch:
        patch.setattr(budget.os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            training.epochs_within(1.0, **arguments)
    assert budget.kept_epochs(arguments["backup_dir"]) is None
    assert training.epochs_within(1.0, **arguments) == 7


@pytest.mark.parametrize(
    ("minutes", "epochs"), [(0.001, 1), (0.3, 1), (1, 5), (10, 59)], ids=lambda value: f"{value}"
)
def test_whole_epochs_fit_into_the_time_that_is_left(minutes, epochs, monkeypatch):
    monkeypatch.setattr(budget, "_training_pace", lambda *_: budget._Pace(5.0, 8.0))
    monkeypatch.setattr(budget, "_validation_seconds", lambda *_: 2.0)
    # What the measuring took is part of the minutes, and so are the 5 s for tracing.
    assert budget.measured_epochs(minutes, None, None, None, None) == epochs
