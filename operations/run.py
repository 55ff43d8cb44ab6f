"""One run: lock, graph, check, receipt."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import pathlib
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import absl.logging

from cli.render.progress import Progress, output_to_log
from components import environment
from components.image_schema import ImageSchema
from components.pusher import versions
from components.serving_check.check import standing_by
from operations import changes, garbage, numbering, receipts, temporary, unfinished
from operations.notifications.notifying import Notifier
from pipeline import config as configuration
from pipeline import lock, machine, paths, precision
from pipeline.datasets import data as data_sets
from pipeline.errors import OutputError, StorageError
from pipeline.installation import packages
from pipeline.locations import LOCK_FILE, LOG_FILE, REVIEW_PAGE, TEMPORARY_FOLDER, Locations
from pipeline.lock import exclusive
from pipeline.nodes import expected_nodes
from pipeline.records import history, metadata, served_version

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
      force: runs the graph where nothing changed, too.
      output_dir: below it a folder per pipeline.
      new_line: starts a new line of models, where the served one is for other images or classes.
      verbose: shows the log on the terminal.
      command: how the run was started, for whoever has to start it again.
    """

    profile: str | None
    data: str
    runner: str
    assignments: tuple[str, ...]
    seed: int | None
    use_cache: bool
    force: bool
    output_dir: pathlib.Path
    new_line: bool
    verbose: bool
    command: str


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A run whose input has been found sound.

    Attributes:
      name: of the pipeline.
      config: the configuration of the run.
      data: what is learned from.
      schema: what the images are and may be called.
      locations: of the pipeline.
      precision: `float32` or `bfloat16`.
      served_version: the version that the new model is compared with; None where nothing is served,
        or a new line of models begins.
    """

    name: str
    config: configuration.Config
    data: data_sets.DataSet
    schema: ImageSchema
    locations: Locations
    precision: str
    served_version: int | None


def run(request: Request, progress: Progress, notifier: Notifier) -> dict[str, Any]:
    """Runs the pipeline and returns the receipt; where nothing changed, that of the run before.

    Args:
      request: what is asked for.
      progress: shows how it goes.
      notifier: tells how it ended.

    Raises:
      UsageError: where input or configuration is bad; nothing was begun.
      LockHeldError: where another run of the same pipeline is at work.
      StoreLockedError: where another process has locked ML Metadata.
      StorageError: where the run began, and how it ended cannot be written down.
    """
    prepared = prepare(request, progress)
    with exclusive(prepared.locations.lock, "run") as held:
        unfinished.complete(prepared.locations)
        prepared = _compared_with_what_is_served_now(prepared, request)
        standing = None if _forced(request) else changes.standing_run(prepared)
        if standing:
            _tell_standing(standing, prepared, progress)
            return standing
        past = history.receipts_of(prepared.locations)
        _tell_lost(prepared, request, past, progress)
        try:
            receipt = _Run(request, prepared, progress).execute(held)
        except StorageError as error:
            # No receipt tells of it.
            notifier.alarm(f"{prepared.name}: the run cannot be recorded", str(error))
            raise
    # Without the lock: nobody should wait for a slow service.
    _notify(notifier, prepared.locations, receipt, past[-1] if past else None)
    return receipt


def _compared_with_what_is_served_now(prepared: Prepared, request: Request) -> Prepared:
    """Asks again under the lock: a rollback may have happened in between."""
    served = served_version.version_to_compare(
        prepared.locations, prepared.schema, request.new_line
    )
    return dataclasses.replace(prepared, served_version=served)


def _tell_lost(
    prepared: Prepared, request: Request, past: list[dict[str, Any]], progress: Progress
) -> None:
    """Says that a model was served once and none is now: its disk may not be mounted."""
    before = past[-1]["served_version"] if past else None
    if before and prepared.served_version is None and not request.new_line:
        progress.notify(
            f"Warning: version {before} was served when run {past[-1]['run_id']} ended, and "
            f"{prepared.locations.serving} holds none now. The new model is compared with none. If "
            "that is not meant, stop the run and put the folder back."
        )


def _forced(request: Request) -> bool:
    # What is asked of a new line is to replace what is served, whatever stands.
    return request.force or request.new_line or not request.use_cache


def _tell_standing(receipt: dict[str, Any], prepared: Prepared, progress: Progress) -> None:
    progress.notify(
        f"Nothing changed since run {receipt['run_id']}: data, schema, code, configuration and "
        "libraries are the same, so its verdict stands. --force runs the graph all the same."
    )
    newest = max(versions.served_versions(prepared.locations.serving), default=None)
    if receipt["verdict"] == receipts.PUSHED and newest != receipt["pushed_version"]:
        progress.notify(
            f"Served is version {newest}, which came after it. --force compares the model with "
            "that one, and pushes it again where it passes."
        )


def _notify(
    notifier: Notifier,
    locations: Locations,
    receipt: dict[str, Any],
    before: dict[str, Any] | None,
) -> None:
    folder = locations.runs / receipt["run_id"]
    page = folder / REVIEW_PAGE
    with _interruptible(), _logging_after_end(folder / LOG_FILE):
        notifier.run_ended(receipt, page if page.exists() else None, before)


@contextlib.contextmanager
def _logging_after_end(log: pathlib.Path) -> Iterator[None]:
    """Sends what is logged to the terminal, and to the log of the run where it has one."""
    shown = logging.StreamHandler(sys.stderr)
    handlers: list[logging.Handler] = [shown]
    if log.exists():
        kept = logging.FileHandler(log, encoding="utf-8", delay=True)
        kept.setFormatter(logging.Formatter(_LOG_FORMAT))
        handlers.append(kept)
    root = logging.getLogger()
    root.handlers, before = handlers, root.handlers
    try:
        yield
    finally:
        root.handlers = before
        for handler in handlers:
            handler.close()


def exit_code(receipt: dict[str, Any]) -> int:
    """The exit code that tells how a run ended."""
    if receipt["status"] == receipts.INTERRUPTED:
        return _INTERRUPTED_EXIT_CODE
    return _EXIT_CODES.get(receipt["verdict"], 1)


def prepare(request: Request, progress: Progress) -> Prepared:
    """Checks everything that can be checked before anything heavy is imported.

    Raises:
      UsageError: where input or configuration is bad.
      LockHeldError: where another run of the same pipeline is at work.
      StoreLockedError: where another process has locked ML Metadata.
    """
    # The configuration first: a mistyped key should not wait for a download.
    asked = configuration.load(request.profile or "default", request.assignments, seed=request.seed)
    precision.resolve(asked.training.precision, machine.cpu_features())
    source = data_sets.find(request.data, progress.notify, asked.spans)
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
    # Before the data is read: that takes as long as all the rest together.
    lock.check_free(request.output_dir / name / LOCK_FILE)
    metadata.check_store(Locations(request.output_dir / name).metadata, writing=True)
    schema, schema_sha256 = data_sets.read_schema(str(schema_path))
    data = data_sets.read(source, schema, schema_sha256)
    data_sets.check_split(data, schema.class_names, config.split.validation_per_class)
    # Last, so that bad input leaves no folder behind.
    locations = Locations(writable(request.output_dir / name))
    served = served_version.version_to_compare(locations, schema, request.new_line)
    return Prepared(name, config, data, schema, locations, chosen, served)


_SAMPLE_NOTICE = """
*******************************************************************************
  NO DATA FOUND: this run takes the built-in, drawn sample, not Fashion-MNIST.
  Its results say nothing about real images. For the real data set
  FASHION_MNIST_DIR to the folder of the four IDX files, or give --data FOLDER.
*******************************************************************************
"""


def _schema_path(path: str) -> pathlib.Path:
    """A relative path counts from the working folder, or else from the project."""
    here = paths.expanded(pathlib.Path(path), "schema_file")
    given = paths.resolved(here, "schema_file")
    return given if given.exists() else paths.resolved(_ROOT / here, "schema_file")


def writable(root: pathlib.Path) -> pathlib.Path:
    """Makes a folder where it is missing, and returns its full path.

    Raises:
      OutputError: where nothing can be written to it.
    """
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
        digest = changes.input_digest(prepared)
        sequence = metadata.next_sequence(prepared.locations.root.parent)
        self._receipt = receipts.begun(self._id, sequence, began, prepared, request, digest)

    def execute(self, held: lock.Held) -> dict[str, Any]:
        """Runs the graph, asks ML Metadata how it went, and writes the receipt.

        Args:
          held: the lock of the pipeline, which is told of the run.
        """
        held.note_run(self._id)
        self._begin()
        self._announce()
        with _interruptible(), self._logging(self._folder / LOG_FILE):
            with temporary.folder(self._folder / TEMPORARY_FOLDER):
                error = self._try(self._run_graph)
            # First of all: whatever goes wrong from here on, this much is known.
            receipts.end(self._receipt, {}, error)
            # Where the disk is full, there is room again now.
            concluding = self._try(lambda: self._conclude(error))
            if concluding:
                receipts.fail_to_conclude(self._receipt, error, concluding)
            receipts.tell_published(self._receipt)
            self._receipt["seconds"] = round(time.monotonic() - self._clock, 3)
            self._record()
            self._review()
        return self._receipt

    def _begin(self) -> None:
        temporary.remove_leftovers(self._prepared.locations)
        try:
            self._folder.mkdir(parents=True)
            # Says "interrupted" until the end, and so also where the process is killed.
            metadata.write_receipt(self._folder, self._receipt)
            temporary.reserve(self._folder / TEMPORARY_FOLDER)
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise OutputError(
                f"{self._folder} cannot be written ({error.strerror}); expected room for the "
                "results. Free some, or choose another folder with --output-dir."
            ) from error

    def _record(self) -> None:
        try:
            metadata.write_receipt(self._folder, self._receipt)
        except OSError as error:
            told = self._receipt["failure"] or {"message": f"ended as {self._receipt['verdict']}"}
            raise StorageError(
                f"run {self._id} {told['message']}; its receipt cannot be written "
                f"({error.strerror}). Expected room for the results: free some, then go on with: "
                f"{receipts.command_to_go_on(self._receipt, self._request.output_dir)}"
            ) from error

    def _announce(self) -> None:
        data, prepared = self._prepared.data, self._prepared
        self._progress.notify(
            f"Run {self._id} of {prepared.name}: profile {prepared.config.profile}, "
            f"{data.train_count:,} training and {data.test.count:,} test images of "
            f"{data.description}"
        )
        if self._request.new_line:
            self._progress.notify("A new line of models: the served model is not compared with.")
        self._progress.notify("Loading TensorFlow and TFX, about ten seconds ...")

    def _try(self, step: Callable[[], object]) -> BaseException | None:
        try:
            step()
        except (Exception, KeyboardInterrupt) as error:
            logger.error("a step of the run failed", exc_info=error)
            return _interruption_in(error) or error
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
        # While one core imports libraries for the graph, the other does so for ServingCheck.
        with standing_by():
            self._load_and_run_graph()

    def _load_and_run_graph(self) -> None:
        if environment.dropped():
            logger.info("left out of the environment: %s", ", ".join(environment.dropped()))
        with garbage.kept():
            # Imported here: everything before answers without TensorFlow.
            import tensorflow as tf

            tf.config.threading.set_intra_op_parallelism_threads(machine.cores())
            tf.config.threading.set_inter_op_parallelism_threads(machine.cores())
            from pipeline.records import baseline
            from pipeline.runners import dag_runners, engine

            graph = self._graph()
        prepared = self._prepared
        store = metadata.open_store(prepared.locations.metadata)
        temporary.close_interrupted(store, prepared.locations)
        skipped = numbering.continue_from_now(prepared.locations)
        if skipped:
            self._progress.notify(skipped)
        if self._request.new_line:
            line = baseline.take_back_blessings(store, prepared.name)
        else:
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
            machine.arithmetic(),
            packages.installed(),
            engine.NODE_ARGUMENTS,
            served=versions.identity(prepared.locations.serving),
            is_served=prepared.served_version is not None,
            enable_cache=self._request.use_cache,
        )

    def _review(self) -> None:
        """Makes the page, whose failure is none of the run's."""
        error = self._try(self._write_review)
        if error:
            again = ("review", self._id, "--output-dir", str(self._request.output_dir))
            self._progress.notify(
                f"The review page could not be made ({type(error).__name__}: {error}). The run "
                "itself is not affected. Try again with: "
                f"{shlex.join(('python3', 'pipeline_runner.py', *again))}"
            )

    def _write_review(self) -> None:
        from operations import pages

        pages.write(self._prepared.locations, self._receipt)

    def _conclude(self, error: BaseException | None) -> None:
        locations = self._prepared.locations
        receipts.add_served(self._receipt, self._prepared)
        if not locations.metadata.exists():
            return
        store = metadata.open_store(locations.metadata)
        temporary.close_interrupted(store, locations)
        nodes = metadata.read_nodes(store, self._id, list(self._nodes))
        receipts.end(self._receipt, nodes, error)
        receipts.add_artifacts(self._receipt, nodes)
        receipts.add_training(self._receipt, nodes, self._prepared)
        receipts.add_gates(self._receipt, nodes)
        receipts.add_evaluation(self._receipt, nodes, self._prepared)
        receipts.add_calibration(self._receipt, nodes)
        receipts.add_robustness(self._receipt, nodes, self._prepared)


def _new_id(began: datetime.datetime, runs: pathlib.Path) -> str:
    """The time, to the second; where that is taken, the next free one."""
    while (runs / began.strftime(_ID_FORMAT)).exists():
        began += datetime.timedelta(seconds=1)
    return began.strftime(_ID_FORMAT)


def _interruption_in(error: BaseException | None) -> KeyboardInterrupt | None:
    """The interruption that an error comes from: a library may have made another error of it."""
    seen: set[int] = set()
    # Libraries that raise an error again make circles of such chains.
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Makes SIGTERM, and a terminal that goes away, end a run in the same way as Ctrl-C."""

    def interrupt(signal_number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        # `nohup` has it ignored.
        if handler != signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
