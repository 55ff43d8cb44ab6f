"""How fast ExampleGen reads image files, against a plain loop over Pillow that does the same.

Both read the same files, in folders of classes, and write examples of the same size: photographs of
mixed sizes (`benchmarks.made_images`), and small PNG files, which cost little more than to open
them. The loop divides the files between two processes. Each of them reads a file, decodes it, turns
it upright, fits it, serializes an example and writes it. It checks nothing and counts nothing.

The two take turns. Seconds are those of the work: of ExampleGen as ML Metadata has them, of the
loop from the moment when its libraries are imported. What a run does before its graph, which is
above all to hash every file, is measured apart, as `preparation_seconds`.

- `ratio_to_loop`: median seconds of the loop by those of ExampleGen; 1 is as fast as the loop.
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
                for repeat in _measured(files, config, counts[files.name]):
                    session.add({"round": number, **repeat}, _line(repeat))
    answer = figures(session.repeats)
    session.end(answer, [table(answer)], as_json)


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


def _measured(files: Files, config: configurations.Config, count: int) -> Iterator[dict[str, Any]]:
    """Has each side read the files once; yields what it took."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        case, seconds = processes.in_fresh_process(prepare, files, config, name)
        ours = processes.in_fresh_process(scale.measure_node, case, _NODE)
        loop = processes.in_fresh_process(measure_loop, files, name)
    about = {"files": files.name, "images": count}
    yield {**about, "side": OURS, "preparation_seconds": seconds, **ours}
    yield {**about, "side": LOOP, **loop}


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
    """Medians by kind of file and side, and their ratio."""
    by_files = {name: grouped(runs, "side") for name, runs in grouped(repeats, "files").items()}

    def medians(side: str, key: str) -> dict[str, float]:
        return {
            name: statistics.median(run[key] for run in sides[side])
            for name, sides in by_files.items()
        }

    ours, loop = medians(OURS, "seconds"), medians(LOOP, "seconds")
    return {
        "ratio_to_loop": {name: loop[name] / ours[name] for name in by_files},
        "images": medians(OURS, "images"),
        "seconds": {OURS: ours, LOOP: loop},
        "preparation_seconds": medians(OURS, "preparation_seconds"),
        "peak_memory": medians(OURS, "peak_memory"),
    }


def table(figures: dict[str, Any]) -> Table:
    """A row for each kind of file."""
    headings = ["files", "images", "ExampleGen s", "loop s", "ratio", "preparation s", "MiB"]
    rows = [
        [
            name,
            f"{figures['images'][name]:,.0f}",
            f"{figures['seconds'][OURS][name]:.1f}",
            f"{figures['seconds'][LOOP][name]:.1f}",
            f"{ratio:.2f}",
            f"{figures['preparation_seconds'][name]:.1f}",
            f"{figures['peak_memory'][name] / _MIB:,.0f}",
        ]
        for name, ratio in figures["ratio_to_loop"].items()
    ]
    return Table(headings, rows)


def _line(repeat: dict[str, Any]) -> str:
    return f"{repeat['images']:,} {repeat['files']}, {repeat['side']}: {repeat['seconds']:.1f} s"


if __name__ == "__main__":
    command_line.start(app)
