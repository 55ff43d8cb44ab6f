"""The report of Trainer on a training, kept in the artifact of the model run."""

from __future__ import annotations

import dataclasses
import json
import os

from components import features


@dataclasses.dataclass(frozen=True)
class FittedCalibration:
    """How logits become probabilities.

    Attributes:
      temperature: What logits are divided by, fitted on the validation split.
      label_smoothing: That of the training, which is taken back.
    """

    temperature: float
    label_smoothing: float


@dataclasses.dataclass(frozen=True)
class TrainingReport:
    """What was settled when the training began, or fitted when it had ended.

    Attributes:
      precision: What the network was trained in: `float32` or `bfloat16`.
      settled_epochs: Number of epochs that fit into `training.minutes`; None without this setting.
      hyperparameters: What Tuner chose, by the name of the setting; None without a Tuner.
      warm_start_from: Folder of the model that the training began at; None if it began anew.
      calibration: That of the model.
    """

    precision: str
    settled_epochs: int | None
    hyperparameters: dict[str, float] | None
    warm_start_from: str | None
    calibration: FittedCalibration


def write(report: TrainingReport, model_run_uri: str) -> None:
    """Writes the report into the artifact of the model run."""
    # Imported here: a run's records are read without TFX.
    from tfx.dsl.io import fileio

    with fileio.open(os.path.join(model_run_uri, features.TRAINING_REPORT_FILE), "w") as file:
        file.write(json.dumps(dataclasses.asdict(report), indent=1))


def parse(text: str) -> TrainingReport:
    """Reads a report from its JSON form."""
    values = json.loads(text)
    return TrainingReport(**{**values, "calibration": FittedCalibration(**values["calibration"])})
