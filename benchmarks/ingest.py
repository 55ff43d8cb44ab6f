"""How fast ExampleGen reads image files, against a plain loop over Pillow that does the same.

Both read the same files, in folders of classes, and write examples of the same size: photographs of
mixed sizes (`benchmarks.made_images`), and small PNG files, which cost little more than to open
them. The loop divides the files between two processes. Each of them reads a file, decodes it, turns
it upright, fits it, serializes an example and writes it. It checks nothing and counts nothing.

The two take turns. Seconds are those of the work: of ExampleGen as ML Metadata has them, of the
loop from the moment when its libraries are imported. What a run does before its graph, which is
above all to hash every file, is measured apart, as `preparation_seconds`.

- `ratio_to_loop`: median seconds of the loop by those of ExampleGen; 1 is as fast as the loop.

What ExampleGen does in one process, however many workers there are, is measured alone: it lists all
examples, and draws their splits (`listing_seconds` of the processor and `listing_memory` in bytes,
each of an image).

With `--workers`, ExampleGen also reads them with one Beam worker on one core, and with two on two
cores. Each worker is a process that Beam starts for the node; that it has to import its libraries
counts.

- `speed_up`: median seconds of one worker by those of two.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image, ImageOps

from benchmarks import command, made_images, processes, scale, trainings
from benchmarks.scale import Case, Shape
from benchmarks.session import Session
from benchmarks.spread import grouped
from benchmarks.tables import Table
from cli import command_line
from components import features
from pipeline import config as configurations
from pipeline.datasets.dataset import Source
from pipeline.datasets.reading import read_dataset
from pipeline.datasets.schema_file import read_schema

NAME = "ingest"
PHOTOGRAPHS, SMALL_FILES = "photographs", "small_files"
OURS, LOOP = "example_gen", "pillow_loop"
# ExampleGen with a number of Beam workers, and as many cores.
WORKERS = {"one_worker": 1, "two_workers": 2}
COUNTS = {PHOTOGRAPHS: 1_500, SMALL_FILES: 35_000}
SHORT_COUNTS = {PHOTOGRAPHS: 50, SMALL_FILES: 300}

_PHOTOGRAPH_SHAPE = (64, 64, 3)
_PROCESSES = 2
_NODE = "ExampleGen"
_MIB = 2**20

app = command.application()


@dataclasses.dataclass(frozen=True)
class Files:
    """Image files to read.

    Attributes:
      name: `photographs` or `small_files`.
      folder: their folder.
      schema_file: what is made of them.
      shape: height, width and channels of what is made of them.
    """

    name: str
    folder: pathlib.Path
    schema_file: pathlib.Path
    shape: Shape


@app.command(
    cls=command_line.Command,
    epilog="""Examples:

`python -m benchmarks.ingest --data ~/fashion-mnist --json`

`python -m benchmarks.ingest --photographs 3000 --small-files 70000 --repeats 5`

`python -m benchmarks.ingest --photographs 6000 --workers`

`python -m benchmarks.ingest --short` sees that it works.""",
)
def main(
    photographs: Annotated[
        int | None,
        typer.Option(min=20, help=f"Number of photographs; {COUNTS[PHOTOGRAPHS]:,} by default."),
    ] = None,
    small_files: Annotated[
        int | None,
        typer.Option(min=100, help=f"Number of small files; {COUNTS[SMALL_FILES]:,} by default."),
    ] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Rounds; 3 by default.")] = None,
    workers: Annotated[
        bool, typer.Option("--workers", help="Measure one and two Beam workers, too.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the files.")] = 1,
    data: command.DataFrom = None,
    record: command.RecordTo = None,
    short: command.Short = False,
    as_json: command.AsJson = False,
) -> None:
    """Measure how fast image files are read, against a plain loop over Pillow."""
    found, schema = trainings.checked(command.data_argument(data, short), sample_serves=True)
    config = configurations.load_config("smoke", ["split.validation=0.1"])
    usual = SHORT_COUNTS if short else COUNTS
    counts = {
        PHOTOGRAPHS: photographs or usual[PHOTOGRAPHS],
        SMALL_FILES: small_files or usual[SMALL_FILES],
    }
    rounds = repeats or (1 if short else 3)
    configuration = {
        "short": short,
        "counts": counts,
        "repeats": rounds,
        "workers": workers,
        "seed": seed,
        "trained": config.model_dump(mode="json"),
    }
    session = Session(NAME, configuration, found, record)
    base_schema = str(trainings.ROOT / config.schema_file)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = pathlib.Path(name)
        originals = pathlib.Path(found.location)
        made = [
            _photographs(folder, base_schema, counts[PHOTOGRAPHS], seed),
            _small_files(
                folder, base_schema, originals, schema.class_names, counts[SMALL_FILES], seed
            ),
        ]
        for number in range(1, rounds + 1):
            for files in made:
                for repeat in _measured(files, config, counts[files.name], workers):
                    session.add({"round": number, **repeat}, _line(repeat))
    answer = figures(session.repeats)
    session.end(answer, tables(answer), as_json)


def _photographs(folder: pathlib.Path, base_schema: str, count: int, seed: int) -> Files:
    processes.notify(f"Drawing {count:,} photographs")
    files = Files(
        PHOTOGRAPHS, folder / PHOTOGRAPHS, folder / f"{PHOTOGRAPHS}.pbtxt", _PHOTOGRAPH_SHAPE
    )
    made_images.write_photographs(files.folder, count, seed)
    text = scale.schema_text(base_schema, files.shape, made_images.SHAPES)
    files.schema_file.write_text(text, encoding="utf-8")
    return files


def _small_files(
    folder: pathlib.Path,
    schema_file: str,
    originals: pathlib.Path,
    class_names: tuple[str, ...],
    count: int,
    seed: int,
) -> Files:
    processes.notify(f"Writing {count:,} small files")
    schema, _ = read_schema(schema_file)
    files = Files(SMALL_FILES, folder / SMALL_FILES, pathlib.Path(schema_file), schema.shape)
    files.folder.mkdir()
    for half in made_images.halves(originals, class_names, count, seed):
        made_images.write_class_folders(files.folder, half)
    return files


def _measured(
    files: Files, config: configurations.Config, count: int, workers: bool
) -> Iterator[dict[str, Any]]:
    """Has each side read the files once; yields what it took."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        case, seconds = processes.in_fresh_process(prepare, files, config, name)
        ours = processes.in_fresh_process(scale.measure_node, case, _NODE)
        listed = processes.in_fresh_process(measure_listing, case)
        loop = processes.in_fresh_process(measure_loop, files, name)
        divided = {
            side: processes.in_fresh_process(measure_workers, case, side)
            for side in (WORKERS if workers else ())
        }
    about = {"files": files.name, "images": count}
    yield {**about, "side": OURS, "preparation_seconds": seconds, **ours, **listed}
    for side, found in {LOOP: loop, **divided}.items():
        yield {**about, "side": side, **found}


def prepare(files: Files, config: configurations.Config, root: str) -> tuple[Case, float]:
    """Does what a run does with the files before its graph, in this process.

    Args:
      files: what is read.
      config: of the run.
      root: folder for outputs.

    Returns:
      What ExampleGen needs, and the seconds that it took.
    """
    # Digests are kept there, and none of these files will be read again.
    os.environ["XDG_CACHE_HOME"] = root
    config = config.model_copy(update={"schema_file": str(files.schema_file)})
    schema, digest = read_schema(config.schema_file)
    began = time.monotonic()
    data = read_dataset(Source(files.folder, sample=False), schema, digest, config)
    return Case(data, schema, config, str(pathlib.Path(root) / "outputs")), time.monotonic() - began


def measure_listing(case: Case) -> dict[str, float]:
    """Does what ExampleGen does before its workers begin.

    Args:
      case: of the graph.

    Returns:
      `listing_seconds` of the processor, and `listing_memory` in bytes, an image.
    """
    from components.example_gen import collection

    data, before, began = case.data, scale.anonymous_memory(), scale.processor_seconds()
    readers = collection.open_parts(data.location, data.request)
    contents = data.request.contents or collection.hashed(readers)
    collection.digest(data.request.parts, readers, contents)
    listed = collection.listing(data.request, readers, contents, case.config.seed)
    work = list(collection.work_of(listed, data.request, readers, contents))
    count = sum(len(each.ids) for each in work)
    return {
        "listing_seconds": (scale.processor_seconds() - began) / count,
        "listing_memory": (scale.anonymous_memory() - before) / count,
    }


def measure_workers(case: Case, side: str) -> dict[str, Any]:
    """Runs ExampleGen with some Beam workers, and gives this process and them as many cores.

    Args:
      case: of the graph.
      side: one of `WORKERS`.

    Returns:
      What `scale.measure_node` does; the memory is that of this process.
    """
    count = WORKERS[side]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    arguments = [f"--direct_num_workers={count}", "--direct_running_mode=multi_processing"]
    apart = dataclasses.replace(case, root=f"{case.root}-{side}")
    return scale.measure_node(apart, _NODE, arguments)


def measure_loop(files: Files, root: str) -> dict[str, float]:
    """Runs the plain loop in processes that are forked from this one.

    Args:
      files: what is read.
      root: folder for outputs.

    Returns:
      `seconds`.
    """
    paths = sorted(path for path in files.folder.rglob("*") if path.suffix in (".jpg", ".png"))
    folders = sorted({path.parent.name for path in paths})
    began = time.monotonic()
    # Forked, so that no process imports anything.
    with multiprocessing.get_context("fork").Pool(_PROCESSES) as pool:
        shards = [
            (paths[first::_PROCESSES], folders, files.shape, f"{root}/loop-{first}")
            for first in range(_PROCESSES)
        ]
        pool.starmap(_write_shard, shards)
    return {"seconds": time.monotonic() - began}


def _write_shard(
    paths: Sequence[pathlib.Path], folders: Sequence[str], shape: Shape, output: str
) -> None:
    import tensorflow as tf

    height, width, channels = shape
    with tf.io.TFRecordWriter(output) as writer:
        for path in paths:
            with Image.open(path) as image:
                upright = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
            fitted = ImageOps.pad(upright, (width, height), Image.Resampling.BILINEAR)
            values = {
                features.IMAGE: tf.train.BytesList(value=[np.asarray(fitted).tobytes()]),
                features.EXAMPLE_ID: tf.train.BytesList(value=[str(path).encode()]),
            }
            labels = tf.train.Int64List(value=[folders.index(path.parent.name)])
            described = {
                **{key: tf.train.Feature(bytes_list=value) for key, value in values.items()},
                features.LABEL: tf.train.Feature(int64_list=labels),
            }
            example = tf.train.Example(features=tf.train.Features(feature=described))
            writer.write(example.SerializeToString())


def figures(repeats: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians by kind of file and side, and their ratios."""
    by_files = {name: grouped(runs, "side") for name, runs in grouped(repeats, "files").items()}

    def medians(side: str, key: str) -> dict[str, float]:
        return {
            name: statistics.median(run[key] for run in sides[side])
            for name, sides in by_files.items()
        }

    sides = list(grouped(repeats, "side"))
    seconds = {side: medians(side, "seconds") for side in sides}
    ours, loop = seconds[OURS], seconds[LOOP]
    found = {
        "ratio_to_loop": {name: loop[name] / ours[name] for name in by_files},
        "images": medians(OURS, "images"),
        "seconds": seconds,
        "preparation_seconds": medians(OURS, "preparation_seconds"),
        "listing_seconds": medians(OURS, "listing_seconds"),
        "listing_memory": medians(OURS, "listing_memory"),
        "peak_memory": medians(OURS, "peak_memory"),
    }
    if sides[2:]:
        one, two = (seconds[side] for side in WORKERS)
        found["speed_up"] = {name: one[name] / two[name] for name in by_files}
    return found


def tables(figures: dict[str, Any]) -> list[Table]:
    """What was measured, and with `--workers` the speed-up."""
    if "speed_up" not in figures:
        return [table(figures)]
    headings = ["files", *(f"{side.replace('_', ' ')} s" for side in WORKERS), "speed-up"]
    rows = [
        [
            name,
            *(f"{figures['seconds'][side][name]:.1f}" for side in WORKERS),
            f"{speed_up:.2f}",
        ]
        for name, speed_up in figures["speed_up"].items()
    ]
    return [table(figures), Table(headings, rows)]


def table(figures: dict[str, Any]) -> Table:
    """A row for each kind of file."""
    headings = [
        "files",
        "images",
        "ExampleGen s",
        "loop s",
        "ratio",
        "preparation s",
        "listing us",
        "MiB",
    ]
    rows = [
        [
            name,
            f"{figures['images'][name]:,.0f}",
            f"{figures['seconds'][OURS][name]:.1f}",
            f"{figures['seconds'][LOOP][name]:.1f}",
            f"{ratio:.2f}",
            f"{figures['preparation_seconds'][name]:.1f}",
            f"{1e6 * figures['listing_seconds'][name]:.1f}",
            f"{figures['peak_memory'][name] / _MIB:,.0f}",
        ]
        for name, ratio in figures["ratio_to_loop"].items()
    ]
    return Table(headings, rows)


def _line(repeat: dict[str, Any]) -> str:
    return f"{repeat['images']:,} {repeat['files']}, {repeat['side']}: {repeat['seconds']:.1f} s"


if __name__ == "__main__":
    command_line.start(app)
