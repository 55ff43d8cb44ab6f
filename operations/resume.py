"""Continues a run that did not come to its end."""

from __future__ import annotations

import dataclasses
import pathlib

from components.pusher import versions
from operations.preparation import Request
from pipeline.errors import ConfigurationError
from pipeline.locations import Locations
from pipeline.records import history
from pipeline.records.outcomes import Status
from pipeline.records.receipt import Receipt


def request_of(run: str, output_dir: pathlib.Path, verbose: bool) -> Request:
    """The request of a run, to be asked again: the cache has what is complete of it.

    Args:
      run: Id of the run, start of the id, or `latest`.
      output_dir: Folder of all pipelines.
      verbose: Whether to show the log on the terminal.

    Raises:
      UnknownRunError: where no run, or more than one, fits.
      ConfigurationError: where the run is complete, or would only fail again.
    """
    receipt = history.find(output_dir, run)
    if receipt.status == Status.COMPLETED:
        raise ConfigurationError(
            f"run {receipt.run_id} is complete ({receipt.verdict}); expected one that failed or "
            f"was interrupted. Start another with: {receipt.command_again}"
        )
    if receipt.failure and receipt.changed_command:
        raise ConfigurationError(
            f"run {receipt.run_id} would only fail again: {receipt.failure.message} Start it "
            f"changed, with: {receipt.changed_command}"
        )
    request = request_again(receipt, output_dir, verbose)
    new_line = request.new_line and _is_to_begin(receipt, output_dir)
    return dataclasses.replace(request, new_line=new_line, resumed=receipt.sequence)


def _is_to_begin(receipt: Receipt, output_dir: pathlib.Path) -> bool:
    """Whether a new line has still to begin: the run may have been cut off after its push."""
    served = versions.served_versions(Locations(output_dir / receipt.pipeline).serving)
    return max(served, default=None) == receipt.served_before


def request_again(receipt: Receipt, output_dir: pathlib.Path, verbose: bool) -> Request:
    """The request of a run, once more; with the cache.

    Args:
      receipt: Receipt of the run.
      output_dir: Folder for the results.
      verbose: Whether to show the log on the terminal.
    """
    asked = receipt.request
    return Request(
        profile=asked.profile,
        data=asked.data,
        runner=asked.runner,
        # A span that came since must not turn it into another run.
        assignments=(*asked.assignments, *receipt.data.span_assignments),
        seed=asked.seed,
        use_cache=True,
        force=False,
        output_dir=output_dir,
        new_line=asked.new_line,
        verbose=verbose,
        command=receipt.command_again,
    )
