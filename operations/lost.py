"""Whether a model was served that may be missing now. Needs neither TensorFlow nor TFX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.records.outcomes import Status
from pipeline.records.receipt import Receipt


class Served(NamedTuple):
    """A version that was served.

    Attributes:
      version: Its number.
      run_id: Run whose receipt names it.
    """

    version: int
    run_id: str


def last_served(receipts: Sequence[Receipt]) -> Served | None:
    """The version that was served last, as far as receipts tell; None where none was.

    Once a run has ended without a model before, during or after it, nothing is missing. A run that
    was cut off does not count as such: a person may have stopped it because of the warning.

    Args:
      receipts: Receipts of the pipeline, oldest first.
    """
    for receipt in reversed(receipts):
        version = _last_known(receipt)
        if version is not None:
            return Served(version, receipt.run_id)
        if receipt.status in (Status.COMPLETED, Status.FAILED):
            return None
    return None


def _last_known(receipt: Receipt) -> int | None:
    # The first is null where a run was killed, or where the folder vanished during the run.
    versions = (receipt.served_version, receipt.pushed_version, receipt.served_before)
    return next((version for version in versions if version is not None), None)
