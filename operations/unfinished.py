"""Completes the receipts of runs that ended without saying how: killed, or on a full disk."""

from __future__ import annotations

import logging
from typing import Any

from operations import receipts
from pipeline.errors import StoreError, StoreLockedError
from pipeline.locations import Locations
from pipeline.nodes import expected_nodes
from pipeline.records import history, metadata, stores

# Faults of a store that will be as it was.
_PASSING = ("locked", "inaccessible")

logger = logging.getLogger(__name__)


def complete(locations: Locations) -> list[str]:
    """Completes the receipts of a pipeline, as far as ML Metadata tells how the runs ended.

    To be called by the holder of the pipeline's lock alone, who knows that none is at work. Where a
    receipt cannot be written, the next call finds it again.

    Returns:
      The ids of the runs.
    """
    completed = []
    fault = stores.find_fault(locations.metadata, writing=False)
    # A store that can be asked later tells more then.
    for receipt in [] if fault and fault.kind in _PASSING else unfinished(locations):
        receipts.end_unfinished(receipt, _nodes(locations, receipt))
        try:
            metadata.write_receipt(locations.runs / receipt["run_id"], receipt)
        except OSError as error:
            logger.warning(
                "The receipt of run %s cannot be completed (%s).", receipt["run_id"], error.strerror
            )
        else:
            completed.append(receipt["run_id"])
    return completed


def unfinished(locations: Locations) -> list[dict[str, Any]]:
    """The receipts that nobody completed, oldest first; to be called by the holder of the lock."""
    return [r for r in history.receipts_of(locations) if metadata.is_unfinished(r)]


def _nodes(locations: Locations, receipt: dict[str, Any]) -> dict[str, metadata.NodeRecord]:
    if not locations.metadata.exists():
        return {}
    try:
        config = receipt["config"]
        names = expected_nodes(config["tuner"]["enabled"], config["robustness"]["enabled"])
        store = metadata.open_store(locations.metadata)
        return metadata.read_nodes(store, receipt["run_id"], list(names))
    except (KeyError, TypeError):
        # Edited by hand: it does not say which nodes there were.
        return {}
    except (StoreError, StoreLockedError):
        # What there is to say of it, the command says that asked.
        return {}
