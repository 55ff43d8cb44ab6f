"""One run: lock, graph, receipt, review."""

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
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import absl.logging

from components import control_groups, environment, features
from components.data_form import OF_PIXELS, Form
from components.messages import told
from components.pusher import guard, rollbacks, versions
from components.redaction import LogFormatter
from components.serving_check.check import standing_by
from components.trainer import threads
from operations import changes, garbage, lost, numbering, recording, temporary, unfinished
from operations.notifications.notifying import Notifier
from operations.preparation import Prepared, Progress, Request, prepare
from pipeline import machine
from pipeline.config import serving_bucket
from pipeline.database import binding
from pipeline.errors import OutputError, ServedModelError, StorageError
from pipeline.exclusion import Held, exclusive
from pipeline.installation import packages
from pipeline.locations import LOG_FILE, REVIEW_PAGE, TEMPORARY_FOLDER, Locations
from pipeline.nodes import expected_nodes
from pipeline.records import history, metadata, provenance, served_version
from pipeline.records.outcomes import Verdict
from pipeline.records.receipt import RUN_ID_FORMAT, Engines, Receipt
from pipeline.streams import output_to_log

if TYPE_CHECKING:
    from tfx.orchestration.pipeline import Pipeline

_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

logger = logging.getLogger(__name__)


def run(request: Request, progress: Progress, notifier: Notifier) -> Receipt:
    """Runs the pipeline; returns its receipt, or that of the run since which nothing changed.

    Args:
      request: Request for the run.
      progress: Shows how far the run is.
      notifier: Tells how the run ended.

    Raises:
      UsageError: where input or configuration is bad; nothing was begun.
      LockHeldError: where another run of the same pipeline is at work.
      StoreLockedError: where another process has locked ML Metadata, or its server does not answer.
      StorageError: where the run began, but its outcome cannot be recorded.
      UnreachableError: where a bucket does not answer; nothing was begun.
      CodeChangedError: where the project was updated before the run began.
    """
    # Reading the data may take an hour, in which somebody updates the project.
    provenance.check_code()
    prepared = prepare(request, progress)
    with exclusive(prepared.locations, "run", prepared.config.metadata.address) as held:
        # Another run may have put the metadata into a database while the data was read.
        binding.check(prepared.locations, prepared.config.metadata.address)
        past = unfinished.completed_receipts(prepared.locations)
        _copy_to_bucket(prepared, progress)
        prepared = _compared_with_what_is_served_now(prepared, request)
        provenance.check_code()
        standing = _standing(request, prepared, past)
        if standing:
            _tell_standing(standing, prepared, progress)
            return standing
        _tell_lost(prepared, request, past, progress)
        _tell_prepared_otherwise(prepared, progress)
        try:
            receipt = _Run(request, prepared, progress, held, past).execute()
        except StorageError as error:
            # No receipt tells of it.
            notifier.alarm(f"{prepared.name}: the run cannot be recorded", str(error))
            raise
    # Without the lock: nobody should wait for a slow service.
    _notify(notifier, prepared.locations, receipt, past[-1] if past else None)
    return receipt


def _copy_to_bucket(prepared: Prepared, progress: Progress) -> None:
    """Copies the served version to the bucket, if an earlier run was cut off before it did."""
    address = serving_bucket(prepared.config, prepared.name)
    copied = served_version.copy_to_bucket(prepared.locations, address)
    if copied is not None:
        progress.notify(f"Copied the served version {copied} to {address}, which lacked it.")


def _compared_with_what_is_served_now(prepared: Prepared, request: Request) -> Prepared:
    """Reads the served version again under the lock: a rollback may have happened in between."""
    served = served_version.version_to_compare(
        prepared.locations, prepared.schema, request.new_line
    )
    return dataclasses.replace(prepared, served_version=served)


def _tell_lost(
    prepared: Prepared, request: Request, past: list[Receipt], progress: Progress
) -> None:
    """Warns that a model was served and none is now: its disk may not be mounted.

    Raises:
      ServedModelError: where nobody is there to read a warning.
    """
    before = lost.last_served(past)
    if before is None or prepared.served_version is not None or request.new_line:
        return
    loss = lost.missing(before, prepared.locations.serving)
    if recording.is_scheduled():
        raise ServedModelError(
            f"{loss}; expected it, or a new model would be served without a comparison. Its disk "
            "may not be mounted: put the folder back. If no model is to be there, run once by "
            "hand, to its end."
        )
    progress.notify(
        f"Warning: {loss}. The new model is compared with none. If that is not meant, stop the run "
        "and put the folder back."
    )


def _tell_prepared_otherwise(prepared: Prepared, progress: Progress) -> None:
    """Warns that the served model would be judged on images that clients do not give it.

    Raises:
      ServedModelError: where nobody is there to read a warning.
    """
    if prepared.served_version is None or prepared.data.form in OF_PIXELS:
        return
    asked = prepared.data.request.preparation
    differs = served_version.prepared_otherwise(prepared.locations, asked)
    if not differs:
        return
    if recording.is_scheduled():
        raise ServedModelError(
            f"{differs}; expected the same settings, or the served model would be judged on images "
            "that it never gets from clients. Set them back, or run by hand until a model with the "
            "new ones is served."
        )
    progress.notify(
        f"Warning: {differs}. Both models are judged on the images of this run, which the served "
        "one never gets from clients: there it may be better than the comparison says. If that is "
        "not meant, stop the run and set them back."
    )


def _standing(request: Request, prepared: Prepared, past: list[Receipt]) -> Receipt | None:
    """The run whose verdict still stands, so that nothing has to run; None where that was asked."""
    # What is asked of a new line is to replace what is served, whatever stands.
    if request.force or request.new_line or not request.use_cache:
        return None
    standing = changes.standing_run(prepared, past)
    if standing and request.resumed is not None and standing.sequence < request.resumed:
        # It stood when the run that is continued began, which was forced.
        return None
    return standing


def _tell_standing(receipt: Receipt, prepared: Prepared, progress: Progress) -> None:
    progress.notify(
        f"Nothing changed since run {receipt.run_id}: data, schema, code, configuration and "
        "libraries are the same, so its verdict still holds. Use --force to run anyway."
    )
    newest = max(versions.served_versions(prepared.locations.serving), default=None)
    if receipt.verdict == Verdict.PUSHED and newest != receipt.pushed_version:
        progress.notify(
            f"The served version {newest} is newer than this run. With --force, the model of the "
            "run is compared with it, and pushed again if it passes."
        )


def _notify(
    notifier: Notifier,
    locations: Locations,
    receipt: Receipt,
    before: Receipt | None,
) -> None:
    folder = locations.runs / receipt.run_id
    page = folder / REVIEW_PAGE
    with _interruptible(), _logging_after_end(folder / LOG_FILE):
        notifier.run_ended(receipt, page if page.exists() else None, before)


@contextlib.contextmanager
def _logging_after_end(log: pathlib.Path) -> Iterator[None]:
    """Sends the log to the terminal, and to the log file of the run if there is one."""
    shown = logging.StreamHandler(sys.stderr)
    handlers: list[logging.Handler] = [shown]
    if log.exists():
        kept = _LogFile(log, encoding="utf-8", delay=True)
        kept.setFormatter(LogFormatter(_LOG_FORMAT))
        handlers.append(kept)
    root = logging.getLogger()
    root.handlers, before = handlers, root.handlers
    try:
        yield
    finally:
        root.handlers = before
        for handler in handlers:
            with contextlib.suppress(OSError):
                handler.close()


class _LogFile(logging.FileHandler):
    """A log file that loses what the disk does not take: the run has ended as its receipt says."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record, if it can be written."""
        with contextlib.suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Shows no traceback, unlike the handlers of the library."""


class _Run:
    """A run at work, which gathers its receipt."""

    def __init__(
        self,
        request: Request,
        prepared: Prepared,
        progress: Progress,
        held: Held,
        past: list[Receipt],
    ):
        self._held = held
        self._past = past
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
        sequence = history.next_sequence(prepared.locations.root.parent)
        self._receipt = recording.begun(self._id, sequence, began, prepared, request, digest)

    def execute(self) -> Receipt:
        """Runs the graph, asks ML Metadata how it went, and writes the receipt."""
        self._held.note_run(self._id)
        self._begin()
        self._announce()
        with _interruptible(), self._logging(self._folder / LOG_FILE):
            with temporary.folder(self._folder / TEMPORARY_FOLDER):
                error = self._try(self._run_graph)
            # First of all: whatever goes wrong from here on, this much is known.
            self._receipt = recording.ended(self._receipt, {}, error)
            # Where the disk is full, there is room again now.
            concluding = self._try(lambda: self._conclude(error))
            if concluding:
                self._receipt = recording.failed_to_conclude(self._receipt, error, concluding)
            self._receipt = recording.with_change_of_served(self._receipt)
            seconds = round(time.monotonic() - self._clock, 3)
            self._receipt = self._receipt.changed(seconds=seconds)
            self._record()
            self._review()
        return self._receipt

    def _begin(self) -> None:
        temporary.remove_leftovers(self._prepared.locations)
        try:
            self._folder.mkdir(parents=True)
            # Says "interrupted" until the end, and so also where the process is killed.
            self._receipt.write(self._folder)
            temporary.reserve(self._folder / TEMPORARY_FOLDER)
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise OutputError(
                f"{self._folder} cannot be written ({error.strerror}); expected room for the "
                "results. Free some, or choose another folder with --output-dir."
            ) from error

    def _record(self) -> None:
        try:
            self._receipt.write(self._folder)
        except (OSError, ValueError) as error:
            failure = self._receipt.failure
            outcome = failure.message if failure else f"ended as {self._receipt.verdict}"
            why = getattr(error, "strerror", error)
            raise StorageError(
                f"run {self._id} {outcome}; its receipt cannot be written ({why}). Expected room "
                "for the results: free some, then go on with: "
                f"{self._receipt.command_to_go_on(self._request.output_dir)}"
            ) from error

    def _announce(self) -> None:
        data, prepared = self._prepared.data, self._prepared
        self._progress.notify(
            f"Run {self._id} of {prepared.name}: profile {prepared.config.profile}, "
            f"{data.count(features.TRAIN_SPLIT):,} training, "
            f"{data.count(features.VALIDATION_SPLIT):,} validation and "
            f"{data.count(features.TEST_SPLIT):,} test images of {data.description}"
        )
        if data.form != Form.IDX:
            self._progress.notify(f"Recognised {data.summary}.")
        for line in data.ignored:
            self._progress.notify(f"Ignored {line}")
        for doubt in data.doubts:
            self._progress.notify(f"Warning: {doubt}")
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
            handler.setFormatter(LogFormatter(_LOG_FORMAT))
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
            # The first import of TensorFlow: everything before answers without it.
            threads.share(control_groups.cores(), self._prepared.config.training.batch_size)
            try:
                from pipeline.records import baseline
                from pipeline.runners import dag_runners, engine, observation

                graph = self._graph()
            finally:
                # An update may also be why the graph could not be built.
                provenance.check_code()
        prepared = self._prepared
        place = metadata.place_of(prepared.locations)
        store = metadata.open_store(place)
        temporary.close_interrupted(store, prepared.locations)
        skipped = numbering.continue_from_now(prepared.locations)
        if skipped:
            self._progress.notify(skipped)
        if self._request.new_line:
            line = baseline.take_back_blessings(store, prepared.name)
        else:
            line = baseline.register_served(store, prepared.name, prepared.locations)
        baseline.offer(store, prepared.name, self._id)
        logger.info(line or "the latest blessed model is the one now served")
        with engine.serving(prepared.config.beam) as serving:
            observer = observation.EngineObserver(serving.started)
            try:
                with (
                    observer.watching(),
                    guard.guarded(self._held.check),
                    metadata.graph_in_words(place),
                ):
                    dag_runners.run(
                        self._request.runner,
                        graph,
                        self._id,
                        serving.arguments,
                        provenance.check_code,
                    )
            finally:
                seen = observer.observed()
                engines = Engines(
                    dag=seen.dag, node=seen.node, address=seen.address, workers=seen.workers
                )
                self._receipt = self._receipt.changed(runner=engines)

    def _graph(self) -> Pipeline:
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
            list(engine.NODE_ARGUMENTS),
            served=versions.identity(prepared.locations.serving),
            is_served=prepared.served_version is not None,
            withdrawn=self._withdrawn(),
            enable_cache=self._request.use_cache,
        )

    def _withdrawn(self) -> dict[str, str]:
        """Models that were rolled back: only a person who forces a run serves them again."""
        if self._request.force and not recording.is_scheduled():
            return {}
        return rollbacks.withdrawn(self._prepared.locations.serving)

    def _review(self) -> None:
        """Makes the page; the run is none the worse where that fails."""
        error = self._try(self._write_review)
        if error:
            again = ("review", self._id, "--output-dir", str(self._request.output_dir))
            if recording.tells_of(self._receipt, error):
                why = "for the reason that ended the run"
            else:
                why = f"({told(error)}). The run itself is not affected"
            self._progress.notify(
                f"The review page could not be made {why}. Try again with: "
                f"{shlex.join(('python3', 'pipeline_runner.py', *again))}"
            )

    def _write_review(self) -> None:
        from operations import pages

        receipts = history.in_order([*self._past, self._receipt])
        pages.write(self._prepared.locations, self._receipt, receipts)

    def _conclude(self, error: BaseException | None) -> None:
        locations = self._prepared.locations
        self._receipt = recording.with_served(self._receipt, self._prepared)
        store = metadata.find_store(locations)
        if store is None:
            return
        # Without the lock, what runs there may be of another run.
        if not self._held.is_lost():
            temporary.close_interrupted(store, locations)
        nodes = metadata.read_nodes(store, self._prepared.name, self._id, list(self._nodes))
        self._receipt = recording.ended(self._receipt, nodes, error)
        for receipt in recording.results(self._receipt, nodes, self._prepared):
            self._receipt = receipt


def _new_id(began: datetime.datetime, runs: pathlib.Path) -> str:
    """The time to the second; if another run has it, the next free second."""
    while (runs / began.strftime(RUN_ID_FORMAT)).exists():
        began += datetime.timedelta(seconds=1)
    return began.strftime(RUN_ID_FORMAT)


def _interruption_in(error: BaseException | None) -> KeyboardInterrupt | None:
    """The interruption behind an error: a library may have turned it into another error."""
    seen: set[int] = set()
    # Libraries that raise an error again make circles of such chains.
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return error
        # Beam hands on the errors of its workers as text.
        if str(error).rpartition("\n")[2].startswith(KeyboardInterrupt.__name__):
            return KeyboardInterrupt()
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Makes SIGTERM, and the end of the terminal, end a run in the same way as Ctrl-C."""

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
