"""One run: lock, graph, check, receipt."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import absl.logging

from components.image_schema import ImageSchema
from operations import machine, receipts
from operations.lock import exclusive
from operations.terminal import Progress, output_to_log
from pipeline import config as configuration
from pipeline import data as data_sets
from pipeline import precision, records
from pipeline.errors import OutputError
from pipeline.locations import LOG_FILE, Locations
from pipeline.nodes import expected_nodes

_EXIT_CODES = {receipts.PUSHED: 0, receipts.REFUSED: 3}
# As shells report a process that Ctrl-C ended.
_INTERRUPTED_EXIT_CODE = 130
_ID_FORMAT = "%Y%m%d-%H%M%S"
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_ROOT = pathlib.Path(__file__).resolve().parent.parent

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Request:
    """What the caller asks for.

    Attributes:
      profile: name of a profile; None takes `default`, or `smoke` for the sample.
      data: `auto`, `sample` or a folder.
      runner: `local` or `beam`.
      assignments: `key=value` each.
      seed: of everything random; None leaves the configuration's.
      use_cache: False runs every node anew.
      output_dir: below it a folder per pipeline.
      verbose: shows the log on the terminal.
      command: how the run was started, for whoever has to start it again.
    """

    profile: str | None
    data: str
    runner: str
    assignments: tuple[str, ...]
    seed: int | None
    use_cache: bool
    output_dir: pathlib.Path
    verbose: bool
    command: str


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A run whose input has been found sound."""

    name: str
    config: configuration.Config
    data: data_sets.DataSet
    schema: ImageSchema
    locations: Locations
    precision: str


def run(request: Request, progress: Progress) -> dict[str, Any]:
    """Runs the pipeline and returns the receipt.

    Raises:
      UsageError: where input or configuration is bad; nothing was begun.
      LockHeldError: where another run of the same pipeline is at work.
    """
    prepared = prepare(request, progress)
    with exclusive(prepared.locations.lock, "run"):
        return _Run(request, prepared, progress).execute()


def exit_code(receipt: dict[str, Any]) -> int:
    """The exit code that tells how a run ended."""
    if receipt["status"] == receipts.INTERRUPTED:
        return _INTERRUPTED_EXIT_CODE
    return _EXIT_CODES.get(receipt["verdict"], 1)


def prepare(request: Request, progress: Progress) -> Prepared:
    """Checks everything that can be checked before anything heavy is imported.

    Raises:
      UsageError: where input or configuration is bad.
    """
    # The configuration first: a mistyped key should not wait for a download.
    asked = configuration.load(request.profile or "default", request.assignments, seed=request.seed)
    precision.resolve(asked.training.precision, machine.cpu_features())
    source = data_sets.find(request.data, progress.notify)
    if source.sample and request.data == data_sets.AUTO:
        progress.notify(_SAMPLE_NOTICE)
    profile = request.profile or ("smoke" if source.sample else "default")
    config = configuration.load(
        profile, request.assignments, sample=source.sample, seed=request.seed
    )
    schema_path = _schema_path(config.schema_file)
    chosen = precision.resolve(config.training.precision, machine.cpu_features())
    config = config.model_copy(update={"schema_file": str(schema_path)})
    name = configuration.pipeline_name(config, source.sample)
    schema, schema_sha256 = data_sets.read_schema(str(schema_path))
    data = data_sets.read(source, schema, schema_sha256)
    # Last, so that bad input leaves no folder behind.
    locations = Locations(_writable(request.output_dir / name))
    return Prepared(name, config, data, schema, locations, chosen)


_SAMPLE_NOTICE = """
*******************************************************************************
  NO DATA FOUND: this run takes the built-in, drawn sample, not Fashion-MNIST.
  Its results say nothing about real images. For the real data set
  FASHION_MNIST_DIR to the folder of the four IDX files, or give --data FOLDER.
*******************************************************************************
"""


def _schema_path(path: str) -> pathlib.Path:
    """A relative path counts from the working folder, or else from the project."""
    here = pathlib.Path(path).expanduser()
    return (here if here.exists() else _ROOT / here).resolve()


def _writable(root: pathlib.Path) -> pathlib.Path:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            return root.resolve()
    except OSError as error:
        raise OutputError(
            f"{root} cannot be written to ({error.strerror}); expected a folder for the results. "
            "Choose another with --output-dir."
        ) from error


class _Run:
    """A run under way: gathers what the receipt will say."""

    def __init__(self, request: Request, prepared: Prepared, progress: Progress):
        self._request = request
        self._prepared = prepared
        self._progress = progress
        began = datetime.datetime.now(datetime.UTC)
        self._id = _new_id(began, prepared.locations.runs)
        self._folder = prepared.locations.runs / self._id
        self._clock = time.monotonic()
        config = prepared.config
        self._nodes = expected_nodes(config.tuner.enabled, config.robustness.enabled)
        self._receipt = receipts.begun(self._id, began, prepared, request.command)

    def execute(self) -> dict[str, Any]:
        """Runs the graph, asks ML Metadata how it went, and writes the receipt."""
        self._folder.mkdir(parents=True)
        # Says "interrupted" until the end, and so also where the process is killed.
        records.write_receipt(self._folder, self._receipt)
        self._announce()
        log = self._folder / LOG_FILE
        with _interruptible(), temporary_folder(self._folder), self._logging(log):
            error = self._try(self._run_graph)
            concluding = self._try(lambda: self._conclude(error))
            if concluding and not error:
                receipts.fail(self._receipt, concluding)
            self._receipt["seconds"] = round(time.monotonic() - self._clock, 3)
            records.write_receipt(self._folder, self._receipt)
            self._review()
        return self._receipt

    def _announce(self) -> None:
        data, prepared = self._prepared.data, self._prepared
        self._progress.notify(
            f"Run {self._id} of {prepared.name}: profile {prepared.config.profile}, "
            f"{data.train.count:,} training and {data.test.count:,} test images of {data.name}"
        )
        self._progress.notify("Loading TensorFlow and TFX, about ten seconds ...")

    def _try(self, step: Callable[[], object]) -> BaseException | None:
        try:
            step()
        except (Exception, KeyboardInterrupt) as error:
            logger.error("a step of the run failed", exc_info=error)
            return error
        return None

    @contextlib.contextmanager
    def _logging(self, path: pathlib.Path) -> Iterator[None]:
        root = logging.getLogger()
        with output_to_log(path, self._request.verbose):
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(logging.Formatter(_LOG_FORMAT))
            added = [handler, self._progress]
            root.handlers, before = added, root.handlers
            root.setLevel(logging.INFO)
            # TFX logs through absl, which some library turns down on the way if it is not set.
            absl.logging.set_verbosity(absl.logging.INFO)
            try:
                with self._progress.showing(self._nodes):
                    yield
            finally:
                root.handlers = before

    def _run_graph(self) -> None:
        # Imported here: everything before answers without TensorFlow.
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(machine.cores())
        tf.config.threading.set_inter_op_parallelism_threads(machine.cores())
        from operations import baseline
        from pipeline.runners import dag_runners, engine

        prepared = self._prepared
        graph = self._graph()
        if prepared.locations.metadata.exists():
            store = records.open_store(prepared.locations.metadata)
            records.close_interrupted(store)
            line = baseline.register_served(store, prepared.name, prepared.locations)
            logger.info(line or "the latest blessed model is the one now served")
        observer = engine.EngineObserver()
        try:
            with observer.watching():
                dag_runners.run(self._request.runner, graph, self._id)
        finally:
            self._receipt["runner"] = observer.observed()

    def _graph(self) -> Any:
        from pipeline import dag
        from pipeline.runners import engine

        prepared = self._prepared
        return dag.create_pipeline(
            prepared.name,
            prepared.config,
            prepared.data,
            prepared.schema,
            prepared.locations,
            prepared.precision,
            engine.NODE_ARGUMENTS,
            enable_cache=self._request.use_cache,
        )

    def _review(self) -> None:
        """Makes the page, whose failure is none of the run's."""
        from operations import review

        error = self._try(lambda: review.write(self._prepared.locations, self._receipt))
        if error:
            self._progress.notify(
                f"The review page could not be made ({type(error).__name__}: {error}). The run "
                f"itself is not affected. Try again with: python pipeline_runner.py review "
                f"{self._id} --output-dir {self._request.output_dir}"
            )

    def _conclude(self, error: BaseException | None) -> None:
        locations = self._prepared.locations
        if not locations.metadata.exists():
            receipts.end(self._receipt, {}, error)
            return
        store = records.open_store(locations.metadata)
        records.close_interrupted(store)
        nodes = records.read_nodes(store, self._id, list(self._nodes))
        receipts.end(self._receipt, nodes, error)
        receipts.add_artifacts(self._receipt, nodes)
        receipts.add_training(self._receipt, nodes, self._prepared)
        receipts.add_evaluation(self._receipt, nodes, self._prepared)
        receipts.add_robustness(self._receipt, nodes, self._prepared)


def _new_id(began: datetime.datetime, runs: pathlib.Path) -> str:
    """The time, to the second; where that is taken, the next free one."""
    while (runs / began.strftime(_ID_FORMAT)).exists():
        began += datetime.timedelta(seconds=1)
    return began.strftime(_ID_FORMAT)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Makes SIGTERM end a run in the same way as Ctrl-C."""

    def interrupt(signal_number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def temporary_folder(parent: pathlib.Path) -> Iterator[None]:
    """A temporary folder of the run's own, since TFX and Beam leave things behind in theirs."""
    folder = parent / "tmp"
    folder.mkdir()
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = None
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before
        shutil.rmtree(folder, ignore_errors=True)
