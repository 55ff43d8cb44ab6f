"""Whether anything changed since the last completed run. Needs neither TensorFlow nor TFX."""

from __future__ import annotations

from collections.abc import Sequence

from components.pusher import versions
from operations import lost
from operations.preparation import Prepared
from pipeline.records import provenance
from pipeline.records.outcomes import Status, Verdict
from pipeline.records.receipt import Receipt


def input_digest(prepared: Prepared) -> str:
    """SHA-256 over what a run depends on, as `provenance.input_digest` has it."""
    return provenance.input_digest(
        prepared.config.model_dump(mode="json"),
        prepared.data.digest,
        # Of the same spans, another one may be the one to test on.
        [(part.name, part.use) for part in prepared.data.request.parts],
        prepared.data.schema_sha256,
        prepared.precision,
    )


def standing_run(prepared: Prepared, receipts: Sequence[Receipt]) -> Receipt | None:
    """The receipt of the run whose verdict still stands; None where the graph has to run.

    That is the last completed run of the pipeline, where its input was the same. A refusal holds
    while its baseline is still served; one without a baseline, while nothing is and was served. A
    push holds while its version is there, also after a rollback: an unchanged run must not undo
    that.

    Args:
      prepared: What would run.
      receipts: Receipts of the pipeline, oldest first.
    """
    receipt = _last_completed(receipts)
    if receipt is None or receipt.input_digest != input_digest(prepared):
        return None
    served = versions.served_versions(prepared.locations.serving)
    if receipt.verdict == Verdict.PUSHED:
        return receipt if _is_as_pushed(receipt, prepared, served) else None
    if not served and lost.last_served(receipts):
        # The run tells of the loss.
        return None
    return receipt if receipt.served_before == max(served, default=None) else None


def _is_as_pushed(receipt: Receipt, prepared: Prepared, served: list[int]) -> bool:
    version = receipt.pushed_version
    if version not in served:
        return False
    export = prepared.locations.serving / str(version)
    return versions.content_digest(export) == receipt.export_digest


def _last_completed(receipts: Sequence[Receipt]) -> Receipt | None:
    completed = [receipt for receipt in receipts if receipt.status == Status.COMPLETED]
    return completed[-1] if completed else None
