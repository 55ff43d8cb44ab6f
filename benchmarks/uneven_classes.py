"""What class weights do for a class with few images.

Of one class, only every fiftieth training and validation image is kept. The network is trained on
the rest, with and without class weights, over several seeds. The test split keeps all its images
and is asked once per training. The class is one that is easily taken for others, so that a
network that sees it rarely gives it up.

- `rare_recall`: recall of the rare class.
- `rare_precision`: its precision.
- `balanced_accuracy`: mean recall of all classes. As the test split is even, it is the accuracy.
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

if TYPE_CHECKING:
    from components.examples import Split

NAME = "uneven_classes"
WEIGHTS = ("none", "balanced")
KEPT_OF = 50
FIGURES = ("rare_recall", "rare_precision", "balanced_accuracy")

app = command.application()


@app.command(
    cls=command_line.Command,
    epilog="""Examples:

`python -m benchmarks.uneven_classes --data ~/fashion-mnist --json`

`python -m benchmarks.uneven_classes --profile default --seeds 1`

`python -m benchmarks.uneven_classes --short` sees that it works.""",
)
def main(
    profile: Annotated[str, typer.Option(help="Profile to train with.")] = "smoke",
    seeds: command.Seeds = None,
    data: command.DataFrom = None,
    record: command.RecordTo = None,
    short: command.Short = False,
    as_json: command.AsJson = False,
) -> None:
    """Measure what class weights do for a class with few images."""
    chosen_seeds = command.seeds(seeds, short)
    with trainings.prepared(command.data_argument(data, short)) as inputs:
        configuration = {
            "short": short,
            "seeds": chosen_seeds,
            "rare_class": HARDEST_CLASS,
            "kept_of": KEPT_OF,
            "trained": trainings.configuration(inputs, profile).model_dump(mode="json"),
        }
        session = Session(NAME, configuration, inputs.data, record)
        # In turns, so that a slow hour of the machine meets both.
        for seed in chosen_seeds:
            for weights in WEIGHTS:
                repeat = processes.in_fresh_process(measure, inputs, profile, weights, seed)
                session.add(repeat, _line(repeat))
    answer = figures(session.repeats)
    session.end(answer, [table(answer)], as_json)


def measure(inputs: trainings.Inputs, profile: str, weights: str, seed: int) -> dict[str, Any]:
    """Trains and tests once, in this process.

    Args:
      inputs: images and Transform's graph.
      profile: whose configuration.
      weights: value of `training.class_weights`.
      seed: of everything random.

    Returns:
      `weights`, `seed`, `seconds`, the number of training images of the rare class, and the
      figures of the test split.
    """
    from components.trainer import training

    chosen = f"training.class_weights={weights}"
    config = trainings.configuration(inputs, profile, chosen, seed=seed)
    splits = trainings.read_splits(inputs, config, features.SPLITS)
    rare = inputs.schema.class_names.index(HARDEST_CLASS)
    for name in trainings.LEARNT_FROM:
        splits[name] = thinned(splits[name], rare)
    trained = trainings.train(inputs, config, splits)
    test, graph = splits[features.TEST_SPLIT], trainings.transform_graph(inputs)
    probabilities = training.predict(trained.classifier, test, graph)
    scores = trainings.scores(probabilities, test.labels, inputs.schema.class_names)
    return {
        "weights": weights,
        "seed": seed,
        "seconds": trained.seconds,
        "rare_images": int((splits[features.TRAIN_SPLIT].labels == rare).sum()),
        "rare_recall": scores["per_class"][HARDEST_CLASS]["recall"],
        "rare_precision": scores["per_class"][HARDEST_CLASS]["precision"],
        "balanced_accuracy": float(
            np.mean([each["recall"] for each in scores["per_class"].values()])
        ),
    }


def thinned(split: Split, rare: int) -> Split:
    """Keeps every fiftieth image of a class, and all of the others.

    Args:
      split: images and labels.
      rare: label of the class.
    """
    members = np.flatnonzero(split.labels == rare)
    dropped = np.delete(members, np.arange(0, len(members), KEPT_OF))
    return split.at(np.delete(np.arange(len(split.labels)), dropped))


def figures(repeats: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread of each figure over the seeds, by weights."""
    return {
        weights: {key: spread([run[key] for run in runs]) for key in FIGURES}
        for weights, runs in grouped(repeats, "weights").items()
    }


def table(figures: dict[str, Any]) -> Table:
    """A row for each kind of weights: mean, and least to most."""
    rows = [
        [
            weights,
            *(
                f"{found[key]['mean']:.3f} ({found[key]['min']:.3f} to {found[key]['max']:.3f})"
                for key in FIGURES
            ),
        ]
        for weights, found in figures.items()
    ]
    headings = ["class weights", "recall of the rare class", "its precision", "balanced accuracy"]
    return Table(headings, rows)


def _line(repeat: dict[str, Any]) -> str:
    of = f"class weights {repeat['weights']}, seed {repeat['seed']}"
    return f"{of}: recall of {HARDEST_CLASS} {repeat['rare_recall']:.3f}"


if __name__ == "__main__":
    command_line.start(app)
