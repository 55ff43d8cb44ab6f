"""Readers of what commands of this project write for each other, and of answers of the network."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import pathlib
import shutil
import socket
import sqlite3
import threading
import time
import types
from collections.abc import Iterator
from unittest import mock

import numpy as np

from cli.render import runs as rendering
from components import features
from components.image_schema import ImageSchema
from components.images import Fit, Preparation
from components.messages import escaped
from components.pusher import served
from operations import rollback
from operations.scheduling import arrivals, look, outcome, work
from operations.scheduling.plan import Policy
from pipeline.datasets import download
from pipeline.datasets.dataset import Holding
from pipeline.locations import Locations
from pipeline.records import history, metadata
from pipeline.records.executions import ArtifactRecord, NodeExecution
from pipeline.records.outcomes import NodeStatus
from pipeline.records.receipt import Receipt
from review import collect, summary
from tests.fuzzing.reader import Violation, check_message

_PIPELINE = "clothes"


# --- Runs, as commands print them -----------------------------------------------------------------


def review(folder: pathlib.Path) -> None:
    """Writes the review of the run in a folder."""
    (receipt,) = history.read_receipts(folder)
    runs = Locations(folder / _PIPELINE).runs
    summary.write_summary(runs / receipt.run_id, collect.collect(receipt, {}, [], runs))


def print_runs(folder: pathlib.Path) -> None:
    """Lists the runs below a folder, and shows each one."""
    receipts = history.read_receipts(folder)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for as_json in (False, True):
            rendering.print_runs(receipts, {_PIPELINE: 9}, folder, as_json)
            for receipt in receipts:
                rendering.print_run(receipt, folder, as_json)
    characters = sorted(set(printed.getvalue()) - {"\n"})
    if hostile := [each for each in characters if escaped(each) != each]:
        raise Violation(f"it prints {hostile[:9]!a}")


def artifacts(folder: pathlib.Path) -> None:
    """Writes a receipt, and the artifacts that its review is made of."""
    from tests.review import conftest

    images = np.arange(12 * 64, dtype=np.uint8).reshape(12, 8, 8)
    classes = ("Shirt", "Boot", "Bag")
    labels = np.arange(12) % len(classes)
    made = conftest.build_run(folder / _PIPELINE, images, labels, classes=classes)
    (folder / "receipt.json").write_text(made.receipt.to_json())


def read_artifacts(folder: pathlib.Path) -> bool:
    """Collects the review of a run; what is damaged is missing in it, with the reason."""
    receipt = Receipt.from_json((folder / "receipt.json").read_text())
    root = folder / _PIPELINE / "artifacts" / receipt.run_id
    nodes = {
        node: NodeExecution(
            NodeStatus.COMPLETE, 1.5, {key: [ArtifactRecord(1, str(root / f"{node}.{key}"), {})]}
        )
        for node, key in (path.name.split(".") for path in root.iterdir())
    }
    collected = collect.collect(receipt, nodes, [], Locations(folder / _PIPELINE).runs)
    for reason in collected.missing.values():
        check_message(reason, three_parts=False)
    return bool(_damaged(collected.missing))


def _damaged(missing: dict[str, str]) -> list[str]:
    words = ("is damaged", "cannot be read", "could not be made", "are not those")
    return [name for name, reason in missing.items() if any(word in reason for word in words)]


# --- What the scheduler reads ---------------------------------------------------------------------


class _Commands:
    """In the place of the processes of a schedule: they ended, and left the files of a folder."""

    def __init__(self, folder: pathlib.Path, code: int):
        self._folder, self._code = folder, code

    def look(self, answer: pathlib.Path, log: pathlib.Path) -> types.SimpleNamespace:
        shutil.copyfile(self._folder / "seen.json", answer)
        shutil.copyfile(self._folder / "look.log", log)
        return types.SimpleNamespace(poll=lambda: self._code)


def look_answer(folder: pathlib.Path) -> None:
    """Writes what a look at the input left: its answer and its log."""
    seen = look.Seen(data="photos", arrivals=3, standing_run="20260102-030405")
    (folder / "seen.json").write_text(seen.model_dump_json())
    error = "error: photos is empty; expected images. Check the path."
    (folder / "look.log").write_text(f"reading\n{error}\ndone\n")


def contents(folder: pathlib.Path) -> None:
    """Writes what a look keeps for the next one."""
    digests, shared = "0123456789abcdef" * 2, frozenset(["train"])
    part = arrivals.Part(images=2, most=2, digests=digests, shared=shared)
    spans = frozenset([1, 2])
    kept = arrivals.Kept(arrivals=3, location="/data", spans=spans, parts={2: part})
    (folder / "contents.json").write_text(kept.model_dump_json())


def compare_contents(folder: pathlib.Path) -> None:
    """Compares it with what another look sees, and keeps nothing."""
    holding = Holding(2, 3, b"a digest", frozenset(["train"]))
    data = types.SimpleNamespace(location="/data", holdings=(holding,), window=None)
    with mock.patch.object(arrivals, "write_whole"):
        arrivals.count(data, folder / "contents.json")


def read_look_answer(folder: pathlib.Path) -> bool:
    """Takes the answers of a look that ended well, and of one that did not."""
    clock = types.SimpleNamespace(now=_now, seconds=time.monotonic, stop_requested=False)
    refused = False
    for code in (0, 2):
        worker = work.Work(
            _Commands(folder, code), Policy(), Locations(folder / _PIPELINE), clock, None
        )
        found = _ended(worker.look())
        if isinstance(found, look.Seen):
            found = outcome.of_standing_run(found)
        else:
            refused |= code == 0
        check_message(found.text, three_parts=False)
    return refused


def _now():
    return datetime.datetime.now(datetime.UTC)


def _ended(steps: Iterator):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


# --- Stores and served models ---------------------------------------------------------------------


def store(folder: pathlib.Path) -> None:
    """Writes a database with what is read of it before ML Metadata opens it."""
    with contextlib.closing(sqlite3.connect(folder / "metadata.db")) as database, database:
        database.execute("CREATE TABLE MLMDEnv (schema_version INTEGER PRIMARY KEY)")
        database.execute("INSERT INTO MLMDEnv VALUES (10)")
        database.execute("CREATE TABLE Execution (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)")
        database.execute("INSERT INTO Execution VALUES (1, 'one')")


def check_store(folder: pathlib.Path) -> None:
    """Checks a metadata store, as each command does that opens it."""
    metadata.check_store(folder / "metadata.db", writing=True)


def served_by_hand(folder: pathlib.Path) -> None:
    """Writes a version as somebody would by hand, without digests."""
    write_export(Locations(folder / _PIPELINE).serving / "7")


def write_export(export: pathlib.Path) -> None:
    """Writes what an export holds, as far as it is not for TensorFlow."""
    description = export / features.EXPORT_DESCRIPTION_FILE
    description.parent.mkdir(parents=True)
    (export / "saved_model.pb").write_bytes(b"model")
    described = {
        "image_shape": [28, 28, 1],
        "class_names": ["a", "b"],
        "fit": "pad",
        "background": 0,
        "border": "dark",
    }
    description.write_text(json.dumps(described))


def read_served_by_hand(folder: pathlib.Path) -> bool:
    """Reads a version, and compares its images and classes with those of a schema."""
    locations = Locations(folder / _PIPELINE)
    rollback.read_versions(locations)
    try:
        model = served.read_served(locations.serving)
    except served.UnreadableModelError as error:
        check_message(str(error), three_parts=False)
        return True
    if model is not None:
        schema = ImageSchema(28, 28, 1, ("a", "c"))
        check_message(served.difference(model, schema) or "", three_parts=False)
        asked = Preparation(28, 28, 1, Fit.PAD, 0)
        check_message(served.preparation_difference(model, asked) or "", three_parts=False)
    return False


# --- Answers of the network -----------------------------------------------------------------------


def answers(folder: pathlib.Path) -> None:
    """Writes an answer of a web server, byte by byte as it sends it."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\nContent-Length: 9\r\n"
    (folder / "answer").write_bytes(f"{head}\r\n123456789".encode())


def fetch(folder: pathlib.Path) -> bool:
    """Downloads from a server of this machine that answers with the content of a file."""
    told: list[str] = []
    with _server((folder / "answer").read_bytes()) as port:
        source = f"http://127.0.0.1:{port}/"
        with (
            mock.patch.object(download, "_SOURCES", (source,)),
            mock.patch.dict(os.environ, no_proxy="127.0.0.1"),
        ):
            complete = download.fetch_missing(folder / "data", told.append)
    if complete or any(folder.glob("data/*")):
        raise Violation("it took something else for the data")
    for line in told:
        check_message(line, three_parts=False)
    # The sound answer, too, has another content than the data.
    return "checksum" not in told[-1]


@contextlib.contextmanager
def _server(answer: bytes) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            # Of a client that never called.
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            thread.join()
