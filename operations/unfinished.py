"""Completes the receipts of runs that ended without saying how: killed, or on a full disk."""

from __future__ import annotations

import logging

from operations import recording
from pipeline.database.address import Address
from pipeline.errors import StoreError, StoreLockedError
from pipeline.locations import Locations
from pipeline.nodes import expected_nodes
from pipeline.records import history, metadata, stores
from pipeline.records.executions import NodeExecution
from pipeline.records.receipt import Receipt

# Faults of a store that pass.
_PASSING = ("locked", "inaccessible")

logger = logging.getLogger(__name__)


def complete(locations: Locations) -> list[str]:
    """Completes the receipts of a pipeline, as far as ML Metadata tells how the runs ended.

    Only the holder of the pipeline's lock may call it, since it knows that no run is at work. Where
    a receipt cannot be written, the next call finds it again.

    Returns:
      The ids of the runs.
    """
    return _complete(locations, history.receipts_of(locations))


def completed_receipts(locations: Locations) -> list[Receipt]:
    """Completes the receipts of a pipeline as `complete` does; returns all, oldest first."""
    receipts = history.receipts_of(locations)
    # Of thousands of runs, it takes seconds.
    return history.receipts_of(locations) if _complete(locations, receipts) else receipts


def _complete(locations: Locations, receipts: list[Receipt]) -> list[str]:
    completed: list[str] = []
    left = [receipt for receipt in receipts if receipt.is_unfinished]
    # A store that can be asked later tells more then.
    for receipt in left if left and _can_be_asked(locations) else []:
        ended = recording.ended_unfinished(receipt, _nodes(locations, receipt))
        try:
            ended.write(locations.runs / ended.run_id)
        except OSError as error:
            logger.warning(
                "The receipt of run %s cannot be completed (%s).", receipt.run_id, error.strerror
            )
        else:
            completed.append(receipt.run_id)
    return completed


def unfinished(locations: Locations) -> list[Receipt]:
    """The receipts that nobody completed, oldest first; only for the holder of the lock."""
    return [r for r in history.receipts_of(locations) if r.is_unfinished]


def _can_be_asked(locations: Locations) -> bool:
    place = metadata.place_of(locations)
    if not isinstance(place, Address):
        fault = stores.find_fault(place, writing=False)
        return fault is None or fault.kind not in _PASSING
    try:
        metadata.check_store(place, writing=False)
    except (StoreError, StoreLockedError):
        return False
    return True


def _nodes(locations: Locations, receipt: Receipt) -> dict[str, NodeExecution]:
    names = expected_nodes(receipt.asks_for("tuner"), receipt.asks_for("robustness"))
    try:
        store = metadata.find_store(locations)
        if store is None:
            return {}
        return metadata.read_nodes(store, receipt.pipeline, receipt.run_id, list(names))
    except (StoreError, StoreLockedError):
        # The command that asked tells of the store itself.
        return {}
