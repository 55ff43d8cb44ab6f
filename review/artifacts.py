"""What a run left behind: finds its files, and says in words why there are none."""

from __future__ import annotations

import dataclasses
import io
import logging
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from components import image_schema
from components.messages import AGAIN_WITHOUT_CACHE, shown
from pipeline.nodes import CORRUPTION, DATA_GATE, EVALUATOR, PREDICTIONS, TRAINER
from pipeline.records.executions import NodeExecution
from pipeline.records.outcomes import NodeStatus, Status, Verdict
from pipeline.records.receipt import Evaluation, Receipt

T = TypeVar("T")

# What became of a node that did not end, by its status; None where nothing knows of the node.
_UNENDED = {
    NodeStatus.NOT_RUN: "did not run",
    NodeStatus.INTERRUPTED: "did not end",
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
_REVIEWED = (SCHEMA, STATISTICS, GATE_REPORT, MODEL_RUN, ANSWERS, CORRUPTED_EXAMPLES)


class AbsentError(Exception):
    """Something is missing; the message says why, in a sentence for readers of the review."""


class Gaps:
    """Makes the parts of a review, and keeps why some of them are missing.

    Attributes:
      reasons: Sentence by the name of what is missing.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def fill(self, name: str, make: Callable[[], T]) -> T | None:
        """What `make` returns; None where it cannot, with the reason kept under the name."""
        try:
            return make()
        except AbsentError as absent:
            self.reasons[name] = str(absent)
        # A file may be damaged in ways that nobody foresees, and one section must not take the
        # others with it.
        except Exception as error:
            logger.exception("the review goes without %s", name)
            self.reasons[name] = (
                f"This could not be made from the files of the run ({_in_brief(error)})."
            )
        return None


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A run that has ended, however it did.

    Attributes:
      receipt: Receipt of the run.
      nodes: Executions in ML Metadata, by the name of the node; empty where it has none.
    """

    receipt: Receipt
    nodes: Mapping[str, NodeExecution]

    @property
    def evaluation(self) -> Evaluation:
        """What was measured on the test split.

        Raises:
          AbsentError: where nothing was evaluated.
        """
        if self.receipt.evaluation is None:
            raise AbsentError(self.why_not_in_receipt(EVALUATOR))
        return self.receipt.evaluation

    def path(self, output: Output, *names: str) -> pathlib.Path:
        """Path of a file of an output; of its folder where no file is named.

        Raises:
          AbsentError: where the node made none in this run.
        """
        node = self.nodes.get(output.node)
        artifact = node.output(output.key) if node and node.ended_well else None
        if artifact is None:
            raise AbsentError(self.why_without(output.node))
        return pathlib.Path(artifact.uri, *names)

    def lost(self) -> list[str]:
        """Names of the nodes that left something for the review which is no longer there."""
        known = self.receipt.nodes or self.nodes
        left = [output for output in _REVIEWED if output.node in known]
        return [
            output.node
            for output in left
            if known[output.node].status.ended_well and not self._has(output)
        ]

    def _has(self, output: Output) -> bool:
        try:
            return self.path(output).exists()
        except AbsentError:
            return False

    def why_without(self, name: str) -> str:
        """Why a node left nothing, in a sentence."""
        # The receipt of a run that was killed names no nodes.
        ended = (self.receipt.nodes or self.nodes).get(name)
        status = ended.status if ended else None
        if status == NodeStatus.FAILED:
            return f"{name} failed, so it left nothing to show."
        if status in _UNENDED:
            return f"{name} {_UNENDED[status]}: {self._how_it_ended()}."
        return f"ML Metadata no longer knows what {name} made in this run."

    def why_not_in_receipt(self, name: str) -> str:
        """Why the receipt lacks what a node measured, in a sentence."""
        node = self.nodes.get(name)
        if node and node.ended_well:
            return f"The run ended before its receipt had what {name} found."
        return self.why_without(name)

    def _how_it_ended(self) -> str:
        if self.receipt.verdict == Verdict.STOPPED:
            return "DataGate stopped the run before training"
        if self.receipt.status == Status.FAILED:
            node = self.receipt.failure and self.receipt.failure.node
            return f"the run failed in {node}" if node else "the run failed"
        return "the run was interrupted"


def read(path: pathlib.Path, parse: Callable[[bytes], T]) -> T:
    """Reads and parses a file.

    Args:
      path: File to read.
      parse: Makes a value of its content; whatever it raises means that the file is damaged.

    Raises:
      AbsentError: where the file is gone, cannot be read, or is damaged.
    """
    return read_path(path, lambda place: parse(place.read_bytes()))


def read_path(path: pathlib.Path, parse: Callable[[pathlib.Path], T]) -> T:
    """Parses a file that is too large to be read as a whole.

    Args:
      path: File to parse.
      parse: Makes a value of the file; whatever it raises, except an OSError of the file itself,
        means that the file is damaged.

    Raises:
      AbsentError: where the file is gone, cannot be read, or is damaged.
    """
    try:
        with path.open("rb"):
            pass
        return parse(path)
    except FileNotFoundError as error:
        raise AbsentError(f"{path} is not there: it was removed. {AGAIN_WITHOUT_CACHE}") from error
    except OSError as error:
        raise AbsentError(f"{path} cannot be read: {error.strerror}.") from error
    # Parsers raise errors of many types.
    except Exception as error:
        raise AbsentError(
            f"{path} is damaged ({_in_brief(error)}). {AGAIN_WITHOUT_CACHE}"
        ) from error


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Arrays of an NPZ file, by name.

    Raises:
      AbsentError: where it is gone or damaged.
    """
    return read(path, lambda content: dict(np.load(io.BytesIO(content))))


def class_names(run: FinishedRun) -> list[str]:
    """Names of the classes, in label order.

    Raises:
      AbsentError: where neither the receipt nor the schema of the run names them.
    """
    evaluation = run.receipt.evaluation
    return list(evaluation.per_class if evaluation else _read_schema(run).class_names)


def _read_schema(run: FinishedRun) -> image_schema.ImageSchema:
    path = run.path(SCHEMA, image_schema.SCHEMA_FILE)
    return read(path, lambda content: image_schema.parse_schema(content.decode(), str(path)))


def _in_brief(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    # Whoever parses may quote the file, at any length.
    return shown(f"{type(error).__name__}: {lines[0]}".rstrip(": "))
