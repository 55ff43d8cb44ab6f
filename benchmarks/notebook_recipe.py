"""How published notebooks train on Fashion-MNIST, written anew: what our training is compared with.

Five convolutions with batch normalisation, dropout and L2, 280,000 parameters; images changed one
by one in NumPy by Keras's ImageDataGenerator; Adam, batches of 64, float32; EarlyStopping,
ReduceLROnPlateau, ModelCheckpoint. Everything else is left at what Keras does by default.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Collection

import keras
import numpy as np

# What notebooks know as tf.keras.preprocessing.image.ImageDataGenerator.
from keras._tf_keras.keras.preprocessing.image import ImageDataGenerator

from benchmarks import processes

BATCH_SIZE = 64
_LEARNING_RATE = 1e-3
_L2 = 1e-4
_DROPOUT = 0.25
_MOST_EPOCHS = 100
# Accuracy is looked at more often than a notebook does, so that none has to wait for the end of an
# epoch to have reached its threshold.
_LOOKS_PER_EPOCH = 4
_PREDICTION_BATCH = 1000


@dataclasses.dataclass(frozen=True)
class Images:
    """Images, float32 [N, height, width, channels] in [0, 1], and their labels, int [N]."""

    pixels: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Look:
    """The validation accuracy at a moment of the training.

    Attributes:
      seconds: since the training began, with validation at the end of each epoch, without looks.
      accuracy: on the validation images.
    """

    seconds: float
    accuracy: float


@dataclasses.dataclass(frozen=True)
class Course:
    """How a training went.

    Attributes:
      looks: in order.
      seconds: of the whole training, counted as in `Look`.
      images_per_second: of the steps alone, but the first, without any validation.
      ended: `reached`, `limit`, or `stopped` where the recipe itself gave up.
    """

    looks: list[Look]
    seconds: float
    images_per_second: float
    ended: str


def build(image_shape: tuple[int, int, int], class_count: int) -> keras.Model:
    """Builds and compiles the network.

    Args:
      image_shape: height, width and channels.
      class_count: number of classes.
    """
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input(image_shape),
            *_convolution(32, 5),
            layers.MaxPooling2D(padding="same"),
            layers.Dropout(_DROPOUT),
            *_convolution(64, 3),
            *_convolution(64, 3),
            layers.MaxPooling2D(padding="same"),
            layers.Dropout(_DROPOUT),
            *_convolution(128, 3),
            *_convolution(128, 3),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(_DROPOUT),
            layers.Dense(class_count, activation="softmax"),
        ]
    )
    network.compile(
        optimizer=keras.optimizers.Adam(_LEARNING_RATE),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return network


def _convolution(filters: int, size: int) -> list[keras.layers.Layer]:
    return [
        keras.layers.Conv2D(
            filters, size, padding="same", kernel_regularizer=keras.regularizers.L2(_L2)
        ),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
    ]


def train(
    network: keras.Model,
    images: Images,
    validation: Images,
    goal: float,
    limit_seconds: float,
    seed: int,
) -> Course:
    """Trains until an accuracy is reached, the time is over, or the recipe gives up.

    Args:
      network: from `build`.
      images: to train on.
      validation: to look at the accuracy on.
      goal: the accuracy at which to end.
      limit_seconds: after which to end in any case.
      seed: of augmentation and order.
    """
    batches = _augmentation().flow(images.pixels, images.labels, BATCH_SIZE, seed=seed)
    watch = _Watch(validation, goal, limit_seconds, len(batches))
    with tempfile.TemporaryDirectory() as folder:
        network.fit(
            batches,
            epochs=_MOST_EPOCHS,
            validation_data=(validation.pixels, validation.labels),
            verbose=0,
            callbacks=[
                keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True),
                keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=3, min_lr=1e-5),
                keras.callbacks.ModelCheckpoint(f"{folder}/best.keras", save_best_only=True),
                watch,
            ],
        )
    return watch.course()


def _augmentation() -> ImageDataGenerator:
    # The values that notebooks copy from each other; shear is in degrees there.
    return ImageDataGenerator(
        rotation_range=8,
        width_shift_range=0.08,
        height_shift_range=0.08,
        shear_range=0.3,
        zoom_range=0.08,
        horizontal_flip=True,
    )


class _Watch(keras.callbacks.Callback):
    """Looks at the validation accuracy several times an epoch, and ends the training."""

    def __init__(self, validation: Images, goal: float, limit_seconds: float, steps: int):
        super().__init__()
        self._validation = validation
        self._goal = goal
        self._limit = limit_seconds
        self._look_after = _steps_of_looks(steps)
        self._looks: list[Look] = []
        self._images = 0
        self._began = self._first_step = 0.0
        self._looking = self._validating = self._validation_began = 0.0
        self._ended = "stopped"

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self._first_step:
            self._images += BATCH_SIZE
        else:
            self._first_step = self._seconds()
        if batch + 1 in self._look_after:
            self._look()
        if self._seconds() > self._limit and self._ended == "stopped":
            self._end("limit")

    def on_test_begin(self, logs: dict | None = None) -> None:
        self._validation_began = time.perf_counter()

    def on_test_end(self, logs: dict | None = None) -> None:
        self._validating += time.perf_counter() - self._validation_began

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._add(self._seconds(), float((logs or {})["val_accuracy"]))

    def course(self) -> Course:
        """What was seen."""
        seconds = self._seconds()
        stepping = seconds - self._first_step - self._validating
        return Course(self._looks, seconds, self._images / stepping, self._ended)

    def _look(self) -> None:
        began, seconds = time.perf_counter(), self._seconds()
        answers = self.model.predict(
            self._validation.pixels, batch_size=_PREDICTION_BATCH, verbose=0
        )
        accuracy = float((answers.argmax(axis=1) == self._validation.labels).mean())
        self._looking += time.perf_counter() - began
        self._add(seconds, accuracy)

    def _add(self, seconds: float, accuracy: float) -> None:
        self._looks.append(Look(seconds, accuracy))
        processes.notify(f"           {seconds:6.0f} s: validation accuracy {accuracy:.4f}")
        if accuracy >= self._goal:
            self._end("reached")

    def _end(self, reason: str) -> None:
        self._ended = reason
        self.model.stop_training = True

    def _seconds(self) -> float:
        return time.perf_counter() - self._began - self._looking


def _steps_of_looks(steps: int) -> Collection[int]:
    # The last look of an epoch is its own validation.
    return {steps * number // _LOOKS_PER_EPOCH for number in range(1, _LOOKS_PER_EPOCH)}
