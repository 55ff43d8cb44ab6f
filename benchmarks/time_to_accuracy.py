"""Seconds of training until validation accuracy reaches 0.88 to 0.947: ours, PyTorch, a notebook's.

All train on the same images on the same machine, one after the other, each training in a process
of its own. The validation that a training does by itself is part of its time, for all.

- Ours: for each threshold a training of its own, planned for it in epochs and rate from the start;
  counted whole, and only if the weights that it ends with reach the threshold.
- PyTorch's (`pytorch_peer.py`): the same plans, counted likewise. Network, initial weights,
  augmentation, Muon and AdamW, schedule and averaged weights are written anew in PyTorch, eager. It
  is left out, in words, where its environment is missing.
- The notebook's (`notebook_recipe.py`): one training; counted is when it first reaches each
  threshold. It is looked at four times an epoch, in time that is not counted. It ends at the
  highest threshold, after a limit, or where it gives up; where it did not reach a threshold until
  then, the ratio is a lower bound and marked in `at_least`.

A baseline that is too slow would flatter us. So its images per second are set against those that
its convolutions alone would allow, and it is reported as suspect where it makes less than 600 on a
machine on which the default profile makes 3,000.
"""

from __future__ import annotations

import dataclasses
import statistics
from typing import Annotated, Any

import typer

from benchmarks import command, processes, pytorch_environment, pytorch_process, trainings
from benchmarks.pace import Pace
from benchmarks.session import Session
from benchmarks.spread import spread
from benchmarks.tables import Table
from cli import command_line
from components import features
from pipeline.config import Config

NAME = "time_to_accuracy"
# What a repeat is about.
OURS, PYTORCH, NOTEBOOK = "ours", "pytorch", "notebook"
OUR_PACE, NOTEBOOK_CONVOLUTIONS = "our_pace", "notebook_convolutions"

# A baseline slower than the first, on a machine where the default profile makes the second, is
# not to be believed.
SUSPECT_PACE, SUSPECT_FROM_OUR_PACE = 600, 3_000

_SHORT_LIMIT = 30.0
_PACE_IMAGES, _SHORT_PACE_IMAGES = 20_000, 2_000


@dataclasses.dataclass(frozen=True)
class Plan:
    """A training that is planned for a threshold: a profile, and what is changed of it."""

    profile: str
    assignments: tuple[str, ...]


# Tuned by hand, on the validation split.
# Two short epochs: nothing to average weights over, and no time to make the task harder.
_HASTE = ("training.epochs=2", "training.ema_momentum=0.0", "training.augmentation.erasing=0.0")
OUR_PLANS = {
    0.88: Plan("smoke", ("training.epochs=2",)),
    0.90: Plan("smoke", ("training.epochs=2",)),
    0.92: Plan("default", (*_HASTE, "training.widths=[32,64,128]")),
    # With the network before 2026-11-30, five epochs reached 0.9412 with seed 1: too close.
    0.94: Plan("default", ("training.epochs=6",)),
    # Not yet tried: between these six and the thirteen of the profile.
    0.947: Plan("default", ("training.epochs=10",)),
}
# The sample is another task: these only show that everything works.
SAMPLE_PLANS = {
    0.88: Plan("smoke", ("training.epochs=3",)),
    0.90: Plan("smoke", ("training.epochs=4",)),
    0.92: Plan("smoke", ("training.epochs=6",)),
    0.94: Plan("smoke", ("training.epochs=7",)),
    0.947: Plan("smoke", ("training.epochs=8",)),
}

app = command.application()


@app.command(
    cls=command_line.Command,
    epilog="""Examples:

`python -m benchmarks.time_to_accuracy --data ~/fashion-mnist --json`

`python -m benchmarks.time_to_accuracy --threshold 0.90 --no-notebook` tries a plan out.

`python -m benchmarks.time_to_accuracy --short` sees that it works.""",
)
def main(
    threshold: Annotated[
        list[float] | None,
        typer.Option(help="0.88, 0.90, 0.92, 0.94 or 0.947; may be repeated; by default all."),
    ] = None,
    limit: Annotated[
        float,
        typer.Option(min=1, help="Seconds after which the notebook's training ends; --short: 30."),
    ] = 3_600,
    notebook: Annotated[
        bool, typer.Option("--notebook/--no-notebook", help="Whether to train its way at all.")
    ] = True,
    seeds: command.Seeds = None,
    data: command.DataFrom = None,
    record: command.RecordTo = None,
    short: command.Short = False,
    as_json: command.AsJson = False,
) -> None:
    """Compare how soon our training and a notebook's reach an accuracy."""
    where = command.data_argument(data, short)
    chosen_seeds = command.numbers(seeds or "1", "--seeds", least=0)
    limit = min(limit, _SHORT_LIMIT) if short else limit
    with trainings.prepared(where) as inputs:
        plans = _plans(threshold, inputs)
        configuration = {
            "short": short,
            "seeds": chosen_seeds,
            "plans": {_key(each): dataclasses.asdict(plan) for each, plan in plans.items()},
            "trained": {
                _key(each): configured(inputs, plan).model_dump(mode="json")
                for each, plan in plans.items()
            },
            "notebook": notebook,
            "pytorch": pytorch_environment.python() is not None,
            "limit_seconds": limit,
        }
        session = Session(NAME, configuration, inputs.data, record)
        if not configuration["pytorch"]:
            processes.notify(pytorch_environment.LEFT_OUT)
        for seed in chosen_seeds:
            for goal, plan in plans.items():
                _measure_ours(session, inputs, goal, plan, seed)
                if configuration["pytorch"]:
                    _measure_pytorch(session, inputs, goal, plan, seed)
            if notebook:
                _measure_notebook(session, inputs, max(plans), limit, seed)
        if notebook:
            _measure_paces(session, inputs, _SHORT_PACE_IMAGES if short else _PACE_IMAGES)
    session.end(figures(session.repeats), tables(session.repeats), as_json)


def _plans(thresholds: list[float] | None, inputs: trainings.Inputs) -> dict[float, Plan]:
    plans = SAMPLE_PLANS if inputs.data.sample else OUR_PLANS
    place = "OUR_PLANS in benchmarks/time_to_accuracy.py"
    command.check_known("--threshold", thresholds or (), plans, place)
    return {threshold: plans[threshold] for threshold in sorted(thresholds or plans)}


def configured(inputs: trainings.Inputs, plan: Plan, seed: int | None = None) -> Config:
    """The configuration that a plan stands for."""
    return trainings.configuration(inputs, plan.profile, *plan.assignments, seed=seed)


def _measure_ours(
    session: Session, inputs: trainings.Inputs, threshold: float, plan: Plan, seed: int
) -> None:
    seconds, accuracy = processes.in_fresh_process(train_ours, inputs, plan, seed)
    repeat = _planned_repeat(OURS, seed, threshold, seconds, accuracy)
    session.add(repeat, _planned_line(repeat))


def _measure_pytorch(
    session: Session, inputs: trainings.Inputs, threshold: float, plan: Plan, seed: int
) -> None:
    config = configured(inputs, plan, seed)
    validation = processes.in_fresh_process(validation_rows, inputs, config)
    course = pytorch_process.train(inputs, config, validation)
    repeat = _planned_repeat(PYTORCH, seed, threshold, course.seconds, course.validation_accuracy)
    # Told, and decided nothing by.
    repeat["test_accuracy"] = course.test_accuracy
    session.add(repeat, _planned_line(repeat))


def _planned_repeat(
    measurement: str, seed: int, threshold: float, seconds: float, accuracy: float
) -> dict[str, Any]:
    return {
        "measurement": measurement,
        "seed": seed,
        "threshold": _key(threshold),
        "seconds": seconds,
        "validation_accuracy": accuracy,
        "reached": accuracy >= threshold,
    }


def _planned_line(repeat: dict[str, Any]) -> str:
    planned = f"{repeat['measurement']} for {repeat['threshold']}, seed {repeat['seed']}"
    return f"{planned}: {repeat['validation_accuracy']:.4f} in {repeat['seconds']:.1f} s"


def validation_rows(inputs: trainings.Inputs, config: Config) -> list[int]:
    """Positions, in the training files, of the images that a configuration validates on."""
    name = features.VALIDATION_SPLIT
    ids = trainings.read_splits(inputs, config, [name])[name].ids
    # As in train-00000004.
    return [int(each.decode().rpartition("-")[2]) for each in ids]


def train_ours(inputs: trainings.Inputs, plan: Plan, seed: int) -> tuple[float, float]:
    """Trains by a plan, in this process.

    Returns:
      The seconds of the training, and the validation accuracy of what came out of it.
    """
    from components.trainer import training

    config = configured(inputs, plan, seed)
    splits = trainings.read_splits(inputs, config, trainings.LEARNT_FROM)
    trained = trainings.train(inputs, config, splits)
    validation = splits[features.VALIDATION_SPLIT]
    answers = training.predict(trained.classifier, validation, trainings.transform_graph(inputs))
    return trained.seconds, float((answers.argmax(axis=1) == validation.labels).mean())


def _measure_notebook(
    session: Session, inputs: trainings.Inputs, goal: float, limit: float, seed: int
) -> None:
    course = processes.in_fresh_process(train_notebook, inputs, goal, limit, seed)
    repeat = {"measurement": NOTEBOOK, "seed": seed, **course}
    session.add(repeat, f"notebook, seed {seed}: {course['ended']} after {course['seconds']:.1f} s")


def train_notebook(
    inputs: trainings.Inputs, goal: float, limit: float, seed: int
) -> dict[str, Any]:
    """Trains the notebook's way, in this process.

    Args:
      inputs: images.
      goal: the accuracy at which to end.
      limit: seconds after which to end in any case.
      seed: of split, weights, augmentation and order.

    Returns:
      `notebook_recipe.Course` as a dict.
    """
    import keras

    from benchmarks import notebook_recipe, speed

    config = trainings.configuration(inputs, "default", seed=seed)
    splits = trainings.read_splits(inputs, config, trainings.LEARNT_FROM)
    shape, classes = inputs.schema.shape, len(inputs.schema.class_names)
    train, validation = (
        notebook_recipe.Images(speed.scaled_images(splits[name], shape), splits[name].labels)
        for name in trainings.LEARNT_FROM
    )
    keras.utils.set_random_seed(seed)
    network = notebook_recipe.build(shape, classes)
    return dataclasses.asdict(notebook_recipe.train(network, train, validation, goal, limit, seed))


def _measure_paces(session: Session, inputs: trainings.Inputs, images: int) -> None:
    measures = {OUR_PACE: measure_our_pace, NOTEBOOK_CONVOLUTIONS: measure_notebook_convolutions}
    for name, measure in measures.items():
        pace = processes.in_fresh_process(measure, inputs, images)
        repeat = {"measurement": name, "images_per_second": pace.images_per_second}
        session.add(repeat, f"{name}: {pace.images_per_second:,.0f} images/s")


def measure_our_pace(inputs: trainings.Inputs, images: int) -> Pace:
    """How fast the default profile trains, in this process: that tells what machine this is."""
    from benchmarks import speed

    return speed.measure_ours(inputs, trainings.configuration(inputs, "default"), images)


def measure_notebook_convolutions(inputs: trainings.Inputs, images: int) -> Pace:
    """How fast the convolutions of the notebook's network alone are, in this process."""
    from benchmarks import convolutions, notebook_recipe

    network = notebook_recipe.build(inputs.schema.shape, len(inputs.schema.class_names))
    forms = convolutions.of_network(network)
    return convolutions.measure(forms, notebook_recipe.BATCH_SIZE, "float32", images)


def figures(repeats: list[dict[str, Any]]) -> dict[str, Any]:
    """What the measurements say together; seconds are means over the seeds.

    Where our training missed a threshold with any seed, or the other was not trained or missed it
    in PyTorch, there is no ratio: None.
    """
    thresholds = sorted({repeat["threshold"] for repeat in _about(OURS, repeats)})
    ours = {threshold: _planned_seconds(OURS, threshold, repeats) for threshold in thresholds}
    pytorch = {key: _planned_seconds(PYTORCH, key, repeats) for key in thresholds}
    theirs = {threshold: _notebook_seconds(threshold, repeats) for threshold in thresholds}
    reached = {threshold: _notebook_reached(threshold, repeats) for threshold in thresholds}
    return {
        "ratio_to_accuracy": {key: _ratio(theirs[key], ours[key]) for key in thresholds},
        "at_least": {key: not reached[key] for key in thresholds},
        "ratio_to_pytorch": {key: _ratio(pytorch[key], ours[key]) for key in thresholds},
        "seconds": {
            OURS: {key: _mean(ours[key]) for key in thresholds},
            PYTORCH: {key: _mean(pytorch[key]) for key in thresholds},
            NOTEBOOK: {key: _mean(theirs[key]) for key in thresholds},
        },
        "baseline": _baseline(repeats),
    }


def _planned_seconds(
    measurement: str, threshold: str, repeats: list[dict[str, Any]]
) -> list[float]:
    """Seed by seed; none where one of them missed the threshold."""
    runs = [run for run in _about(measurement, repeats) if run["threshold"] == threshold]
    return [run["seconds"] for run in runs] if all(run["reached"] for run in runs) else []


def _notebook_seconds(threshold: str, repeats: list[dict[str, Any]]) -> list[float]:
    """Seed by seed; where the threshold was missed, how long it was tried."""
    return [_seconds_to(threshold, run) or run["seconds"] for run in _about(NOTEBOOK, repeats)]


def _notebook_reached(threshold: str, repeats: list[dict[str, Any]]) -> bool:
    return all(_seconds_to(threshold, run) for run in _about(NOTEBOOK, repeats))


def _seconds_to(threshold: str, course: dict[str, Any]) -> float | None:
    accuracy = float(threshold)
    return next((look["seconds"] for look in course["looks"] if look["accuracy"] >= accuracy), None)


def _ratio(theirs: list[float], ours: list[float]) -> float | None:
    return statistics.fmean(theirs) / statistics.fmean(ours) if theirs and ours else None


def _mean(values: list[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _baseline(repeats: list[dict[str, Any]]) -> dict[str, Any] | None:
    """How fast the notebook's training is, and whether that is to be believed."""
    pace = _mean([run["images_per_second"] for run in _about(NOTEBOOK, repeats)])
    if pace is None:
        return None
    (ours,), (limit,) = (_about(name, repeats) for name in (OUR_PACE, NOTEBOOK_CONVOLUTIONS))
    return {
        "images_per_second": pace,
        "fraction_of_convolution_limit": pace / limit["images_per_second"],
        "our_images_per_second": ours["images_per_second"],
        "suspect": pace < SUSPECT_PACE and ours["images_per_second"] >= SUSPECT_FROM_OUR_PACE,
    }


def _about(measurement: str, repeats: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [repeat for repeat in repeats if repeat["measurement"] == measurement]


def tables(repeats: list[dict[str, Any]]) -> list[Table]:
    """The times to each threshold, and how fast the baseline is."""
    found = figures(repeats)
    times = [_time_row(key, found, repeats) for key in found["ratio_to_accuracy"]]
    headings = ["accuracy", "ours, s", "PyTorch, s", "ratio", "notebook, s", "ratio"]
    shown = [Table(headings, times)]
    if baseline := found["baseline"]:
        headings = [
            "baseline",
            "images/s",
            "of its convolutions alone",
            "default profile, images/s",
        ]
        name = "notebook: BASELINE SUSPECT" if baseline["suspect"] else "notebook"
        shown.append(Table(headings, [[name, *_baseline_cells(baseline)]]))
    return shown


def _time_row(threshold: str, found: dict[str, Any], repeats: list[dict[str, Any]]) -> list[str]:
    ratio = found["ratio_to_accuracy"][threshold]
    ratio_to_pytorch = found["ratio_to_pytorch"][threshold]
    bound = "at least " if found["at_least"][threshold] else ""
    pytorch = _with_spread(_planned_seconds(PYTORCH, threshold, repeats))
    return [
        threshold,
        _with_spread(_planned_seconds(OURS, threshold, repeats)) or "missed",
        pytorch or ("missed" if _about(PYTORCH, repeats) else "not trained"),
        "none" if ratio_to_pytorch is None else f"{ratio_to_pytorch:.2f}",
        _with_spread(_notebook_seconds(threshold, repeats)) or "not trained",
        "none" if ratio is None else f"{bound}{ratio:.1f}",
    ]


def _with_spread(seconds: list[float]) -> str:
    if len(seconds) < 2:
        return "".join(f"{each:.1f}" for each in seconds)
    found = spread(seconds)
    return f"{found['mean']:.1f} ({found['min']:.1f} to {found['max']:.1f})"


def _baseline_cells(baseline: dict[str, Any]) -> list[str]:
    share = baseline["fraction_of_convolution_limit"]
    ours = baseline["our_images_per_second"]
    return [f"{baseline['images_per_second']:,.0f}", f"{share:.2f}", f"{ours:,.0f}"]


def _key(threshold: float) -> str:
    # 0.90, but 0.947.
    return f"{threshold:.3f}".removesuffix("0")


if __name__ == "__main__":
    command_line.start(app)
