"""Continues a run that did not come to its end."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from components.pusher import versions
from operations import receipts
from operations.run import Request
from pipeline.datasets import spans
from pipeline.errors import ConfigurationError
from pipeline.locations import Locations
from pipeline.records import metadata


def request_of(run: str, output_dir: pathlib.Path, verbose: bool) -> Request:
    """What a run was asked for, to be asked for again: the cache has what is complete of it.

    Args:
      run: its id, how the id begins, or `latest`.
      output_dir: of all pipelines.
      verbose: shows the log on the terminal.

    Raises:
      UnknownRunError: where no run, or more than one, fits.
      ConfigurationError: where the run is complete, would only fail again, or its receipt does not
        say what it was asked for.
    """
    receipt = metadata.find_receipt(output_dir, run)
    if receipt["status"] == receipts.COMPLETED:
        raise ConfigurationError(
            f"run {receipt['run_id']} is complete ({receipt['verdict']}); expected one that failed "
            f"or was interrupted. Start another with: {metadata.command_again(receipt)}"
        )
    changed = metadata.changed_command(receipt)
    if changed:
        raise ConfigurationError(
            f"run {receipt['run_id']} would only fail again: {receipt['failure']['message']} Start "
            f"it changed, with: {changed}"
        )
    request = request_again(receipt, output_dir, verbose)
    new_line = request.new_line and _is_to_begin(receipt, output_dir)
    return dataclasses.replace(request, new_line=new_line)


def _is_to_begin(receipt: dict[str, Any], output_dir: pathlib.Path) -> bool:
    """Whether a new line has still to begin: the run may have been cut off after its push."""
    served = versions.served_versions(Locations(output_dir / receipt["pipeline"]).serving)
    return max(served, default=None) == receipt["served_before"]


def request_again(receipt: dict[str, Any], output_dir: pathlib.Path, verbose: bool) -> Request:
    """The request of a run, once more; with the cache.

    Args:
      receipt: of the run.
      output_dir: where its results are to go.
      verbose: shows the log on the terminal.
    """
    asked, data = receipt["request"], receipt["data"]
    # A span that came since must not turn it into another run.
    taken = spans.assignments(data["spans"], data["reference_span"]) if data["spans"] else []
    return Request(
        profile=asked["profile"],
        data=asked["data"],
        runner=asked["runner"],
        assignments=(*asked["assignments"], *taken),
        seed=asked["seed"],
        use_cache=True,
        force=False,
        output_dir=output_dir,
        new_line=asked["new_line"],
        verbose=verbose,
        command=metadata.command_again(receipt),
    )
