"""Whether a model was served that may be missing now. Needs neither TensorFlow nor TFX."""

from __future__ import annotations

import os
import pathlib
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from pipeline.errors import UnknownRunError
from pipeline.locations import Locations, output_options
from pipeline.records import history
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


def nothing_served(output_dir: pathlib.Path, pipeline: str | None = None) -> UnknownRunError:
    """The error where no version is served: by a pipeline, or by any.

    It says so where a version was served: its disk may not be mounted, and to push another model
    is then no advice.
    """
    for locations in history.pipelines(output_dir):
        if pipeline in (None, locations.root.name) and (missed := loss(locations)):
            return UnknownRunError(in_words(missed))
    where = output_dir if pipeline is None else output_dir / pipeline
    command = shlex.join(["python3", "pipeline_runner.py", "run", *output_options(output_dir)])
    return UnknownRunError(
        f"no model has been pushed below {where}; expected a served version. "
        f"Push one with: {command} (and --config, if it has such a file)"
    )


def in_words(missed: str) -> str:
    """A `loss`, and what to do about it."""
    return (
        f"{missed}; expected the folder of the served versions. Mount it, or put it back from a "
        "copy."
    )


def loss(locations: Locations) -> str | None:
    """What is missing in the place of the served versions; None where nothing is."""
    serving = locations.serving
    if os.path.lexists(serving) and not serving.is_dir():
        return f"{serving} is no folder"
    served = last_served(history.receipts_of(locations))
    if served is None:
        return None
    return missing(served, serving)


def missing(before: Served, serving: pathlib.Path) -> str:
    """Says that a version was served, and that its folder holds none now."""
    return (
        f"version {before.version} was served when run {before.run_id} began or ended, and "
        f"{serving} holds none now"
    )


def _last_known(receipt: Receipt) -> int | None:
    # The first is null where a run was killed, or where the folder vanished during the run.
    versions = (receipt.served_version, receipt.pushed_version, receipt.served_before)
    return next((version for version in versions if version is not None), None)
