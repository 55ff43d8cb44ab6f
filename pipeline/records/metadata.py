"""What happened: nodes, artifacts and receipts. Needs neither TensorFlow nor TFX."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import logging
import pathlib
import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ml_metadata import errors
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.errors import StoreError, StoreLockedError, UnknownRunError
from pipeline.locations import RECEIPT_FILE, write_whole
from pipeline.nodes import CODE_FINGERPRINT
from pipeline.records import stores

# Of receipts: those of another version are left out of lists.
SCHEMA_VERSION = 3

COMPLETE = "complete"
CACHED = "cached"
FAILED = "failed"
INTERRUPTED = "interrupted"
NOT_RUN = "not run"

_STATES = {
    mlmd.Execution.COMPLETE: COMPLETE,
    mlmd.Execution.CACHED: CACHED,
    mlmd.Execution.FAILED: FAILED,
    mlmd.Execution.CANCELED: INTERRUPTED,
    mlmd.Execution.RUNNING: INTERRUPTED,
    mlmd.Execution.NEW: INTERRUPTED,
}
_GOOD = (COMPLETE, CACHED)
_OUTPUT_EVENTS = (mlmd.Event.OUTPUT, mlmd.Event.INTERNAL_OUTPUT)
_RESOLVER_TYPE = "resolver.Resolver"
# They tell of what was asked, not of the store.
_CALLERS_ERRORS = (errors.NotFoundError, errors.AlreadyExistsError, errors.InvalidArgumentError)
_Kind = type | tuple[type, ...]
# What the values are by which receipts are told apart, ordered and listed.
_KEYS: dict[str, _Kind] = {
    **dict.fromkeys(("run_id", "pipeline", "began", "status", "verdict"), str),
    "sequence": int,
    "failure": (dict, type(None)),
}
# What else a receipt has, as far as commands go into it.
_PARTS: dict[str, _Kind] = {
    "gates": list,
    **dict.fromkeys(("request", "nodes", "data", "config", "code"), dict),
}
_UNREADABLE = (
    "cannot be read ({}); expected the receipt of a run. Put the file back from a copy, or remove "
    "the folder of the run"
)
_LOCKED_MEANWHILE = (
    "{} was locked by another process; expected to write to it. End whatever holds it, and try "
    "again."
)

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ArtifactRecord:
    """An artifact as ML Metadata has it.

    Attributes:
      id: in ML Metadata.
      uri: where it lies.
      properties: custom properties by name.
    """

    id: int
    uri: str
    properties: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class NodeRecord:
    """How a node of a run ended.

    Attributes:
      status: `complete`, `cached`, `failed`, `interrupted` or `not run`.
      seconds: from its start to its end.
      outputs: artifacts by output name.
      code_fingerprint: of the code that it ran; None where it has none or did not run.
    """

    status: str
    seconds: float
    outputs: dict[str, list[ArtifactRecord]]
    code_fingerprint: str | None = None

    @property
    def ended_well(self) -> bool:
        """Whether the node did what it is there for, now or before."""
        return self.status in _GOOD

    def output(self, key: str) -> ArtifactRecord | None:
        """The one artifact of an output, if there is one."""
        found = self.outputs.get(key, [])
        return found[0] if found else None


class Store:
    """A store of ML Metadata that tells of its faults in words.

    It has the methods of `metadata_store.MetadataStore`; each also raises StoreError and
    StoreLockedError.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._store = self._in_words(metadata_store.MetadataStore)(_connection(path))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A method of ML Metadata's own store."""
        return self._in_words(getattr(self._store, name))

    def _in_words(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return method(*arguments, **options)
            except _CALLERS_ERRORS:
                raise
            # The second is what ML Metadata raises where it cannot even open the file.
            except (errors.StatusError, RuntimeError) as error:
                check_store(self._path, writing=False)
                if isinstance(error, errors.AbortedError) or "Concurrent" in str(error):
                    raise StoreLockedError(_LOCKED_MEANWHILE.format(self._path)) from error
                raise StoreError(f"{self._path} cannot be used: {error}") from error

        return call


def open_store(path: pathlib.Path) -> Store:
    """Opens the ML Metadata store in an SQLite file; makes one where there is none.

    Raises:
      StoreError: where it is damaged, of another version, or not accessible.
      StoreLockedError: where another process has locked it.
    """
    check_store(path, writing=False)
    return Store(path)


def check_store(path: pathlib.Path, writing: bool) -> None:
    """Refuses a store that cannot be used, within seconds; without ML Metadata, which may hang.

    Args:
      path: its SQLite file; none is needed.
      writing: whether it has to be writable, too.

    Raises:
      StoreError: where it is damaged, of another version, or not accessible.
      StoreLockedError: where another process has locked it.
    """
    fault = stores.find_fault(path, writing)
    if fault is None:
        return
    kind = StoreLockedError if fault.kind == "locked" else StoreError
    raise kind(fault.message)


def _connection(path: pathlib.Path) -> mlmd.ConnectionConfig:
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    return config


def read_nodes(store: Store, run_id: str, node_ids: list[str]) -> dict[str, NodeRecord]:
    """How each expected node of a run ended, by node id; a node without trace is `not run`."""
    context = store.get_context_by_type_and_name("pipeline_run", run_id)
    executions = store.get_executions_by_context(context.id) if context else []
    found = {}
    for execution in sorted(executions, key=lambda execution: execution.id):
        node = _node_id(store, execution)
        found[node] = _node_record(store, execution)
        if execution.type.endswith(_RESOLVER_TYPE) and _resolved_as_before(store, execution):
            found[node] = dataclasses.replace(found[node], status=CACHED)
    return {node: found.get(node, NodeRecord(NOT_RUN, 0.0, {})) for node in node_ids}


def close_interrupted(store: Store) -> list[int]:
    """Marks executions that a killed run left as running; returns their ids.

    To be called by the holder of the pipeline's lock alone, who knows that nothing else runs.
    """
    left = [e for e in store.get_executions() if e.last_known_state == mlmd.Execution.RUNNING]
    for execution in left:
        execution.last_known_state = mlmd.Execution.CANCELED
    if left:
        store.put_executions(left)
    return [execution.id for execution in left]


def _resolved_as_before(store: Store, execution: mlmd.Execution) -> bool:
    """Whether a resolver chose the model that it chose in the run before.

    A resolver computes nothing and so is never cached in TFX's sense; what follows it is, exactly
    where this holds. A new blessing of the same model changes nothing: nobody reads it.
    """
    earlier = [
        other
        for other in store.get_executions_by_type(execution.type)
        if other.id < execution.id and other.last_known_state == mlmd.Execution.COMPLETE
    ]
    if not earlier:
        return False
    before = max(earlier, key=lambda other: other.id)
    return _resolved_model(store, before) == _resolved_model(store, execution)


def _resolved_model(store: Store, execution: mlmd.Execution) -> set[int]:
    events = store.get_events_by_execution_ids([execution.id])
    return {
        event.artifact_id
        for event in events
        if event.type in _OUTPUT_EVENTS and event.path.steps[0].key == "model"
    }


def _node_id(store: Store, execution: mlmd.Execution) -> str:
    names = [c.name for c in store.get_contexts_by_execution(execution.id) if c.type == "node"]
    return names[0].rpartition(".")[2] if names else ""


def _node_record(store: Store, execution: mlmd.Execution) -> NodeRecord:
    milliseconds = execution.last_update_time_since_epoch - execution.create_time_since_epoch
    outputs: dict[str, list[ArtifactRecord]] = {}
    events = store.get_events_by_execution_ids([execution.id])
    for event in events:
        if event.type in _OUTPUT_EVENTS:
            (artifact,) = store.get_artifacts_by_id([event.artifact_id])
            outputs.setdefault(event.path.steps[0].key, []).append(_artifact_record(artifact))
    status = _STATES.get(execution.last_known_state, FAILED)
    fingerprint = _properties(execution).get(CODE_FINGERPRINT)
    return NodeRecord(status, milliseconds / 1000, outputs, fingerprint)


def _artifact_record(artifact: mlmd.Artifact) -> ArtifactRecord:
    return ArtifactRecord(artifact.id, artifact.uri, _properties(artifact))


def _properties(of: mlmd.Artifact | mlmd.Execution) -> dict[str, Any]:
    return {
        name: getattr(value, value.WhichOneof("value"))
        for name, value in of.custom_properties.items()
        if value.WhichOneof("value")
    }


def command_again(receipt: dict[str, Any]) -> str:
    """The command of a run, once more: what is complete of it is taken from the cache."""
    return shlex.join(_words_again(receipt))


def changed_command(receipt: dict[str, Any]) -> str | None:
    """The command of a run that would only fail again as it was, changed so that it need not.

    None where the same may be run again.
    """
    changes = receipt["failure"]["changes"] if receipt["failure"] else []
    if not changes:
        return None
    flags = [word for change in changes for word in ("--set", change)]
    return shlex.join([*_words_again(receipt), *flags])


def _words_again(receipt: dict[str, Any]) -> list[str]:
    return [word for word in shlex.split(receipt["command"]) if word != "--no-cache"]


def write_receipt(folder: pathlib.Path, receipt: dict[str, Any]) -> None:
    """Writes the receipt of a run into its folder, whole or not at all."""
    write_whole(folder / RECEIPT_FILE, json.dumps(receipt, indent=1) + "\n")


def read_receipts(output_dir: pathlib.Path) -> list[dict[str, Any]]:
    """The receipts of all runs of all pipelines below the output folder, oldest first.

    One that cannot be read, or is of another version, is left out, and a line in the log says so:
    it must not keep all other runs from sight, nor the next one from running.
    """
    return in_order(_sound(_receipts(output_dir)))


def in_order(receipts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """These receipts in the order in which their runs began, whatever the clock said then."""
    # Two pipelines may have begun a run at once.
    return sorted(receipts, key=lambda receipt: (receipt["sequence"], receipt["run_id"]))


def next_sequence(output_dir: pathlib.Path) -> int:
    """The sequence number of a run that begins now; for the holder of the pipeline's lock.

    Receipts of other versions count, too: the project that knows them lists both.
    """
    numbers = (receipt.get("sequence") for _, receipt in _receipts(output_dir))
    return 1 + max((number for number in numbers if isinstance(number, int)), default=0)


def is_unfinished(receipt: dict[str, Any]) -> bool:
    """Whether a run is at work, or was cut off so that it could not say how it ended."""
    return receipt["status"] == INTERRUPTED and receipt["failure"] is None


def _receipts(output_dir: pathlib.Path) -> Iterator[tuple[pathlib.Path, dict[str, Any]]]:
    """All that can be read, of whatever version, with their files."""
    for path in output_dir.glob(f"*/runs/*/{RECEIPT_FILE}"):
        try:
            receipt = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            _tell_left_out(path, _UNREADABLE.format(f"{type(error).__name__}: {error}"))
            continue
        if isinstance(receipt, dict):
            yield path, receipt
        else:
            _tell_left_out(path, _UNREADABLE.format("it is of another form"))


def _sound(
    receipts: Iterable[tuple[pathlib.Path, dict[str, Any]]],
) -> Iterator[dict[str, Any]]:
    for path, receipt in receipts:
        fault = _fault_of(receipt) or _misplaced(path, receipt)
        if fault:
            _tell_left_out(path, fault)
        else:
            yield receipt


def _fault_of(receipt: dict[str, Any]) -> str | None:
    """Why a receipt is left out, in words; None where it is not."""
    version = receipt.get("schema_version")
    if not isinstance(version, int):
        return _UNREADABLE.format("it does not say its version")
    if version > SCHEMA_VERSION:
        return (
            f"has version {version}, of a later project; this one knows version {SCHEMA_VERSION}. "
            "Update the project"
        )
    if version < SCHEMA_VERSION:
        return (
            f"has version {version}, of an earlier project; expected version {SCHEMA_VERSION}. "
            "Its page can still be opened. To be rid of this line, remove the folder of the run"
        )
    missing = [key for key in _KEYS if key not in receipt]
    if missing:
        return _UNREADABLE.format(f"it lacks {', '.join(missing)}")
    kinds = {**_KEYS, **_PARTS}
    wrong = [key for key in kinds if key in receipt and not isinstance(receipt[key], kinds[key])]
    if not wrong and not _is_moment(receipt["began"]):
        wrong = ["began"]
    return _UNREADABLE.format(f"{', '.join(wrong)} is not of its form") if wrong else None


def _misplaced(path: pathlib.Path, receipt: dict[str, Any]) -> str | None:
    """Why a receipt is not taken for that of the run in whose folder it lies, in words."""
    own = f"{receipt['pipeline']}/runs/{receipt['run_id']}"
    if path.parts[-4:-1] == tuple(own.split("/")):
        return None
    return _UNREADABLE.format(f"it is that of {own}, of which this folder is a copy")


def _is_moment(text: str) -> bool:
    try:
        return datetime.datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


@functools.cache
def _tell_left_out(path: pathlib.Path, fault: str) -> None:
    # Once: some commands read the receipts several times.
    logger.warning("%s %s. The run is left out.", path, fault)


def find_receipt(output_dir: pathlib.Path, run: str) -> dict[str, Any]:
    """The receipt of a run by its id, by the start of its id, or of the `latest`.

    Raises:
      UnknownRunError: where no run, or more than one, fits.
    """
    receipts = read_receipts(output_dir)
    fitting = [r for r in receipts if r["run_id"].startswith(run)]
    if run == "latest":
        fitting = receipts[-1:]
    if len(fitting) == 1:
        return fitting[0]
    exact = [r for r in fitting if r["run_id"] == run]
    if exact:
        return exact[0]
    raise UnknownRunError(
        f"{len(fitting)} runs below {output_dir} fit {run!r}; expected the id of one run, or "
        "latest. `runs` lists them."
    )
