"""One run of a benchmark: its progress on the terminal, its record and its answer."""

from __future__ import annotations

import datetime
import json
import time
from typing import Any

from benchmarks import processes, record
from benchmarks.tables import Table
from pipeline.datasets.dataset import DataSet


class Session:
    """Keeps what was measured, and tells of it."""

    def __init__(
        self, name: str, configuration: dict[str, Any], data: DataSet, record_to: str | None
    ):
        """Begins the record.

        Args:
          name: of the benchmark.
          configuration: all that was asked for, and the configurations that follow from it; it has
            `short`.
          data: the images that are measured with.
          record_to: see `record.place`.
        """
        began = datetime.datetime.now().astimezone()
        self._started = time.monotonic()
        self._record = record.begun(name, began, configuration, data)
        self._path = record.place(record_to, name, configuration["short"], began)
        self._save()

    @property
    def repeats(self) -> list[dict[str, Any]]:
        """The raw figures so far."""
        return self._record["repeats"]

    def add(self, repeat: dict[str, Any], line: str) -> None:
        """Takes the raw figures of a measurement, and shows a line about it."""
        seconds = time.monotonic() - self._started
        self._record["repeats"].append(repeat)
        self._record["seconds"] = round(seconds, 1)
        self._save()
        processes.notify(f"[{seconds:6.0f} s] {line}")

    def end(self, figures: dict[str, Any], tables: list[Table], as_json: bool) -> None:
        """Completes the record and prints the results."""
        self._record.update(complete=True, figures=figures)
        self._save()
        for table in tables:
            print()
            table.show()
        if self._path:
            processes.notify(f"Record: {self._path}")
        if as_json:
            print(json.dumps(figures), flush=True)

    def _save(self) -> None:
        # After each measurement: what took hours is not lost with what follows it.
        if self._path:
            record.write(self._record, self._path)
