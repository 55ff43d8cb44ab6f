"""A budget of minutes for a training, as the number of epochs that this machine trains in them.

The number is settled once, before the first epoch, since the learning rate follows a schedule over
all epochs. A training that goes on after an interruption keeps it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components import disk
from components.trainer.batches import TrainingBatches

_FILE = "budget.json"
_SECONDS_MEASURED = 6.0
_VALIDATION_BATCHES_MEASURED = 4
# More than can pass while the speed is measured.
_MANY_EPOCHS = 1_000_000

logger = logging.getLogger(__name__)


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

    It trains and validates the network for some seconds, which count, and after which the network
    is of no use. What TensorFlow does once, in the first step, counts as no part of an epoch.

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
    seconds = _training_seconds(network, data, transform) + _validation_seconds(network, validated)
    left = minutes * 60 - (time.monotonic() - begun)
    epochs = max(1, math.floor(left / seconds))
    logger.info("training.minutes=%g: %d epochs, of about %.1f s each", minutes, epochs, seconds)
    return epochs


def _training_seconds(
    network: keras.Model, data: TrainingBatches, transform: tft.TFTransformOutput
) -> float:
    """Trains for some seconds, and returns the seconds of an epoch."""
    clock = _Clock(_SECONDS_MEASURED)
    network.fit(
        data.dataset(transform, 0, _MANY_EPOCHS),
        epochs=_MANY_EPOCHS,
        steps_per_epoch=data.steps,
        shuffle=False,
        verbose=0,
        callbacks=[clock],
    )
    return clock.seconds_per_call * data.steps / data.steps_at_once()


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
    """Measures the calls of a training after the first one, and ends it after some seconds."""

    def __init__(self, enough: float):
        super().__init__()
        self._enough = enough
        self._begun = 0.0
        # The first call traces the step, and is not counted.
        self._calls = -1
        self.seconds_per_call = math.inf

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        now = time.monotonic()
        self._calls += 1
        if not self._calls:
            self._begun = now
            return
        self.seconds_per_call = (now - self._begun) / self._calls
        if now - self._begun >= self._enough:
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
    path = os.path.join(folder, _FILE)
    new = f"{path}-new"
    with open(new, "w", encoding="utf-8") as file:
        json.dump({"epochs": epochs}, file)
    disk.sync(new)
    os.replace(new, path)
    disk.sync(folder)
