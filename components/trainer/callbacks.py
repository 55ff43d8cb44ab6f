"""The callbacks of training, and the two that Keras has not."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable

import keras

from components import features
from components.trainer.settings import Settings

BEST_WEIGHTS_FILE = "best.weights.h5"
_BACKUP_FOLDER = "last_epoch"

logger = logging.getLogger(__name__)


class TrainingDiverged(RuntimeError):
    """The loss is no longer a number."""


class EpochLog(keras.callbacks.Callback):
    """Logs each epoch, and attaches it to the record as `progress` for displays to read."""

    def __init__(self, epochs: int):
        super().__init__()
        self._epochs = epochs
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        seconds = time.monotonic() - self._started
        progress = {"epoch": epoch + 1, "epochs": self._epochs, "seconds": seconds, **values}
        logger.info(
            "epoch %d of %d: loss %.4f, validation loss %.4f, validation accuracy %.4f, %.1f s",
            epoch + 1,
            self._epochs,
            values.get("loss", math.nan),
            values.get("val_loss", math.nan),
            values.get("val_accuracy", math.nan),
            seconds,
            extra={"progress": progress},
        )


class StopOnDivergence(keras.callbacks.Callback):
    """Ends training with an error when the loss is no longer a number."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if math.isfinite(loss):
            return
        rate = float(self.model.optimizer.learning_rate)
        raise TrainingDiverged(
            f"the loss became {loss} in epoch {epoch + 1} at learning rate {rate:g}; expected a "
            "number. Set a smaller training.learning_rate."
        )


class JsonHistory(keras.callbacks.Callback):
    """Writes the history of all epochs as one JSON list, after each of them."""

    def __init__(self, path: str):
        super().__init__()
        self._path = path
        self._epochs: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        self._epochs.append({"epoch": epoch + 1, **values})
        with open(self._path, "w", encoding="utf-8") as file:
            json.dump(self._epochs, file, indent=1)


def linear_decay(epochs: int) -> Callable[[int, float], float]:
    """A schedule that lowers the rate by equal steps, from the whole of it in the first epoch.

    Each step multiplies the rate that it finds, so that a cut by ReduceLROnPlateau stays: that
    callback and a schedule of absolute rates would undo each other.
    """

    def schedule(epoch: int, rate: float) -> float:
        return rate * (epochs - epoch) / (epochs - epoch + 1) if epoch else rate

    return schedule


def training_callbacks(settings: Settings, run_dir: str, backup_dir: str) -> list:
    """The callbacks of a training run, in the order in which they act.

    Args:
      settings: patience and factors.
      run_dir: local folder for TensorBoard, CSV and JSON.
      backup_dir: local folder for the best weights and the backup of each epoch.
    """
    best = os.path.join(backup_dir, BEST_WEIGHTS_FILE)
    return [
        StopOnDivergence(),
        keras.callbacks.LearningRateScheduler(linear_decay(settings.epochs)),
        keras.callbacks.ReduceLROnPlateau(
            factor=settings.plateau_factor, patience=settings.plateau_patience, verbose=0
        ),
        keras.callbacks.ModelCheckpoint(
            best, monitor="val_loss", save_best_only=True, save_weights_only=True
        ),
        keras.callbacks.EarlyStopping(patience=settings.early_stopping_patience),
        keras.callbacks.TensorBoard(os.path.join(run_dir, "tensorboard"), write_graph=False),
        keras.callbacks.CSVLogger(os.path.join(run_dir, "history.csv"), append=True),
        JsonHistory(os.path.join(run_dir, features.HISTORY_FILE)),
        keras.callbacks.BackupAndRestore(os.path.join(backup_dir, _BACKUP_FOLDER)),
        EpochLog(settings.epochs),
    ]
