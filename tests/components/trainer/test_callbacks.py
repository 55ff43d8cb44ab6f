"""The callbacks: the end of a training, and its logs and weights."""

import csv
import dataclasses
import json
import logging
import math
from pathlib import Path

import keras
import numpy as np
import pytest

from components.trainer import callbacks
from components.trainer.resumption import BestWeights, load_best_weights, read_progress


@pytest.fixture
def fit():
    """Fits a tiny network with these callbacks on these targets."""

    def fitted(callback_list, targets=1.0, learning_rate=0.25, ema_momentum=0.0, **options):
        keras.utils.set_random_seed(1)
        network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="head")])
        optimizer = keras.optimizers.Adam(
            learning_rate, use_ema=ema_momentum > 0, ema_momentum=ema_momentum
        )
        # Faster here than to trace a graph for a handful of steps.
        network.compile(optimizer, "mse", metrics=["accuracy"], run_eagerly=True)
        inputs = np.ones((8, 2), np.float32)
        data = {"x": inputs, "y": np.full((8, 1), targets, np.float32)}
        data["validation_data"] = (inputs, np.ones((8, 1), np.float32))
        network.fit(**data, callbacks=callback_list, **{"epochs": 2, "verbose": 0, **options})
        return network

    return fitted


@pytest.mark.parametrize("target", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_training_with_epoch_and_rate(fit, target, tmp_path):
    with pytest.raises(callbacks.TrainingDiverged) as caught:
        fit([callbacks.StopOnDivergence(str(tmp_path), 0.25)], targets=target, epochs=5)
    for told in (
        "in epoch 1 at learning rate 0.25; expected a number",
        "There is no good checkpoint: no epoch was completed before.",
        "Set a smaller training.learning_rate.",
    ):
        assert told in str(caught.value)
    assert caught.value.changes == ("training.learning_rate=0.025",)


class Poison(keras.callbacks.Callback):
    """Makes the weights NaN at the start of an epoch, counted from 1."""

    def __init__(self, epoch):
        super().__init__()
        self._epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch + 1 == self._epoch:
            head = self.model.get_layer("head")
            head.set_weights([np.full_like(weight, math.nan) for weight in head.get_weights()])


def test_a_later_divergence_names_the_last_checkpoint_which_is_good(fit, chosen):
    callback_list, _, backup_dir = chosen(epochs=5)
    with pytest.raises(callbacks.TrainingDiverged) as caught:
        fit([*callback_list, Poison(3)], epochs=5)
    snapshot = backup_dir / "snapshot-00002"
    assert "became nan in epoch 3" in str(caught.value)
    assert f"The last good checkpoint, of epoch 2, is {snapshot}." in str(caught.value)
    with np.load(snapshot / "variables.npz") as saved:
        assert all(np.isfinite(saved[name]).all() for name in saved)


@pytest.mark.parametrize(
    ("logs", "told"),
    [
        ({"loss": 0.3, "val_loss": math.nan}, "the validation loss became nan in epoch 8"),
        ({"loss": math.inf}, "became inf in epoch 8"),
    ],
)
def test_a_loss_that_is_no_number_at_the_end_of_an_epoch_is_told(fit, tmp_path, logs, told):
    callback = callbacks.StopOnDivergence(str(tmp_path), 0.25)
    callback.set_model(fit([]))
    callback.on_epoch_begin(7)
    callback.on_train_batch_end(0, {"loss": 0.3})
    with pytest.raises(callbacks.TrainingDiverged, match=told):
        callback.on_epoch_end(7, logs)


def test_a_loss_that_is_a_number_goes_on(fit, tmp_path):
    fit([callbacks.StopOnDivergence(str(tmp_path), 0.25)], epochs=3)


def test_the_history_is_a_json_list_of_epochs_and_a_table_of_the_same_numbers(fit, tmp_path):
    fit([callbacks.History(str(tmp_path))], epochs=3)
    history = json.loads((tmp_path / "history.json").read_text())
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(history[0])
    assert history[2]["loss"] < history[0]["loss"]
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{name: float(value) for name, value in row.items()} for row in rows] == history


def test_the_history_is_whole_after_each_epoch(fit, tmp_path):
    lengths = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            table = (tmp_path / "history.csv").read_text().splitlines()
            lengths.append((len(json.loads((tmp_path / "history.json").read_text())), len(table)))

    fit([callbacks.History(str(tmp_path)), Look()], epochs=3)
    assert lengths == [(1, 2), (2, 3), (3, 4)]


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


@pytest.fixture
def chosen(settings, tmp_path):
    """The callbacks of a training of one step per epoch, and its two folders."""

    def made(**changes):
        folders = [tmp_path / name for name in ("logs", "backup")]
        for folder in folders:
            folder.mkdir(exist_ok=True)
        unaveraged = dataclasses.replace(settings, ema_momentum=0.0)
        changed = dataclasses.replace(unaveraged, **changes)
        return callbacks.training_callbacks(changed, 1, *map(str, folders)), *folders

    return made


def test_a_training_leaves_its_logs_and_its_best_weights(fit, chosen):
    callback_list, log_dir, backup_dir = chosen()
    fit(callback_list)
    assert (Path(read_progress(str(backup_dir)).snapshot) / "best.npz").is_file()
    assert list((log_dir / "tensorboard").rglob("events.*"))
    assert len((log_dir / "history.csv").read_text().splitlines()) == 3
    assert len(json.loads((log_dir / "history.json").read_text())) == 2


def test_the_name_of_the_folder_is_no_template(fit, settings, tmp_path):
    folder = tmp_path / "{h}{epoch}{{x}} }{"
    folder.mkdir()
    unaveraged = dataclasses.replace(settings, ema_momentum=0.0)
    fit(callbacks.training_callbacks(unaveraged, 1, str(folder), str(folder)))
    assert (Path(read_progress(str(folder)).snapshot) / "best.npz").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_divergence_keeps_no_weights(fit, chosen):
    callback_list, _, backup_dir = chosen()
    with pytest.raises(callbacks.TrainingDiverged):
        fit(callback_list, targets=math.nan)
    assert not list(backup_dir.rglob("best.npz"))


def test_training_ends_early_without_progress(fit, chosen):
    callback_list, log_dir, _ = chosen(early_stopping_patience=1, epochs=50, learning_rate=5.0)
    # The further it is trained on 100, the further it is from the validation data's 1.
    fit(callback_list, targets=100.0, epochs=50)
    assert len(json.loads((log_dir / "history.json").read_text())) < 10


def test_the_rate_is_that_of_the_settings_and_not_of_the_optimizer(fit, chosen):
    callback_list, log_dir, _ = chosen(learning_rate=0.4, warm_up=0.0, epochs=2)
    fit(callback_list, learning_rate=123.0)
    history = json.loads((log_dir / "history.json").read_text())
    assert [entry["learning_rate"] for entry in history] == pytest.approx([0.4, 0.2])


class Steps(keras.callbacks.Callback):
    """Records the weights after each step."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(self.model.get_weights())


@pytest.mark.slow
@pytest.mark.parametrize("patience", [1, 9], ids=["ended early", "to the end"])
def test_the_moving_average_of_the_weights_is_what_is_validated_and_kept(fit, chosen, patience):
    momentum, steps = 0.5, Steps()
    callback_list, log_dir, backup_dir = chosen(
        ema_momentum=momentum, epochs=9, learning_rate=2.0, early_stopping_patience=patience
    )
    network = fit([*callback_list, steps], epochs=9, ema_momentum=momentum)
    history = json.loads((log_dir / "history.json").read_text())
    assert (len(history) < 9) == (patience == 1)
    averages, losses = [steps.weights[0]], []
    for weights in steps.weights[1:]:
        pairs = zip(averages[-1], weights, strict=True)
        averages.append([momentum * old + (1 - momentum) * new for old, new in pairs])
    for kernel, bias in averages:
        losses.append(float((kernel.sum() + bias[0] - 1) ** 2))
    assert [entry["val_loss"] for entry in history] == pytest.approx(losses, rel=1e-4)
    load_best_weights(network, str(backup_dir))
    for ours, expected in zip(network.get_weights(), averages[int(np.argmin(losses))], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5)


class Losses(keras.callbacks.Callback):
    """Sets the validation loss of each epoch, before all callbacks that read it."""

    def __init__(self, *losses):
        super().__init__()
        self._losses = losses

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = self._losses[epoch]


class Break(keras.callbacks.Callback):
    """Ends the training after some epochs, before the snapshot of the last one."""

    def __init__(self, epochs):
        super().__init__()
        self._epochs = epochs

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self._epochs:
            raise KeyboardInterrupt


def test_the_best_weights_are_those_of_the_epochs_that_count(fit, chosen):
    """Weights of a lost epoch do not count: on repetition it may no longer be the best."""
    values = {"learning_rate": 0.4, "warm_up": 0.0, "epochs": 3}
    callback_list, _, backup_dir = chosen(**values)
    steps = Steps()
    with pytest.raises(KeyboardInterrupt):
        fit([Losses(2, 1), Break(2), *callback_list, steps], epochs=3)
    first, lost = steps.weights
    assert not np.array_equal(first[0], lost[0])
    assert (backup_dir / "unfinished" / "best.npz").is_file()
    callback_list, _, _ = chosen(**values)
    network = fit([Losses(2, 3, 4), *callback_list], epochs=3, initial_epoch=1)
    load_best_weights(network, str(backup_dir))
    np.testing.assert_equal(network.get_weights(), first)


def test_weights_that_cannot_be_written_are_an_error(tmp_path, full_disk):
    """HDF5 would leave zeros in their place, and say nothing."""
    network = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    callback = BestWeights(str(tmp_path))
    callback.set_model(network)
    with full_disk(), pytest.raises(OSError):
        callback.on_epoch_end(0, {"val_loss": 1.0})
