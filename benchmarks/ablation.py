"""What each trick of the recipe is worth: switched off, or on, alone.

Every variant changes one thing of the reference, which is the default profile, and is trained with
the same seeds. What counts is the difference to the reference with the same seed, on the
validation split; the test split serves nothing here.

Cross-entropy is that of calibrated answers, since the pipeline calibrates whatever it trains: the
temperature is fitted to the validation split, as it is there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from benchmarks import command, processes, trainings
from benchmarks.session import Session
from benchmarks.spread import grouped, spread
from benchmarks.tables import Table
from benchmarks.trainings import HARDEST_CLASS
from cli import command_line
from components import features
from pipeline import config as configurations

NAME = "ablation"
REFERENCE = "reference"

# What each variant changes: keys below `training.`, as for `pipeline_runner.py run --set`.
VARIANTS: dict[str, dict[str, Any]] = {
    "no whitening": {"whitening": False},
    "no label smoothing": {"label_smoothing": 0.0},
    "no erasing": {"augmentation.erasing": 0.0},
    "more erasing": {"augmentation.erasing": 0.5},
    "no flip": {"augmentation.flip": False},
    "no shift": {"augmentation.shift": 0.0},
    "rotation": {"augmentation.rotation": 10.0},
    "zoom": {"augmentation.zoom": 0.1},
    "shear": {"augmentation.shear": 0.1},
    "dropout": {"dropout": 0.1},
    "more dropout": {"dropout": 0.3},
    "no warm-up": {"warm_up": 0.0},
    "no weight decay": {"weight_decay": 0.0},
    "L2": {"l2": 1e-4},
    "half the rate": {"learning_rate": 0.003},
    "twice the rate": {"learning_rate": 0.012},
    "batch of 125": {"batch_size": 125},
    "batch of 500": {"batch_size": 500},
    "float32": {"precision": "float32"},
    "flip averaging": {"flip_averaging": True},
    "shift averaging": {"shift_averaging": True},
    "flip and shift averaging": {"flip_averaging": True, "shift_averaging": True},
    "no averaged weights": {"ema_momentum": 0.0},
    # Those of tricks.py, which change no setting.
    "erased to black": {},
    "Shirt counts 1.5": {},
    "focal loss": {},
    "confusion-aware smoothing": {},
}
_SHORT_VARIANTS = ("no erasing", "no flip")
_SHORT_EPOCHS, _SHORT_WIDTHS = 2, "8,16"

app = command.application()


@app.command(
    cls=command_line.Command,
    epilog="""Examples:

`python -m benchmarks.ablation --data ~/fashion-mnist --markdown`

`python -m benchmarks.ablation --variant "no flip" --variant "no shift" --seeds 1,2,3,4,5`

`python -m benchmarks.ablation --epochs 4 --widths 24,48,96` asks a smaller network, sooner.

`python -m benchmarks.ablation --epochs 10 --validation-per-class 2000` has a standard error of 0.16
points where 500 have 0.31.

`python -m benchmarks.ablation --profile best --variant "erased to black"` asks a long training.

`python -m benchmarks.ablation --short` sees that it works.

Variants: """
    + ", ".join(VARIANTS),
)
def main(
    variant: Annotated[
        list[str] | None, typer.Option(help="Variant to train; may be repeated. Default: all.")
    ] = None,
    profile: Annotated[str, typer.Option(help="Profile of the reference.")] = "default",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of epochs; by default the profile's.")
    ] = None,
    widths: Annotated[
        str | None, typer.Option(metavar="48,96,192", help="By default the profile's.")
    ] = None,
    validation_per_class: Annotated[
        int | None,
        typer.Option(min=1, help="Images of each class; 2000 tell smaller differences apart."),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table as Markdown, too.")
    ] = False,
    seeds: command.Seeds = None,
    data: command.DataFrom = None,
    record: command.RecordTo = None,
    short: command.Short = False,
    as_json: command.AsJson = False,
) -> None:
    """Measure what each trick is worth, on the validation split."""
    where = command.data_argument(data, short)
    chosen_seeds = command.seeds(seeds, short)
    variants = {REFERENCE: {}, **_chosen(variant, short)}
    base = _base(epochs, widths, validation_per_class, short)
    # Before the images are looked for.
    configurations.load_config(profile, base)
    with trainings.prepared(where) as inputs:
        assigned = {name: (*base, *_assignments(changes)) for name, changes in variants.items()}
        trained = {
            name: trainings.configuration(inputs, profile, *each) for name, each in assigned.items()
        }
        if validation_per_class:
            trainings.check_split(inputs, trained[REFERENCE])
        configuration = {
            "short": short,
            "profile": profile,
            "seeds": chosen_seeds,
            "variants": variants,
            "trained": {name: each.model_dump(mode="json") for name, each in trained.items()},
        }
        session = Session(NAME, configuration, inputs.data, record)
        # Seed by seed, so that what is broken off has compared something.
        for seed in chosen_seeds:
            for name, assignments in assigned.items():
                repeat = processes.in_fresh_process(
                    measure, inputs, name, profile, assignments, seed
                )
                session.add(repeat, _line(repeat))
    found = figures(session.repeats)
    if markdown:
        print(table(found).markdown())
    session.end(found, [table(found)], as_json)


def _chosen(names: list[str] | None, short: bool) -> dict[str, dict[str, Any]]:
    command.check_known("--variant", names or (), VARIANTS, "VARIANTS in benchmarks/ablation.py")
    return {name: VARIANTS[name] for name in names or (_SHORT_VARIANTS if short else VARIANTS)}


def _base(
    epochs: int | None, widths: str | None, validation_per_class: int | None, short: bool
) -> tuple[str, ...]:
    """What every training changes of the profile, the reference's included."""
    if short:
        epochs, widths = epochs or _SHORT_EPOCHS, widths or _SHORT_WIDTHS
    assignments = [f"training.epochs={epochs}"] if epochs else []
    if widths:
        assignments.append(f"training.widths={command.numbers(widths, '--widths', 1)}")
    if validation_per_class:
        assignments.append(f"split.validation={validation_per_class}")
    return tuple(assignments)


def _assignments(changes: dict[str, Any]) -> list[str]:
    return [f"training.{key}={json.dumps(value)}" for key, value in changes.items()]


def measure(
    inputs: trainings.Inputs, variant: str, profile: str, assignments: Sequence[str], seed: int
) -> dict[str, Any]:
    """Trains a variant and validates it, in this process.

    Args:
      inputs: images and Transform's graph.
      variant: its name.
      profile: of the reference.
      assignments: `key=value` each, of all that differs from the profile.
      seed: of everything random.

    Returns:
      `variant`, `seed`, `seconds` of training, `temperature`, and for the validation split what
      `trainings.scores` returns.
    """
    from benchmarks.tricks import TRICKS
    from components.trainer import training

    config = trainings.configuration(inputs, profile, *assignments, seed=seed)
    splits = trainings.read_splits(inputs, config, trainings.LEARNT_FROM)
    trained = trainings.train(inputs, config, splits, TRICKS.get(variant))
    validation = splits[features.VALIDATION_SPLIT]
    graph = trainings.transform_graph(inputs)
    temperature = training.calibrate(trained.classifier, validation, graph)
    probabilities = training.predict(trained.classifier, validation, graph)
    return {
        "variant": variant,
        "seed": seed,
        "seconds": trained.seconds,
        "temperature": temperature,
        **trainings.scores(probabilities, validation.labels, inputs.schema.class_names),
    }


def figures(repeats: list[dict[str, Any]]) -> dict[str, Any]:
    """By variant: the difference in validation accuracy to the reference, and its own means."""
    variants = grouped(repeats, "variant")
    reference = {run["seed"]: run["accuracy"] for run in variants[REFERENCE]}
    return {"variants": {name: _variant(runs, reference) for name, runs in variants.items()}}


def _variant(runs: list[dict[str, Any]], reference: dict[int, float]) -> dict[str, Any]:
    return {
        "seeds": len(runs),
        "difference": spread([run["accuracy"] - reference[run["seed"]] for run in runs]),
        "validation_accuracy": spread([run["accuracy"] for run in runs]),
        "hardest_class_f1": spread([run["per_class"][HARDEST_CLASS]["f1"] for run in runs]),
        "cross_entropy": spread([run["cross_entropy"] for run in runs]),
        "seconds": spread([run["seconds"] for run in runs]),
    }


def table(figures: dict[str, Any]) -> Table:
    """A row for each variant; accuracies in percent, their differences in points."""
    headings = ["variant", "seeds", "validation accuracy, %", "difference", "deviation"]
    headings += [f"{HARDEST_CLASS} F1", "cross-entropy", "seconds"]
    return Table(headings, [_row(name, found) for name, found in figures["variants"].items()])


def _row(name: str, found: dict[str, Any]) -> list[str]:
    difference = found["difference"]
    return [
        name,
        str(found["seeds"]),
        f"{100 * found['validation_accuracy']['mean']:.2f}",
        f"{100 * difference['mean']:+.2f}",
        f"{100 * difference['standard_deviation']:.2f}",
        f"{found['hardest_class_f1']['mean']:.4f}",
        f"{found['cross_entropy']['mean']:.4f}",
        f"{found['seconds']['mean']:.0f}",
    ]


def _line(run: dict[str, Any]) -> str:
    of = f"{run['variant']}, seed {run['seed']}"
    return f"{of}: validation accuracy {run['accuracy']:.4f} after {run['seconds']:.0f} s"


if __name__ == "__main__":
    command_line.start(app)
