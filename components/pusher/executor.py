"""Pushes a blessed model: TFX's Pusher with versions that cannot collide."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from tfx.components.pusher import executor as pusher_executor
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components.pusher import versions

# In the custom configuration of the node: `versions.identity` of what was served at the beginning.
SERVED = "served"


class ServedModelChangedError(RuntimeError):
    """Another model is served than the one that the new model was compared with."""


class Executor(pusher_executor.Executor):
    """Publishes by rename, under strictly increasing versions, and keeps the files of the model.

    These are the files beside the export in its artifact: the statistics of its data, to judge
    drift by; the Keras model, to start a training from; the golden questions, to check a rollback
    with. So the serving folder has all that a later run or a rollback needs.

    TFX's own names versions by the second, takes an existing folder for a success, and copies in
    place.
    """

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model where both blessings hold.

        A model equal to the one now served, byte by byte, is not pushed again: its standing
        version is what the artifact names.

        Raises:
          ServedModelChangedError: where another model is served than when the run began.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        export = pathlib.Path(self.GetModelPath(input_dict))
        base = _base_directory(exec_properties)
        _check_unchanged(base, exec_properties)
        version = standing_version(export, base) or versions.publish(
            export, base, _files_beside(input_dict)
        )
        self._MarkPushed(
            pushed, pushed_destination=str(base / str(version)), pushed_version=str(version)
        )


def _check_unchanged(base: pathlib.Path, exec_properties: dict[str, Any]) -> None:
    """Refuses to replace a model that came while the run was at work: nothing was compared with it.

    On a cluster nobody knows at the beginning what is served; there the property is missing.
    """
    custom = json.loads(exec_properties.get("custom_config") or "null") or {}
    now = versions.identity(base)
    before = custom.get(SERVED, now)
    if now != before:
        raise ServedModelChangedError(
            f"{_named(now)} is served in {base} now; expected {_named(before)}, as when the run "
            "began and the new model was compared. Nothing was pushed. Run again."
        )


def _named(identity: str) -> str:
    version, _, digest = identity.partition("-")
    return f"version {version} of content {digest[:12]}" if version else "no model"


def standing_version(export: pathlib.Path, base: pathlib.Path) -> int | None:
    """The version now served, where it equals the export; else None."""
    served = versions.served_versions(base)
    if not served:
        return None
    newest = base / str(served[-1])
    same = versions.content_digest(newest) == versions.content_digest(export)
    return served[-1] if same else None


def _files_beside(input_dict: dict[str, list[Any]]) -> list[pathlib.Path]:
    model = artifact_utils.get_single_uri(input_dict[standard_component_specs.MODEL_KEY])
    return [path for path in sorted(pathlib.Path(model).iterdir()) if path.is_file()]


def _base_directory(exec_properties: dict[str, Any]) -> pathlib.Path:
    destination = pusher_pb2.PushDestination()
    proto_utils.json_to_proto(
        exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination
    )
    return pathlib.Path(destination.filesystem.base_directory)
