"""What Trainer is told: the settings of the network, its augmentation and its training."""

from __future__ import annotations

import dataclasses
from typing import Any

_INNER = "augmentation."


class UnknownHyperparameterError(ValueError):
    """A hyperparameter bears the name of no setting."""


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of the training images; 0 switches one off.

    Attributes:
      rotation: largest turn either way, in degrees.
      shift: largest move either way, as a share of height and width.
      shear: largest shear either way, as a share of the width.
      zoom: largest change of size either way, as a share.
      flip: whether images are mirrored left to right.
      erasing: probability that a rectangle of the image becomes noise.
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
      precision: `float32` or `bfloat16`, in which the network computes while it is trained. What
        is exported computes in float32.
      widths: filters of each stage of the network; each stage halves height and width.
      whitening: whether the first convolution whitens patches of the images and is not trained.
      dropout: share of the features before the head that are dropped in training.
      l2: weight of the L2 penalty on convolution and head kernels.
      weight_decay: share of a weight that is taken off per step, times the learning rate.
      epochs: passes over the training split, at most.
      batch_size: images per step.
      learning_rate: at its peak.
      warm_up: share of the training during which the rate rises; then it falls.
      ema_momentum: of the moving average of the weights, which is what is validated and kept; 0
        keeps the weights themselves.
      label_smoothing: share of each label that is spread over all classes.
      plateau_patience: epochs without a lower validation loss before the rate is cut.
      plateau_factor: by which the rate is then multiplied.
      early_stopping_patience: epochs without a lower validation loss before training ends.
      flip_averaging: whether answers average an image and its mirror image.
      shift_averaging: whether answers average an image and its like moved by a pixel.
      warm_start: whether training begins at the weights of the served model.
      deterministic: whether TensorFlow's operations add in a fixed order.
      memory_megabytes: of training images, at most, in memory; more of them are read from a
        temporary file. It decides nothing else.
      seed: of weights, shuffling, dropout and augmentation.
      augmentation: the random changes of the training images.
      identity: hash of the data and of the code, which also decide which model comes out.
    """

    precision: str
    widths: tuple[int, ...]
    whitening: bool
    dropout: float
    l2: float
    weight_decay: float
    epochs: int
    batch_size: int
    learning_rate: float
    warm_up: float
    ema_momentum: float
    label_smoothing: float
    plateau_patience: int
    plateau_factor: float
    early_stopping_patience: int
    flip_averaging: bool
    shift_averaging: bool
    warm_start: bool
    deterministic: bool
    memory_megabytes: int
    seed: int
    augmentation: Augmentation
    identity: str

    @property
    def most_in_memory(self) -> int:
        """Bytes of training images that are kept in memory at most."""
        return self.memory_megabytes * 2**20

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """Reads the settings from Trainer's custom configuration."""
        augmentation = Augmentation(**values["augmentation"])
        widths = tuple(values["widths"])
        return cls(**{**values, "augmentation": augmentation, "widths": widths})


def with_run_parameters(values: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """Adds to settings, as a dict, what a compiled graph takes anew with each run.

    Args:
      values: `Settings` without the seed, and with the code alone in its identity.
      parameters: of the node, with its seed and the digest of its data.
    """
    identity = f"{values['identity']}-{parameters['data_digest']}"
    return {**values, "seed": parameters["seed"], "identity": identity}


def with_hyperparameters(settings: Settings, values: dict[str, Any]) -> Settings:
    """The settings with these values in place of their own.

    Args:
      settings: of which everything else stays.
      values: by the name of a setting; those of the augmentation begin with `augmentation.`.

    Raises:
      UnknownHyperparameterError: where no setting bears a name.
    """
    _check_names(values)
    inner = {name: value for name, value in values.items() if name.startswith(_INNER)}
    outer = {name: value for name, value in values.items() if name not in inner}
    augmentation = dataclasses.replace(
        settings.augmentation, **{name.removeprefix(_INNER): inner[name] for name in inner}
    )
    return dataclasses.replace(settings, **outer, augmentation=augmentation)


def _check_names(values: dict[str, Any]) -> None:
    known = [field.name for field in dataclasses.fields(Settings) if field.name != "augmentation"]
    known += [_INNER + field.name for field in dataclasses.fields(Augmentation)]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise UnknownHyperparameterError(
            f"hyperparameter {unknown[0]!r}: no setting of this name; expected one of "
            f"{', '.join(known)}. The names stand in components/tuner/search.py."
        )
