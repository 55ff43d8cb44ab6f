"""Makes a new metadata store in the place of one that cannot be used, and completes receipts.

The store is the memory of the cache. What is served, the receipts and the reviews do not need it:
the new one is made from the serving folder, and the old one is moved aside, never removed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib

from cli.render import runs
from operations import unfinished
from pipeline.errors import OutputError, StoreError, StoreLockedError
from pipeline.locations import Locations
from pipeline.lock import exclusive
from pipeline.records import baseline, history, metadata, served_version, stores

# What SQLite keeps beside a store; beside another one, it would be taken for that one's.
_PARTS = ("", "-journal", "-wal", "-shm")
_LOST = (
    "the cache: the next run makes everything anew",
    "where the artifacts of earlier runs lie: `lineage` names their digests alone, and `runs "
    "compare` does not find their answers",
)
_KEPT = "receipts, reviews and served versions, and with them `rollback` and the next comparison"


@dataclasses.dataclass(frozen=True)
class Repair:
    """What was found at a pipeline, and what was done, or would be.

    Attributes:
      pipeline: its name.
      store: the file of its metadata store.
      fault: why that cannot be used, in words; None where it is sound.
      moved_to: where it was moved; None where it stayed.
      completed_runs: ids of the runs whose receipts were completed.
      lost: what the old store alone knew.
      applied: whether anything was done; False for a dry run.
    """

    pipeline: str
    store: str
    fault: str | None
    moved_to: str | None
    completed_runs: list[str]
    lost: list[str]
    applied: bool


def main(pipeline: str | None, output_dir: pathlib.Path, dry_run: bool, as_json: bool) -> None:
    """Repairs what can be repaired, and says what was found and done.

    Args:
      pipeline: its name; None repairs all of them.
      output_dir: of all pipelines.
      dry_run: changes nothing.
      as_json: whether to print one JSON document.

    Raises:
      UnknownRunError: where there is no such pipeline, or none at all.
      LockHeldError: where one of them is at work.
      StoreLockedError: where another process has locked a store; nothing was changed.
      StoreError: where a permission is missing; nothing was changed.
      ServedModelError: where a served model cannot be read; nothing was changed.
      OutputError: where a new store cannot be made; the old one stays as it is.
    """
    with contextlib.ExitStack() as locks:
        places = history.chosen(output_dir, pipeline)
        for locations in places:
            locks.enter_context(exclusive(locations.lock, "repair"))
        # All of them first: where one cannot be repaired, none is.
        plans = [_plan(locations) for locations in places]
        done = plans if dry_run else [_carry_out(*each) for each in zip(places, plans, strict=True)]
    if as_json:
        print(json.dumps([dataclasses.asdict(each) for each in done], indent=1))
        return
    for each in done:
        text = "\n".join(_lines(each))
        runs.make_console().print(text, soft_wrap=True, highlight=False, markup=False)


def _plan(locations: Locations) -> Repair:
    """What there is to repair of a pipeline; to be called by the holder of its lock."""
    fault = stores.find_fault(locations.metadata, writing=True)
    if fault and fault.kind == "locked":
        raise StoreLockedError(fault.message)
    if fault and fault.kind == "inaccessible":
        # It is sound as far as anybody knows.
        raise StoreError(fault.message)
    if fault:
        # From which the new store is made.
        served_version.read(locations)
    return Repair(
        pipeline=locations.root.name,
        store=str(locations.metadata),
        fault=fault.found if fault else None,
        moved_to=str(_free_name(locations.metadata)) if fault else None,
        completed_runs=[receipt["run_id"] for receipt in unfinished.unfinished(locations)],
        lost=list(_LOST) if fault else [],
        applied=False,
    )


def _carry_out(locations: Locations, plan: Repair) -> Repair:
    # Receipts first: the old store may tell of the runs.
    runs = unfinished.complete(locations)
    if plan.moved_to:
        _renew(locations, pathlib.Path(plan.moved_to))
    return dataclasses.replace(plan, completed_runs=runs, applied=True)


def _free_name(store: pathlib.Path) -> pathlib.Path:
    number = 1
    while (name := store.with_name(f"{store.name}.old-{number}")).exists():
        number += 1
    return name


def _renew(locations: Locations, moved_to: pathlib.Path) -> None:
    """Makes a new store beside the old one, and only then has it take the place of that."""
    made = locations.metadata.with_name(f"{locations.metadata.name}.new")
    try:
        _remove(made)
        baseline.register_served(metadata.open_store(made), locations.root.name, locations)
        for part in _PARTS:
            with contextlib.suppress(FileNotFoundError):
                _beside(locations.metadata, part).rename(_beside(moved_to, part))
        made.rename(locations.metadata)
    except OSError as error:
        raise OutputError(
            f"{locations.metadata} cannot be replaced ({error.strerror}); expected room and write "
            f"permission in {locations.root}. Nothing is lost: fix that, and repair again."
        ) from error
    finally:
        _remove(made)


def _remove(store: pathlib.Path) -> None:
    for part in _PARTS:
        _beside(store, part).unlink(missing_ok=True)


def _beside(store: pathlib.Path, part: str) -> pathlib.Path:
    return store.with_name(store.name + part)


def _lines(done: Repair) -> list[str]:
    would = "" if done.applied else "would be "
    lines = [done.fault or f"{done.store}: there is nothing to repair"]
    if done.moved_to:
        lines.append(f"  {would or 'was '}moved to {done.moved_to}; a new one takes its place")
        lines += [f"  lost: {what}" for what in done.lost]
        lines.append(f"  kept: {_KEPT}")
    if done.completed_runs:
        runs = ", ".join(done.completed_runs)
        lines.append(f"  receipts of runs that were cut off {would or 'were '}completed: {runs}")
    if not done.applied and (done.moved_to or done.completed_runs):
        lines.append("Nothing was changed. Do it without --dry-run.")
    return lines
