"""Reads nodes and artifacts of a run from ML Metadata. Needs neither TensorFlow nor TFX."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

from ml_metadata import errors
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.errors import StoreError, StoreLockedError
from pipeline.nodes import CODE_FINGERPRINT
from pipeline.records import stores
from pipeline.records.executions import ArtifactRecord, NodeExecution
from pipeline.records.outcomes import NodeStatus

_STATES = {
    mlmd.Execution.COMPLETE: NodeStatus.COMPLETE,
    mlmd.Execution.CACHED: NodeStatus.CACHED,
    mlmd.Execution.FAILED: NodeStatus.FAILED,
    mlmd.Execution.CANCELED: NodeStatus.INTERRUPTED,
    mlmd.Execution.RUNNING: NodeStatus.INTERRUPTED,
    mlmd.Execution.NEW: NodeStatus.INTERRUPTED,
}
_OUTPUT_EVENTS = (mlmd.Event.OUTPUT, mlmd.Event.INTERNAL_OUTPUT)
_RESOLVER_TYPE = "resolver.Resolver"
# These are about the call, not about the store.
_CALLERS_ERRORS = (errors.NotFoundError, errors.AlreadyExistsError, errors.InvalidArgumentError)
_LOCKED_MEANWHILE = (
    "{} was locked by another process; expected to write to it. End whatever holds it, and try "
    "again."
)


class Store:
    """A store of ML Metadata that puts its faults into words.

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
    """Refuses a store that cannot be used, within seconds: ML Metadata itself may hang.

    Args:
      path: SQLite file of the store, which need not exist.
      writing: Whether the store has to be writable, too.

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


def read_nodes(store: Store, run_id: str, node_ids: list[str]) -> dict[str, NodeExecution]:
    """How each expected node of a run ended, by its id; a node without a trace is `not run`."""
    context = store.get_context_by_type_and_name("pipeline_run", run_id)
    executions = store.get_executions_by_context(context.id) if context else []
    found = {}
    for execution in sorted(executions, key=lambda execution: execution.id):
        node = _node_id(store, execution)
        found[node] = _execution_of(store, execution)
        if execution.type.endswith(_RESOLVER_TYPE) and _resolved_as_before(store, execution):
            found[node] = dataclasses.replace(found[node], status=NodeStatus.CACHED)
    return {node: found.get(node, NodeExecution(NodeStatus.NOT_RUN, 0.0, {})) for node in node_ids}


def close_interrupted(store: Store) -> list[int]:
    """Marks executions that a killed run left as running; returns their ids.

    Only the holder of the pipeline's lock may call it, since it knows that nothing else runs.
    """
    left = [e for e in store.get_executions() if e.last_known_state == mlmd.Execution.RUNNING]
    for execution in left:
        execution.last_known_state = mlmd.Execution.CANCELED
    if left:
        store.put_executions(left)
    return [execution.id for execution in left]


def _resolved_as_before(store: Store, execution: mlmd.Execution) -> bool:
    """Whether a resolver chose the model that it chose in the run before.

    A resolver computes nothing, so TFX never caches it; it caches the nodes after it exactly if
    this holds. A new blessing of the same model changes nothing: no node reads it.
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


def _execution_of(store: Store, execution: mlmd.Execution) -> NodeExecution:
    span = execution.last_update_time_since_epoch - execution.create_time_since_epoch
    # The clock may be set back while a node runs.
    milliseconds = max(0, span)
    outputs: dict[str, list[ArtifactRecord]] = {}
    events = store.get_events_by_execution_ids([execution.id])
    for event in events:
        if event.type in _OUTPUT_EVENTS:
            (artifact,) = store.get_artifacts_by_id([event.artifact_id])
            outputs.setdefault(event.path.steps[0].key, []).append(_artifact_record(artifact))
    status = _STATES.get(execution.last_known_state, NodeStatus.FAILED)
    fingerprint = _properties(execution).get(CODE_FINGERPRINT)
    return NodeExecution(
        status, milliseconds / 1000, outputs, str(fingerprint) if fingerprint else None
    )


def _artifact_record(artifact: mlmd.Artifact) -> ArtifactRecord:
    return ArtifactRecord(artifact.id, artifact.uri, _properties(artifact))


def _properties(of: mlmd.Artifact | mlmd.Execution) -> dict[str, str | int | float]:
    return {
        name: getattr(value, value.WhichOneof("value"))
        for name, value in of.custom_properties.items()
        if value.WhichOneof("value")
    }
