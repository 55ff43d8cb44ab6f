"""Which artifacts of a pipeline are still needed, and why; `clean` may remove the others."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.locations import Locations
from pipeline.records import baseline, metadata

_STAYING_RUNS = "artifacts of kept runs"
_PUSHED = "records of the pushes of served versions"
_COMPARED = "the model to compare with"
_ELSEWHERE = "artifacts in other folders"


class Artifacts:
    """The artifacts of a pipeline that were not removed, and why some of them must stay.

    Their folders tell them apart, not their ids: a folder may be registered several times. It may
    also have moved since, with all results, and a link may lead to it from its old place.

    Attributes:
      outdated: Artifacts that nothing needs.
    """

    def __init__(self, locations: Locations, staying: list[str], served: list[int]):
        self._root = locations.artifacts
        # By the end of the path, which stays as it is where the whole output folder moves.
        self._folders = {path.parts[-3:]: path for path in sorted(self._root.glob("*/*/*"))}
        self._live: list[mlmd.Artifact] = []
        self._needed: dict[pathlib.Path, str] = {}
        name, store = locations.root.name, metadata.find_store(locations)
        if store:
            self._live = _live(store, name)
            self._need(_of_runs(store, name, staying), _STAYING_RUNS)
            self._need(_compared_with(store, name), _COMPARED)
        self._need(_pushes(self._live, served), _PUSHED)
        self._need((a.uri for a in self._live if self._is_elsewhere(a.uri)), _ELSEWHERE)
        self.outdated = [a for a in self._live if self._place(a.uri) not in self._needed]

    def removed(self) -> dict[str, list[pathlib.Path]]:
        """The folders of outdated artifacts, by the node that made them."""
        folders: dict[str, list[pathlib.Path]] = {}
        for path in _existing(self._place(artifact.uri) for artifact in self.outdated):
            node = path.relative_to(self._root).parts[0]
            folders.setdefault(f"artifacts of {node}", []).append(path)
        return dict(sorted(folders.items()))

    def kept(self) -> dict[str, list[pathlib.Path]]:
        """The folders of all other artifacts, by the reason why they stay."""
        return {
            reason: _existing(path for path, why in self._needed.items() if why == reason)
            for reason in dict.fromkeys(self._needed.values())
        }

    def unknown(self) -> list[pathlib.Path]:
        """Output folders that ML Metadata does not know, or knows as deleted."""
        # Also where an artifact is still in its old place: this may be a copy of the output folder.
        known = {pathlib.Path(artifact.uri).parts[-3:] for artifact in self._live}
        return [
            path
            for end, path in self._folders.items()
            if (path.name.isdigit() or end[0] == baseline.SERVED_FOLDER)
            and end not in known
            and path not in self._needed
        ]

    def _place(self, uri: str) -> pathlib.Path:
        """Where an artifact is now: here, unless another folder is still in its old place."""
        path = pathlib.Path(uri)
        here = self._folders.get(path.parts[-3:])
        if here is None or here == path:
            return path
        return here if _file(path) in (None, _file(here)) else path

    def _is_elsewhere(self, uri: str) -> bool:
        return not self._place(uri).is_relative_to(self._root)

    def _need(self, uris: Iterable[str], reason: str) -> None:
        for uri in uris:
            self._needed.setdefault(self._place(uri), reason)


def _existing(paths: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    return [path for path in dict.fromkeys(paths) if path.exists()]


def _file(path: pathlib.Path) -> tuple[int, int] | None:
    """What tells a file or folder from all others, by whatever path; None where it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _live(store: metadata.Store, pipeline: str) -> list[mlmd.Artifact]:
    context = store.get_context_by_type_and_name("pipeline", pipeline)
    artifacts = store.get_artifacts_by_context(context.id) if context else []
    return [artifact for artifact in artifacts if artifact.state == mlmd.Artifact.LIVE]


def _of_runs(store: metadata.Store, pipeline: str, run_ids: list[str]) -> list[str]:
    """All inputs and outputs of these runs: what their cache entries need."""
    executions = [
        execution.id
        for run in run_ids
        for execution in metadata.executions_of_run(store, pipeline, run)
    ]
    events = store.get_events_by_execution_ids(executions) if executions else []
    artifacts = store.get_artifacts_by_id(sorted({event.artifact_id for event in events}))
    return [artifact.uri for artifact in artifacts]


def _compared_with(store: metadata.Store, pipeline: str) -> list[str]:
    """The model that the next run will be compared with, and its blessings."""
    context = store.get_context_by_type_and_name("pipeline", pipeline)
    if context is None:
        return []
    latest = baseline.latest_blessed(store, context.id)
    return [artifact.uri for artifact in [latest.model, *latest.blessings]] if latest else []


def _pushes(live: list[mlmd.Artifact], served: list[int]) -> list[str]:
    """The artifacts that record the pushes of these versions."""
    names = {str(version) for version in served}
    noted = ((a.uri, a.custom_properties.get("pushed_version")) for a in live)
    return [uri for uri, value in noted if value and value.string_value in names]
