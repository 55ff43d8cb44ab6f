"""Reads nodes and artifacts of a run from ML Metadata. Needs neither TensorFlow nor TFX."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ml_metadata import errors
from ml_metadata.metadata_store import ListOptions, OrderByField, metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.features import CODE_FINGERPRINT
from pipeline.database import binding
from pipeline.database.address import Address
from pipeline.errors import StoreError, StoreLockedError, StoreUnreachableError
from pipeline.locations import Locations
from pipeline.records import server_store, stores
from pipeline.records.executions import ArtifactRecord, NodeExecution
from pipeline.records.outcomes import NodeStatus
from pipeline.store_connection import Place, connection

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
# ML Metadata hands over 100 rows in a page.
_ROWS_AT_FIRST = 100
Row = TypeVar("Row", mlmd.Artifact, mlmd.Execution)
# These are about the call, not about the store.
_CALLERS_ERRORS = (errors.NotFoundError, errors.AlreadyExistsError, errors.InvalidArgumentError)
_LOCKED_MEANWHILE = (
    "{} was locked by another process; expected to write to it. End whatever holds it, and try "
    "again."
)


# In TFX's words, and in those of the client of ML Metadata.
_OF_SERVER = ("Metadata storage", "PostgreSQL")
_CUT = (
    "the connection of ML Metadata to the {} failed ({}), and now it answers: it may have been "
    "restarted; expected a connection that lasts. Try again."
)


class Store:
    """A store of ML Metadata that puts its faults into words.

    It has the methods of `metadata_store.MetadataStore`; each also raises StoreError and
    StoreLockedError.
    """

    def __init__(self, place: Place):
        self._place = place
        self._store = self._in_words(metadata_store.MetadataStore)(connection(place))

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
            # The second is what ML Metadata raises where it cannot even open the store.
            except (errors.StatusError, RuntimeError) as error:
                check_store(self._place, writing=False)
                shown = shown_place(self._place)
                if isinstance(self._place, Address):
                    raise StoreUnreachableError(_CUT.format(shown, error)) from error
                if isinstance(error, errors.AbortedError) or "Concurrent" in str(error):
                    raise StoreLockedError(_LOCKED_MEANWHILE.format(shown)) from error
                raise StoreError(f"{shown} cannot be used: {error}") from error

        return call


def place_of(locations: Locations) -> Place:
    """Where the metadata of a pipeline is.

    Raises:
      StoreError: where the file that names a database cannot be read.
    """
    bound = binding.read(locations)
    return bound.address if bound else locations.metadata


def find_store(locations: Locations) -> Store | None:
    """Opens the ML Metadata store of a pipeline; None where there is none.

    Raises:
      StoreError: where it is damaged, of another version, or not accessible.
      StoreLockedError: where another process has locked it, or its server does not answer.
    """
    place = place_of(locations)
    if not isinstance(place, Address) and not place.exists():
        return None
    return open_store(place)


def open_store(place: Place) -> Store:
    """Opens an ML Metadata store; makes one where there is none.

    Args:
      place: SQLite file, or database, which must exist.

    Raises:
      StoreError: where it is damaged, of another version, or not accessible.
      StoreLockedError: where another process has locked it, or its server does not answer.
    """
    if isinstance(place, Address):
        with server_store.ready(place):
            return Store(place)
    check_store(place, writing=False)
    return Store(place)


def check_store(place: Place, writing: bool) -> None:
    """Refuses a store that cannot be used, within seconds: ML Metadata itself may hang.

    Args:
      place: SQLite file, which need not exist, or database.
      writing: Whether a file has to be writable, too; a database always has.

    Raises:
      StoreError: where it is damaged, of another version, or not accessible.
      StoreLockedError: where another process has locked it, or its server does not answer.
    """
    if isinstance(place, Address):
        server_store.check(place)
        return
    fault = stores.find_fault(place, writing)
    if fault is None:
        return
    kind = StoreLockedError if fault.kind == "locked" else StoreError
    raise kind(fault.message)


def shown_place(place: Place) -> str:
    """The place of a store in words."""
    return f"the {place.shown}" if isinstance(place, Address) else str(place)


def executions_of_run(store: Store, pipeline: str, run_id: str) -> list[mlmd.Execution]:
    """The executions of a run; a run of another pipeline in the database may have the same id."""
    return [execution for _, execution in _nodes_of_run(store, pipeline, run_id)]


def _nodes_of_run(
    store: Store, pipeline: str, run_id: str
) -> Iterator[tuple[mlmd.Context, mlmd.Execution]]:
    """Yields the context of the node and the execution, for each execution of a run, oldest first.

    Raises:
      StoreError: where the store cannot be read.
    """
    context = store.get_context_by_type_and_name("pipeline_run", run_id)
    executions = store.get_executions_by_context(context.id) if context else []
    for execution in sorted(executions, key=lambda execution: execution.id):
        node = _node_context(store, execution)
        if node is not None and node.name.rpartition(".")[0] == pipeline:
            yield node, execution


def newest_first(read: Callable[[ListOptions | None], list[Row]]) -> Iterator[Row]:
    """Yields rows of ML Metadata by their ids, the highest first; at first reads the newest alone.

    Of thousands of runs, ML Metadata hands over executions in pages, each of which costs it time in
    proportion to all. A query for a few of them is no way out: ML Metadata for Python 3.12 and
    later has no `filter_query`.

    Args:
      read: Reads rows as the options say, for example those of a context; all without any.
    """
    newest = ListOptions(limit=_ROWS_AT_FIRST, order_by=OrderByField.ID, is_asc=False)
    rows = read(newest)
    yield from rows
    if len(rows) == _ROWS_AT_FIRST:
        # No option says where to begin, and without any ML Metadata hands over artifacts at once.
        last = rows[-1].id
        yield from sorted((row for row in read(None) if row.id < last), key=lambda row: -row.id)


@contextlib.contextmanager
def graph_in_words(place: Place) -> Iterator[None]:
    """Puts into words how a graph failed in the block because its database was gone.

    TFX has connections of its own, and says only that it has none.

    Raises:
      StoreUnreachableError: where the database does not answer, or did not then.
      StoreError: where it refuses what it took before.
    """
    try:
        yield
    except (errors.StatusError, RuntimeError) as error:
        if isinstance(place, Address) and _is_of_server(error):
            check_store(place, writing=True)
            raise StoreUnreachableError(_CUT.format(shown_place(place), error)) from error
        raise


def _is_of_server(error: Exception) -> bool:
    return isinstance(error, errors.StatusError) or any(word in str(error) for word in _OF_SERVER)


def read_nodes(
    store: Store, pipeline: str, run_id: str, node_ids: list[str]
) -> dict[str, NodeExecution]:
    """How each expected node of a run ended, by its id; a node without a trace is `not run`."""
    found = {}
    for context, execution in _nodes_of_run(store, pipeline, run_id):
        node = context.name.rpartition(".")[2]
        found[node] = _execution_of(store, execution)
        if execution.type.endswith(_RESOLVER_TYPE) and _resolved_as_before(
            store, context, execution
        ):
            found[node] = dataclasses.replace(found[node], status=NodeStatus.CACHED)
    return {node: found.get(node, NodeExecution(NodeStatus.NOT_RUN, 0.0, {})) for node in node_ids}


def close_interrupted(store: Store, pipeline: str) -> list[int]:
    """Marks executions that a killed run left as running; returns their ids.

    Only the holder of the pipeline's lock may call it, since it knows that nothing else runs. Each
    run calls it before its first node, so what is left is of the run before: among the newest.
    """
    context = store.get_context_by_type_and_name("pipeline", pipeline)
    if context is None:
        return []
    executions = newest_first(functools.partial(store.get_executions_by_context, context.id))
    newest = itertools.islice(executions, _ROWS_AT_FIRST)
    left = [one for one in newest if one.last_known_state == mlmd.Execution.RUNNING]
    for execution in left:
        execution.last_known_state = mlmd.Execution.CANCELED
    if left:
        store.put_executions(left)
    return [execution.id for execution in left]


def _resolved_as_before(store: Store, node: mlmd.Context, execution: mlmd.Execution) -> bool:
    """Whether a resolver chose the model that it chose in the run before.

    A resolver computes nothing, so TFX never caches it; it caches the nodes after it exactly if
    this holds. A new blessing of the same model changes nothing: no node reads it.
    """
    for other in newest_first(functools.partial(store.get_executions_by_context, node.id)):
        if other.id < execution.id and other.last_known_state == mlmd.Execution.COMPLETE:
            return _resolved_model(store, other) == _resolved_model(store, execution)
    return False


def _resolved_model(store: Store, execution: mlmd.Execution) -> set[int]:
    events = store.get_events_by_execution_ids([execution.id])
    return {
        event.artifact_id
        for event in events
        if event.type in _OUTPUT_EVENTS and event.path.steps[0].key == "model"
    }


def _node_context(store: Store, execution: mlmd.Execution) -> mlmd.Context | None:
    contexts = store.get_contexts_by_execution(execution.id)
    return next((context for context in contexts if context.type == "node"), None)


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
