"""Asks the PyTorch peer, in a process of its own Python."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
from typing import Any

from benchmarks import idx_files, processes, pytorch_environment, pytorch_task, trainings
from benchmarks.pytorch_task import Order, Recipe, Speed, SpeedTask, Training, TrainingTask
from benchmarks.trainings import Inputs
from components import control_groups
from components.trainer.settings import Settings
from pipeline.config import Config


def measure_speed(
    inputs: Inputs, config: Config, order: Order, compiled: bool, images: int
) -> Speed:
    """Times the training of the network of a configuration; arguments are those of `SpeedTask`.

    Raises:
      DataError: If the folder of the images has not just the four IDX files.
      MeasurementError: If the peer ends without an answer.
    """
    task = SpeedTask(**_common(inputs, config), order=order, compiled=compiled, images=images)
    return Speed(**_answer(task))


def train(inputs: Inputs, config: Config, validation: list[int]) -> Training:
    """Trains by a configuration; shows each epoch on the terminal.

    Args:
      inputs: The four IDX files.
      config: Configuration with no other augmentation than those of `Recipe`.
      validation: Positions, in the training files, of the images to validate on.

    Raises:
      DataError: If the folder of the images has not just the four IDX files.
      MeasurementError: If the peer ends without an answer.
    """
    return Training(**_answer(TrainingTask(**_common(inputs, config), validation=validation)))


def compiler() -> str | None:
    """Returns the C++ compiler that `torch.compile` would take; None if there is none."""
    return shutil.which(os.environ.get("CXX", "g++"))


def _common(inputs: Inputs, config: Config) -> dict[str, Any]:
    # The peer trusts that a folder has exactly these.
    for half in (idx_files.TRAIN, idx_files.TEST):
        idx_files.paths(pathlib.Path(inputs.data.location), half)
    return {
        "data": inputs.data.location,
        "class_count": len(inputs.schema.class_names),
        # As many as TensorFlow takes.
        "threads": control_groups.cores(),
        "recipe": _recipe(trainings.settings_of(config), inputs.schema.shape[2]),
    }


def _recipe(settings: Settings, channels: int) -> Recipe:
    return Recipe(
        precision=settings.precision,
        widths=settings.widths,
        whitening_filters=settings.whitening_filters(channels),
        dropout=settings.dropout,
        weight_decay=settings.weight_decay,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        optimizer=settings.optimizer,
        learning_rate=settings.learning_rate,
        warm_up=settings.warm_up,
        ema_momentum=settings.ema_momentum,
        label_smoothing=settings.label_smoothing,
        seed=settings.seed,
        background=settings.background,
        flip=settings.augmentation.flip,
        shift=settings.augmentation.shift,
        erasing=settings.augmentation.erasing,
    )


def _answer(task: SpeedTask | TrainingTask) -> dict[str, Any]:
    """Starts the peer, shows its lines and returns its answer.

    Raises:
      MeasurementError: If it ends without an answer.
    """
    python = pytorch_environment.python()
    if python is None:
        raise processes.MeasurementError(pytorch_environment.LEFT_OUT)
    compiled = {"TORCHINDUCTOR_CACHE_DIR": str(pytorch_environment.FOLDER / "compiled")}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        log = pathlib.Path(folder) / "log.txt"
        with (
            log.open("wb") as errors,
            subprocess.Popen(
                [python, "-m", "benchmarks.pytorch_peer"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=pytorch_environment.ROOT,
                env={**os.environ, **compiled},
            ) as process,
        ):
            # Both pipes are there, as asked for; the input stays open, or the peer would end.
            process.stdin.write(f"{pytorch_task.written(task)}\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            for line in process.stdout or ():
                message = json.loads(line)
                if "answer" in message:
                    return message["answer"]
                processes.notify(f"           {message['line']}")
        raise processes.MeasurementError(
            f"the PyTorch peer ended with exit code {process.returncode} and no answer; expected "
            "one. Make its environment anew if packages are missing: "
            f"{pytorch_environment.COMMAND}. Its last words:\n{processes.last_lines(log)}"
        )
