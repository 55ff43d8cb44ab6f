"""Images per second: of our training, of the same layers in stock Keras, of convolutions alone."""

from __future__ import annotations

import math
import time

import keras
import numpy as np

from benchmarks import convolutions, stock_network, trainings
from benchmarks.pace import Pace
from components import features
from components.examples import Split
from components.trainer import model, training
from pipeline.config import Config


class StepClock(keras.callbacks.Callback):
    """Times the steps of a `fit`, all but the first.

    In the first, TensorFlow builds its graphs. Where it takes several steps at once, the first of
    these rounds is left out.
    """

    def __init__(self, batch_size: int):
        super().__init__()
        self._batch_size = batch_size
        self._steps = 0
        self._last_batch = -1
        self._marks: list[tuple[int, float]] = []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Batches are counted from 0 in each epoch."""
        self._last_batch = -1

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Notes when the step ended."""
        self._steps += batch - self._last_batch
        self._last_batch = batch
        self._marks.append((self._steps, time.perf_counter()))

    def pace(self) -> Pace:
        """Images and seconds between the first mark and the last."""
        (first_step, first), (last_step, last) = self._marks[0], self._marks[-1]
        return Pace((last_step - first_step) * self._batch_size, last - first)


def measure_ours(inputs: trainings.Inputs, config: Config, images: int) -> Pace:
    """Our network as the pipeline trains it, input and augmentation included.

    Args:
      inputs: images and Transform's graph.
      config: of the training.
      images: about how many to take.
    """
    trainings.use_cores(config)
    settings = trainings.settings_of(config)
    split = _first_images(inputs, config, images)
    network, data = training.prepare(settings, inputs.schema, split)
    epochs = _epochs(images, split, data.steps // network.steps_per_execution)
    clock = StepClock(settings.batch_size)
    network.fit(
        data.dataset(trainings.transform_graph(inputs), 0, epochs),
        epochs=epochs,
        steps_per_epoch=data.steps,
        verbose=0,
        callbacks=[clock],
    )
    return clock.pace()


def measure_stock(inputs: trainings.Inputs, config: Config, images: int, batch_size: int) -> Pace:
    """The same layers in stock Keras, float32, from arrays in memory and without augmentation.

    Args:
      inputs: images.
      config: widths, dropout and whitening.
      images: about how many to take.
      batch_size: images per step.
    """
    split = _first_images(inputs, config, images)
    shape, classes = inputs.schema.shape, len(inputs.schema.class_names)
    settings = trainings.settings_of(config)
    filters = settings.whitening_filters(shape[2])
    network = stock_network.build(shape, classes, settings.widths, settings.dropout, filters)
    # Full batches alone, so that the pace counts what was worked on.
    whole = len(split.labels) // batch_size * batch_size
    clock = StepClock(batch_size)
    network.fit(
        scaled_images(split, shape)[:whole],
        split.labels[:whole],
        batch_size=batch_size,
        epochs=_epochs(images, split, whole // batch_size),
        verbose=0,
        callbacks=[clock],
    )
    return clock.pace()


def measure_convolutions(inputs: trainings.Inputs, config: Config, images: int) -> Pace:
    """The convolutions of our network alone, in its precision and with its batch size."""
    settings = trainings.settings_of(config)
    network = model.build_network(inputs.schema.shape, len(inputs.schema.class_names), settings)
    forms = convolutions.of_network(network)
    return convolutions.measure(forms, settings.batch_size, settings.precision, images)


def scaled_images(split: Split, shape: tuple[int, int, int]) -> np.ndarray:
    """Images as notebooks prepare them, float32 [N, height, width, channels] in [0, 1]."""
    return split.images.reshape(-1, *shape).astype(np.float32) / 255


def _first_images(inputs: trainings.Inputs, config: Config, images: int) -> Split:
    name = features.TRAIN_SPLIT
    return trainings.read_splits(inputs, config, [name])[name].at(slice(images))


def _epochs(images: int, split: Split, rounds_per_epoch: int) -> int:
    # Two rounds at least, since the first is not timed.
    return max(math.ceil(images / len(split.labels)), math.ceil(2 / rounds_per_epoch))
