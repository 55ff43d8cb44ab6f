"""What a pipeline costs beside the training: ours, stock TFX's, and a plain script for comparison.

- `ours`: `python3 pipeline_runner.py run`, the whole graph with receipt and review page.
- `stock_tfx`: `python -m benchmarks.stock_tfx`, the nodes of TFX's own examples.
- `plain_script`: `python -m benchmarks.plain_script`, the same training and no pipeline.

Each is a process of its own that begins with nothing: no outputs, nothing cached, no served model.
They take turns, round by round, so that what else the machine does falls on all of them; figures
are medians. Before the first round each one's libraries are imported once, untimed: whoever came
first would have them read from the disk for all others. Gates are set so that every model passes
and is pushed.

What counts is the whole time of the process, from its start to its end, less its training. Training
is the epochs, each with its validation and with what callbacks do at its end, and nothing else: all
three have a callback that times them (ours logs tenths of a second). Reading the data, building the
network, testing, calibration and export are not training, for any of them.

`ratio_to_stock_tfx` is ours by stock TFX's. `overhead_to_stock_overhead` is (ours - plain script)
by (stock TFX's - plain script). Both are of a single epoch of the default profile's network: with
each one's own training taken off, fifteen epochs would say the same, hours later and with the noise
of ten minutes of training in them. What is done once per epoch, such as a snapshot, is counted as
often as there are epochs; `--epochs 15` is the profile whole. Stock TFX trains the same layers, in
the float32 of its examples, so that its Evaluator asks as large a network as ours.

`smoke_to_plain_script` takes nothing off: the whole smoke run by the plain script with the training
of the smoke profile.

Seconds of nodes are those of ML Metadata. Start-up is from the start of the process until the first
node begins, `after` from the end of the last node until the process ends.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import statistics
import sys
import tempfile
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from benchmarks import command, epoch_clock, observed, trainings
from benchmarks.session import Session
from benchmarks.spread import grouped
from benchmarks.tables import Table
from cli import command_line
from components import features
from pipeline import config as configurations
from pipeline.datasets import SAMPLE
from pipeline.datasets.dataset import DataSet
from pipeline.errors import ConfigurationError
from pipeline.locations import LOG_FILE
from pipeline.nodes import NODES, TRAINER
from pipeline.records import metadata

NAME = "pipeline_cost"
OURS, STOCK, PLAIN = "ours", "stock_tfx", "plain_script"
SIDES = (OURS, STOCK, PLAIN)
SMOKE = "smoke"
# Modules that between them import all that a side does.
_MODULES = {
    OURS: ("components.trainer.training", "operations.pages", "pipeline.runners.dag_runners"),
    STOCK: ("benchmarks.stock_tfx",),
    PLAIN: ("benchmarks.plain_script",),
}

# Every model passes, as it does in stock TFX's graph.
_NO_GATES = {"gates.accuracy": 0, "gates.class_recall": 0}
_EPOCH = re.compile(r"epoch \d+ of \d+: .* ([\d.]+) s$", re.MULTILINE)
# Nothing that TFX's use of pip could look for lies on an index; without, it need not ask.
_ENVIRONMENT = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
_MIB = 2**20

app = command.application()


@dataclasses.dataclass(frozen=True)
class Task:
    """A training, and who does it.

    Attributes:
      side: one of `SIDES`.
      config: of the training.
    """

    side: str
    config: configurations.Config

    @property
    def training(self) -> str:
        """What the training is called in records and tables."""
        return _named(self.config)


@app.command(
    cls=command_line.Command,
    epilog="""Examples:

`python -m benchmarks.pipeline_cost --data ~/fashion-mnist --json`

`python -m benchmarks.pipeline_cost --side ours --repeats 1 --no-smoke` shows where our time goes.

`python -m benchmarks.pipeline_cost --profile smoke` compares with a small network.

`python -m benchmarks.pipeline_cost --short` sees that it works.""",
)
def main(
    profile: Annotated[
        str, typer.Option(help="Profile of the network; smoke with --short.")
    ] = "default",
    epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of each training except the smoke run's.")
    ] = 1,
    side: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(SIDES)}; may be repeated; all where none is given."),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke/--no-smoke", help="Whether to compare the smoke run, too.")
    ] = True,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; --short takes one.")] = 3,
    data: command.DataFrom = None,
    record: command.RecordTo = None,
    short: command.Short = False,
    as_json: command.AsJson = False,
) -> None:
    """Compare what our pipeline costs with stock TFX and with a plain script."""
    sides = _chosen(side)
    # Before the images are looked for.
    configurations.load_config(profile)
    found, schema = trainings.checked(command.data_argument(data, short), sample_serves=True)
    _check_files(found)
    smoke_run = compared = configurations.load_config(SMOKE, sample=found.sample)
    if short:
        repeats = 1
    else:
        compared = configurations.load_config(
            profile, [f"training.epochs={epochs}"], sample=found.sample
        )
    tasks = _tasks(compared, smoke_run if smoke else None, sides)
    configuration = {
        "short": short,
        "repeats": repeats,
        "sides": sides,
        "compared": _named(compared),
        "trained": {task.training: task.config.model_dump(mode="json") for task in tasks},
    }
    session = Session(NAME, configuration, found, record)
    warm_up(sides)
    for number in range(1, repeats + 1):
        for task in tasks:
            repeat = {"round": number, **measure(task, found)}
            session.add(repeat, _line(repeat))
    raw_bytes = sum(map(found.count, features.SPLITS)) * schema.bytes_per_image
    answer = figures(session.repeats, _named(compared), _named(smoke_run), raw_bytes)
    session.end(answer, tables(answer), as_json)


def warm_up(sides: Sequence[str]) -> None:
    """Has the libraries of each side read from the disk.

    Raises:
      MeasurementError: where one cannot be imported.
    """
    for side in sides:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            importing = [sys.executable, "-c", f"import {', '.join(_MODULES[side])}"]
            observed.observe(importing, pathlib.Path(folder) / "process", {})


def _chosen(sides: list[str] | None) -> list[str]:
    command.check_known("--side", sides or (), SIDES, "SIDES in benchmarks/pipeline_cost.py")
    return [side for side in SIDES if side in (sides or SIDES)]


def _check_files(data: DataSet) -> None:
    if data.window:
        raise ConfigurationError(
            f"--data: found spans in {data.name}; expected the four IDX files, since the baselines "
            "know of no spans. Name the folder of one of them."
        )


def _tasks(
    compared: configurations.Config, smoke: configurations.Config | None, sides: Sequence[str]
) -> list[Task]:
    wanted = [Task(side, compared) for side in sides]
    # The smoke run is compared with the plain script alone.
    wanted += [Task(side, smoke) for side in sides if smoke and side != STOCK]
    # A configuration may hold tables, so that tasks have no hash.
    return [task for number, task in enumerate(wanted) if task not in wanted[:number]]


def _named(config: configurations.Config) -> str:
    return f"{config.profile}, epochs: {config.training.epochs}"


def measure(task: Task, data: DataSet) -> dict[str, Any]:
    """Does a task in a process of its own, and says what it cost.

    Args:
      task: who trains what.
      data: the images.

    Returns:
      `side`, `training`, what `observed.Observed` has of the whole process, `training_seconds`, and
      `bytes_kept` in the output folder; of a pipeline also `start_up` and `after`, in seconds, and
      `nodes`, the seconds of each.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        outputs = pathlib.Path(folder) / "outputs"
        whole = observed.observe(
            _command(task, data, outputs), pathlib.Path(folder) / "process", _ENVIRONMENT
        )
        costs = dataclasses.asdict(whole)
        began = costs.pop("began")
        return {
            "side": task.side,
            "training": task.training,
            **costs,
            "bytes_kept": observed.size(outputs),
            "training_seconds": training_seconds(task.side, outputs),
            **({} if task.side == PLAIN else _of_pipeline(outputs, began, whole.seconds)),
        }


def _command(task: Task, data: DataSet, outputs: pathlib.Path) -> list[str]:
    start = {
        OURS: ["pipeline_runner.py", "run"],
        STOCK: ["-m", "benchmarks.stock_tfx"],
        PLAIN: ["-m", "benchmarks.plain_script"],
    }
    ours = task.side == OURS
    values = {
        # The sample has values of its own, of which the other two know nothing.
        "training.epochs": task.config.training.epochs,
        "training.batch_size": task.config.training.batch_size,
        "split.validation": task.config.split.validation,
        **(_NO_GATES if ours else {}),
    }
    return [
        sys.executable,
        *start[task.side],
        *("--data", SAMPLE if ours and data.sample else data.location),
        *("--profile", task.config.profile),
        *("--output-dir", str(outputs)),
        *(f"--set={key}={value}" for key, value in values.items()),
    ]


def training_seconds(side: str, outputs: pathlib.Path) -> float:
    """The seconds of all epochs of the one training below an output folder."""
    if side != OURS:
        return epoch_clock.read(outputs)
    (log,) = outputs.glob(f"*/runs/*/{LOG_FILE}")
    return sum(map(float, _EPOCH.findall(log.read_text(encoding="utf-8", errors="replace"))))


def _of_pipeline(outputs: pathlib.Path, began: float, seconds: float) -> dict[str, Any]:
    (path,) = outputs.rglob("metadata.db")
    store = metadata.open_store(path)
    (pipeline,) = store.get_contexts_by_type("pipeline")
    (run,) = store.get_contexts_by_type("pipeline_run")
    executions = store.get_executions_by_context(run.id)
    first = min(execution.create_time_since_epoch for execution in executions) / 1000
    last = max(execution.last_update_time_since_epoch for execution in executions) / 1000
    names = [context.name.rpartition(".")[2] for context in store.get_contexts_by_type("node")]
    nodes = metadata.read_nodes(store, pipeline.name, run.name, names)
    return {
        "start_up": first - began,
        "after": began + seconds - last,
        "nodes": {name: nodes[name].seconds for name in names},
    }


def figures(
    repeats: Sequence[dict[str, Any]], compared: str, smoke: str, raw_bytes: int
) -> dict[str, Any]:
    """What the measurements say together.

    Args:
      repeats: from `measure`.
      compared: the training of all three.
      smoke: the training of the smoke run.
      raw_bytes: of all images.

    Returns:
      The ratios that the module names, each None where a side of it was not measured;
      `start_up_to_stock_tfx`; `kept_to_raw_data`, bytes in our output folder by those of all
      images; and `costs`, by training and side the medians, of which `rest` is all but the
      training.
    """
    costs = _costs(repeats)
    sides = costs.get(compared, {})
    ours, stock, plain = (sides.get(side, {}) for side in SIDES)
    whole_smoke = costs.get(smoke, {})
    return {
        "ratio_to_stock_tfx": _ratio(ours.get("rest"), stock.get("rest")),
        "overhead_to_stock_overhead": _ratio(
            _difference(ours.get("rest"), plain.get("rest")),
            _difference(stock.get("rest"), plain.get("rest")),
        ),
        "smoke_to_plain_script": _ratio(
            whole_smoke.get(OURS, {}).get("seconds"), whole_smoke.get(PLAIN, {}).get("seconds")
        ),
        "start_up_to_stock_tfx": _ratio(ours.get("start_up"), stock.get("start_up")),
        "kept_to_raw_data": _ratio(ours.get("bytes_kept"), raw_bytes),
        "costs": costs,
    }


def _costs(repeats: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Medians of all that was measured, by training and side."""
    return {
        training: {side: _medians(runs) for side, runs in grouped(tasks, "side").items()}
        for training, tasks in grouped(repeats, "training").items()
    }


def _medians(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = [name for name, value in runs[0].items() if isinstance(value, int | float)]
    found = {
        name: statistics.median(run[name] for run in runs) for name in names if name != "round"
    }
    found["rest"] = statistics.median(run["seconds"] - run["training_seconds"] for run in runs)
    if "nodes" in runs[0]:
        found["nodes"] = {
            node: statistics.median(run["nodes"][node] for run in runs) for node in runs[0]["nodes"]
        }
    return found


def _ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None


def _difference(value: float | None, base: float | None) -> float | None:
    return value - base if value is not None and base is not None else None


def tables(figures: dict[str, Any]) -> list[Table]:
    """The costs of each, and the seconds of each node."""
    rows = [
        [f"{side} ({training})", *_cells(costs)]
        for training, sides in figures["costs"].items()
        for side, costs in sides.items()
    ]
    headings = ["seconds and MiB", "whole", "processor", "training", "rest", "start-up", "after"]
    headings += ["memory", "written", "kept", "left"]
    nodes = [_node_table(training, sides) for training, sides in figures["costs"].items()]
    return [Table(headings, rows), *nodes]


def _cells(costs: dict[str, Any]) -> list[str]:
    seconds = ("seconds", "processor_seconds", "training_seconds", "rest", "start_up", "after")
    sizes = ("peak_memory", "bytes_written", "bytes_kept", "bytes_left")
    cells = [f"{costs[name]:.1f}" if name in costs else "" for name in seconds]
    return [*cells, *(f"{costs[name] / _MIB:,.0f}" for name in sizes)]


def _node_table(training: str, sides: dict[str, dict[str, Any]]) -> Table:
    """Seconds of each node; those of Trainer without its epochs."""
    nodes = {
        side: {**costs["nodes"], TRAINER: costs["nodes"][TRAINER] - costs["training_seconds"]}
        for side, costs in sides.items()
        if "nodes" in costs
    }
    found_in_any = [name for seconds in nodes.values() for name in seconds]
    # Ours in the order in which they run, then what stock TFX alone has.
    names = dict.fromkeys(sorted(found_in_any, key=(*NODES, *found_in_any).index))
    rows = [
        [name, *(f"{found[name]:.1f}" if name in found else "" for found in nodes.values())]
        for name in names
    ]
    return Table([f"node ({training})", *nodes], rows)


def _line(repeat: dict[str, Any]) -> str:
    rest = repeat["seconds"] - repeat["training_seconds"]
    return (
        f"{repeat['side']} ({repeat['training']}): {rest:.1f} s beside "
        f"{repeat['training_seconds']:.1f} s of training"
    )


if __name__ == "__main__":
    command_line.start(app)
