"""The settings of Trainer: network, augmentation and training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from components.trainer.class_weights import ClassWeights
from components.trainer.fill import Fill

_INNER = "augmentation."
# Patches of 3x3 pixels have nine directions for each channel, in both signs. One in nine is left
# out, since oneDNN computes channels in blocks of 16.
_WHITENING_FILTERS_PER_CHANNEL = 16


class UnknownHyperparameterError(ValueError):
    """A hyperparameter with the name of no setting."""


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of the training images; 0 disables a change.

    Attributes:
      rotation: Maximum rotation in either direction, in degrees.
      shift: Maximum shift in either direction, as a share of height and width.
      shear: Maximum shear in either direction, as a share of the width.
      zoom: Maximum change of size in either direction, as a share.
      crop: Maximum share of height and width to cut off; the rest is enlarged.
      flip: Whether to mirror images left to right.
      flip_vertical: Whether to mirror images top to bottom.
      fill: What moves into the image.
      brightness: Maximum change in either direction, as a share of the range from black to white.
      contrast: Maximum change in either direction, as a share of the contrast.
      colour: Maximum change of the saturation, as a share; nothing changes in images with one
        channel.
      erasing: Probability that a rectangle of the image becomes noise.
    """

    rotation: float
    shift: float
    shear: float
    zoom: float
    crop: float
    flip: bool
    flip_vertical: bool
    fill: Fill
    brightness: float
    contrast: float
    colour: float
    erasing: float


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings that determine the trained model, together with the data and the code.

    Attributes:
      precision: Precision of the training, `float32` or `bfloat16`; the exported model computes in
        float32.
      widths: Number of filters of each stage; each stage halves height and width.
      whitening: Whether a frozen convolution before the first stage whitens patches of the images.
      dropout: Share of the features before the head that training drops.
      l2: Weight of the L2 penalty on the kernels of convolutions and head.
      weight_decay: Share of a weight to subtract per step, multiplied by the learning rate.
      epochs: Maximum number of epochs.
      minutes: Time for the training in minutes, which says how many epochs there are; None leaves
        that to `epochs`.
      batch_size: Number of images per step.
      optimizer: `muon` for the convolutions and AdamW for the rest, or `adam` for all weights.
      learning_rate: Peak learning rate.
      warm_up: Share of the training in which the rate increases; after it, the rate decreases.
      ema_momentum: Momentum of the moving average of the weights, which is validated and kept; 0
        disables the average.
      class_weights: Weights of the classes in the loss: `none`, `balanced`, or by class name.
      label_smoothing: Share of each label to spread over all classes.
      plateau_patience: Number of epochs without a lower validation loss before a cut of the rate.
      plateau_factor: Factor of such a cut.
      early_stopping_patience: Number of epochs without a lower validation loss before the end.
      flip_averaging: Whether predictions average an image and its mirror image.
      shift_averaging: Whether predictions average an image and copies shifted by a pixel.
      warm_start: Whether training starts with the weights of the served model.
      deterministic: Whether TensorFlow's operations add in a fixed order.
      memory_megabytes: Maximum size of the training images in memory; larger data is read from a
        temporary file. This does not change the trained model.
      seed: Random seed of weights, shuffling, dropout and augmentation.
      augmentation: Random changes of the training images.
      identity: Hash of the data and the code.
      background: Brightness of the background of the images, 0 to 255.
    """

    precision: str
    widths: tuple[int, ...]
    whitening: bool
    dropout: float
    l2: float
    weight_decay: float
    epochs: int
    minutes: float | None
    batch_size: int
    optimizer: Literal["muon", "adam"]
    learning_rate: float
    warm_up: float
    ema_momentum: float
    class_weights: ClassWeights
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
    background: int

    @property
    def most_in_memory(self) -> int:
        """Maximum size of the training images in memory, in bytes."""
        return self.memory_megabytes * 2**20

    def whitening_filters(self, channels: int) -> int:
        """Returns the number of filters that whiten images of some channels; 0 if none do."""
        return whitening_filters(self.widths, channels) if self.whitening else 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Reads the settings from the custom configuration of a node."""
        augmentation = Augmentation(**values["augmentation"])
        widths = tuple(values["widths"])
        return cls(**{**values, "augmentation": augmentation, "widths": widths})


def whitening_filters(widths: Sequence[int], channels: int) -> int:
    """Returns the number of filters of a whitening convolution before stages of some widths.

    At most as many as the first stage has: `init` gives large images few there, since the full
    size costs the most.
    """
    return min(_WHITENING_FILTERS_PER_CHANNEL * channels, widths[0])


def with_run_parameters(
    values: Mapping[str, object], seed: int, data_digest: str
) -> dict[str, object]:
    """Adds the values that are runtime parameters of a compiled graph to a dict of settings.

    Args:
      values: `Settings` as a dict without the seed; its identity covers only the code.
      seed: Random seed.
      data_digest: Digest of the data.
    """
    return {**values, "seed": seed, "identity": f"{values['identity']}-{data_digest}"}


def with_hyperparameters(settings: Settings, values: Mapping[str, float]) -> Settings:
    """Returns settings with some values replaced.

    Args:
      settings: Settings to start from.
      values: New values by setting; names of augmentation settings begin with `augmentation.`.

    Raises:
      UnknownHyperparameterError: If there is no setting with a name.
    """
    _check_names(values)
    # mypy cannot check the types, since the names are known only at run time.
    inner: dict[str, Any] = {
        name.removeprefix(_INNER): value
        for name, value in values.items()
        if name.startswith(_INNER)
    }
    outer: dict[str, Any] = {
        name: value for name, value in values.items() if not name.startswith(_INNER)
    }
    augmentation = dataclasses.replace(settings.augmentation, **inner)
    return dataclasses.replace(settings, **outer, augmentation=augmentation)


def _check_names(values: Mapping[str, float]) -> None:
    known = [field.name for field in dataclasses.fields(Settings) if field.name != "augmentation"]
    known += [_INNER + field.name for field in dataclasses.fields(Augmentation)]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise UnknownHyperparameterError(
            f"hyperparameter {unknown[0]!r}: no setting has this name; expected one of "
            f"{', '.join(known)}. Correct the name in components/tuner/search.py."
        )
