"""Replaces a metadata store that cannot be used, and completes receipts.

The store is the memory of the cache. Served versions, receipts and reviews do not need it: the new
store is made from the serving folder, and the old one is moved aside, never removed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib

from operations import unfinished
from pipeline.database.address import Address
from pipeline.errors import OutputError, StoreError, StoreLockedError
from pipeline.exclusion import exclusive
from pipeline.locations import Locations
from pipeline.records import baseline, history, metadata, served_version, stores

# SQLite keeps files beside a store; beside a new store, it would take the old ones for its own. So
# the store itself is moved last: as long as it is there, no command makes a new one.
_PARTS = ("-journal", "-wal", "-shm", "")
_LOST = (
    "the cache: the next run runs all nodes",
    "the places of earlier artifacts: `lineage` shows only their digests, and `runs compare` has "
    "no predictions of earlier runs",
)


@dataclasses.dataclass(frozen=True)
class Repaired:
    """What was wrong with a pipeline, and what was done or would be.

    Attributes:
      pipeline: Name of the pipeline.
      store: File of its metadata store, or the database in words.
      fault: Why the store cannot be used, in words; None where it is sound.
      moved_to: Where the store was moved; None where it stayed.
      completed_runs: Ids of the runs whose receipts were completed.
      lost: What only the old store knew.
      applied: Whether anything was done; False for a dry run.
    """

    pipeline: str
    store: str
    fault: str | None
    moved_to: str | None
    completed_runs: list[str]
    lost: list[str]
    applied: bool


def repair(pipeline: str | None, output_dir: pathlib.Path, dry_run: bool) -> tuple[Repaired, ...]:
    """Repairs the metadata stores that need it.

    Args:
      pipeline: Name of the pipeline; None repairs all of them.
      output_dir: Folder of all pipelines.
      dry_run: Whether to change nothing.

    Raises:
      UnknownRunError: There is no such pipeline, or none at all.
      LockHeldError: One of the pipelines is at work.
      StoreLockedError: Another process has locked a store; nothing was changed.
      StoreError: A permission is missing, or a database cannot be used; nothing was changed.
      ServedModelError: A served model cannot be read; nothing was changed.
      OutputError: A new store cannot be made; the old one stays as it is.
    """
    with contextlib.ExitStack() as locks:
        places = history.chosen(output_dir, pipeline)
        for locations in places:
            locks.enter_context(exclusive(locations, "repair"))
        # All plans first: where one pipeline cannot be repaired, none is.
        plans = [_plan(locations) for locations in places]
        if dry_run:
            return tuple(plans)
        return tuple(_carry_out(*each) for each in zip(places, plans, strict=True))


def _plan(locations: Locations) -> Repaired:
    """Finds what to repair in a pipeline; only the holder of its lock may call it."""
    place = metadata.place_of(locations)
    if isinstance(place, Address):
        # What is wrong with a database is for its administrator to repair: this only says it.
        metadata.check_store(place, writing=True)
    fault = None if isinstance(place, Address) else stores.find_fault(place, writing=True)
    if fault and fault.kind == "locked":
        raise StoreLockedError(fault.message)
    if fault and fault.kind == "inaccessible":
        # Nothing says that the store itself is damaged.
        raise StoreError(fault.message)
    if fault:
        # The new store is made from it.
        served_version.read(locations)
    return Repaired(
        pipeline=locations.root.name,
        store=metadata.shown_place(place),
        fault=fault.found if fault else None,
        moved_to=str(_free_name(locations.metadata)) if fault else None,
        completed_runs=[receipt.run_id for receipt in unfinished.unfinished(locations)],
        lost=list(_LOST) if fault else [],
        applied=False,
    )


def _carry_out(locations: Locations, plan: Repaired) -> Repaired:
    # Receipts first: the old store may still know how the runs ended.
    completed = unfinished.complete(locations)
    if plan.moved_to:
        _renew(locations, pathlib.Path(plan.moved_to))
    elif _new(locations).exists():
        # Of a repair that was killed after the old store was moved.
        _remove(_new(locations))
    return dataclasses.replace(plan, completed_runs=completed, applied=True)


def _free_name(store: pathlib.Path) -> pathlib.Path:
    number = 1
    while (name := store.with_name(f"{store.name}.old-{number}")).exists():
        number += 1
    return name


def _renew(locations: Locations, moved_to: pathlib.Path) -> None:
    """Makes a new store beside the old one, and only then moves both to their places."""
    made = _new(locations)
    try:
        _remove(made)
        baseline.register_served(metadata.open_store(made), locations.root.name, locations)
        for part in _PARTS:
            with contextlib.suppress(FileNotFoundError):
                _beside(locations.metadata, part).rename(_beside(moved_to, part))
        made.rename(locations.metadata)
    except OSError as error:
        raise OutputError(
            f"{locations.metadata} cannot be replaced ({error.strerror}); expected free disk space "
            f"and write permission in {locations.root}. Nothing is lost: fix that, and repair "
            "again."
        ) from error
    finally:
        _remove(made)


def _new(locations: Locations) -> pathlib.Path:
    return locations.metadata.with_name(f"{locations.metadata.name}.new")


def _remove(store: pathlib.Path) -> None:
    for part in _PARTS:
        _beside(store, part).unlink(missing_ok=True)


def _beside(store: pathlib.Path, part: str) -> pathlib.Path:
    return store.with_name(store.name + part)
