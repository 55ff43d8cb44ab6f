"""What Trainer is told: the settings of the network, its augmentation and its training."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of the training images; 0 switches one off.

    Attributes:
      rotation: largest turn either way, in degrees.
      shift: largest move either way, as a share of height and width.
      shear: largest shear either way, as a share of the width.
      zoom: largest change of size either way, as a share.
      flip: whether images are mirrored left to right.
      erasing: probability that a rectangle of the image is blanked.
    """

    rotation: float
    shift: float
    shear: float
    zoom: float
    flip: bool
    erasing: float


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that decides which model comes out, beside the data and the code.

    Attributes:
      widths: filters of each stage of the network; each stage halves height and width.
      dropout: share of the features before the head that are dropped in training.
      l2: weight of the L2 penalty on convolution and head kernels.
      epochs: passes over the training split, at most.
      batch_size: images per step.
      learning_rate: of Adam in the first epoch; it falls in equal steps, and at a plateau.
      label_smoothing: share of each label that is spread over all classes.
      plateau_patience: epochs without a lower validation loss before the rate is cut.
      plateau_factor: by which the rate is then multiplied.
      early_stopping_patience: epochs without a lower validation loss before training ends.
      seed: of weights, shuffling, dropout and augmentation.
      augmentation: the random changes of the training images.
      backup_name: of the folder in which the best weights and a backup per epoch survive a crash;
        equal only for runs that would train the same model.
    """

    widths: tuple[int, ...]
    dropout: float
    l2: float
    epochs: int
    batch_size: int
    learning_rate: float
    label_smoothing: float
    plateau_patience: int
    plateau_factor: float
    early_stopping_patience: int
    seed: int
    augmentation: Augmentation
    backup_name: str

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """Reads the settings from Trainer's custom configuration."""
        augmentation = Augmentation(**values["augmentation"])
        widths = tuple(values["widths"])
        return cls(**{**values, "augmentation": augmentation, "widths": widths})
