"""What a run left behind: finds its files, and says in words why there are none."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from components import image_schema
from pipeline.nodes import CORRUPTION, DATA_GATE, PREDICTIONS, TRAINER
from pipeline.records import metadata

T = TypeVar("T")

# What became of a node that did not end, by its status; None where there is no trace of any node.
_UNENDED = {
    metadata.NOT_RUN: "did not run",
    metadata.INTERRUPTED: "did not end",
    None: "left no trace",
}

logger = logging.getLogger(__name__)


class Output(NamedTuple):
    """An output of a node: the name of the node, and the key of the output."""

    node: str
    key: str


SCHEMA = Output("ImportSchemaGen", "schema")
STATISTICS = Output("StatisticsGen", "statistics")
GATE_REPORT = Output(DATA_GATE, "report")
MODEL_RUN = Output(TRAINER, "model_run")
ANSWERS = Output(PREDICTIONS, "predictions")
CORRUPTED_EXAMPLES = Output(CORRUPTION, "examples")


class AbsentError(Exception):
    """Something cannot be told; the message says why, in a sentence for readers of the review."""


class Gaps:
    """Fills what can be filled, and keeps why the rest cannot.

    Attributes:
      reasons: a sentence by the name of what is missing.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def fill(self, name: str, make: Callable[[], T]) -> T | None:
        """What `make` returns; None where it cannot, with the reason kept under the name."""
        try:
            return make()
        except AbsentError as absent:
            self.reasons[name] = str(absent)
        # Files that programs of another version wrote fail in ways that nobody foresees, and one
        # section must not take the others with it.
        except Exception as error:
            logger.exception("the review goes without %s", name)
            self.reasons[name] = (
                f"This could not be made of the files of the run ({_in_brief(error)})."
            )
        return None


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A run that has ended, however it did.

    Attributes:
      receipt: of the form of `pipeline/records/receipt.schema.json`.
      nodes: what ML Metadata has of its nodes, by name; empty where it has nothing.
    """

    receipt: dict[str, Any]
    nodes: dict[str, metadata.NodeRecord]

    def path(self, output: Output, *names: str) -> pathlib.Path:
        """Where a file of an output lies, or its folder where no file is named.

        Raises:
          AbsentError: where the node made none in this run.
        """
        node = self.nodes.get(output.node)
        artifact = node.output(output.key) if node and node.ended_well else None
        if artifact is None:
            raise AbsentError(self.why_without(output.node))
        return pathlib.Path(artifact.uri, *names)

    def why_without(self, name: str) -> str:
        """Why there is nothing of a node, in a sentence."""
        statuses = {node: entry["status"] for node, entry in self.receipt["nodes"].items()}
        statuses = statuses or {node: record.status for node, record in self.nodes.items()}
        status = statuses.get(name)
        if statuses and status is None:
            return f"This run is from before there was a node {name}; a new run has it."
        if status == metadata.FAILED:
            return f"{name} failed, so there is nothing of it to show."
        if status in _UNENDED:
            return f"{name} {_UNENDED[status]}: {self._how_it_ended()}."
        return f"ML Metadata no longer knows what {name} made in this run."

    def why_not_in_receipt(self, name: str) -> str:
        """Why the receipt has nothing of what a node measured, in a sentence."""
        node = self.nodes.get(name)
        if node and node.ended_well:
            return f"The run ended before its receipt had what {name} found."
        return self.why_without(name)

    def _how_it_ended(self) -> str:
        if self.receipt["verdict"] == "stopped":
            return "DataGate stopped the run before training"
        if self.receipt["status"] == "failed":
            node = self.receipt["failure"]["node"]
            return f"the run failed in {node}" if node else "the run failed"
        return "the run was interrupted"


def read(path: pathlib.Path, parse: Callable[[bytes], T]) -> T:
    """What `parse` makes of the content of a file.

    Raises:
      AbsentError: where the file is gone, cannot be read, or is not what `parse` expects.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise AbsentError(
            f"{path} is not there: it was removed, or the run is from before there was such a "
            "file. A new run with --no-cache makes it."
        ) from error
    except OSError as error:
        raise AbsentError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        return parse(content)
    # What a parser raises of damaged bytes is its own affair.
    except Exception as error:
        raise AbsentError(
            f"{path} is damaged ({_in_brief(error)}). A new run with --no-cache makes it anew."
        ) from error


def read_json(path: pathlib.Path) -> Any:
    """The content of a JSON file.

    Raises:
      AbsentError: where it is gone or no JSON.
    """
    return read(path, json.loads)


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file, by name.

    Raises:
      AbsentError: where it is gone or damaged.
    """
    return read(path, lambda content: dict(np.load(io.BytesIO(content))))


def class_names(run: FinishedRun) -> list[str]:
    """The classes in label order.

    Raises:
      AbsentError: where neither the receipt nor the schema of the run says them.
    """
    evaluated = list(run.receipt["per_class"])
    return evaluated or list(_read_schema(run).class_names)


def _read_schema(run: FinishedRun) -> image_schema.ImageSchema:
    path = run.path(SCHEMA, image_schema.SCHEMA_FILE)
    return read(path, lambda content: image_schema.parse_schema(content.decode(), str(path)))


def _in_brief(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}".rstrip(": ")
