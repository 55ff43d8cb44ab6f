"""The callbacks of the training, including some that Keras lacks."""

from __future__ import annotations

import csv
import json
import logging
import math
import os
import time

import keras

from components import features
from components.failures import ConfigurationFailure
from components.trainer.resumption import (
    BestWeights,
    EpochSeeds,
    Snapshots,
    read_progress,
)
from components.trainer.schedule import WarmUpAndDecay
from components.trainer.settings import Settings

# Factor for the learning rate that is proposed after a divergence.
_SMALLER = 0.1
_ADVICE = "Set a smaller training.learning_rate."
_TUNED_ADVICE = (
    "Tuner chose this rate instead of training.learning_rate: set tuner.enabled=false and a "
    "smaller training.learning_rate, or lower the range of learning_rate in "
    "components/tuner/search.py."
)
_LOSSES = {"loss": "loss", "val_loss": "validation loss"}

logger = logging.getLogger(__name__)


class TrainingDiverged(ConfigurationFailure):
    """The loss is no longer a number; the same training would fail again."""

    def __init__(self, finding: str, learning_rate: float, tuned: bool = False):
        """Creates the error with its message and advice.

        Args:
          finding: What happened, and which checkpoint exists.
          learning_rate: Peak learning rate of the settings.
          tuned: Whether Tuner chose this rate, so that the configured one is not used.
        """
        smaller = f"training.learning_rate={learning_rate * _SMALLER:g}"
        super().__init__(
            f"{finding} {_TUNED_ADVICE if tuned else _ADVICE}",
            ["tuner.enabled=false", smaller] if tuned else [smaller],
        )
        self._finding = finding
        self._learning_rate = learning_rate

    def at_tuned_rate(self) -> TrainingDiverged:
        """Returns the same error for a rate that Tuner chose."""
        return TrainingDiverged(self._finding, self._learning_rate, tuned=True)


class EpochLog(keras.callbacks.Callback):
    """Logs each epoch, with its values as attribute `progress` of the log record, for displays."""

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
        """Ends the training; `finding` names the loss and its value, `epoch` counts from 1."""
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
    """Ends the training with an error that names epoch, learning rate and last checkpoint."""

    def __init__(self, backup_dir: str, learning_rate: float):
        """Creates the callback from the folder of the snapshots and the peak learning rate."""
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
    """Writes the metrics of all epochs as a JSON list and as CSV, after each epoch.

    Attributes:
      epochs: Entries so far.
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
    """Returns the callbacks of a training, in the order in which they act.

    Args:
      settings: Settings of the training.
      steps_per_epoch: Number of steps in an epoch.
      log_dir: Local folder for TensorBoard, CSV and JSON.
      backup_dir: Local folder for snapshots, which include the best weights so far.
    """
    callbacks = [
        StopOnDivergence(backup_dir, settings.learning_rate),
        EpochSeeds(settings.seed),
        keras.callbacks.ReduceLROnPlateau(
            factor=settings.plateau_factor, patience=settings.plateau_patience
        ),
        WarmUpAndDecay(settings.learning_rate, settings.warm_up, steps_per_epoch, settings.epochs),
        *averaging(settings),
        BestWeights(backup_dir),
        keras.callbacks.EarlyStopping(patience=settings.early_stopping_patience),
        keras.callbacks.TensorBoard(os.path.join(log_dir, "tensorboard"), write_graph=False),
        History(log_dir),
        EpochLog(settings.epochs),
    ]
    return [*callbacks, Snapshots(backup_dir, callbacks)]


def averaging(settings: Settings) -> list[keras.callbacks.Callback]:
    """Returns the callback for averaged weights; it must precede BestWeights."""
    return [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if settings.ema_momentum else []
