"""A budget of minutes for a training, as the number of epochs that this machine trains in them.

The number is settled once, before the first epoch, since the learning rate follows a schedule over
all epochs. A training that goes on after an interruption keeps it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import pathlib
import time
from typing import NamedTuple

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components import disk
from components.trainer.batches import TrainingBatches

_FILE = "budget.json"
# Of the time for the training, and at most so many seconds.
_SHARE_MEASURED, _MOST_SECONDS_MEASURED = 0.02, 8.0
_VALIDATION_BATCHES_MEASURED = 4
# More than can pass while the speed is measured.
_MANY_EPOCHS = 1_000_000

logger = logging.getLogger(__name__)


class _Pace(NamedTuple):
    """Seconds that a training takes once, to trace its step, and for each epoch."""

    once: float
    epoch: float


def kept_epochs(folder: str) -> int | None:
    """Returns the number of epochs that was settled for an interrupted training.

    Args:
      folder: Local folder of the training; None is returned where it has no number.
    """
    try:
        with open(os.path.join(folder, _FILE), encoding="utf-8") as file:
            return int(json.load(file)["epochs"])
    except FileNotFoundError:
        return None


def measured_epochs(
    minutes: float,
    network: keras.Model,
    data: TrainingBatches,
    transform: tft.TFTransformOutput,
    validated: tf.data.Dataset,
) -> int:
    """Returns how many epochs this machine trains in a number of minutes.

    It trains and validates the network for some seconds, which are part of the minutes. After that,
    the network is of no use.

    Args:
      minutes: Budget in minutes.
      network: Compiled network.
      data: Batches to train on.
      transform: Output of Transform.
      validated: Batches to validate on after each epoch.

    Returns:
      Number of epochs, at least 1.
    """
    begun = time.monotonic()
    enough = min(_SHARE_MEASURED * minutes * 60, _MOST_SECONDS_MEASURED)
    training = _training_pace(network, data, transform, enough)
    epoch = training.epoch + _validation_seconds(network, validated)
    left = minutes * 60 - (time.monotonic() - begun) - training.once
    epochs = max(1, math.floor(left / epoch))
    logger.info("training.minutes=%g: %d epochs, of about %.1f s each", minutes, epochs, epoch)
    return epochs


def _training_pace(
    network: keras.Model, data: TrainingBatches, transform: tft.TFTransformOutput, enough: float
) -> _Pace:
    """Trains until `enough` seconds are measured."""
    clock = _Clock(enough)
    network.fit(
        data.dataset(transform, 0, _MANY_EPOCHS),
        epochs=_MANY_EPOCHS,
        steps_per_epoch=data.steps,
        shuffle=False,
        verbose=0,
        callbacks=[clock],
    )
    epoch = (clock.ended - clock.traced) / clock.calls * data.steps / network.steps_per_execution
    return _Pace(clock.traced - clock.begun, epoch)


def _validation_seconds(network: keras.Model, validated: tf.data.Dataset) -> float:
    """Validates on some batches, and returns the seconds of a whole validation."""
    batches = int(validated.cardinality())
    measured = min(batches, _VALIDATION_BATCHES_MEASURED)
    # TensorFlow traces the step here.
    network.evaluate(validated.take(1), verbose=0)
    begun = time.monotonic()
    network.evaluate(validated.take(measured), verbose=0)
    return (time.monotonic() - begun) * batches / measured


class _Clock(keras.callbacks.Callback):
    """Measures a training, and ends it after some seconds.

    Attributes:
      begun: Time of its begin, in seconds.
      traced: Time of the end of the first call, in which TensorFlow traces the step.
      ended: Time of the end of the last call.
      calls: Number of calls after the first.
    """

    def __init__(self, enough: float):
        super().__init__()
        self._enough = enough
        self.begun = self.traced = self.ended = 0.0
        self.calls = -1

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.begun = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.ended = time.monotonic()
        self.calls += 1
        if self.calls == 0:
            self.traced = self.ended
        elif self.ended - self.traced >= self._enough:
            self.model.stop_training = True


def keep_epochs(epochs: int, folder: str) -> None:
    """Keeps the number for a training that goes on after an interruption.

    It does so in one step, since half of a file would end each continuation.

    Args:
      epochs: Number of epochs.
      folder: Local folder of the training; it is created if needed.

    Raises:
      OSError: If this fails; the next attempt settles the number anew.
    """
    os.makedirs(folder, exist_ok=True)
    disk.write_whole(pathlib.Path(folder, _FILE), json.dumps({"epochs": epochs}))
    disk.sync(folder)
