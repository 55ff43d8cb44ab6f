"""What the PyTorch peer is asked for, and what it answers: JSON between two Pythons.

The standard library alone, since neither Python has the packages of the other.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal

SPEED, TRAINING = "speed", "training"

# Convolution, pooling, normalisation, ReLU, as we do; or convolution, normalisation, ReLU, pooling.
Order = Literal["pool_first", "usual"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Our settings, as far as the peer has them; `components.trainer.settings` says what they mean.

    It has no cuts of the rate and no early end, which no training of the benchmarks comes to.
    `whitening_filters` is 0 without whitening.
    """

    precision: str
    widths: tuple[int, ...]
    whitening_filters: int
    dropout: float
    weight_decay: float
    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    warm_up: float
    ema_momentum: float
    label_smoothing: float
    seed: int
    background: int
    flip: bool
    shift: float
    erasing: float


@dataclasses.dataclass(frozen=True)
class Task:
    """What both kinds of tasks begin with.

    Attributes:
      data: Folder of the four IDX files.
      class_count: Number of classes.
      threads: Number of PyTorch's threads.
      recipe: Settings of network and training.
    """

    data: str
    class_count: int
    threads: int
    recipe: Recipe


@dataclasses.dataclass(frozen=True)
class SpeedTask(Task):
    """Steps of training to be timed.

    Attributes:
      order: Order of the layers.
      compiled: Whether `torch.compile` compiles the network.
      images: Approximate number of images to take, without the warm-up.
    """

    order: Order
    compiled: bool
    images: int


@dataclasses.dataclass(frozen=True)
class TrainingTask(Task):
    """A whole training.

    Attributes:
      validation: Positions, in the training files, of the images to validate on.
    """

    validation: list[int]


@dataclasses.dataclass(frozen=True)
class Speed:
    """What was timed.

    Attributes:
      images: Number of images.
      seconds: Time that these images took.
      parameters: Number of weights that training changes.
    """

    images: int
    seconds: float
    parameters: int


@dataclasses.dataclass(frozen=True)
class Training:
    """How a training ended.

    Attributes:
      seconds: Time with the validation of each epoch, but without the reading of the data.
      validation_accuracy: Accuracy of the kept weights, in float32.
      test_accuracy: Accuracy of the same weights on the test images.
    """

    seconds: float
    validation_accuracy: float
    test_accuracy: float


def written(task: SpeedTask | TrainingTask) -> str:
    """Returns a task as a line of JSON."""
    kind = SPEED if isinstance(task, SpeedTask) else TRAINING
    return json.dumps({"kind": kind, **dataclasses.asdict(task)})


def read(line: str) -> SpeedTask | TrainingTask:
    """Returns the task of a line from `written`."""
    values: dict[str, Any] = json.loads(line)
    recipe = Recipe(**values.pop("recipe"))
    recipe = dataclasses.replace(recipe, widths=tuple(recipe.widths))
    kind = SpeedTask if values.pop("kind") == SPEED else TrainingTask
    return kind(recipe=recipe, **values)
