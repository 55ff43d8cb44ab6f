"""Keeps ML Metadata's latest blessed model the same as the version now served.

TFX's resolver takes the blessed model with the highest id. That is not the served one after A, B,
A (the third run reuses the first model), after a push that failed, or after a rollback. Wherever
the two differ, the served model is registered again, as a fresh model with a fresh blessing.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
from collections.abc import Iterable, Iterator

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.pusher import versions
from pipeline.locations import Locations

# TFX puts the serving export there, in the folder of a model artifact.
EXPORT_FOLDER = "Format-Serving"
_BLESSED, _MODEL_ID = "blessed", "current_model_id"


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

    Args:
      store: ML Metadata of the pipeline.
      pipeline_name: whose models these are.
      locations: of the pipeline.

    Returns:
      A line for the log where something had to be put right.
    """
    context = store.get_context_by_type_and_name("pipeline", pipeline_name)
    if context is None:
        return None
    seen = blessed_models(store, context.id)
    served = versions.served_versions(locations.serving)
    if not served:
        return _abandon(store, seen.blessings)
    uri = _model_folder(seen.models, locations, served[-1])
    latest = seen.latest()
    if latest is not None and latest.uri == uri:
        return None
    _register(store, context, uri, served[-1])
    return f"registered served version {served[-1]} as the model to compare with"


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


def _abandon(store: metadata_store.MetadataStore, blessings: list[mlmd.Artifact]) -> str | None:
    """Takes blessings back that no push followed: nothing is served, so nothing is compared."""
    for blessing in blessings:
        blessing.state = mlmd.Artifact.ABANDONED
    if not blessings:
        return None
    store.put_artifacts(blessings)
    return "nothing is served: earlier blessings no longer count"


def with_exports(folders: Iterable[pathlib.Path]) -> Iterator[tuple[str, pathlib.Path]]:
    """Those folders of model artifacts that hold an export, each after its export's digest."""
    for folder in folders:
        if (folder / EXPORT_FOLDER).is_dir():
            yield versions.content_digest(folder / EXPORT_FOLDER), folder


def _model_folder(models: list[mlmd.Artifact], locations: Locations, version: int) -> str:
    """The model artifact that holds the served export; a new one where it is gone."""
    served = locations.serving / str(version)
    digest = versions.content_digest(served)
    newest_first = dict.fromkeys(m.uri for m in sorted(models, key=lambda m: -m.id))
    for found, folder in with_exports(map(pathlib.Path, newest_first)):
        if found == digest:
            return str(folder)
    folder = locations.artifacts / "ServedModel" / "model" / str(version)
    shutil.copytree(served, folder / EXPORT_FOLDER, dirs_exist_ok=True)
    return str(folder)


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
    type_id = store.get_artifact_type(type_name).id
    return mlmd.Artifact(type_id=type_id, uri=uri, state=mlmd.Artifact.LIVE)


def _output(key: str) -> mlmd.Event:
    event = mlmd.Event(type=mlmd.Event.OUTPUT)
    event.path.steps.add().key = key
    event.path.steps.add().index = 0
    return event
