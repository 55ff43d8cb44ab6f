"""The readers of untrusted files, each with sound files to begin from and a way to ask it.

`records.py` and `endpoints.py` have more of them.
"""

from __future__ import annotations

import dataclasses
import datetime
import fcntl
import json
import pathlib
import shutil
import sqlite3
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.example_gen.readers import base
from components.images import Fit, ImageError, Preparation, prepare
from components.pusher import rollbacks, versions
from operations import predict, questions, recording
from operations.initialization import command
from operations.notifications import notifying
from operations.notifications.events import AlarmKind
from operations.preparation import Prepared
from operations.scheduling import state
from pipeline import config, config_file, lock
from pipeline.database import binding, passwords
from pipeline.database.address import Address
from pipeline.datasets import digest_cache, schema_file
from pipeline.errors import PipelineError
from pipeline.locations import Locations
from pipeline.records import history
from tests import image_files, made_runs
from tests.components.example_gen.readers import made
from tests.fuzzing import endpoints, records
from tests.fuzzing.reader import Reader, Violation, check_message
from tests.made_data import made_dataset, made_request

_PREPARATION = Preparation(28, 28, 1, Fit.PAD, 0)
_SCHEMA = pathlib.Path(__file__).resolve().parents[2] / "schema" / "schema.pbtxt"


# --- Data ----------------------------------------------------------------------------------------


def _parts() -> list[made.Part]:
    images = np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4, 1)
    return [made.Part(split, images, ["0", "1", "1"]) for split in ("train", "test")]


def _read_data(folder: pathlib.Path) -> None:
    read = made.read(folder)
    if not len(read.items) == len(read.index.ids) == len(read.index.labels):
        raise Violation("ids, labels and images differ in number")


def _class_folders(folder: pathlib.Path) -> None:
    made.write_class_folders(folder, _parts())
    made.text(folder, "classes.toml", '"0" = "Zero"', '"1" = "One"')


def _parquet_manifest(folder: pathlib.Path) -> None:
    made.write_manifest(folder, _parts())
    (folder / "labels.csv").unlink()
    names = sorted(f"images/{path.name}" for path in (folder / "images").iterdir())
    labels = [str(number % 2) for number in range(len(names))]
    pq.write_table(pa.table({"path": names, "label": labels}), folder / "labels.parquet")


def _parquet_bytes(folder: pathlib.Path) -> None:
    images = [made.png(image) for part in _parts() for image in part.images]
    labels = [label for part in _parts() for label in part.labels]
    pq.write_table(pa.table({"image": images, "label": labels}), folder / "images.parquet")


def _data(make: Callable, fixed: tuple[str, ...] = ()) -> Reader:
    def write(folder: pathlib.Path) -> None:
        make(folder, _parts())

    return Reader(write, _read_data, (base.ReadingError,), fixed)


# --- Images --------------------------------------------------------------------------------------


def _images(folder: pathlib.Path) -> None:
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"):
        (folder / kind).write_bytes(image_files.saved(image_files.PICTURE, kind))
    for depth, colour in image_files.PNG_KINDS:
        before = (image_files.palette(depth),) if colour == 3 else ()
        values = image_files.png_values(depth, colour)
        content = image_files.png(values, depth, colour, before=before)
        (folder / f"PNG-{depth}-{colour}").write_bytes(content)
    turned = image_files.turned(6)
    (folder / "turned").write_bytes(image_files.saved(image_files.PICTURE, "JPEG", exif=turned))
    for compression in ("tiff_lzw", "packbits", "tiff_deflate"):
        content = image_files.saved(image_files.PICTURE, "TIFF", compression=compression)
        (folder / compression).write_bytes(content)


def _prepare(folder: pathlib.Path) -> bool:
    refused = False
    for path in sorted(folder.iterdir()):
        try:
            pixels = prepare(path.read_bytes(), _PREPARATION).pixels
        except ImageError as error:
            check_message(str(error), three_parts=True)
            refused = True
            continue
        if pixels.shape != _PREPARATION.shape or pixels.dtype != np.uint8:
            raise Violation(f"pixels of {pixels.shape}, {pixels.dtype}")
    return refused


def _predict_input(folder: pathlib.Path) -> bool:
    refused = False
    form = questions.Form(_PREPARATION, "dark", questions.Invert.AUTO)
    for each in questions.read_all([folder], form):
        if isinstance(each, questions.Refused):
            check_message(each.reason, three_parts=True)
            refused = True
    return refused


def _few_images(folder: pathlib.Path) -> None:
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(folder / "a.png")
    (folder / "b.jpg").write_bytes(image_files.saved(image_files.PICTURE, "JPEG"))
    images = np.zeros((2, 28, 28), np.uint8)
    (folder / "t10k-images-idx3-ubyte").write_bytes(made.idx_file(images))


# The table is damaged more often than if there were one of thirteen files.
_MOST_IMAGES = tuple(f"data/images/{number}" for number in range(1, 9))


def _labelled_images(folder: pathlib.Path) -> None:
    """A table of images that can be decoded, as somebody would hand it to `init`."""
    images = folder / "data" / "images"
    images.mkdir(parents=True)
    lines = ["path,label,site"]
    for number in range(12):
        pixels = np.full((9, 8, 3), 20 * number, np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
        lines.append(f"images/{number}.png,{('dog', 'cat')[number % 2]},A{number % 3}")
    (folder / "data" / "labels.csv").write_text("\n".join([*lines, ""]))


def _initialize(folder: pathlib.Path) -> None:
    """Looks at data and writes a configuration; a run can read what it wrote."""
    written = command.initialize(
        str(folder / "photos"), str(folder / "data"), None, None, (), lambda _: None
    )
    file = written.folder / "pipeline.toml"
    configured = config_file.combine(file).config()
    schema, _ = schema_file.read_schema(configured.schema_file)
    if schema.class_names != tuple(written.look.class_names):
        raise Violation(f"the schema has the classes {schema.class_names!a}")


# --- Configuration -------------------------------------------------------------------------------


def _schema(folder: pathlib.Path) -> None:
    (folder / "schema.pbtxt").write_bytes(_SCHEMA.read_bytes())


_CONFIGURATION = """version = 1
data.path = "photos"
data.label_column = "kind"
name = "flowers"
schema_file = "schema.pbtxt"
seed = 3

[training]
epochs = 30
learning_rate = 0.01
widths = [16, 32]

augmentation = { rotation = 10, flip = false, fill = "edge" }
class_weights = { Coat = 2.0 }

[gates]
accuracy = 0.8
class_recall = 0.1
required_slices = ["site=A"]

[gates.slices.site]
accuracy = 0.7
min_images = 20

[split]
group = "patient"
validation = 0.1

[images]
background = 255
"""


def _configuration(folder: pathlib.Path) -> None:
    (folder / "pipeline.toml").write_text(_CONFIGURATION)


def _combine(folder: pathlib.Path) -> None:
    config_file.combine(folder / "pipeline.toml").config()


_ASSIGNMENTS = (
    *("training.epochs=3", "seed=7", "training.widths=[16,32]", 'name="flowers"'),
    *("gates.accuracy=0.8", "split.validation=0.1", "training.learning_rate=0.01"),
)


def _set(folder: pathlib.Path) -> None:
    for number, assignment in enumerate(_ASSIGNMENTS):
        (folder / str(number)).write_text(assignment)


def _assign(folder: pathlib.Path) -> bool:
    refused = False
    for path in sorted(folder.iterdir()):
        # An argument has no null byte, and at most 128 KiB.
        text = path.read_bytes()[:100_000].replace(b"\0", b"").decode("utf-8", "surrogateescape")
        try:
            config.load_config("default", [text])
        except PipelineError as error:
            check_message(str(error), three_parts=True)
            refused = True
    return refused


# --- Records -------------------------------------------------------------------------------------


_SKIPPED = {"name": "a.png", "reason": "it is no image; expected one. Remove it."}
_READING = {
    "form": "class folders",
    "summary": "3 images",
    "fit": "pad",
    "background": 0,
    "border": "dark",
    "border_brightness": 1.5,
    "skipped": [_SKIPPED],
    "skipped_count": 1,
}
_FAILURE = {"node": "Trainer", "message": "the loss is no number", "changes": ["seed=2"]}
_SLICES = {"accuracy": 0.9, "count": 30, "judged": True}


def _shown_receipts(folder: pathlib.Path) -> None:
    """A run that pushed, with all that a receipt may hold, and one that failed."""
    _receipt(folder)
    (begun,) = history.read_receipts(folder)
    pushed = made_runs.as_pushed(begun)
    column = {"threshold": 0.8, "min_images": 20, "values": {"A": _SLICES}}
    measured = {**pushed.as_json_value()["evaluation"], "slices": {"site": column}}
    pushed = pushed.changed(evaluation=measured, reading=_READING)
    failed = begun.changed(
        run_id="20260102-040404", sequence=2, status="failed", failure=_FAILURE, seconds=3
    )
    for receipt in (pushed, failed):
        run = Locations(folder / "clothes").runs / receipt.run_id
        run.mkdir(exist_ok=True)
        receipt.write(run)


def _receipt(folder: pathlib.Path) -> None:
    schema, _ = schema_file.read_schema(str(_SCHEMA))
    configured = config.load_config("default", ["seed=7"])
    data = made_dataset(configured, schema)
    prepared = Prepared(
        "clothes", configured, data, schema, Locations(folder / "clothes"), "float32", 0
    )
    request = made_request(folder)
    began = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    receipt = recording.begun("20260102-030405", 1, began, prepared, request, "9" * 64)
    run = Locations(folder / "clothes").runs / receipt.run_id
    run.mkdir(parents=True)
    receipt.write(run)


def _reviewed(folder: pathlib.Path) -> None:
    _receipt(folder)
    records.review(folder)


def _read_receipts(folder: pathlib.Path) -> None:
    for receipt in history.read_receipts(folder):
        receipt.to_json()
    history.next_sequence(folder)


def _served(folder: pathlib.Path) -> None:
    export = folder / "export"
    records.write_export(export)
    golden = folder / "golden.npz"
    np.savez(golden, images=np.zeros((1, 784), np.uint8))
    serving = Locations(folder / "outputs" / "flowers").serving
    version = versions.publish(export, serving, [golden])
    (serving / str(version)).rename(serving / "7")
    (versions.kept_folder(serving, version)).rename(versions.kept_folder(serving, 7))
    Locations(folder / "outputs" / "flowers").runs.mkdir()
    shutil.rmtree(export)
    golden.unlink()


def _ask_served(folder: pathlib.Path) -> None:
    predict.predict([], None, folder / "outputs", questions.Invert.AUTO, lambda _: None)


def _rollback(folder: pathlib.Path) -> None:
    records = Locations(folder).serving / ".rollbacks"
    records.mkdir(parents=True)
    done = rollbacks.Rollback(8, 7, 9, "someone", "2026-01-02T03:04:05+00:00")
    (records / "9.json").write_text(json.dumps(dataclasses.asdict(done)))


def _state(folder: pathlib.Path) -> None:
    now = datetime.datetime(2026, 11, 23, 2, 30, tzinfo=datetime.UTC)
    last = state.LastRun(scheduled=now, ended=now, exit_code=0, run_id="r", text="pushed")
    alarms = {AlarmKind.RUN: "killed", AlarmKind.INPUT: "missing"}
    kept = state.State(
        schedule="0 3 * * *",
        handled=now,
        waiting=now,
        held_since=now,
        last_run=last,
        alarms=alarms,
        untold={AlarmKind.INPUT},
        data_since=now,
    )
    kept.write(folder / "state.json")


def _read_state(folder: pathlib.Path) -> None:
    found = state.read_state(folder / "state.json")
    times = [found.handled, found.at_work, found.waiting, found.held_since, found.data_since]
    if found.last_run:
        times += [found.last_run.scheduled, found.last_run.ended]
    if any(time is not None and time.tzinfo is None for time in times):
        raise Violation("a time without a zone, which cannot be compared with the clock's")


def _lock(folder: pathlib.Path) -> None:
    with lock.exclusive(folder / "lock", "run") as held:
        held.note_run("20260102-030405")
        content = (folder / "lock").read_bytes()
    (folder / "lock").write_bytes(content)


def _read_lock(folder: pathlib.Path) -> None:
    with (folder / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = lock.holder(folder / "lock")
        check_message(found.description if found else "", three_parts=False)


def _cache(folder: pathlib.Path) -> None:
    (folder / "data").mkdir()
    with sqlite3.connect(folder / "digests.db") as database:
        database.execute(
            "CREATE TABLE files (path BLOB PRIMARY KEY, state BLOB, sha256 BLOB) WITHOUT ROWID"
        )
        database.execute("INSERT INTO files VALUES (?, ?, ?)", (b"a", b"s" * 40, b"d" * 32))


def _read_cache(folder: pathlib.Path) -> None:
    cache = digest_cache.DigestCache(folder / "digests.db", str(folder), trusted=True)
    cache.find("a", (1, 2, 3, 4, 5))
    cache.keep("b", (folder.stat().st_dev, 2, 3, 4, 5), "d" * 64, 10**18)
    cache.save()


def _addresses(folder: pathlib.Path) -> None:
    (folder / "addresses").write_text("# mine\njson://localhost\nmailto://u:p@example.org\n")


def _read_addresses(folder: pathlib.Path) -> None:
    (folder / "addresses").chmod(0o600)
    notifying.Notifier.from_options(folder / "addresses")


_DATABASE = Address("ada", "db.example.org", 5432, "ml")


def _database(folder: pathlib.Path) -> None:
    binding.write(Locations(folder), _DATABASE)
    (folder / "pgpass").write_text("# mine\n*:*:other:ada:a\ndb.example.org:5432:ml:*:b\\:c\n")


def _read_database(folder: pathlib.Path) -> None:
    bound = binding.read(Locations(folder))
    (folder / "pgpass").chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PGPASSWORD", raising=False)
        patch.setenv("PGPASSFILE", str(folder / "pgpass"))
        passwords.find(bound.address if bound else _DATABASE)


READERS: Mapping[str, Reader] = {
    "idx": _data(made.write_idx),
    "arrays": _data(made.write_arrays),
    "pixel-table": _data(made.write_pixel_table),
    "manifest-csv": _data(made.write_manifest, fixed=("images/",)),
    "manifest-parquet": dataclasses.replace(
        _data(made.write_manifest, fixed=("images/",)), make=_parquet_manifest
    ),
    "parquet-images": _data(made.write_parquet),
    "parquet-bytes": Reader(_parquet_bytes, _read_data, (base.ReadingError,)),
    "class-folders": dataclasses.replace(
        _data(made.write_class_folders, fixed=("train/", "test/")), make=_class_folders
    ),
    "images": Reader(_images, _prepare),
    "predict-input": Reader(_few_images, _predict_input, (PipelineError,)),
    "init": Reader(_labelled_images, _initialize, (PipelineError,), fixed=_MOST_IMAGES),
    "schema": Reader(
        _schema,
        lambda folder: schema_file.read_schema(str(folder / "schema.pbtxt")),
        (PipelineError,),
    ),
    "pipeline-toml": Reader(_configuration, _combine, (PipelineError,)),
    "set": Reader(_set, _assign),
    "receipt": Reader(_receipt, _read_receipts),
    "served": Reader(_served, _ask_served, (PipelineError,)),
    "rollback": Reader(_rollback, lambda folder: rollbacks.recorded(Locations(folder).serving)),
    "schedule-state": Reader(_state, _read_state),
    "lock": Reader(_lock, _read_lock, (PipelineError,)),
    "digest-cache": Reader(_cache, _read_cache),
    "review-json": Reader(
        _reviewed, records.print_runs, fixed=("clothes/runs/20260102-030405/receipt",)
    ),
    "runs-shown": Reader(_shown_receipts, records.print_runs),
    "look-contents": Reader(records.contents, records.compare_contents),
    "look-answer": Reader(records.look_answer, records.read_look_answer),
    "store": Reader(records.store, records.check_store, (PipelineError,)),
    "served-by-hand": Reader(
        records.served_by_hand, records.read_served_by_hand, fixed=("clothes/serving/7/saved",)
    ),
    "download": Reader(records.answers, records.fetch),
    "run-artifacts": Reader(records.artifacts, records.read_artifacts, fixed=("receipt.json",)),
    "endpoints": Reader(
        endpoints.requests, endpoints.ask, fixed=("export/",), warm_up=endpoints.ask
    ),
    "notify-file": Reader(_addresses, _read_addresses, (PipelineError,)),
    "database": Reader(_database, _read_database, (PipelineError,)),
}
