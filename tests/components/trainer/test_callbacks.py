"""The callbacks: what stops a training, and what is kept of it."""

import dataclasses
import json
import logging
import math

import keras
import numpy as np
import pytest

from components.trainer import callbacks


@pytest.fixture
def fit():
    """Fits a tiny network with these callbacks on these targets."""

    def fitted(callback_list, targets=1.0, epochs=2, learning_rate=0.25):
        keras.utils.set_random_seed(1)
        network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="head")])
        optimizer = keras.optimizers.Adam(learning_rate)
        network.compile(optimizer, "mse", metrics=["accuracy"], jit_compile=False)
        inputs = np.ones((8, 2), np.float32)
        outputs = np.full((8, 1), targets, np.float32)
        network.fit(
            inputs,
            outputs,
            validation_data=(inputs, np.ones((8, 1), np.float32)),
            epochs=epochs,
            verbose=0,
            callbacks=callback_list,
        )
        return network

    return fitted


@pytest.mark.parametrize("target", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_training_with_epoch_and_rate(fit, target):
    with pytest.raises(callbacks.TrainingDiverged) as caught:
        fit([callbacks.StopOnDivergence()], targets=target, epochs=5)
    message = str(caught.value)
    assert "in epoch 1 at learning rate 0.25" in message
    assert "expected a number" in message
    assert "training.learning_rate" in message


def test_the_epoch_of_a_later_divergence_is_told(fit):
    callback = callbacks.StopOnDivergence()
    callback.set_model(fit([]))
    callback.on_epoch_end(6, {"loss": 0.3})
    with pytest.raises(callbacks.TrainingDiverged, match="became inf in epoch 8"):
        callback.on_epoch_end(7, {"loss": math.inf})


def test_a_loss_that_is_a_number_goes_on(fit):
    fit([callbacks.StopOnDivergence()], epochs=3)


def test_the_history_is_a_json_list_of_epochs(fit, tmp_path):
    path = tmp_path / "history.json"
    fit([callbacks.JsonHistory(str(path))], epochs=3)
    history = json.loads(path.read_text())
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(history[0])
    assert history[2]["loss"] < history[0]["loss"]


def test_the_history_is_whole_after_each_epoch(fit, tmp_path):
    path = tmp_path / "history.json"
    lengths = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            lengths.append(len(json.loads(path.read_text())))

    fit([callbacks.JsonHistory(str(path)), Look()], epochs=3)
    assert lengths == [1, 2, 3]


def test_each_epoch_is_logged_with_its_values_attached(fit, caplog):
    with caplog.at_level(logging.INFO):
        network = fit([callbacks.EpochLog(2)])
    records = [record for record in caplog.records if hasattr(record, "progress")]
    assert [record.getMessage()[:13] for record in records] == ["epoch 1 of 2:", "epoch 2 of 2:"]
    assert [record.progress["epoch"] for record in records] == [1, 2]
    assert all(record.progress["epochs"] == 2 for record in records)
    assert all(record.progress["seconds"] >= 0 for record in records)
    for name, values in network.history.history.items():
        assert [record.progress[name] for record in records] == pytest.approx(values)


def test_a_training_leaves_its_logs_and_its_best_weights(fit, settings, tmp_path):
    run_dir, backup_dir = tmp_path / "run", tmp_path / "backup"
    run_dir.mkdir()
    backup_dir.mkdir()
    fit(callbacks.training_callbacks(settings, str(run_dir), str(backup_dir)))
    assert (backup_dir / callbacks.BEST_WEIGHTS_FILE).is_file()
    assert list((run_dir / "tensorboard").rglob("events.*"))
    assert len((run_dir / "history.csv").read_text().splitlines()) == 3
    assert len(json.loads((run_dir / "history.json").read_text())) == 2


def test_a_divergence_keeps_no_weights(fit, settings, tmp_path):
    (tmp_path / "run").mkdir()
    chosen = callbacks.training_callbacks(settings, str(tmp_path / "run"), str(tmp_path))
    with pytest.raises(callbacks.TrainingDiverged):
        fit(chosen, targets=math.nan)
    assert not (tmp_path / callbacks.BEST_WEIGHTS_FILE).exists()


def test_training_ends_early_without_progress(fit, settings, tmp_path):
    impatient = dataclasses.replace(settings, early_stopping_patience=1, epochs=50)
    (tmp_path / "run").mkdir()
    chosen = callbacks.training_callbacks(impatient, str(tmp_path / "run"), str(tmp_path))
    # The further it is trained on 100, the further it is from the validation data's 1.
    fit(chosen, targets=100.0, epochs=50, learning_rate=5.0)
    assert len(json.loads((tmp_path / "run" / "history.json").read_text())) < 10


def test_the_rate_falls_in_equal_steps():
    schedule, rates = callbacks.linear_decay(4), [0.4]
    for epoch in range(4):
        rates.append(schedule(epoch, rates[-1]))
    assert rates[1:] == pytest.approx([0.4, 0.3, 0.2, 0.1])


def test_a_cut_of_the_rate_stays():
    schedule = callbacks.linear_decay(4)
    assert schedule(2, 0.3 / 10) == pytest.approx(0.2 / 10)
