"""The callbacks of training, and those that Keras has not."""

from __future__ import annotations

import csv
import json
import logging
import math
import os
import time

import keras

from components import features
from components.trainer.resumption import (
    EpochSeeds,
    Snapshots,
    new_best_weights,
    read_progress,
)
from components.trainer.schedule import WarmUpAndDecay
from components.trainer.settings import Settings

# What is left of a rate at which a training diverged, in the run that is proposed instead.
_SMALLER = 0.1
_ADVICE = "Set a smaller training.learning_rate."
_TUNED_ADVICE = (
    "Tuner chose this rate in place of training.learning_rate: set tuner.enabled=false beside a "
    "smaller training.learning_rate, or lower the range of learning_rate in "
    "components/tuner/search.py."
)
_LOSSES = {"loss": "loss", "val_loss": "validation loss"}

logger = logging.getLogger(__name__)


class TrainingDiverged(RuntimeError):
    """The loss is no longer a number; the same training would come to the same.

    Attributes:
      changes: of the configuration, `key=value` each, with which a run may end otherwise.
    """

    def __init__(self, finding: str, learning_rate: float, tuned: bool = False):
        """Says what happened, and what helps.

        Args:
          finding: what happened, and what is left.
          learning_rate: of the settings, at its peak.
          tuned: whether Tuner chose this rate, so that the configuration's is not looked at.
        """
        super().__init__(f"{finding} {_TUNED_ADVICE if tuned else _ADVICE}")
        self._finding = finding
        self._learning_rate = learning_rate
        smaller = f"training.learning_rate={learning_rate * _SMALLER:g}"
        self.changes = ["tuner.enabled=false", smaller] if tuned else [smaller]

    def at_tuned_rate(self) -> TrainingDiverged:
        """The same, where Tuner chose the rate."""
        return TrainingDiverged(self._finding, self._learning_rate, tuned=True)


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


class DivergenceWatch(keras.callbacks.Callback):
    """Calls `diverged` as soon as the loss of a step or of an epoch is no longer a number."""

    def __init__(self) -> None:
        super().__init__()
        self._epoch = 0

    def diverged(self, finding: str, epoch: int) -> None:
        """Ends the training; `finding` says which loss became what, `epoch` counts from 1."""
        raise NotImplementedError

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._check("loss", logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._check("loss", logs)
        self._check("val_loss", logs)

    def _check(self, name: str, logs: dict | None) -> None:
        loss = float((logs or {}).get(name, 0.0))
        if not math.isfinite(loss):
            self.diverged(f"the {_LOSSES[name]} became {loss}", self._epoch + 1)


class StopOnDivergence(DivergenceWatch):
    """Ends training with an error that says when, at which rate, and what is left."""

    def __init__(self, backup_dir: str, learning_rate: float):
        """Takes what the error names: the folder of the snapshots, and the rate at its peak."""
        super().__init__()
        self._backup_dir = backup_dir
        self._learning_rate = learning_rate

    def diverged(self, finding: str, epoch: int) -> None:
        """Raises TrainingDiverged."""
        rate = float(self.model.optimizer.learning_rate)
        raise TrainingDiverged(
            f"{finding} in epoch {epoch} at learning rate {rate:g}; expected a number. "
            f"{self._last_checkpoint()}",
            self._learning_rate,
        )

    def _last_checkpoint(self) -> str:
        progress = read_progress(self._backup_dir)
        if progress.snapshot is None:
            return "There is no good checkpoint: no epoch was completed before."
        return f"The last good checkpoint, of epoch {progress.epochs}, is {progress.snapshot}."


class History(keras.callbacks.Callback):
    """Writes what was measured in each epoch as a JSON list and as CSV, after each of them.

    Attributes:
      epochs: the entries so far.
    """

    def __init__(self, folder: str):
        super().__init__()
        self._folder = folder
        self.epochs: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        self.epochs.append({"epoch": epoch + 1, **values})
        with open(self._path(features.HISTORY_FILE), "w", encoding="utf-8") as file:
            json.dump(self.epochs, file, indent=1)
        with open(self._path(features.HISTORY_TABLE_FILE), "w", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(self.epochs[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(self.epochs)

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)


def training_callbacks(
    settings: Settings, steps_per_epoch: int, log_dir: str, backup_dir: str
) -> list[keras.callbacks.Callback]:
    """The callbacks of a training, in the order in which they act.

    Args:
      settings: patience, factors, and the shape of the schedule.
      steps_per_epoch: steps in an epoch.
      log_dir: local folder for TensorBoard, CSV and JSON.
      backup_dir: local folder for the snapshot of each epoch, with the best weights so far.
    """
    callbacks = [
        StopOnDivergence(backup_dir, settings.learning_rate),
        EpochSeeds(settings.seed),
        keras.callbacks.ReduceLROnPlateau(
            factor=settings.plateau_factor, patience=settings.plateau_patience
        ),
        WarmUpAndDecay(settings.learning_rate, settings.warm_up, steps_per_epoch, settings.epochs),
        *averaging(settings),
        keras.callbacks.ModelCheckpoint(
            _unformatted(new_best_weights(backup_dir)), save_best_only=True, save_weights_only=True
        ),
        keras.callbacks.EarlyStopping(patience=settings.early_stopping_patience),
        keras.callbacks.TensorBoard(os.path.join(log_dir, "tensorboard"), write_graph=False),
        History(log_dir),
        EpochLog(settings.epochs),
    ]
    return [*callbacks, Snapshots(backup_dir, callbacks)]


def _unformatted(path: str) -> str:
    """What `str.format`, to which Keras gives the path, makes the path of."""
    return path.replace("{", "{{").replace("}", "}}")


def averaging(settings: Settings) -> list[keras.callbacks.Callback]:
    """Ahead of ModelCheckpoint, so that the averaged weights are what it keeps."""
    return [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if settings.ema_momentum else []
