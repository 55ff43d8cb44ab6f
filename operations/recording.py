"""Records a run: its receipt when it begins, and its results when it ends."""

from __future__ import annotations

import datetime
import os
import pathlib
import re
import socket
from collections.abc import Iterator

import pydantic

from components.failures import ConfigurationFailure, DataGateStop
from components.messages import with_kind
from components.object_store import is_address
from components.redaction import redacted
from components.validation import faults_of
from operations.preparation import Prepared, Request
from pipeline import machine
from pipeline.datasets import AUTO, SAMPLE
from pipeline.datasets.dataset import DataSet
from pipeline.nodes import DATA_GATE, PUSHER
from pipeline.records import provenance, receipt
from pipeline.records.outcomes import NodeStatus, Status, Verdict
from pipeline.records.receipt import DataRecord, Failure, Receipt, escaped
from pipeline.records.results import (
    Executions,
    Task,
    completed,
    pushed_version,
    records,
    served_version,
)
from review import measuring

# Tells a scheduler which run it started.
ATTEMPT_VARIABLE = "IMAGE_PIPELINE_ATTEMPT"

# How the system, and SQLite, say that a disk is full.
_NO_ROOM = ("No space left on device", "Disk quota exceeded", "disk is full")

# Of a traceback: the class of an error, with its module unless it is one of Python's own.
_LAST_LINE = re.compile(
    r"(?P<kind>(?:[a-z_]\w*\.)+[A-Z]\w*|\w+(?:Error|Exception))(?:: (?P<text>.*))?"
)


def is_scheduled() -> bool:
    """Whether a schedule began this process, so that nobody is there to read a warning."""
    return ATTEMPT_VARIABLE in os.environ


def begun(
    run_id: str,
    sequence: int,
    began: datetime.datetime,
    prepared: Prepared,
    request: Request,
    input_digest: str,
) -> Receipt:
    """The receipt of a run that begins; until its end the run counts as interrupted."""
    return Receipt(
        run_id=run_id,
        sequence=sequence,
        pipeline=prepared.name,
        command=request.command,
        request=_request(request, prepared),
        attempt=os.environ.get(ATTEMPT_VARIABLE),
        input_digest=input_digest,
        host=socket.gethostname(),
        user=machine.user(),
        began=began.replace(microsecond=0),
        data=_data(prepared.data),
        config=prepared.config.model_dump(mode="json"),
        precision=prepared.precision,
        environment=provenance.environment(),
        served_before=_served(prepared),
        code=provenance.code(),
    )


def _data(data: DataSet) -> DataRecord:
    window = data.window
    return DataRecord(
        name=data.name,
        sha256=data.sha256s,
        schema_sha256=data.schema_sha256,
        spans=tuple(span.number for span in window.train) if window else (),
        reference_span=window.reference.number if window else None,
    )


def _request(request: Request, prepared: Prepared) -> receipt.Request:
    """The request with full paths and the data that was found, so that `resume` repeats it.

    It does so in any folder, and wherever data would be found by then.
    """
    key = "schema_file="
    data = prepared.data.name if request.data == AUTO else request.data
    folder = data != SAMPLE and not is_address(data)
    return receipt.Request(
        profile=request.profile,
        data=str(pathlib.Path(data).absolute()) if folder else data,
        runner=request.runner,
        assignments=tuple(
            key + prepared.config.schema_file if each.startswith(key) else each
            for each in request.assignments
        ),
        seed=request.seed,
        new_line=request.new_line,
    )


def ended(run: Receipt, nodes: Executions, error: BaseException | None) -> Receipt:
    """The receipt with how each node and the run as a whole ended.

    A run counts as completed only where ML Metadata says of each node that it ended well: an
    error that a runner swallowed is an error all the same.
    """
    run = run.changed(nodes=records(nodes), failure=None)
    ill = [name for name, node in nodes.items() if not node.ended_well]
    if isinstance(error, KeyboardInterrupt):
        return _interrupted(run)
    if error or ill or not nodes:
        ran = any(node.status != NodeStatus.NOT_RUN for node in nodes.values())
        return failed(run, error, _failed_node(nodes) if ran else None)
    return completed(run, nodes)


def failed(run: Receipt, error: BaseException | None, node: str | None = None) -> Receipt:
    """The receipt with a failure: of a node, or of the run outside its nodes."""
    message = _message(error) if error else "the node did not end well; the log says more"
    if any(words in message for words in _NO_ROOM):
        message += ". The disk is full: free some room for the results, then go on"
    # Stopped is what the gate decides; where it breaks, nothing was decided.
    stopped = isinstance(error, DataGateStop)
    changes = error.changes if isinstance(error, ConfigurationFailure) else ()
    failure = Failure(node=DATA_GATE if stopped else node, message=message, changes=changes)
    verdict = Verdict.STOPPED if stopped else Verdict.NONE
    return run.changed(status=Status.FAILED, verdict=verdict, failure=failure)


def failed_to_conclude(
    run: Receipt, error: BaseException | None, concluding: BaseException
) -> Receipt:
    """The receipt of a run whose results cannot be read; an earlier failure comes first.

    Args:
      run: its receipt, after `ended`.
      error: Error of the run itself, if any.
      concluding: Error of reading its results.
    """
    if isinstance(concluding, KeyboardInterrupt):
        return _interrupted(run)
    if error is None:
        return failed(run, concluding)
    if tells_of(run, concluding):
        return run
    return _also(run, f"Besides, its results cannot be read: {_message(concluding)}")


def tells_of(run: Receipt, error: BaseException) -> bool:
    """Whether the failure of a run already says what an error says."""
    return run.failure is not None and _message(error) in run.failure.message


def with_change_of_served(run: Receipt) -> Receipt:
    """The receipt; the failure, if any, also says that another version is served than before."""
    version, before = run.served_version, run.served_before
    if version in (None, before):
        return run
    if version == run.pushed_version:
        return _also(run, f"Version {version} was published by then, and is served")
    # Of this run or of another: nothing that can be read says whose it is.
    earlier = f"version {before}" if before else "none"
    return _also(run, f"Version {version} is served now, and {earlier} when the run began")


def _also(run: Receipt, sentence: str) -> Receipt:
    """The receipt with one more sentence in its failure, if it has one."""
    if run.failure is None:
        return run
    failure = run.failure
    message = f"{failure.message.rstrip('.')}. {sentence}"
    longer = Failure(node=failure.node, message=message, changes=failure.changes)
    return run.changed(failure=longer)


def ended_unfinished(run: Receipt, nodes: Executions) -> Receipt:
    """The receipt of a run that ended without saying how, as far as that is known.

    It was killed, or could not write its receipt: from outside, these look the same. So it counts
    as failed if one of its nodes did, and else as interrupted. Its measurements are not known;
    `resume` takes complete nodes from the cache and measures again.

    Args:
      run: Receipt from when the run began.
      nodes: Executions in ML Metadata; empty where it cannot be read.
    """
    run = run.changed(nodes=records(nodes))
    if PUSHER in nodes and nodes[PUSHER].ended_well:
        run = run.changed(pushed_version=pushed_version(nodes))
    ran = any(node.status != NodeStatus.NOT_RUN for node in nodes.values())
    node = _failed_node(nodes) if ran else None
    if node and nodes[node].status == NodeStatus.FAILED:
        message = "the node failed, and the run ended without its receipt; the log says more"
        return run.changed(status=Status.FAILED, failure=Failure(node=node, message=message))
    if ran and node is None:
        message = "every node is complete, but the run ended without its receipt"
    else:
        message = "the run was cut off: it ended without its receipt"
    return run.changed(failure=Failure(node=node, message=message))


def _interrupted(run: Receipt) -> Receipt:
    failure = Failure(node=None, message="the run was interrupted")
    return run.changed(status=Status.INTERRUPTED, verdict=Verdict.NONE, failure=failure)


def results(run: Receipt, nodes: Executions, prepared: Prepared) -> Iterator[Receipt]:
    """Adds what the run made and measured, as far as it got.

    Yields:
      The receipt after each addition, so that an error in one loses none before it.
    """
    task = Task(
        class_names=prepared.schema.class_names,
        slicings=prepared.config.gates.slicings(),
        serving=prepared.locations.serving,
    )
    return measuring.with_results(run, nodes, task)


def with_served(run: Receipt, prepared: Prepared) -> Receipt:
    """The receipt with the version that is served now."""
    return run.changed(served_version=_served(prepared))


def _served(prepared: Prepared) -> int | None:
    return served_version(prepared.locations.serving)


def _failed_node(nodes: Executions) -> str | None:
    failures = [name for name, node in nodes.items() if node.status == NodeStatus.FAILED]
    left = [name for name, node in nodes.items() if not node.ended_well]
    return next(iter(failures + left), None)


def _message(error: BaseException) -> str:
    """The message of an error, without the secrets of addresses in it."""
    return redacted(_line(error))


def _line(error: BaseException) -> str:
    """The message of an error; of one that Beam handed on as a traceback, its last line."""
    if isinstance(error, pydantic.ValidationError):
        return f"a result does not fit into the receipt ({faults_of(error)})"
    message = str(escaped(str(error)))
    if "Traceback (most recent call last)" not in message:
        return with_kind(type(error).__name__, message)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    line = lines[-1].partition(" [while running")[0]
    matched = _LAST_LINE.fullmatch(line)
    if matched is None:
        # A message of several lines ends with one of its own.
        return line
    return with_kind(matched["kind"].rpartition(".")[2], matched["text"] or "")
