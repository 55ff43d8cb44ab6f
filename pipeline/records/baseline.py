"""Keeps ML Metadata's latest blessed model the same as the version now served.

TFX's resolver takes the blessed model with the highest id. That is not the served one after A, B,
A (the third run reuses the first model), after a push that failed, after a rollback, or where ML
Metadata is new or older than the served folder. Wherever the two differ, the served model is
registered again, as a fresh model with a fresh blessing.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
from collections.abc import Iterable, Iterator

from ml_metadata import errors
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.pusher import versions
from components.pusher.served import ServedModel
from pipeline.errors import BaselineError
from pipeline.locations import Locations
from pipeline.records import served_version

# TFX puts the serving export there, in the folder of a model artifact.
EXPORT_FOLDER = "Format-Serving"
_BLESSED, _MODEL_ID = "blessed", "current_model_id"
# As TFX registers them; it knows those that are there by these names.
_ARTIFACT_TYPES = (
    mlmd.ArtifactType(name="Model", base_type=mlmd.ArtifactType.MODEL),
    mlmd.ArtifactType(name="ModelBlessing"),
)
_PIPELINE = "pipeline"
# Below the artifacts: served models whose own artifact is gone, by version.
SERVED_FOLDER = "ServedModel"


@dataclasses.dataclass(frozen=True)
class Blessed:
    """What the resolver sees of a pipeline.

    Attributes:
      models: all that have not been removed.
      blessings: those that bless one of them.
    """

    models: list[mlmd.Artifact]
    blessings: list[mlmd.Artifact]

    def latest(self) -> mlmd.Artifact | None:
        """The model that TFX's resolver takes: blessed, with the highest id."""
        ids = {blessing.custom_properties[_MODEL_ID].int_value for blessing in self.blessings}
        return max((m for m in self.models if m.id in ids), key=lambda m: m.id, default=None)

    def of(self, model: mlmd.Artifact) -> list[mlmd.Artifact]:
        """The blessings of a model."""
        return [b for b in self.blessings if b.custom_properties[_MODEL_ID].int_value == model.id]


def register_served(
    store: metadata_store.MetadataStore, pipeline_name: str, locations: Locations
) -> str | None:
    """Registers the served model where the resolver would take another one.

    The store may be new: what the resolver needs of it is made.

    Args:
      store: ML Metadata of the pipeline.
      pipeline_name: whose models these are.
      locations: of the pipeline.

    Returns:
      A line for the log where something had to be put right.

    Raises:
      ServedModelError: where the served model cannot be read.
      BaselineError: where the resolver would still take another one.
    """
    served = served_version.read(locations)
    if served is None:
        return take_back_blessings(store, pipeline_name)
    context = _pipeline_context(store, pipeline_name)
    seen = blessed_models(store, context.id)
    uri = _model_folder(seen.models, locations, served)
    latest = seen.latest()
    if latest is not None and latest.uri == uri:
        return None
    _register(store, context, uri, served.version)
    _check(blessed_models(store, context.id).latest(), served)
    return f"registered served version {served.version} as the model to compare with"


def take_back_blessings(store: metadata_store.MetadataStore, pipeline_name: str) -> str | None:
    """Has the resolver take no model: nothing is served, or a new line of models begins.

    Args:
      store: ML Metadata of the pipeline.
      pipeline_name: whose models these are.

    Returns:
      A line for the log where there was a blessing.
    """
    context = store.get_context_by_type_and_name(_PIPELINE, pipeline_name)
    blessings = blessed_models(store, context.id).blessings if context else []
    for blessing in blessings:
        blessing.state = mlmd.Artifact.ABANDONED
    if not blessings:
        return None
    store.put_artifacts(blessings)
    return "there is no model to compare with: earlier blessings no longer count"


def blessed_models(store: metadata_store.MetadataStore, context_id: int) -> Blessed:
    """The models and blessings of the pipeline that has the context."""
    live = [
        artifact
        for artifact in store.get_artifacts_by_context(context_id)
        if artifact.state == mlmd.Artifact.LIVE
    ]
    models = [artifact for artifact in live if artifact.type == "Model"]
    blessings = [
        artifact
        for artifact in live
        if artifact.type == "ModelBlessing" and artifact.custom_properties[_BLESSED].int_value
    ]
    return Blessed(models, blessings)


def with_exports(folders: Iterable[pathlib.Path]) -> Iterator[tuple[str, pathlib.Path]]:
    """Those folders of model artifacts that hold an export, each after its export's digest."""
    for folder in folders:
        if (folder / EXPORT_FOLDER).is_dir():
            yield versions.content_digest(folder / EXPORT_FOLDER), folder


def _pipeline_context(store: metadata_store.MetadataStore, name: str) -> mlmd.Context:
    known = store.get_context_by_type_and_name(_PIPELINE, name)
    if known is not None:
        return known
    type_id = store.put_context_type(mlmd.ContextType(name=_PIPELINE))
    (context_id,) = store.put_contexts([mlmd.Context(type_id=type_id, name=name)])
    (context,) = store.get_contexts_by_id([context_id])
    return context


def _model_folder(models: list[mlmd.Artifact], locations: Locations, served: ServedModel) -> str:
    """The model artifact that holds the served model; a new one where it is gone."""
    newest_first = dict.fromkeys(m.uri for m in sorted(models, key=lambda m: -m.id))
    for digest, folder in with_exports(map(pathlib.Path, newest_first)):
        if digest == served.digest and all(_is_equal(f, folder / f.name) for f in served.kept):
            _keep_missing(locations, served, folder)
            return str(folder)
    # By its content too: under one name the cache would take another model for the same.
    name = f"{served.version}-{served.digest[:12]}"
    folder = locations.artifacts / SERVED_FOLDER / "model" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # The export last: where it is whole, so is the rest.
    for file in served.kept:
        shutil.copyfile(file, folder / file.name)
    shutil.copytree(served.export, folder / EXPORT_FOLDER)
    return str(folder)


def _is_equal(kept: pathlib.Path, file: pathlib.Path) -> bool:
    return file.is_file() and versions.file_digest(file) == versions.file_digest(kept)


def _keep_missing(locations: Locations, served: ServedModel, folder: pathlib.Path) -> None:
    """Keeps what lies beside the export of a version of which nothing is kept."""
    if not versions.kept_folder(locations.serving, served.version).exists():
        beside = [path for path in sorted(folder.iterdir()) if path.is_file()]
        versions.keep(locations.serving, served.version, beside)


def _check(latest: mlmd.Artifact | None, served: ServedModel) -> None:
    folder = pathlib.Path(latest.uri) / EXPORT_FOLDER if latest else None
    if folder is None or versions.content_digest(folder) != served.digest:
        raise BaselineError(
            f"ML Metadata gives {folder or 'no model'} as the model to compare with; expected "
            f"served version {served.version}. Make its store anew with: "
            "python3 pipeline_runner.py repair"
        )


def _register(
    store: metadata_store.MetadataStore, context: mlmd.Context, uri: str, version: int
) -> None:
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


def _artifact(store: metadata_store.MetadataStore, type_name: str, uri: str) -> mlmd.Artifact:
    type_id = _type_id(store, type_name)
    return mlmd.Artifact(type_id=type_id, uri=uri, state=mlmd.Artifact.LIVE)


def _type_id(store: metadata_store.MetadataStore, name: str) -> int:
    try:
        return store.get_artifact_type(name).id
    except errors.NotFoundError:
        (made,) = (each for each in _ARTIFACT_TYPES if each.name == name)
        return store.put_artifact_type(made)


def _output(key: str) -> mlmd.Event:
    event = mlmd.Event(type=mlmd.Event.OUTPUT)
    event.path.steps.add().key = key
    event.path.steps.add().index = 0
    return event
