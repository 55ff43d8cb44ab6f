"""Whether anything changed since the last completed run. Needs neither TensorFlow nor TFX."""

from __future__ import annotations

import hashlib
import json
import pathlib
from typing import TYPE_CHECKING, Any

from components.pusher import versions
from operations.receipts import COMPLETED, PUSHED
from pipeline import machine
from pipeline.installation import packages
from pipeline.records import metadata

if TYPE_CHECKING:
    from operations.run import Prepared


def input_digest(prepared: Prepared) -> str:
    """SHA-256 over what a run depends on.

    That is data, schema, code, configuration, precision, libraries, and the processor's
    arithmetic.
    """
    # The schema counts by its content, wherever it lies; spans by the digests of what was taken.
    config = prepared.config.model_dump(mode="json", exclude={"schema_file", "spans"})
    libraries = packages.installed()
    parts = [
        config,
        prepared.data.sha256s,
        prepared.data.schema_sha256,
        prepared.precision,
        machine.arithmetic(),
        machine.source_digest(),
        [libraries.python, libraries.sha256],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def standing_run(prepared: Prepared) -> dict[str, Any] | None:
    """The receipt of the run whose verdict still stands; None where the graph has to run.

    That is the last completed run of the pipeline, where its input was the same. A refusal holds
    while its baseline is still served. A push holds while its version is there, also after a
    rollback: an unchanged run must not undo that.
    """
    receipt = _last_completed(prepared.locations.root)
    if receipt is None or receipt["input_digest"] != input_digest(prepared):
        return None
    served = versions.served_versions(prepared.locations.serving)
    if receipt["verdict"] == PUSHED:
        return receipt if _is_as_pushed(receipt, prepared, served) else None
    return receipt if receipt["served_version"] == max(served, default=None) else None


def _is_as_pushed(receipt: dict[str, Any], prepared: Prepared, served: list[int]) -> bool:
    version = receipt["pushed_version"]
    if version not in served:
        return False
    export = prepared.locations.serving / str(version)
    return versions.content_digest(export) == receipt["export_digest"]


def _last_completed(root: pathlib.Path) -> dict[str, Any] | None:
    runs = (run for run in metadata.read_receipts(root.parent) if run["pipeline"] == root.name)
    completed = [run for run in runs if run["status"] == COMPLETED]
    return completed[-1] if completed else None
