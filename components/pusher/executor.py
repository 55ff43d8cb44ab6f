"""Executor of Pusher: like TFX's, but with versions that cannot collide."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable
from typing import Any

from tfx.components.pusher import executor as pusher_executor
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components.pusher import bucket, guard, rollbacks, versions

# Key in the custom configuration: `versions.identity` of the served model when the run began. It is
# missing on a cluster alone, where nothing is known of the served model before the run.
SERVED = "served"
# Key in the custom configuration: whether the lock of the run has to be checked before a push.
LOCKED = "locked"
# Key in the custom configuration: for the digest of each model that was rolled back, what happened.
# On a cluster, Pusher reads the records of rollbacks itself.
WITHDRAWN = "withdrawn"
# Key in the custom configuration: address of the folder in a bucket that gets copies of versions.
BUCKET = "bucket"
# A retry of a run on a cluster keeps what its nodes found before.
_NEW_RUN = "Start a new run; a retry of this one would compare with the same model as before."


class ServedModelChangedError(RuntimeError):
    """The served model is no longer the one that the new model was compared with."""


class WithdrawnModelError(RuntimeError):
    """The model is one that somebody rolled back."""


class Executor(pusher_executor.Executor):
    """Publishes a model with a rename, under increasing version numbers, and keeps its files.

    The kept files lie next to the export in the model artifact: the statistics of the data, for
    drift checks; the Keras model, for a warm start; the golden examples, for checking a rollback.
    So the serving folder has everything that a later run or a rollback needs.

    TFX's executor uses the time in seconds as version, treats an existing folder as a success, and
    copies files in place.
    """

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model if both blessings are positive.

        A model that equals the served one, byte by byte, is not pushed again: the output artifact
        then names the served version.

        With a bucket, the version is then copied there. If that fails, so does the node, though
        the version is served from the serving folder: the next run copies it first of all.

        Raises:
          ServedModelChangedError: If the served model has changed since the run began, or the
            bucket has got a newer one.
          WithdrawnModelError: If the model was rolled back earlier.
          ChangedExportError: If the export is no longer the one that ServingCheck checked.
          ObjectStoreError: If the bucket cannot be read or written.
          Exception: If the run no longer holds its lock.
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
        custom = json.loads(exec_properties.get("custom_config") or "null") or {}
        check = guard.check if custom.get(LOCKED) else None
        if check:
            check()
        version = standing_version(export, base)
        if SERVED in custom:
            _check_unchanged(base, custom[SERVED], "Run again.")
        elif version is None:
            # Otherwise nothing is replaced: this node was tried again after it had pushed.
            _check_unchanged(base, _compared_with(input_dict), _NEW_RUN)
        if custom.get(BUCKET):
            _check_bucket(base, custom[BUCKET])
        if version is None:
            checked = _checked_export(input_dict)
            beside = _files_beside(input_dict)
            kept = rollbacks.kept_digests(export.parent)
            _check_not_withdrawn((checked, *kept), base, custom)
            version = versions.publish(export, base, beside, check=check, digest=checked)
        if custom.get(BUCKET):
            bucket.catch_up(base, custom[BUCKET])
        self._MarkPushed(
            pushed, pushed_destination=str(base / str(version)), pushed_version=str(version)
        )


def _check_unchanged(base: pathlib.Path, before: str, advice: str) -> None:
    """Refuses to replace a model that was published during the run: it was not compared with."""
    now = versions.identity(base)
    if now != before:
        raise ServedModelChangedError(
            f"{_named(now)} is served in {base} now; expected {_named(before)}, with which the new "
            f"model was compared. Nothing was pushed. {advice}"
        )


def _check_bucket(base: pathlib.Path, address: str) -> None:
    foreign = bucket.foreign_version(base, address)
    if foreign is not None:
        raise ServedModelChangedError(
            f"version {foreign} was published in {address} meanwhile; expected "
            f"{_named(versions.identity(base))}, with which the new model was compared. Nothing "
            "was pushed. Run again."
        )


def _check_not_withdrawn(
    digests: Iterable[str | None], base: pathlib.Path, custom: dict[str, Any]
) -> None:
    on_cluster = SERVED not in custom
    withdrawn = rollbacks.withdrawn(base) if on_cluster else custom.get(WITHDRAWN, {})
    what = next((withdrawn[each] for each in digests if each and each in withdrawn), None)
    if what is not None:
        again = "python3 pipeline_runner.py rollback --to" if on_cluster else "run with --force"
        raise WithdrawnModelError(
            f"this model has been served before, and {what}; expected another one. Nothing was "
            "pushed. Change the training data or the training, or serve it again all the same: "
            f"{again}."
        )


def _named(identity: str) -> str:
    version, _, digest = identity.partition("-")
    return f"version {version} (digest {digest[:12]})" if version else "no model"


def standing_version(export: pathlib.Path, base: pathlib.Path) -> int | None:
    """Returns the served version if its files equal the export, else None."""
    served = versions.served_versions(base)
    if not served:
        return None
    newest = base / str(served[-1])
    same = versions.content_digest(newest) == versions.content_digest(export)
    return served[-1] if same else None


def _compared_with(input_dict: dict[str, list[Any]]) -> str:
    """Identity of the served model that Blessing compared with on a cluster; empty without one."""
    blessing = artifact_utils.get_single_instance(
        input_dict[standard_component_specs.MODEL_BLESSING_KEY]
    )
    return blessing.get_string_custom_property(versions.SERVED_IDENTITY)


def _checked_export(input_dict: dict[str, list[Any]]) -> str:
    """Digest of the export that ServingCheck checked."""
    blessing = artifact_utils.get_single_instance(
        input_dict[standard_component_specs.INFRA_BLESSING_KEY]
    )
    return blessing.get_string_custom_property(versions.CHECKED_EXPORT)


def _files_beside(input_dict: dict[str, list[Any]]) -> list[pathlib.Path]:
    model = artifact_utils.get_single_uri(input_dict[standard_component_specs.MODEL_KEY])
    return [path for path in sorted(pathlib.Path(model).iterdir()) if path.is_file()]


def _base_directory(exec_properties: dict[str, Any]) -> pathlib.Path:
    destination = pusher_pb2.PushDestination()
    proto_utils.json_to_proto(
        exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination
    )
    return pathlib.Path(destination.filesystem.base_directory)
