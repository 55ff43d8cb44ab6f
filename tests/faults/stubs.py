"""What stands in for the slow parts of commands: graph, libraries, network and other processes.

The sweeps import this once, in a process that never runs anything else.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd

import pipeline_runner
from cli import command_line
from components import features
from components.image_schema import ImageSchema
from components.notifications import sending
from components.pusher import versions
from operations import (
    changes,
    compile,
    numbering,
    pages,
    preparation,
    recording,
    rollback,
    run,
    temporary,
    unfinished,
)
from operations.notifications import notifying
from operations.preparation import Prepared, Request
from operations.scheduling import arrivals
from operations.scheduling import command as schedule_command
from operations.scheduling import look as schedule_look
from operations.scheduling.look import Seen
from operations.scheduling.plan import Target
from operations.scheduling.processes import Commands, ProcessGroup
from pipeline import config
from pipeline.datasets import digest_cache, download, sample
from pipeline.installation import bill_of_materials, packages, virtual_environment
from pipeline.installation.interpreters import Interpreter
from pipeline.installation.package_installers import InstallationError, Installer
from pipeline.locations import Locations
from pipeline.records import baseline, metadata, provenance, served_version
from review import page
from tests.faults.injection import Injector
from tests.made_data import made_dataset
from tests.made_runs import CLASSES

SCHEMA = ImageSchema(28, 28, 1, CLASSES)
CONFIG = config.load_config("smoke", [])
DATA = made_dataset(CONFIG, SCHEMA)
NAME = "clothes"
# Two nodes are enough: one whose output is an artifact, one that publishes.
NODES = ("Trainer", "Pusher")
BEFORE = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)

# The one that watches this process, if any.
watching: list[Injector] = []


def somebody_else() -> contextlib.AbstractContextManager[None]:
    """A block in which other processes write, which nobody harms."""
    return watching[0].paused() if watching else contextlib.nullcontext()


def command(*arguments: object) -> int:
    """Runs the command line as a process would; returns its exit code."""
    sys.argv = ["pipeline_runner.py", *map(str, arguments)]
    try:
        pipeline_runner.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def function(called: Callable[[], object]) -> int:
    """Calls a part of a command whose rest is slow, with the error report of all commands."""
    return command_line._run(called)  # type: ignore[arg-type]


def prepared(request: Request, progress: object) -> Prepared:
    """What the preparation finds, without reading data."""
    locations = Locations(preparation.writable(request.output_dir / NAME))
    served = served_version.version_to_compare(locations, SCHEMA, request.new_line)
    return Prepared(NAME, CONFIG, DATA, SCHEMA, locations, "float32", served)


def request(output_dir: Path) -> Request:
    """What a run is asked for."""
    return Request(
        profile="smoke",
        data="sample",
        runner="local",
        assignments=(),
        seed=None,
        use_cache=True,
        force=True,
        output_dir=output_dir,
        new_line=False,
        verbose=False,
        command="python3 pipeline_runner.py run",
    )


def write_export(folder: Path, content: str) -> Path:
    """Writes an export whose model is a text."""
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "variables").mkdir()
    (folder / "saved_model.pb").write_text(content * 1000)
    (folder / "variables" / "data").write_text(content * 2000)
    description = {"image_shape": list(SCHEMA.shape), "class_names": list(SCHEMA.class_names)}
    (folder / "assets.extra" / "image_schema.json").write_text(json.dumps(description))
    return folder


def run_graph(at_work: Any) -> None:
    """The graph: all that a run does around its nodes, and two nodes."""
    name, locations = at_work._prepared.name, at_work._prepared.locations
    store = metadata.open_store(locations.metadata)
    temporary.close_interrupted(store, locations)
    numbering.continue_from_now(locations)
    baseline.register_served(store, name, locations)
    baseline.offer(store, name, at_work._id)
    with _node(store, name, at_work._id, NODES[0]) as (number, _):
        model = locations.artifacts / NODES[0] / "model" / str(number)
        write_export(model / features.EXPORT_FOLDER, "new")
        (model / "golden.npz").write_text("questions for new" * 100)
    with _node(store, name, at_work._id, NODES[1]) as (_, outputs):
        beside = [path for path in model.iterdir() if path.is_file()]
        version = versions.publish(model / features.EXPORT_FOLDER, locations.serving, beside)
        pushed = _artifact(store, "PushedModel", str(locations.serving / str(version)))
        pushed.custom_properties["pushed"].int_value = 1
        pushed.custom_properties["pushed_version"].string_value = str(version)
        outputs["pushed_model"] = pushed


@contextlib.contextmanager
def _node(
    store: metadata.Store, pipeline: str, run_id: str, node: str
) -> Iterator[tuple[int, dict[str, mlmd.Artifact]]]:
    """Records a node as TFX does: running, then complete with its outputs, or failed."""
    contexts = [
        _context(store, *each)
        for each in (
            ("pipeline", pipeline),
            ("pipeline_run", run_id),
            ("node", f"{pipeline}.{node}"),
        )
    ]
    kind = store.put_execution_type(mlmd.ExecutionType(name=node))
    execution = mlmd.Execution(type_id=kind, last_known_state=mlmd.Execution.RUNNING)
    execution.id, _, _ = store.put_execution(execution, [], contexts)
    outputs: dict[str, mlmd.Artifact] = {}
    try:
        yield execution.id, outputs
    except BaseException:
        execution.last_known_state = mlmd.Execution.FAILED
        store.put_executions([execution])
        raise
    execution.last_known_state = mlmd.Execution.COMPLETE
    store.put_execution(execution, [(outputs[key], _output(key)) for key in outputs], [])


def _context(store: metadata.Store, kind: str, name: str) -> mlmd.Context:
    known = store.get_context_by_type_and_name(kind, name)
    return known or mlmd.Context(
        type_id=store.put_context_type(mlmd.ContextType(name=kind)), name=name
    )


def _artifact(store: metadata.Store, kind: str, uri: str) -> mlmd.Artifact:
    type_id = store.put_artifact_type(mlmd.ArtifactType(name=kind))
    return mlmd.Artifact(type_id=type_id, uri=uri, state=mlmd.Artifact.LIVE)


def _output(key: str) -> mlmd.Event:
    event = mlmd.Event(type=mlmd.Event.OUTPUT)
    event.path.steps.add().key = key
    event.path.steps.add().index = 0
    return event


class FakeCommands(Commands):
    """Starts real processes that end at once, in the place of looks and runs.

    Attributes:
      standing: The run since which looks find nothing changed, if any.
    """

    standing: str | None = None

    def look(self, answer: Path, log: Path) -> ProcessGroup:
        """A look that sees sound data."""
        seen = Seen(data="/data", arrivals=0, standing_run=self.standing)
        text = seen.model_dump_json()
        return ProcessGroup(["sh", "-c", 'printf %s "$0" > "$1"', text, str(answer)], log, {})

    def run(self, data: str, force: bool, log: Path, attempt: str) -> ProcessGroup:
        """A run that pushes a model."""
        child = ProcessGroup(["sh", "-c", "echo a run"], log, {})
        with somebody_else():
            # The folder of the pipeline is that of the log's.
            locations = Locations(log.parent.parent)
            run_id = run._new_id(datetime.datetime.now(datetime.UTC), locations.runs)
            leave_receipt(locations, attempt=attempt, run_id=run_id)
        return child


def looked(target: Target, pipeline: str) -> Seen:
    """A look that sees sound data, and keeps beside its answer what it saw."""
    kept = Path(sys.argv[-1]).parent / "schedule" / "contents.json"
    return Seen(data="/data", arrivals=arrivals.count(DATA, kept))


def leave_receipt(locations: Locations, **changes_: Any) -> None:
    """Writes the receipt of a run that pushed."""
    receipt = template(locations).changed(**changes_)
    (locations.runs / receipt.run_id).mkdir(parents=True)
    receipt.write(locations.runs / receipt.run_id)


def template(locations: Locations) -> Any:
    """The receipt of a run that pushed a model."""
    made = Prepared(NAME, CONFIG, DATA, SCHEMA, locations, "float32", None)
    asked = request(locations.root.parent)
    # Of other input than that of a run, which would otherwise find that nothing changed.
    begun = recording.begun("20260101-000000", 1, BEFORE, made, asked, "8" * 64)
    return begun.changed(
        status="completed", verdict="pushed", seconds=61.4, pushed_version=17, served_version=17
    )


def write_in_place() -> None:
    """Has `compile` write its file in place: a mistake, which the sweep finds."""
    compile.write_whole = lambda path, text: path.write_text(text)  # type: ignore[attr-defined]


class _Response:
    """A download."""

    def __init__(self, content: bytes):
        self._content = content

    def read(self, size: int = -1) -> bytes:
        return self._content if size < 0 else self._content[:size]

    def __enter__(self) -> _Response:
        return self

    def __exit__(self, *_: object) -> None:
        pass


BILL = {"components": ["numpy"] * 1000, "metadata": {"properties": [{"value": "a lock"}]}}
DOWNLOADED = b"what was downloaded" * 1000


def install() -> None:
    """Puts all of it in place, for the rest of this process."""
    page._environment = functools.cache(page._environment)
    for template in page._environment().list_templates(["html"]):
        page._environment().get_template(template)
    code, environment = provenance.code(), provenance.environment()
    provenance.code = lambda: code
    provenance.environment = lambda: environment
    changes.input_digest = lambda _: "9" * 64
    run.prepare = prepared
    run._Run._run_graph = run_graph  # type: ignore[method-assign]
    run.expected_nodes = unfinished.expected_nodes = pages.expected_nodes = lambda *_: NODES
    # Measurements are read, never written.
    recording.results = lambda *_: iter(())
    rollback.check_export = lambda *_: []
    compile.prepare = lambda *_: None  # type: ignore[assignment,return-value]
    compile._compiled = lambda *_: "a graph\n" * 1000  # type: ignore[assignment]
    compile._described = lambda *_: None  # type: ignore[assignment,return-value]
    schedule_command.Commands = FakeCommands  # type: ignore[misc]
    schedule_command._first_look = lambda *_: None
    schedule_look.look = looked
    bill_of_materials.bill = lambda _: BILL
    # The data of a scenario is new each time.
    digest_cache._RACY_NANOSECONDS = -1
    notifying._check = lambda _: None
    sending.deliver = lambda *_: ["everybody"]
    digest = hashlib.md5(DOWNLOADED, usedforsecurity=False).hexdigest()
    download._MD5 = dict.fromkeys(download._MD5, digest)
    download.urllib.request.urlopen = lambda *_, **__: _Response(DOWNLOADED)
    sample.write_sample = functools.partial(  # type: ignore[assignment]
        sample.write_sample, train_per_class=12, test_per_class=3
    )


class _Installer(Installer):
    """Runs nothing, and leaves a file for each lock file that was installed."""

    def run(self, command: list[str]) -> Any:
        return super().run(["true"])

    def with_uv(self, requirements: Path) -> None:
        super().with_uv(requirements)
        with somebody_else():
            (self.environment / f"{requirements.name}.installed").touch()


class _WithoutNetwork(_Installer):
    """Cannot download anything."""

    def with_uv(self, requirements: Path) -> None:
        self.run(["true"])
        raise InstallationError("the packages could not be downloaded.\nCheck the network.")


def use_environment(folder: Path, network: bool) -> None:
    """Makes a folder the environment that `make setup` works on."""
    virtual_environment.ENVIRONMENT = folder
    virtual_environment.BUSY = folder.with_name(".venv.busy")
    virtual_environment.UNFINISHED = folder / "unfinished"
    virtual_environment.RECORDS = folder / packages.RECORDS
    packages.NEEDED = 0
    virtual_environment.Installer = _Installer if network else _WithoutNetwork  # type: ignore[misc]
    lock = packages.LOCKS[0]
    virtual_environment.own_lock = lambda _: (
        lock if (folder / packages.RECORDS / lock.name).exists() else None
    )
    virtual_environment.missing = lambda _: []
    python = Interpreter(sys.executable, "3.11", complete=True)
    virtual_environment.interpreters.find = lambda *_: (python, lock)  # type: ignore[assignment]
