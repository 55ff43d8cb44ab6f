"""How time and memory of each node grow with the data.

The graph is run on 70,000, 280,000 and 700,000 images: the real test split as it is, and as many
training images as are then missing, made of the real ones. Each of these is a training image moved
by up to two pixels either way, perhaps mirrored, dimmed or brightened, with noise on the garment;
what becomes of it follows from the seed and its position. All sizes are made in this way, so that
they differ in number alone; none is kept.

Every node has a process of its own, which runs it as TFX's local runner does, with ML Metadata and
artifacts in place; what runs around the graph is not part of it. Trainer trains a small network
for one epoch. Seconds are those of ML Metadata. Memory is the most that the process had in use, as
the system counts it.

- `time_growth`: seconds at the largest size by seconds at the smallest, ten times as large.
- `memory_per_added_byte`: peak memory at the largest size less that at the smallest, by the bytes
  of the images in between.

Predictions reads the test split, which stays as it is, and Evaluator what Predictions wrote: they
should not grow at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import resource
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks import command, idx_files, processes, trainings
from benchmarks.session import Session
from benchmarks.spread import grouped
from benchmarks.tables import Table
from cli import command_line
from components.image_schema import ImageSchema
from operations import temporary
from pipeline import config as configurations
from pipeline import machine, precision
from pipeline.datasets.dataset import DataSet, Source
from pipeline.datasets.reading import read_dataset
from pipeline.errors import ConfigurationError, OutputError
from pipeline.installation import packages
from pipeline.locations import TEMPORARY_FOLDER, Locations
from pipeline.nodes import NODES
from pipeline.records import metadata
from pipeline.records.outcomes import NodeStatus

NAME = "scale"
# Those that read images; the others read a few files whatever the data.
MEASURED = (
    "ExampleGen",
    "StatisticsGen",
    "ExampleValidator",
    "DataGate",
    "Transform",
    "Trainer",
    "Predictions",
    "Evaluator",
)
SIZES, SHORT_SIZES = "70000,280000,700000", "3000,6000"

_RUN_ID = "scale"
_BATCH = 10_000
_MOST_PIXELS = 2
_NOISE = 12.0
_BRIGHTNESS = (0.7, 1.2)
# The files, the examples, and as much again for what is only there for a while.
_DISK_PER_RAW_BYTE = 4
# What is trained is not the point, and no gate may stop it.
_ASSIGNMENTS = (
    "training.epochs=1",
    "training.widths=[8]",
    "gates.accuracy=0",
    "gates.class_recall=0",
)
_MIB = 2**20

app = command.application()


@dataclasses.dataclass(frozen=True)
class Case:
    """What a node needs to run, small enough to be handed to another process.

    Attributes:
      data: the images of one size.
      schema: what they are.
      config: of the run.
      root: folder of artifacts and metadata.
    """

    data: DataSet
    schema: ImageSchema
    config: configurations.Config
    root: str


@app.command(
    cls=command_line.Command,
    epilog="""Examples:

`python -m benchmarks.scale --data ~/fashion-mnist --json`

`python -m benchmarks.scale --sizes 70000,140000 --repeats 3`

`TMPDIR=/large python -m benchmarks.scale` takes a disk with room: 2.2 GB for 700,000 images.

`python -m benchmarks.scale --short` sees that it works.""",
)
def main(
    sizes: Annotated[
        str | None,
        typer.Option(
            metavar=SIZES, help=f"Images in all, with the test split; --short takes {SHORT_SIZES}."
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds through all sizes.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of what becomes of the images.")] = 1,
    data: command.DataFrom = None,
    record: command.RecordTo = None,
    short: command.Short = False,
    as_json: command.AsJson = False,
) -> None:
    """Measure how time and memory of each node grow with the data."""
    found, schema = trainings.checked(command.data_argument(data, short), sample_serves=True)
    config = configurations.load_config("smoke", _ASSIGNMENTS, sample=found.sample)
    counts = _counts(sizes or (SHORT_SIZES if short else SIZES), found, schema, config)
    configuration = {
        "short": short,
        "sizes": counts,
        "repeats": repeats,
        "seed": seed,
        "trained": config.model_dump(mode="json"),
    }
    session = Session(NAME, configuration, found, record)
    # After the record was begun, which is to hold no path of this machine.
    config = config.model_copy(update={"schema_file": str(trainings.ROOT / config.schema_file)})
    for number in range(1, repeats + 1):
        for count in counts:
            with _case(found, schema, config, count, seed) as case:
                for repeat in _run(case):
                    session.add({"round": number, "images": count, **repeat}, _line(count, repeat))
    answer = figures(session.repeats, schema.bytes_per_image)
    session.end(answer, tables(answer), as_json)


def _counts(
    text: str, data: DataSet, schema: ImageSchema, config: configurations.Config
) -> list[int]:
    """The sizes in growing order.

    Raises:
      ConfigurationError: where they are not two at least, or one leaves too few to train on.
    """
    counts = sorted(set(command.numbers(text, "--sizes", least=1)))
    held_out = config.split.validation_per_class * len(schema.class_names)
    least = data.test.count + 2 * held_out
    if len(counts) > 1 and counts[0] >= least:
        return counts
    raise ConfigurationError(
        f"--sizes: found {text!r}; expected two sizes or more, each of at least {least:,} images: "
        "beside those of test and validation some must be left to train on. Give larger ones."
    )


@contextlib.contextmanager
def _case(
    data: DataSet, schema: ImageSchema, config: configurations.Config, count: int, seed: int
) -> Iterator[Case]:
    """Makes the images of a size, which are gone with all that was made of them afterwards."""
    _check_room(count * schema.bytes_per_image)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        images = pathlib.Path(folder) / "images"
        images.mkdir()
        write_images(images, data, count, seed)
        source = Source(images, sample=False)
        made = read_dataset(source, schema, data.schema_sha256)
        yield Case(made, schema, config, str(pathlib.Path(folder) / "outputs"))


def _check_room(raw_bytes: int) -> None:
    folder = tempfile.gettempdir()
    free, needed = shutil.disk_usage(folder).free, _DISK_PER_RAW_BYTE * raw_bytes
    if free < needed:
        raise OutputError(
            f"{folder} has {free / 1e9:.1f} GB left; expected {needed / 1e9:.1f} GB for the images "
            "and what is made of them. Name a larger disk with TMPDIR, or give smaller --sizes."
        )


def write_images(folder: pathlib.Path, data: DataSet, count: int, seed: int) -> None:
    """Writes the four files of a data set of some size.

    Args:
      folder: where they go.
      data: whose test split is taken as it is, and whose training images the others are made of.
      count: images in all.
      seed: of what becomes of the training images.
    """
    for path in (data.test.images, data.test.labels):
        shutil.copy(path, folder)
    images = np.concatenate([idx_files.read(pair.images) for pair in data.train])
    labels = np.concatenate([idx_files.read(pair.labels) for pair in data.train])
    sizes = (count - data.test.count, *images.shape[1:])
    idx_files.write(folder, idx_files.TRAIN, sizes, _made(images, labels, sizes[0], seed))


def _made(
    images: np.ndarray, labels: np.ndarray, count: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, count, _BATCH):
        positions = np.arange(start, min(start + _BATCH, count)) % len(images)
        random = np.random.default_rng([seed, start])
        yield perturbed(images[positions], random), labels[positions]


def perturbed(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Moves, mirrors and brightens each image at random, and adds noise where it is not black.

    Args:
      images: uint8 [N, height, width] or [N, height, width, channels].
      random: decides.

    Returns:
      As many images of the same form.
    """
    moved = _moved(images, random)
    mirrored = random.random(len(images)) < 0.5
    moved[mirrored] = moved[mirrored, :, ::-1]
    brightness = random.uniform(*_BRIGHTNESS, (len(images), *[1] * (images.ndim - 1)))
    noise = _NOISE * random.standard_normal(images.shape, np.float32)
    return np.clip(np.rint(moved * brightness + noise * (moved > 0)), 0, 255).astype(np.uint8)


def _moved(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    border, none = (_MOST_PIXELS, _MOST_PIXELS), (0, 0)
    padded = np.pad(images, [none, border, border, *[none] * (images.ndim - 3)])
    count, height, width = images.shape[:3]
    first_rows, first_columns = random.integers(0, 2 * _MOST_PIXELS + 1, (2, count, 1))
    rows, columns = first_rows + np.arange(height), first_columns + np.arange(width)
    return padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _run(case: Case) -> Iterator[dict[str, Any]]:
    """Runs the graph node by node; yields what each that is measured took."""
    for node in NODES:
        found = processes.in_fresh_process(measure_node, case, node)
        if node in MEASURED:
            yield {"node": node, **found}


def measure_node(case: Case, node: str) -> dict[str, Any]:
    """Runs one node, in this process; those before it have run.

    Args:
      case: of the graph.
      node: its id.

    Returns:
      `seconds`, and `peak_memory` of this process in bytes.

    Raises:
      MeasurementError: where the node did not end well.
    """
    from benchmarks.single_node import SingleNodeRunner

    locations = Locations(pathlib.Path(case.root))
    temporary_folder = locations.root / TEMPORARY_FOLDER
    temporary_folder.mkdir(parents=True)
    with temporary.folder(temporary_folder):
        SingleNodeRunner(node, _RUN_ID).run(_graph(case, locations))
    peak_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10
    ended = metadata.read_nodes(metadata.open_store(locations.metadata), _RUN_ID, [node])[node]
    if ended.status != NodeStatus.COMPLETE:
        raise processes.MeasurementError(
            f"{node} ended as {ended.status}; expected {NodeStatus.COMPLETE}. Run the pipeline "
            "on the same data to see why."
        )
    return {"seconds": ended.seconds, "peak_memory": peak_memory}


def _graph(case: Case, locations: Locations) -> Any:
    from pipeline import dag
    from pipeline.runners import engine

    return dag.create_pipeline(
        NAME,
        case.config,
        case.data,
        case.schema,
        locations,
        precision.resolve(case.config.training.precision, machine.cpu_features()),
        machine.arithmetic(),
        packages.installed(),
        engine.NODE_ARGUMENTS,
    )


def figures(repeats: Sequence[dict[str, Any]], bytes_per_image: int) -> dict[str, Any]:
    """How time and memory grow, by node; `seconds` and `peak_memory` (bytes) by node and size."""
    seconds, memory = (_medians(repeats, key) for key in ("seconds", "peak_memory"))
    counts = sorted({repeat["images"] for repeat in repeats})
    smallest, largest = str(counts[0]), str(counts[-1])
    added = (counts[-1] - counts[0]) * bytes_per_image
    return {
        "time_growth": {node: by[largest] / by[smallest] for node, by in seconds.items()},
        "memory_per_added_byte": {
            node: (by[largest] - by[smallest]) / added for node, by in memory.items()
        },
        "seconds": seconds,
        "peak_memory": memory,
    }


def _medians(repeats: Sequence[dict[str, Any]], key: str) -> dict[str, dict[str, float]]:
    """By node, and by number of images."""
    return {
        node: {
            str(count): statistics.median(run[key] for run in runs)
            for count, runs in grouped(measured, "images").items()
        }
        for node, measured in grouped(repeats, "node").items()
    }


def tables(figures: dict[str, Any]) -> list[Table]:
    """Seconds of each node at each size, and its memory."""
    memory = {
        node: {count: value / _MIB for count, value in by_count.items()}
        for node, by_count in figures["peak_memory"].items()
    }
    return [
        _table("seconds", figures["seconds"], "times", figures["time_growth"]),
        _table("MiB", memory, "bytes per added byte", figures["memory_per_added_byte"]),
    ]


def _table(
    title: str, values: dict[str, dict[str, float]], last: str, growth: dict[str, float]
) -> Table:
    counts = next(iter(values.values()))
    headings = [title, *(f"{int(count):,} images" for count in counts), last]
    rows = [
        [node, *(f"{value:,.1f}" for value in by_count.values()), f"{growth[node]:.2f}"]
        for node, by_count in values.items()
    ]
    return Table(headings, rows)


def _line(count: int, repeat: dict[str, Any]) -> str:
    memory = repeat["peak_memory"] / _MIB
    return f"{count:,} images, {repeat['node']}: {repeat['seconds']:.1f} s, {memory:,.0f} MiB"


if __name__ == "__main__":
    command_line.start(app)
