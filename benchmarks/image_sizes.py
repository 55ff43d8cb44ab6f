"""What images of several sizes cost to learn, with the network that `init` chooses for each.

Photographs (`benchmarks.made_images`) are fitted to each size, in gray and in colour. `init` looks
at them, and the training is the one that its configuration file asks for. The test images are asked
once per training, after it.

- `seconds_per_epoch`: median of all epochs but the first, with validation.
- `peak_memory`: bytes of the process that reads the images, trains and tests.
- `accuracy`: on the test images.
- `regression_accuracy`: of a logistic regression on the pixels, which has to fail where images need
  a convolutional network.
- `estimate`: the seconds that `init` estimates, divided by those that the training took.
"""

from __future__ import annotations

import pathlib
import resource
import statistics
import tempfile
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks import command, made_images, processes, trainings
from benchmarks.session import Session
from benchmarks.tables import Table
from cli import command_line
from components import features
from pipeline.config import Config

NAME = "image_sizes"
SIDES = "28,64,96,160"
CHANNELS = {1: "gray", 3: "colour"}
COUNTS = {features.TRAIN_SPLIT: 1_000, features.TEST_SPLIT: 400}
SHORT_SIDES, SHORT_COUNTS = "12,16", {features.TRAIN_SPLIT: 60, features.TEST_SPLIT: 20}
FIGURES = ("seconds_per_epoch", "peak_memory", "accuracy", "regression_accuracy")

_SMALLEST_SIDE = 8
_REGRESSION_STEPS = 200
_MIB = 2**20

app = command.application()


@app.command(
    cls=command_line.Command,
    epilog="""Examples:

`python -m benchmarks.image_sizes --json`

`python -m benchmarks.image_sizes --sides 48,128 --seed 2`

`python -m benchmarks.image_sizes --short` sees that it works.""",
)
def main(
    sides: Annotated[
        str | None, typer.Option(metavar=SIDES, help="Height and width of the images, in pixels.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 1,
    record: command.RecordTo = None,
    short: command.Short = False,
    as_json: command.AsJson = False,
) -> None:
    """Measure time, memory and accuracy for images of several sizes."""
    asked = sides or (SHORT_SIDES if short else SIDES)
    chosen_sides = command.numbers(asked, "--sides", least=_SMALLEST_SIDE)
    counts = SHORT_COUNTS if short else COUNTS
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = pathlib.Path(name)
        photographs = made_images.write_split_photographs(folder / "photographs", counts, seed)
        made = {
            (side, channels): processes.in_fresh_process(
                trainings.initialized,
                photographs,
                folder / f"{side}-{channels}",
                f"{side}x{side}",
                channels,
            )
            for side in chosen_sides
            for channels in CHANNELS
        }
        configs = {key: _seeded(each.config, seed) for key, each in made.items()}
        configuration = {
            "short": short,
            "counts": counts,
            "seed": seed,
            "trained": {
                f"{side}x{side}x{channels}": config.model_dump(mode="json")
                for (side, channels), config in configs.items()
            },
        }
        first = next(iter(made.values()))
        session = Session(NAME, configuration, first.inputs.data, record)
        for (side, channels), each in made.items():
            config = configs[side, channels]
            measured = processes.in_fresh_process(measure, each.inputs, config)
            regression = processes.in_fresh_process(measure_regression, each.inputs, config)
            repeat = {
                "side": side,
                "channels": channels,
                "estimated_seconds": each.estimated_seconds,
                **measured,
                "regression_accuracy": regression,
            }
            session.add(repeat, _line(repeat))
    answer = figures(session.repeats)
    session.end(answer, [table(answer)], as_json)


def _seeded(config: Config, seed: int) -> Config:
    return config.model_copy(update={"seed": seed})


def measure(inputs: trainings.Inputs, config: Config) -> dict[str, Any]:
    """Trains and tests once, in this process.

    Returns:
      `seconds`, `seconds_per_epoch`, `epochs`, `accuracy` and `peak_memory`.
    """
    from components.trainer import training

    splits = trainings.read_splits(inputs, config, features.SPLITS)
    trained = trainings.train(inputs, config, splits)
    test, graph = splits[features.TEST_SPLIT], trainings.transform_graph(inputs)
    answers = training.predict(trained.classifier, test, graph).argmax(axis=1)
    # In the first epoch, TensorFlow builds its graphs.
    measured = trained.epoch_seconds[1:] or trained.epoch_seconds
    return {
        "seconds": trained.seconds,
        "seconds_per_epoch": statistics.median(measured),
        "epochs": len(trained.epoch_seconds),
        "accuracy": float((answers == test.labels).mean()),
        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10,
    }


def measure_regression(inputs: trainings.Inputs, config: Config) -> float:
    """Fits a logistic regression to the training pixels; returns its test accuracy."""
    from sklearn.linear_model import LogisticRegression

    names = (features.TRAIN_SPLIT, features.TEST_SPLIT)
    splits = trainings.read_splits(inputs, config, names)
    train, test = (
        (splits[name].images.astype(np.float32) / 255, splits[name].labels) for name in names
    )
    return float(LogisticRegression(max_iter=_REGRESSION_STEPS).fit(*train).score(*test))


def figures(repeats: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Every figure, by kind of pixels and side."""
    return {
        name: {
            str(run["side"]): {
                **{key: run[key] for key in FIGURES},
                "estimate": run["estimated_seconds"] / run["seconds"],
            }
            for run in repeats
            if run["channels"] == channels
        }
        for channels, name in CHANNELS.items()
    }


def table(figures: dict[str, Any]) -> Table:
    """A row for each kind of pixels and size."""
    headings = ["images", "s an epoch", "MiB", "accuracy", "regression", "estimate"]
    rows = [
        [
            f"{side}x{side}, {name}",
            f"{found['seconds_per_epoch']:.1f}",
            f"{found['peak_memory'] / _MIB:,.0f}",
            f"{found['accuracy']:.3f}",
            f"{found['regression_accuracy']:.3f}",
            f"{found['estimate']:.2f}",
        ]
        for name, by_side in figures.items()
        for side, found in by_side.items()
    ]
    return Table(headings, rows)


def _line(repeat: dict[str, Any]) -> str:
    images = f"{repeat['side']} pixels, {CHANNELS[repeat['channels']]}"
    return f"{images}: accuracy {repeat['accuracy']:.3f} after {repeat['seconds']:.0f} s"


if __name__ == "__main__":
    command_line.start(app)
