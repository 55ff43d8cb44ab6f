"""How time and memory of each node grow with the data.

The graph is run on 70,000, 280,000 and 700,000 images: the real test split as it is, and as many
training images as are then missing, made of the real ones. Each of these is a training image moved
by up to two pixels either way, perhaps mirrored, dimmed or brightened, with noise on the garment;
what becomes of it follows from the seed and its position. All sizes are made in this way, so that
they differ in number alone; none is kept.

The nodes before Trainer are also run on images of several shapes, as many of each. These are the
images of the schema's shape, enlarged, with a channel or several in another brightness each.

Every node has a process of its own, which runs it as TFX's local runner does, with ML Metadata and
artifacts in place; what runs around the graph is not part of it. Trainer trains a small network
for one epoch. Seconds are those of ML Metadata; processor seconds are those of the process and its
children, which say more on a busy machine. Memory is the most that the process had in use, as
the system counts it; anonymous memory is the part of it that is no file.

- `time_growth`: seconds at the largest size by seconds at the smallest, ten times as large.
- `processor_growth`: the same of processor seconds.
- `memory_per_added_byte`: peak memory at the largest size less that at the smallest, by the bytes
  of the images in between.
- `anonymous_per_added_byte`: the same of anonymous memory.

`shapes` has seconds and memory by shape, and the same two figures of the last shape and the first.

Predictions reads the test split, which stays as it is, and Evaluator what Predictions wrote: they
should not grow at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
import re
import resource
import shutil
import statistics
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import typer
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from benchmarks import command, idx_files, processes, trainings
from benchmarks.session import Session
from benchmarks.spread import grouped
from benchmarks.tables import Table
from cli import command_line
from components import features
from components.image_schema import ImageSchema
from components.messages import by
from operations import temporary
from pipeline import config as configurations
from pipeline import machine, precision
from pipeline.datasets.dataset import DataSet, Source
from pipeline.datasets.reading import read_dataset
from pipeline.datasets.schema_file import read_schema
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
# The nodes whose work depends on the size of an image, and not on the network.
DATA_NODES = MEASURED[: MEASURED.index("Transform") + 1]
SHAPES, SHORT_SHAPES = "28x28x1,64x64x3,128x128x3,224x224x3", "28x28x1,40x40x3"
SHAPED_IMAGES, SHORT_SHAPED_IMAGES = 14_000, 3_000
NONE = "none"

_RUN_ID = "scale"
_BATCH = 10_000
_MOST_PIXELS = 2
_NOISE = 12.0
_BRIGHTNESS = (0.7, 1.2)
_CHANNEL_BRIGHTNESS = (0.6, 1.0)
# Maximum bytes of enlarged images in a batch.
_BATCH_BYTES = 2**26
_TEST_SHARE = 1 / 7
_SHAPE = r"([1-9]\d{0,4})x([1-9]\d{0,4})x([13])"
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
_SECONDS_BETWEEN_LOOKS = 0.02

# Height, width and channels.
Shape = tuple[int, int, int]

app = command.application()


@dataclasses.dataclass(frozen=True)
class Case:
    """What a node needs to run, small enough to be handed to another process.

    Attributes:
      data: the images of one size.
      schema: what they are.
      config: of the run; its `schema_file` says the same as the schema.
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

`python -m benchmarks.scale --sizes none --shapes 28x28x1,96x96x3`

`python -m benchmarks.scale --sizes 70000,7000000 --shapes none --data-nodes`

`TMPDIR=/large python -m benchmarks.scale` takes a disk with room: 2.2 GB for 700,000 images.

`python -m benchmarks.scale --short` sees that it works.""",
)
def main(
    sizes: Annotated[
        str | None,
        typer.Option(
            metavar=f"{SIZES}|{NONE}",
            help=f"Images in all, with the test split; --short takes {SHORT_SIZES}.",
        ),
    ] = None,
    shapes: Annotated[
        str | None,
        typer.Option(
            metavar=f"{SHAPES}|{NONE}",
            help=f"Heights, widths and channels of images; --short takes {SHORT_SHAPES}.",
        ),
    ] = None,
    shaped_images: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Images of each shape, {SHAPED_IMAGES:,} by default; a seventh are test images.",
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds through all sizes.")] = 1,
    data_nodes: Annotated[
        bool, typer.Option("--data-nodes", help="Measure the nodes before Trainer alone.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the changes to the images.")] = 1,
    data: command.DataFrom = None,
    record: command.RecordTo = None,
    short: command.Short = False,
    as_json: command.AsJson = False,
) -> None:
    """Measure how time and memory of each node grow with the data."""
    found, schema = trainings.checked(command.data_argument(data, short), sample_serves=True)
    config = configurations.load_config("smoke", _ASSIGNMENTS, sample=found.sample)
    originals = pathlib.Path(found.location)
    counts = _counts(sizes or (SHORT_SIZES if short else SIZES), originals, schema, config)
    asked = _shapes(shapes or (SHORT_SHAPES if short else SHAPES))
    shaped = shaped_images or (SHORT_SHAPED_IMAGES if short else SHAPED_IMAGES)
    if asked:
        _check_shaped(shaped, schema, config)
    elif not counts:
        raise ConfigurationError(
            f"--sizes and --shapes: found {NONE} for both; expected something to measure. Leave "
            "one of them away."
        )
    configuration = {
        "short": short,
        "sizes": counts,
        "shapes": [by(shape) for shape in asked],
        "shaped_images": shaped,
        "repeats": repeats,
        "data_nodes": data_nodes,
        "seed": seed,
        "trained": config.model_dump(mode="json"),
    }
    session = Session(NAME, configuration, found, record)
    # After the record was begun, which is to hold no path of this machine.
    config = config.model_copy(update={"schema_file": str(trainings.ROOT / config.schema_file)})
    before_training = NODES[: NODES.index(DATA_NODES[-1]) + 1]
    for number in range(1, repeats + 1):
        for count in counts:
            with made_case(originals, schema, config, count, seed) as case:
                for repeat in _run(case, before_training if data_nodes else NODES):
                    session.add({"round": number, "images": count, **repeat}, _line(count, repeat))
        for shape in asked:
            name = by(shape)
            with _shaped_case(originals, schema, config, shape, shaped, seed) as case:
                for repeat in _run(case, before_training):
                    session.add(
                        {"round": number, "images": shaped, "shape": name, **repeat},
                        f"{name}, {_line(shaped, repeat)}",
                    )
    answer = figures(session.repeats, schema.bytes_per_image)
    session.end(answer, tables(answer), as_json)


def _counts(
    text: str, originals: pathlib.Path, schema: ImageSchema, config: configurations.Config
) -> list[int]:
    """The sizes in growing order.

    Raises:
      ConfigurationError: where they are not two at least, or one leaves too few to train on.
    """
    if text == NONE:
        return []
    counts = sorted(set(command.numbers(text, "--sizes", least=1)))
    least = idx_files.count(originals, idx_files.TEST) + 2 * _held_out(schema, config)
    if len(counts) > 1 and counts[0] >= least:
        return counts
    raise ConfigurationError(
        f"--sizes: found {text!r}; expected two sizes or more, each of at least {least:,} images: "
        "beside those of test and validation some must be left to train on. Give larger ones."
    )


def _held_out(schema: ImageSchema, config: configurations.Config) -> int:
    return int(config.split.validation * len(schema.class_names))


def _shapes(text: str) -> list[Shape]:
    """The shapes, the smallest first.

    Raises:
      ConfigurationError: where they are not two at least, two are equally large, or one is none.
    """
    if text == NONE:
        return []
    found = [re.fullmatch(_SHAPE, part.strip()) for part in text.split(",")]
    shapes = [(int(one[1]), int(one[2]), int(one[3])) for one in found if one]
    if len({math.prod(shape) for shape in shapes}) == len(found) > 1:
        return sorted(shapes, key=math.prod)
    raise ConfigurationError(
        f"--shapes: found {text!r}; expected two shapes or more between commas, each of a height, "
        "a width, and 1 or 3 channels, no two equally large. Give them as in "
        "--shapes 28x28x1,64x64x3."
    )


def _check_shaped(count: int, schema: ImageSchema, config: configurations.Config) -> None:
    least = math.ceil(2 * _held_out(schema, config) / (1 - _TEST_SHARE))
    if count < least:
        raise ConfigurationError(
            f"--shaped-images: found {count:,}; expected at least {least:,}: beside those of test "
            "and validation some must be left to train on. Give more."
        )


@contextlib.contextmanager
def made_case(
    originals: pathlib.Path,
    schema: ImageSchema,
    config: configurations.Config,
    count: int,
    seed: int,
) -> Iterator[Case]:
    """Makes the images of a size, which are gone with all that was made of them afterwards.

    Args:
      originals: folder of IDX files.
      schema: what the images are.
      config: of the runs.
      count: number of images, with those of the test split.
      seed: of what becomes of the images.
    """
    with _folder(count * schema.bytes_per_image) as folder:
        images = folder / "images"
        images.mkdir()
        write_images(images, originals, count, seed)
        yield _read_case(images, config, folder)


@contextlib.contextmanager
def _shaped_case(
    originals: pathlib.Path,
    schema: ImageSchema,
    config: configurations.Config,
    shape: Shape,
    count: int,
    seed: int,
) -> Iterator[Case]:
    """Makes images of a shape and a schema that says so, as `made_case` does."""
    with _folder(count * math.prod(shape)) as folder:
        images, schema_file = folder / "images", folder / "schema.pbtxt"
        images.mkdir()
        write_shaped_images(images, originals, shape, count, seed)
        text = schema_text(config.schema_file, shape, schema.class_names)
        schema_file.write_text(text, encoding="utf-8")
        config = config.model_copy(update={"schema_file": str(schema_file)})
        yield _read_case(images, config, folder)


@contextlib.contextmanager
def _folder(raw_bytes: int) -> Iterator[pathlib.Path]:
    _check_room(raw_bytes)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        yield pathlib.Path(folder)


def _read_case(images: pathlib.Path, config: configurations.Config, folder: pathlib.Path) -> Case:
    schema, digest = read_schema(config.schema_file)
    made = read_dataset(Source(images, sample=False), schema, digest, config)
    return Case(made, schema, config, str(folder / "outputs"))


def schema_text(schema_file: str, shape: Shape, class_names: Sequence[str]) -> str:
    """A schema for images of another shape, or of other classes, in text form."""
    text = pathlib.Path(schema_file).read_text(encoding="utf-8")
    schema = text_format.Parse(text, schema_pb2.Schema())
    sizes = dict(zip(("height", "width", "channels"), shape, strict=True))
    for group in schema.tensor_representation_group.values():
        for dimension in group.tensor_representation[features.IMAGE].dense_tensor.shape.dim:
            dimension.size = sizes[dimension.name]
    for feature in schema.feature:
        if feature.name == features.LABEL:
            feature.int_domain.max = len(class_names) - 1
    for domain in schema.string_domain:
        domain.value[:] = class_names
    return text_format.MessageToString(schema)


def _check_room(raw_bytes: int) -> None:
    folder = tempfile.gettempdir()
    free, needed = shutil.disk_usage(folder).free, _DISK_PER_RAW_BYTE * raw_bytes
    if free < needed:
        raise OutputError(
            f"{folder} has {free / 1e9:.1f} GB left; expected {needed / 1e9:.1f} GB for the images "
            "and what is made of them. Name a larger disk with TMPDIR, or give smaller --sizes."
        )


def write_images(folder: pathlib.Path, originals: pathlib.Path, count: int, seed: int) -> None:
    """Writes the four files of a data set of some size.

    Args:
      folder: where they go.
      originals: folder of the IDX files whose test split is taken as it is, and whose training
        images the others are made of.
      count: images in all.
      seed: of what becomes of the training images.
    """
    for path in idx_files.paths(originals, idx_files.TEST):
        shutil.copy(path, folder)
    images, labels = idx_files.read_pair(originals, idx_files.TRAIN)
    sizes = (count - idx_files.count(originals, idx_files.TEST), *images.shape[1:])
    idx_files.write(folder, idx_files.TRAIN, sizes, _made(images, labels, sizes[0], seed))


def write_shaped_images(
    folder: pathlib.Path, originals: pathlib.Path, shape: Shape, count: int, seed: int
) -> None:
    """Writes the four files of a data set of another shape.

    Args:
      folder: where they go.
      originals: folder of the IDX files that the images are made of.
      shape: height, width and channels.
      count: images in all, of which a seventh are test images.
      seed: of what becomes of the images.
    """
    tested = round(count * _TEST_SHARE)
    form = shape if shape[2] > 1 else shape[:2]
    for number, (half, size) in enumerate(
        {idx_files.TRAIN: count - tested, idx_files.TEST: tested}.items()
    ):
        images, labels = idx_files.read_pair(originals, half)
        made = _shaped(images, labels, shape, size, [seed, number])
        idx_files.write(folder, half, (size, *form), made)


def _shaped(
    images: np.ndarray, labels: np.ndarray, shape: Shape, count: int, seeds: list[int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rows, size = taken(count, len(images)), min(max(_BATCH_BYTES // math.prod(shape), 1), _BATCH)
    for start in range(0, count, size):
        part = rows[start : start + size]
        random = np.random.default_rng([*seeds, start])
        yield enlarged(perturbed(images[part], random), shape, random), labels[part]


def taken(count: int, available: int) -> np.ndarray:
    """Which images a number of them is made of, int64 [count]: all in turn, or some of all parts.

    The images may be in the order of their classes, and each class is to be there.
    """
    if count < available:
        return np.arange(count) * available // count
    return np.arange(count) % available


def enlarged(images: np.ndarray, shape: Shape, random: np.random.Generator) -> np.ndarray:
    """Gives images another shape: repeats rows and columns, and dims each channel at random.

    Args:
      images: uint8 [N, rows, columns] or [N, rows, columns, channels]; the first channel counts.
      shape: height, width and channels.
      random: decides.

    Returns:
      uint8 [N, height, width, channels].
    """
    height, width, channels = shape
    gray = images.reshape(*images.shape[:3], -1)[..., :1]
    rows = np.arange(height) * images.shape[1] // height
    columns = np.arange(width) * images.shape[2] // width
    dimmed = random.uniform(*_CHANNEL_BRIGHTNESS, (len(images), 1, 1, channels))
    return np.rint(gray[:, rows[:, None], columns] * dimmed.astype(np.float32)).astype(np.uint8)


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


def _run(case: Case, nodes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Runs the graph node by node; yields what each that is measured took."""
    for node in nodes:
        found = processes.in_fresh_process(measure_node, case, node)
        if node in MEASURED:
            yield {"node": node, **found}


def measure_node(case: Case, node: str, beam_arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Runs one node, in this process; those before it have run.

    Args:
      case: of the graph.
      node: its id.
      beam_arguments: arguments for Beam, beside those of every run.

    Returns:
      `seconds` and `processor_seconds`; `peak_memory` and `anonymous_memory`, the most that this
      process had, in bytes.

    Raises:
      MeasurementError: where the node did not end well.
    """
    from benchmarks.single_node import SingleNodeRunner

    locations = Locations(pathlib.Path(case.root))
    temporary_folder = locations.root / TEMPORARY_FOLDER
    temporary_folder.mkdir(parents=True)
    began = processor_seconds()
    with temporary.folder(temporary_folder), _watched() as memory:
        SingleNodeRunner(node, _RUN_ID).run(graph_of(case, locations, beam_arguments))
    computed = processor_seconds() - began
    peak_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10
    store = metadata.open_store(locations.metadata)
    ended = metadata.read_nodes(store, NAME, _RUN_ID, [node])[node]
    if ended.status != NodeStatus.COMPLETE:
        raise processes.MeasurementError(
            f"{node} ended as {ended.status}; expected {NodeStatus.COMPLETE}. Run the pipeline "
            "on the same data to see why."
        )
    return {
        "seconds": ended.seconds,
        "processor_seconds": computed,
        "peak_memory": peak_memory,
        "anonymous_memory": max(memory),
    }


def processor_seconds() -> float:
    """What this process and its children that ended have computed so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


@contextlib.contextmanager
def _watched() -> Iterator[list[int]]:
    """Looks at the anonymous memory of this process from time to time; bytes."""
    looks, is_over = [anonymous_memory()], threading.Event()

    def watch() -> None:
        while not is_over.wait(_SECONDS_BETWEEN_LOOKS):
            looks.append(anonymous_memory())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield looks
    finally:
        is_over.set()
        watcher.join()


def anonymous_memory() -> int:
    """What this process has in memory that is no file, in bytes."""
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 2**10


def graph_of(case: Case, locations: Locations, beam_arguments: Sequence[str] = ()) -> Any:
    """The graph of a case, whose nodes get further Beam arguments."""
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
        [*engine.NODE_ARGUMENTS, *beam_arguments],
        enable_cache=False,
    )


def figures(repeats: Sequence[dict[str, Any]], bytes_per_image: int) -> dict[str, Any]:
    """How time and memory grow, by node.

    `seconds`, `processor_seconds`, `peak_memory` and `anonymous_memory` (bytes) are by node and
    size; those of `shapes` by node and shape.
    """
    counted = [repeat for repeat in repeats if "shape" not in repeat]
    shaped = [repeat for repeat in repeats if "shape" in repeat]
    answer: dict[str, Any] = {}
    if counted:
        counts = sorted({repeat["images"] for repeat in counted})
        added = (counts[-1] - counts[0]) * bytes_per_image
        answer = _growth(counted, "images", (counts[0], counts[-1]), added)
    if shaped:
        names = list(grouped(shaped, "shape"))
        first, last = (math.prod(map(int, names[place].split("x"))) for place in (0, -1))
        added = (last - first) * shaped[0]["images"]
        answer["shapes"] = _growth(shaped, "shape", (names[0], names[-1]), added)
        answer["shapes"]["images"] = shaped[0]["images"]
    return answer


def _growth(
    repeats: Sequence[dict[str, Any]], key: str, ends: tuple[Any, Any], added: int
) -> dict[str, Any]:
    """The figures of measurements that differ in the value of a key.

    Args:
      repeats: the measurements.
      key: which one.
      ends: its value in the first and in the last.
      added: by how many bytes the images of the last are more than those of the first.
    """
    seconds, computed, memory, anonymous = (
        _medians(repeats, value, key)
        for value in ("seconds", "processor_seconds", "peak_memory", "anonymous_memory")
    )
    first, last = map(str, ends)
    return {
        "time_growth": {node: by[last] / by[first] for node, by in seconds.items()},
        "processor_growth": {node: by[last] / by[first] for node, by in computed.items()},
        "memory_per_added_byte": {
            node: (by[last] - by[first]) / added for node, by in memory.items()
        },
        "anonymous_per_added_byte": {
            node: (by[last] - by[first]) / added for node, by in anonymous.items()
        },
        "seconds": seconds,
        "processor_seconds": computed,
        "peak_memory": memory,
        "anonymous_memory": anonymous,
    }


def _medians(
    repeats: Sequence[dict[str, Any]], value: str, key: str
) -> dict[str, dict[str, float]]:
    """Of a value, by node and by that of a key."""
    return {
        node: {
            str(size): statistics.median(run[value] for run in runs)
            for size, runs in grouped(measured, key).items()
        }
        for node, measured in grouped(repeats, "node").items()
    }


def tables(figures: dict[str, Any]) -> list[Table]:
    """Seconds of each node at each size and shape, and its memory."""
    found = []
    if "seconds" in figures:
        counts = next(iter(figures["seconds"].values()))
        found += _tables(figures, [f"{int(count):,} images" for count in counts])
    if "shapes" in figures:
        shaped = figures["shapes"]
        found += _tables(shaped, list(next(iter(shaped["seconds"].values()))))
    return found


def _tables(figures: dict[str, Any], sizes: list[str]) -> list[Table]:
    memory, anonymous = (
        {
            node: {size: value / _MIB for size, value in by_size.items()}
            for node, by_size in figures[key].items()
        }
        for key in ("peak_memory", "anonymous_memory")
    )
    growth = [*sizes, "bytes per added byte"]
    return [
        _table(["seconds", *sizes, "times"], figures["seconds"], figures["time_growth"]),
        _table(
            ["processor seconds", *sizes, "times"],
            figures["processor_seconds"],
            figures["processor_growth"],
        ),
        _table(["MiB", *growth], memory, figures["memory_per_added_byte"]),
        _table(["anonymous MiB", *growth], anonymous, figures["anonymous_per_added_byte"]),
    ]


def _table(
    headings: list[str], values: dict[str, dict[str, float]], growth: dict[str, float]
) -> Table:
    rows = [
        [node, *(f"{value:,.1f}" for value in by_size.values()), f"{growth[node]:.2f}"]
        for node, by_size in values.items()
    ]
    return Table(headings, rows)


def _line(count: int, repeat: dict[str, Any]) -> str:
    memory = repeat["peak_memory"] / _MIB
    return f"{count:,} images, {repeat['node']}: {repeat['seconds']:.1f} s, {memory:,.0f} MiB"


if __name__ == "__main__":
    command_line.start(app)
