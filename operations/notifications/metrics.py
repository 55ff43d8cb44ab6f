"""What a scheduler tells Prometheus: how its runs ended, what they measured, when the next is due.

Names and units follow the conventions of Prometheus: base units, and `_total` for counters.
`docs/monitoring/` has alerts and a dashboard for them.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import os
import socket
import threading
import time
import wsgiref.simple_server
from collections.abc import Iterable, Mapping
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from operations.notifications.events import AlarmKind, Outcome, SkipReason
from pipeline.errors import ConfigurationError, ExitCode
from pipeline.records import history
from pipeline.records.outcomes import Status
from pipeline.records.receipt import Evaluation, Receipt

ADDRESS_VARIABLE = "IMAGE_PIPELINE_METRICS_ADDRESS"

# Metrics ask for no password: who else may read them is for the administrator to decide.
_THIS_MACHINE = "127.0.0.1"
_PREFIX = "image_pipeline"
# Time for the whole request of a client, however slowly it speaks. Each client has a thread and an
# open file, of which a scheduler that runs for months has only so many.
_MOST_SECONDS = 30.0
# Description of each one, and its labels beside that of the pipeline.
_GAUGES = {
    "last_run_outcome": ("1 for how the last run ended, 0 for all other ways.", "outcome"),
    "last_run_outcome_streak": ("Runs in a row that ended as the last one did.",),
    "last_run_timestamp_seconds": ("End of the last run; its beginning where it was killed.",),
    "last_run_duration_seconds": ("Duration of the last run that came to an end.",),
    "last_success_timestamp_seconds": (
        "When a model was last pushed, or nothing was found to have changed since.",
    ),
    "next_run_timestamp_seconds": ("When the next run is due; NaN where none is planned.",),
    "node_duration_seconds": (
        "Duration of each node of the last run; next to nothing where it was cached.",
        "node",
    ),
    "test_accuracy_ratio": ("Accuracy of the last evaluated model on the test split.",),
    "weakest_class_recall_ratio": (
        "Recall of the last evaluated model on the class where it is least.",
        "class",
    ),
    "calibration_error_ratio": (
        "Expected calibration error of the last evaluated model on the test split.",
    ),
    "served_version": ("Version of the model that was served when the last run ended.",),
}
_COUNTERS = {
    "runs": ("Runs since the scheduler began, by what came of them.", "outcome"),
    "skips": ("Times at which no run was begun, by reason.", "reason"),
    "alarms": ("Alarms of the scheduler, by kind.", "kind"),
}

# Labels of the counters, which show 0 until it happens.
_COUNTED = {
    "runs": Outcome,
    "skips": SkipReason,
    "alarms": AlarmKind,
}

# Verdict of a run that completed, by its exit code.
_VERDICTS = {ExitCode.PUSHED: Outcome.PUSHED, ExitCode.REFUSED: Outcome.REFUSED}

Metric = TypeVar("Metric", Gauge, Counter)


class _Handler(wsgiref.simple_server.WSGIRequestHandler):
    """Answers one client. That it goes away before its answer is no fault, and shows nowhere."""

    most_seconds = _MOST_SECONDS

    def handle(self) -> None:
        """Answers, if the client is still there."""
        # A time limit of the socket would begin anew with each byte.
        end = threading.Timer(self.most_seconds, self._hang_up)
        end.daemon = True
        end.start()
        try:
            with contextlib.suppress(OSError):
                super().handle()
        finally:
            end.cancel()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing."""


class Metrics:
    """The metrics of one pipeline.

    Attributes:
      port: Port at which they are served; None before `serve`.
    """

    def __init__(self, pipeline: str):
        """Begins with nothing known; counters begin at 0, as Prometheus expects of a restart."""
        self.port: int | None = None
        self._pipeline = pipeline
        self._outcome: Outcome | None = None
        self._streak = 0
        self._registry = CollectorRegistry()
        self._gauges = self._made(Gauge, _GAUGES)
        self._counters = self._made(Counter, _COUNTERS)
        # Prometheus sees no increase in what it sees for the first time.
        for name, counted in _COUNTED.items():
            for label in counted:
                self._counters[name].labels(pipeline, label)

    def _made(
        self, kind: type[Metric], described: Mapping[str, tuple[str, ...]]
    ) -> dict[str, Metric]:
        return {
            name: kind(f"{_PREFIX}_{name}", about, ("pipeline", *labels), registry=self._registry)
            for name, (about, *labels) in described.items()
        }

    def serve(self, port: int) -> None:
        """Serves the metrics over HTTP, from a thread that ends with the process.

        Args:
          port: Port; 0 takes any that is free, which `self.port` has afterwards.

        Raises:
          ConfigurationError: where the port is taken, or the address is none of this machine.
        """
        address = os.environ.get(ADDRESS_VARIABLE, _THIS_MACHINE)
        try:
            server, _ = start_http_server(port, address, self._registry)
        except OSError as error:
            raise ConfigurationError(
                f"metrics cannot be served at {address}, port {port} ({error.strerror}); expected "
                "a free port of this machine. Choose another with --metrics-port, or another "
                f"address with {ADDRESS_VARIABLE}."
            ) from error
        server.RequestHandlerClass = _Handler
        self.port = server.server_port

    def restore(
        self, past: Iterable[Receipt], unrecorded: Mapping[ExitCode, datetime.datetime]
    ) -> None:
        """Shows how things stood before the scheduler began, so that a restart changes nothing.

        Args:
          past: Receipts of runs; those of other pipelines, and of runs at work, do not count.
          unrecorded: For each exit code, when a run last ended with it and left no receipt.
        """
        own = [
            receipt
            for receipt in past
            if receipt.pipeline == self._pipeline and receipt.status != Status.RUNNING
        ]
        # What seems to come from the future was noted under a clock that was wrong.
        now = datetime.datetime.now(datetime.UTC)
        ends = sorted((ended, code) for code, ended in unrecorded.items() if ended <= now)
        for receipt in history.in_order(own):
            while ends and ends[0][0] < receipt.began:
                self._restore_unrecorded(*ends.pop(0))
            self._show(receipt)
        for ended, code in ends:
            self._restore_unrecorded(ended, code)

    def run_ended(self, receipt: Receipt | None, code: ExitCode, unread: bool = False) -> None:
        """Shows how a run ended.

        Args:
          receipt: Receipt of the run; None where it left none.
          code: Exit code of its process, or of the run since which nothing changed.
          unread: Whether the run completed, and its receipt cannot be read.
        """
        outcome = _VERDICTS[code] if unread else Outcome.without_receipt(code)
        if receipt:
            # Its verdict is that of a push, but nothing new is served.
            unchanged = receipt.kept_served_version
            outcome = Outcome.UNCHANGED if unchanged else Outcome.of(receipt)
            self._show(receipt)
        else:
            self._show_unrecorded(outcome, code, time.time())
        self._counters["runs"].labels(self._pipeline, outcome).inc()

    def next_run(self, when: datetime.datetime | None) -> None:
        """Shows when the next run is due; None where none is planned."""
        # A gauge that vanished would be taken for one that is overdue.
        self._set("next_run_timestamp_seconds", when.timestamp() if when else math.nan)

    def skipped(self, reason: SkipReason) -> None:
        """Counts a time at which no run began."""
        self._counters["skips"].labels(self._pipeline, reason).inc()

    def alarm(self, kind: AlarmKind) -> None:
        """Counts an alarm."""
        self._counters["alarms"].labels(self._pipeline, kind).inc()

    def _show(self, receipt: Receipt) -> None:
        began, seconds = receipt.began.timestamp(), receipt.seconds
        self._show_outcome(Outcome.of(receipt), began + (seconds or 0))
        self._set("last_run_duration_seconds", seconds)
        self._set("served_version", receipt.served_version)
        self._gauges["node_duration_seconds"].clear()
        for name, node in receipt.nodes.items():
            self._set("node_duration_seconds", node.seconds, name)
        if receipt.evaluation and receipt.evaluation.count:
            self._show_evaluation(receipt.evaluation)
            self._set("calibration_error_ratio", receipt.calibration.ece_after)

    def _restore_unrecorded(self, ended: datetime.datetime, code: ExitCode) -> None:
        self._show_unrecorded(Outcome.without_receipt(code), code, ended.timestamp())

    def _show_unrecorded(self, outcome: Outcome, code: ExitCode, ended: float) -> None:
        """Shows the end of a run that left no receipt."""
        if outcome == Outcome.UNCHANGED:
            self._show_standing(_VERDICTS[code], ended)
        elif outcome.counts_as_run:
            self._show_outcome(outcome, ended)

    def _show_standing(self, outcome: Outcome, ended: float) -> None:
        """Shows the verdict of the run since which nothing changed, whoever began it."""
        if outcome != self._outcome:
            self._show_outcome(outcome, ended)
        if outcome == Outcome.PUSHED:
            self._set("last_success_timestamp_seconds", ended)

    def _show_outcome(self, outcome: Outcome, ended: float) -> None:
        self._streak = self._streak + 1 if outcome == self._outcome else 1
        self._outcome = outcome
        if outcome == Outcome.PUSHED:
            self._set("last_success_timestamp_seconds", ended)
        for each in Outcome:
            if each.counts_as_run:
                self._set("last_run_outcome", each == outcome, each)
        self._set("last_run_outcome_streak", self._streak)
        self._set("last_run_timestamp_seconds", ended)

    def _show_evaluation(self, measured: Evaluation) -> None:
        self._set("test_accuracy_ratio", measured.accuracy)
        # The review finds it too, by way of SciPy, which a scheduler does not load for this.
        recalls = [(of.recall, name) for name, of in measured.per_class.items() if of.support]
        self._gauges["weakest_class_recall_ratio"].clear()
        for recall, name in sorted(recalls)[:1]:
            self._set("weakest_class_recall_ratio", recall, name)

    def _set(self, name: str, value: float | None, *labels: str) -> None:
        """Sets a gauge; what is not known leaves it as it is."""
        if value is not None:
            self._gauges[name].labels(self._pipeline, *labels).set(value)
