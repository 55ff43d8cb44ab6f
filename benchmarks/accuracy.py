"""Test accuracy of each profile over several seeds.

Each training is that of a run with the same profile and seed: the same split, settings, choice of
the epoch and calibration. The seed decides all that is random, the split included. The test split
is asked once per training, after it, and nothing is chosen on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from benchmarks import command, processes, trainings
from benchmarks.session import Session
from benchmarks.spread import grouped, spread
from benchmarks.tables import Table
from benchmarks.trainings import HARDEST_CLASS
from cli import command_line
from components import features
from pipeline import config as configurations
from pipeline.errors import ConfigurationError
from pipeline.profiles import PROFILES

if TYPE_CHECKING:
    from components.examples import Split
    from pipeline.records.receipt import Calibration

NAME = "accuracy"
# Settings of the training that only a run follows.
_OF_RUNS = ("training.minutes", "training.warm_start")

app = command.application()


@app.command(
    cls=command_line.Command,
    epilog="""Examples:

`python -m benchmarks.accuracy --data ~/fashion-mnist --json`

`python -m benchmarks.accuracy --profile smoke --seeds 1,2,3,4,5`

`python -m benchmarks.accuracy --profile default --set training.epochs=25`

`python -m benchmarks.accuracy --short` sees that it works.""",
)
def main(
    profile: Annotated[
        list[str] | None,
        typer.Option(help="Profile to train; may be repeated. Default: all; with --short, smoke."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="As `run --set`; for every profile."),
    ] = None,
    seeds: command.Seeds = None,
    data: command.DataFrom = None,
    record: command.RecordTo = None,
    short: command.Short = False,
    as_json: command.AsJson = False,
) -> None:
    """Measure the test accuracy of profiles, over seeds."""
    where = command.data_argument(data, short)
    chosen_seeds = command.seeds(seeds, short)
    profiles = profile or (["smoke"] if short else list(PROFILES))
    changes = assignments or []
    _check(changes)
    # Before the images are looked for.
    for name in profiles:
        configurations.load_config(name, changes)
    with trainings.prepared(where) as inputs:
        configuration = {
            "short": short,
            "seeds": chosen_seeds,
            "assignments": changes,
            "trained": {
                name: trainings.configuration(inputs, name, *changes).model_dump(mode="json")
                for name in profiles
            },
        }
        session = Session(NAME, configuration, inputs.data, record)
        for name in profiles:
            for seed in chosen_seeds:
                repeat = processes.in_fresh_process(measure, inputs, name, seed, changes)
                session.add(repeat, _line(repeat))
    session.end(figures(session.repeats), [table(session.repeats)], as_json)


def _check(assignments: Sequence[str]) -> None:
    for key in [assignment.partition("=")[0] for assignment in assignments]:
        if not key.startswith(("training.", "split.")) or key in _OF_RUNS:
            raise ConfigurationError(
                f"--set: found {key}, which changes nothing here; expected keys below training. "
                f"or split., without {' and '.join(_OF_RUNS)}. Seeds are given with --seeds."
            )


def measure(
    inputs: trainings.Inputs, profile: str, seed: int, assignments: Sequence[str]
) -> dict[str, Any]:
    """Trains, calibrates and tests once, in this process.

    Args:
      inputs: images and Transform's graph.
      profile: whose configuration.
      seed: of everything random.
      assignments: settings that differ from the profile, each `key=value`.

    Returns:
      `profile`, `seed`, `seconds` of training, its `epochs`, `temperature`; for the test split the
      errors of calibration `ece_before` and `ece_after`, and what `trainings.scores` returns; the
      same for `validation`.
    """
    from components.trainer import training
    from pipeline.records.receipt import Calibration

    config = trainings.configuration(inputs, profile, *assignments, seed=seed)
    splits = trainings.read_splits(inputs, config, features.SPLITS)
    trained = trainings.train(inputs, config, splits)
    graph, validation = trainings.transform_graph(inputs), splits[features.VALIDATION_SPLIT]
    temperature = training.calibrate(trained.classifier, validation, graph)
    fitted = Calibration(temperature=temperature, label_smoothing=config.training.label_smoothing)

    def answered(split: Split) -> dict[str, Any]:
        probabilities = training.predict(trained.classifier, split, graph)
        return _scores(probabilities, split.labels, fitted, inputs.schema.class_names)

    return {
        "profile": profile,
        "seed": seed,
        "seconds": trained.seconds,
        "epochs": trained.epochs,
        "temperature": temperature,
        **answered(splits[features.TEST_SPLIT]),
        "validation": answered(validation),
    }


def _scores(
    probabilities: np.ndarray,
    labels: np.ndarray,
    fitted: Calibration,
    class_names: Sequence[str],
) -> dict[str, Any]:
    from review import reliability
    from review.answers import Answers

    answers = Answers(probabilities.astype(np.float64))
    errors = reliability.with_errors(fitted, answers, labels)
    return {
        "ece_before": errors.ece_before,
        "ece_after": errors.ece_after,
        **trainings.scores(probabilities, labels, class_names),
    }


def figures(repeats: list[dict[str, Any]]) -> dict[str, Any]:
    """Test accuracy by profile: mean, spread, and that of each seed."""
    profiles = grouped(repeats, "profile")
    return {"test_accuracy": {name: _profile(runs) for name, runs in profiles.items()}}


def _profile(runs: list[dict[str, Any]]) -> dict[str, Any]:
    found = spread([run["accuracy"] for run in runs])
    return {
        "mean": found["mean"],
        "spread": {key: found[key] for key in ("standard_deviation", "min", "max")},
        "seeds": {str(run["seed"]): run["accuracy"] for run in runs},
    }


def table(repeats: list[dict[str, Any]]) -> Table:
    """A row for each profile, with means over its seeds."""
    headings = ["profile", "seeds", "test accuracy", "deviation", "least", "most"]
    headings += [f"{HARDEST_CLASS} recall", f"{HARDEST_CLASS} F1"]
    headings += ["ECE before", "ECE after", "seconds"]
    return Table(headings, [_row(name, runs) for name, runs in grouped(repeats, "profile").items()])


def _row(name: str, runs: list[dict[str, Any]]) -> list[str]:
    found = spread([run["accuracy"] for run in runs])
    keys = ("mean", "standard_deviation", "min", "max")
    hardest = [run["per_class"][HARDEST_CLASS] for run in runs]
    values = [
        *(found[key] for key in keys),
        spread([scores["recall"] for scores in hardest])["mean"],
        spread([scores["f1"] for scores in hardest])["mean"],
        spread([run["ece_before"] for run in runs])["mean"],
        spread([run["ece_after"] for run in runs])["mean"],
    ]
    seconds = spread([run["seconds"] for run in runs])["mean"]
    return [name, str(len(runs)), *(f"{value:.4f}" for value in values), f"{seconds:.0f}"]


def _line(repeat: dict[str, Any]) -> str:
    of = f"{repeat['profile']}, seed {repeat['seed']}"
    return f"{of}: test accuracy {repeat['accuracy']:.4f} after {repeat['seconds']:.0f} s"


if __name__ == "__main__":
    command_line.start(app)
