"""Finds where a model comes from and what became of it, in receipts and ML Metadata."""

from __future__ import annotations

import dataclasses
import enum
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import JsonValue

from components.pusher import rollbacks, versions
from components.pusher.rollbacks import Rollback
from components.pusher.served import MODEL_FILE
from operations import rollback
from pipeline import config, paths
from pipeline.errors import ConfigurationError, UnknownRunError
from pipeline.locations import Locations
from pipeline.nodes import TRAINER
from pipeline.records import history, metadata
from pipeline.records.executions import NodeExecution
from pipeline.records.outcomes import NodeStatus
from pipeline.records.receipt import Receipt

# A longer number is no version.
_MOST_DIGITS = 20
# The profile is the origin of the defaults. Where the checkout lay changes nothing: the receipt
# has the digest of the schema.
_NO_CHANGES = ("profile", "schema_file")


class Content(enum.StrEnum):
    """Whether the files of a version are those that were pushed."""

    AS_PUSHED = "as it was pushed"
    CHANGED = "changed since it was pushed"
    REMOVED = "removed"


@dataclasses.dataclass(frozen=True)
class Change:
    """A value of the configuration that is not the profile's own.

    Attributes:
      value: Value of the run.
      default: Value of the profile; None where the profile is gone or has no such key.
    """

    value: JsonValue
    default: JsonValue


@dataclasses.dataclass(frozen=True)
class Artifact:
    """An output of a node.

    Attributes:
      digest: SHA-256 of what it holds; None where the receipt has none.
      path: Its path; None where ML Metadata does not know it.
      there: Whether it still exists.
    """

    digest: str | None
    path: str | None
    there: bool


@dataclasses.dataclass(frozen=True)
class Lineage:
    """The origin of a model, and what became of it.

    Attributes:
      pipeline: Name of its pipeline.
      version: Version under which it was served; None where it never was.
      export_digest: SHA-256 of its export; None where the export is gone and no receipt has it.
      path: Folder of the version; None without a version.
      content: State of the files in that folder; None without a version.
      served_version: Version that is served now; None where nothing is.
      rollbacks: Rollbacks from, to or into the version, oldest first.
      trained_by: Id of the run that trained it; None where that is not known.
      pushed_by: Id of the run that pushed it; None where none did, or that is not known.
      reused_by: Ids of later runs that made the same model and found it served.
      run: Receipt of the run that pushed it, else of the first that made it; None without a
        receipt.
      config_changes: Changes of the run's configuration by dotted key.
      artifacts: Artifacts of the run by node and output.
    """

    pipeline: str
    version: int | None
    export_digest: str | None
    path: pathlib.Path | None
    content: Content | None
    served_version: int | None
    rollbacks: tuple[Rollback, ...]
    trained_by: str | None
    pushed_by: str | None
    reused_by: tuple[str, ...]
    run: Receipt | None
    config_changes: dict[str, Change]
    artifacts: dict[str, dict[str, Artifact]]

    @property
    def is_served(self) -> bool:
        """Whether the version is the one that is served now."""
        return self.version is not None and self.version == self.served_version


@dataclasses.dataclass(frozen=True)
class _Records:
    """The records of a pipeline, each oldest first."""

    locations: Locations
    receipts: Sequence[Receipt]
    rollbacks: Sequence[Rollback]

    def versions(self) -> set[int]:
        """All versions that were ever served."""
        pushed = {run.pushed_version for run in self.receipts if run.pushed_version}
        published = {done.new_version for done in self.rollbacks}
        return pushed | published | set(versions.served_versions(self.locations.serving))

    def runs_of(self, version: int | None) -> list[Receipt]:
        """The run that pushed the content of a version, then those that found it served."""
        pushed = rollbacks.origin(version, self.rollbacks) if version else None
        return [run for run in self.receipts if version and run.pushed_version == pushed]

    def runs_with(self, digest: str | None) -> list[Receipt]:
        """The runs that made an export of this digest."""
        return [run for run in self.receipts if digest and run.export_digest == digest]


def lineage(subject: str, pipeline: str | None, output_dir: pathlib.Path) -> Lineage:
    """Finds where a version, or the model in a folder, comes from.

    Args:
      subject: Number of a version, or path to an export or into one.
      pipeline: Name of its pipeline; None looks in all of them.
      output_dir: Folder of all pipelines.

    Raises:
      UnknownRunError: where no record knows the model.
    """
    named = [history.find_pipeline(output_dir, pipeline)] if pipeline else None
    places = named or history.pipelines(output_dir)
    if subject.isascii() and subject.isdigit() and len(subject) <= _MOST_DIGITS:
        return _of_version(int(subject), places, output_dir)
    export = _export_of(pathlib.Path(subject))
    # The folder may lie below another output folder, and a serving folder may be a link.
    for locations in (Locations(export.parent.parent), *places):
        if str(export.parent) != os.path.realpath(locations.serving):
            continue
        if export.name in map(str, versions.served_versions(locations.serving)):
            return _of_version(int(export.name), [locations], locations.root.parent)
    return _of_content(export, places, output_dir)


def _export_of(path: pathlib.Path) -> pathlib.Path:
    """The folder of the model that a path lies in."""
    resolved = paths.resolved(path, "lineage")
    for folder in (resolved, *resolved.parents):
        if resolved.exists() and (folder / MODEL_FILE).is_file():
            return folder
    raise UnknownRunError(
        f"{path} is neither the number of a version nor a path in a model; expected one such as "
        f"1763866000 or outputs/fashion-mnist/serving/1763866000/{MODEL_FILE}."
    )


def _of_version(version: int, places: Iterable[Locations], output_dir: pathlib.Path) -> Lineage:
    known: set[int] = set()
    for records in map(_read, places):
        if version in records.versions():
            return _of_known_version(records, version)
        known |= records.versions()
    raise rollback.unknown_version(version, sorted(known), output_dir)


def _read(locations: Locations) -> _Records:
    return _Records(
        locations, history.receipts_of(locations), rollbacks.recorded(locations.serving)
    )


def _of_known_version(records: _Records, version: int) -> Lineage:
    run = next(iter(records.runs_of(version)), None)
    digest = run.export_digest if run else None
    folder = records.locations.serving / str(version)
    if digest is None and folder.is_dir():
        # Somebody put it there, or its run ended without a complete receipt.
        digest = versions.content_digest(folder)
        run = run or next(iter(records.runs_with(digest)), None)
    return _lineage(records, version, digest, run)


def _of_content(
    export: pathlib.Path, places: Iterable[Locations], output_dir: pathlib.Path
) -> Lineage:
    digest = versions.content_digest(export)
    for records in map(_read, places):
        if same := records.runs_with(digest):
            run = next((run for run in same if run.pushed_version), same[0])
            return _lineage(records, run.pushed_version, digest, run)
    raise UnknownRunError(
        f"no run below {output_dir} made the model in {export}; expected a model that one of these "
        "runs exported. Try another --output-dir; a model with a changed file is not recognised."
    )


def _lineage(
    records: _Records, version: int | None, digest: str | None, run: Receipt | None
) -> Lineage:
    locations = records.locations
    folder = locations.serving / str(version) if version else None
    pushes = [each.run_id for each in records.runs_of(version)]
    return Lineage(
        pipeline=locations.root.name,
        version=version,
        export_digest=digest,
        path=folder,
        content=_content(folder, digest) if folder else None,
        served_version=max(versions.served_versions(locations.serving), default=None),
        rollbacks=tuple(
            done
            for done in records.rollbacks
            if version in (done.rolled_back_from, done.rolled_back_to, done.new_version)
        ),
        trained_by=_training_run(records.runs_with(digest)),
        pushed_by=next(iter(pushes), None),
        reused_by=tuple(pushes[1:]),
        run=run,
        config_changes=_config_changes(run) if run else {},
        artifacts=_artifacts(locations, run) if run else {},
    )


def _content(folder: pathlib.Path, digest: str | None) -> Content:
    if not folder.is_dir():
        return Content.REMOVED
    return Content.AS_PUSHED if versions.content_digest(folder) == digest else Content.CHANGED


def _training_run(runs: Iterable[Receipt]) -> str | None:
    """The first of these runs whose Trainer did not take the model from the cache."""
    for run in runs:
        if TRAINER in run.nodes and run.nodes[TRAINER].status == NodeStatus.COMPLETE:
            return run.run_id
    return None


def _config_changes(run: Receipt) -> dict[str, Change]:
    """The values of a run that are not the profile's own; all of them where the profile is gone."""
    try:
        profile = config.load_config(run.profile, sample=run.data.is_sample).model_dump(mode="json")
    except ConfigurationError:
        profile = {}
    return {
        key: change
        for key, change in _differences(run.config, profile, "")
        if key not in _NO_CHANGES
    }


def _differences(
    values: Mapping[str, JsonValue], defaults: Mapping[str, JsonValue], prefix: str
) -> Iterator[tuple[str, Change]]:
    """The values that are not the default, by dotted key."""
    for name, value in values.items():
        default = defaults.get(name)
        if isinstance(value, dict):
            section = default if isinstance(default, dict) else {}
            yield from _differences(value, section, f"{prefix}{name}.")
        elif value != default:
            yield f"{prefix}{name}", Change(value, default)


def _artifacts(locations: Locations, run: Receipt) -> dict[str, dict[str, Artifact]]:
    """The artifacts of a run by node and output."""
    nodes: dict[str, NodeExecution] = {}
    if store := metadata.find_store(locations):
        nodes = metadata.read_nodes(store, run.pipeline, run.run_id, list(run.nodes))
    return {name: _artifacts_of(name, nodes.get(name), run.digests) for name in run.nodes}


def _artifacts_of(
    name: str, node: NodeExecution | None, digests: Mapping[str, str]
) -> dict[str, Artifact]:
    """The artifacts of a node by output, from the receipt and from ML Metadata."""
    places = {key: artifacts[0].uri for key, artifacts in node.outputs.items()} if node else {}
    prefix = f"{name}."
    known = {
        artifact.removeprefix(prefix): digest
        for artifact, digest in digests.items()
        if artifact.startswith(prefix)
    }
    return {
        key: Artifact(
            digest=known.get(key),
            path=places.get(key),
            there=key in places and pathlib.Path(places[key]).exists(),
        )
        for key in {**known, **places}
    }
