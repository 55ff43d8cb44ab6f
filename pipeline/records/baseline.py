"""Makes the served version the latest blessed model in ML Metadata.

TFX's resolver takes the blessed model with the highest id. That is another one than the served
model after runs of A, B and A again (the third reuses the first model), after a push that failed,
after a rollback, or where ML Metadata is newer or older than the served folder. The served model
is then registered again, as a new model with a new blessing.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import shutil
from collections.abc import Iterable, Iterator

from ml_metadata import errors
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components import features
from components.pusher import versions
from components.pusher.served import ServedModel
from pipeline.contexts import BASELINE_OF_RUN, name_of
from pipeline.database.address import Address
from pipeline.errors import BaselineError
from pipeline.locations import Locations
from pipeline.records import metadata, served_version

_BLESSED, _MODEL_ID = "blessed", "current_model_id"
# As TFX registers them.
_ARTIFACT_TYPES = {
    "Model": mlmd.ArtifactType(name="Model", base_type=mlmd.ArtifactType.MODEL),
    "ModelBlessing": mlmd.ArtifactType(name="ModelBlessing"),
}
_PIPELINE = "pipeline"
# Folder below the artifacts for served models whose own artifact is gone.
SERVED_FOLDER = "ServedModel"


@dataclasses.dataclass(frozen=True)
class BlessedModel:
    """A model that was not removed, with its blessings.

    Attributes:
      model: The model.
      blessings: Its blessings that were not removed or taken back, the newest first.
    """

    model: mlmd.Artifact
    blessings: list[mlmd.Artifact]


def register_served(store: metadata.Store, pipeline_name: str, locations: Locations) -> str | None:
    """Registers the served model where the resolver would take another one.

    Args:
      store: ML Metadata of the pipeline; it may be empty.
      pipeline_name: Name of the pipeline.
      locations: Places of the pipeline.

    Returns:
      A line for the log if anything was changed.

    Raises:
      ServedModelError: where the served model cannot be read.
      BaselineError: where the resolver would still take another one.
    """
    served = served_version.read(locations)
    if served is None:
        return take_back_blessings(store, pipeline_name)
    context = _context(store, _PIPELINE, pipeline_name)
    uri = _model_folder(store, context.id, locations, served)
    latest = latest_blessed(store, context.id)
    if latest is not None and latest.model.uri == uri:
        return None
    _register(store, context, uri, served.version)
    _check(latest_blessed(store, context.id), served, locations)
    return f"registered served version {served.version} as the model to compare with"


def offer(store: metadata.Store, pipeline_name: str, run_id: str) -> None:
    """Leaves the resolver of a run the latest blessed model alone; nothing where there is none.

    Args:
      store: ML Metadata of the pipeline; it may be empty.
      pipeline_name: Name of the pipeline.
      run_id: Id of the run.
    """
    context = store.get_context_by_type_and_name(_PIPELINE, pipeline_name)
    latest = latest_blessed(store, context.id) if context else None
    if latest is None:
        return
    offered = _context(store, BASELINE_OF_RUN, name_of(pipeline_name, run_id))
    makers = {_maker(store, artifact) for artifact in (latest.model, latest.blessings[0])}
    links = [mlmd.Association(execution_id=maker, context_id=offered.id) for maker in makers]
    store.put_attributions_and_associations([], links)


def _maker(store: metadata.Store, artifact: mlmd.Artifact) -> int:
    """The first execution that has an artifact as its output."""
    events = store.get_events_by_artifact_ids([artifact.id])
    return int(min(event.execution_id for event in events if event.type == mlmd.Event.OUTPUT))


def take_back_blessings(store: metadata.Store, pipeline_name: str) -> str | None:
    """Leaves the resolver no model: nothing is served, or a new line of models begins.

    Args:
      store: ML Metadata of the pipeline.
      pipeline_name: Name of the pipeline.

    Returns:
      A line for the log if anything was changed.
    """
    context = store.get_context_by_type_and_name(_PIPELINE, pipeline_name)
    blessings = [a for a in _live(store, context.id) if _is_blessing(a)] if context else []
    for blessing in blessings:
        blessing.state = mlmd.Artifact.ABANDONED
    if not blessings:
        return None
    store.put_artifacts(blessings)
    return "there is no model to compare with: earlier blessings no longer count"


def latest_blessed(store: metadata.Store, context_id: int) -> BlessedModel | None:
    """The model that TFX's resolver takes: the blessed one with the highest id.

    Args:
      store: ML Metadata of the pipeline.
      context_id: Id of the pipeline's context.
    """
    blessings: dict[int, list[mlmd.Artifact]] = {}
    # What blesses a model is made after it, so it has a higher id.
    for artifact in _live(store, context_id):
        if _is_blessing(artifact):
            model_id = artifact.custom_properties[_MODEL_ID].int_value
            blessings.setdefault(model_id, []).append(artifact)
        elif artifact.type == "Model" and artifact.id in blessings:
            return BlessedModel(artifact, blessings[artifact.id])
    return None


def _is_blessing(artifact: mlmd.Artifact) -> bool:
    blessed: int = artifact.custom_properties[_BLESSED].int_value
    return artifact.type == "ModelBlessing" and blessed == 1


def _live(store: metadata.Store, context_id: int) -> Iterator[mlmd.Artifact]:
    """Yields the artifacts of a context that were not removed or taken back, the newest first."""
    read = functools.partial(store.get_artifacts_by_context, context_id)
    return (a for a in metadata.newest_first(read) if a.state == mlmd.Artifact.LIVE)


def with_exports(folders: Iterable[pathlib.Path]) -> Iterator[tuple[str, pathlib.Path]]:
    """Yields the digest of the export and the folder, for each model folder that has an export."""
    for folder in folders:
        if (folder / features.EXPORT_FOLDER).is_dir():
            yield versions.content_digest(folder / features.EXPORT_FOLDER), folder


def _context(store: metadata.Store, kind: str, name: str) -> mlmd.Context:
    """The context of a type and a name, which is made where there is none."""
    known = store.get_context_by_type_and_name(kind, name)
    if known is not None:
        return known
    type_id = store.put_context_type(mlmd.ContextType(name=kind))
    (context_id,) = store.put_contexts([mlmd.Context(type_id=type_id, name=name)])
    (context,) = store.get_contexts_by_id([context_id])
    return context


def _model_folder(
    store: metadata.Store, context_id: int, locations: Locations, served: ServedModel
) -> str:
    """The model artifact that holds the served model; a new one where it is gone."""
    models = (a.uri for a in _live(store, context_id) if a.type == "Model")
    for digest, folder in with_exports(map(pathlib.Path, _once(models))):
        if digest == served.digest and all(_is_equal(f, folder / f.name) for f in served.kept):
            _keep_missing(locations, served, folder)
            return str(folder)
    # The digest is in the name, or the cache would take another model for this one.
    name = f"{served.version}-{served.digest[:12]}"
    folder = locations.artifacts / SERVED_FOLDER / "model" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # The export comes last, so that the other files are there where it is.
    for file in served.kept:
        shutil.copyfile(file, folder / file.name)
    shutil.copytree(served.export, folder / features.EXPORT_FOLDER)
    return str(folder)


def _is_equal(kept: pathlib.Path, file: pathlib.Path) -> bool:
    return file.is_file() and versions.file_digest(file) == versions.file_digest(kept)


def _keep_missing(locations: Locations, served: ServedModel, folder: pathlib.Path) -> None:
    """Keeps the files beside the export, for a version that has no kept files."""
    if not versions.kept_folder(locations.serving, served.version).exists():
        beside = [path for path in sorted(folder.iterdir()) if path.is_file()]
        versions.keep(locations.serving, served.version, beside)


def _once(values: Iterable[str]) -> Iterator[str]:
    """Yields each value the first time that it comes."""
    seen: set[str] = set()
    for value in values:
        if value not in seen:
            seen.add(value)
            yield value


def _check(latest: BlessedModel | None, served: ServedModel, locations: Locations) -> None:
    folder = pathlib.Path(latest.model.uri) / features.EXPORT_FOLDER if latest else None
    if folder is None or versions.content_digest(folder) != served.digest:
        raise BaselineError(
            f"ML Metadata gives {folder or 'no model'} as the model to compare with; expected "
            f"served version {served.version}. {_new_store(locations)}"
        )


def _new_store(locations: Locations) -> str:
    """What to do where a store that seems sound forgets; `repair` would leave it as it is."""
    if isinstance(metadata.place_of(locations), Address):
        return (
            f"Move {locations.database} away and set metadata.uri to another database: the next "
            "run builds a new store there, and runs all nodes."
        )
    return f"Move {locations.metadata} away: the next run builds a new store, and runs all nodes."


def _register(store: metadata.Store, context: mlmd.Context, uri: str, version: int) -> None:
    model = _artifact(store, "Model", uri)
    (model.id,) = store.put_artifacts([model])
    blessing = _artifact(store, "ModelBlessing", uri)
    blessing.custom_properties[_BLESSED].int_value = 1
    blessing.custom_properties[_MODEL_ID].int_value = model.id
    execution = mlmd.Execution(
        type_id=store.put_execution_type(mlmd.ExecutionType(name="ServedModel")),
        last_known_state=mlmd.Execution.COMPLETE,
    )
    execution.custom_properties["served_version"].int_value = version
    store.put_execution(
        execution,
        [(model, _output("model")), (blessing, _output("model_blessing"))],
        [context],
        reuse_context_if_already_exist=True,
    )


def _artifact(store: metadata.Store, type_name: str, uri: str) -> mlmd.Artifact:
    try:
        type_id = store.get_artifact_type(type_name).id
    except errors.NotFoundError:
        type_id = store.put_artifact_type(_ARTIFACT_TYPES[type_name])
    return mlmd.Artifact(type_id=type_id, uri=uri, state=mlmd.Artifact.LIVE)


def _output(key: str) -> mlmd.Event:
    event = mlmd.Event(type=mlmd.Event.OUTPUT)
    event.path.steps.add().key = key
    event.path.steps.add().index = 0
    return event
