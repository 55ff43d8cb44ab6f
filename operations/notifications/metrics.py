"""What a scheduler tells Prometheus: how its runs ended, what they measured, when the next is due.

Names and units follow the conventions of Prometheus: base units, `_total` for what only grows.
`docs/monitoring/` has alerts and a dashboard for them.
"""

from __future__ import annotations

import datetime
import math
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from operations import receipts
from operations.scheduling.outcome import (
    HELD,
    INPUT,
    LATE_DATA,
    MISSED,
    OVERLAP,
    RUN,
    UNCHANGED,
    version_stood,
)
from pipeline.errors import ConfigurationError
from pipeline.records import history, metadata

ADDRESS_VARIABLE = "IMAGE_PIPELINE_METRICS_ADDRESS"

# How a run can end: as its receipt says, or without one where its input was refused.
BAD_INPUT = "bad_input"
OUTCOMES = (
    *(receipts.PUSHED, receipts.REFUSED, receipts.STOPPED, receipts.FAILED, receipts.INTERRUPTED),
    BAD_INPUT,
)
# By exit code; here, unchanged and held are attempts that began no run.
_WITHOUT_RECEIPT = {
    0: UNCHANGED,
    2: BAD_INPUT,
    3: UNCHANGED,
    4: HELD,
    130: receipts.INTERRUPTED,
}

# Metrics ask for no password: who else may read them is for the administrator to decide.
_THIS_MACHINE = "127.0.0.1"
_PREFIX = "image_pipeline"
# What each one says, and the labels that it has beside that of the pipeline.
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

# What counters are labelled with, and show as 0 until it happens.
_COUNTED = {
    "runs": (*OUTCOMES, UNCHANGED, HELD),
    "skips": (OVERLAP, MISSED, UNCHANGED, HELD),
    "alarms": (RUN, INPUT, LATE_DATA),
}

Metric = TypeVar("Metric", Gauge, Counter)


class Metrics:
    """The metrics of one pipeline.

    Attributes:
      port: at which they are served; None before `serve`.
    """

    def __init__(self, pipeline: str):
        """Begins with nothing known; counters begin at 0, as Prometheus expects of a restart."""
        self.port: int | None = None
        self._pipeline = pipeline
        self._outcome: str | None = None
        self._completed: str | None = None
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
          port: 0 takes any that is free; `self.port` has it afterwards.

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
        self.port = server.server_port

    def restore(self, past: Iterable[dict[str, Any]]) -> None:
        """Shows how things stood before the scheduler began, so that a restart blanks nothing.

        Args:
          past: receipts of runs; those of other pipelines are left out, and one that is at work.
        """
        own = [
            receipt
            for receipt in past
            if receipt["pipeline"] == self._pipeline and receipt["status"] != history.RUNNING
        ]
        for receipt in metadata.in_order(own):
            self._show(receipt)

    def run_ended(self, receipt: dict[str, Any] | None, exit_code: int) -> None:
        """Shows how a run ended.

        Args:
          receipt: of the run; None where it left none.
          exit_code: of its process.
        """
        outcome = _WITHOUT_RECEIPT.get(exit_code, receipts.FAILED)
        if receipt:
            # Its verdict is that of a push, but nothing new is served.
            outcome = UNCHANGED if version_stood(receipt) else _outcome(receipt)
            self._show(receipt)
        elif outcome == UNCHANGED:
            self._show_standing()
        elif outcome in OUTCOMES:
            self._show_outcome(outcome, time.time())
        self._counters["runs"].labels(self._pipeline, outcome).inc()

    def next_run(self, when: datetime.datetime | None) -> None:
        """Shows when the next run is due; None where none is planned."""
        # A gauge that vanished would be taken for one that is overdue.
        self._set("next_run_timestamp_seconds", when.timestamp() if when else math.nan)

    def skipped(self, reason: str) -> None:
        """Counts a time at which no run was begun, by a reason of `operations.scheduling`."""
        if reason == UNCHANGED:
            self._show_standing()
        self._counters["skips"].labels(self._pipeline, reason).inc()

    def alarm(self, kind: str) -> None:
        """Counts an alarm, by a kind of `operations.scheduling`."""
        self._counters["alarms"].labels(self._pipeline, kind).inc()

    def _show(self, receipt: dict[str, Any]) -> None:
        self._show_outcome(_outcome(receipt), _ended(receipt))
        self._set("last_run_duration_seconds", receipt["seconds"])
        # Receipts of earlier days do not have it.
        self._set("served_version", receipt["served_version"])
        self._gauges["node_duration_seconds"].clear()
        for name, node in receipt["nodes"].items():
            self._set("node_duration_seconds", node["seconds"], name)
        if receipt["test_count"]:
            self._show_evaluation(receipt)

    def _show_standing(self) -> None:
        """Shows the verdict of the last completed run, whatever was tried and mended since."""
        if self._completed and self._completed != self._outcome:
            self._show_outcome(self._completed, time.time())
        if self._completed == receipts.PUSHED:
            self._set("last_success_timestamp_seconds", time.time())

    def _show_outcome(self, outcome: str, ended: float) -> None:
        self._streak = self._streak + 1 if outcome == self._outcome else 1
        self._outcome = outcome
        if outcome in (receipts.PUSHED, receipts.REFUSED):
            self._completed = outcome
        if outcome == receipts.PUSHED:
            self._set("last_success_timestamp_seconds", ended)
        for each in OUTCOMES:
            self._set("last_run_outcome", each == outcome, each)
        self._set("last_run_outcome_streak", self._streak)
        self._set("last_run_timestamp_seconds", ended)

    def _show_evaluation(self, receipt: dict[str, Any]) -> None:
        self._set("test_accuracy_ratio", receipt["test_accuracy"])
        self._set("calibration_error_ratio", receipt["calibration"]["ece_after"])
        classes = receipt["per_class"].items()
        # The review finds it too, by way of SciPy, which a scheduler does not load for this.
        recall, name = min(
            (scores["recall"], name) for name, scores in classes if scores["support"]
        )
        self._gauges["weakest_class_recall_ratio"].clear()
        self._set("weakest_class_recall_ratio", recall, name)

    def _set(self, name: str, value: float | None, *labels: str) -> None:
        """Sets a gauge; what is not known leaves it as it is."""
        if value is not None:
            self._gauges[name].labels(self._pipeline, *labels).set(value)


def _outcome(receipt: dict[str, Any]) -> str:
    verdict = receipt["verdict"]
    return receipt["status"] if verdict == receipts.NONE else verdict


def _ended(receipt: dict[str, Any]) -> float:
    """When a run ended, in Unix seconds."""
    began = datetime.datetime.fromisoformat(receipt["began"])
    return began.timestamp() + (receipt["seconds"] or 0)
