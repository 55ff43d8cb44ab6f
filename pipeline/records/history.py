"""Reads the receipts of all runs, finds some of them, and tells which run is still at work."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import logging
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import pydantic
from pydantic import JsonValue

from components.files import read_regular
from components.messages import escaped, shown, told
from components.pusher import versions
from components.validation import faults_of
from pipeline import exclusion
from pipeline.errors import StoreError, StoreLockedError, UnknownRunError
from pipeline.locations import RECEIPT_FILE, Locations
from pipeline.lock import Holder
from pipeline.records.outcomes import Status, Verdict
from pipeline.records.receipt import MISSING_KEYS, MOST_COUNTED, SCHEMA_VERSION, Receipt

Read = TypeVar("Read")

# Errors of pydantic about the keys of a document, not about their values.
_FAULTS_OF_KEYS = ("missing", "extra_forbidden", MISSING_KEYS)

logger = logging.getLogger(__name__)


class _FaultyReceiptError(Exception):
    """A receipt that is left out; the message says why."""


@dataclasses.dataclass(frozen=True)
class Filter:
    """Which runs to list; None lists all.

    Attributes:
      status: Status of the runs.
      verdict: Verdict of the runs.
      pipeline: Name of their pipeline.
      since: Earliest beginning, with time zone.
      until: Latest beginning, with time zone.
    """

    status: Status | None = None
    verdict: Verdict | None = None
    pipeline: str | None = None
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None

    def fits(self, receipt: Receipt) -> bool:
        """Whether a run is among those to list."""
        return (
            self.status in (None, receipt.status)
            and self.verdict in (None, receipt.verdict)
            and self.pipeline in (None, receipt.pipeline)
            and (self.since is None or receipt.began >= self.since)
            and (self.until is None or receipt.began <= self.until)
        )


def read_receipts(output_dir: pathlib.Path) -> list[Receipt]:
    """The receipts of all runs of all pipelines below the output folder, oldest first.

    A receipt that cannot be read, or has another version, is left out, and a line in the log says
    so: it must neither hide other runs nor keep the next one from running.
    """
    return in_order(_readable(_receipt_files(output_dir), _receipt))


def of_attempt(locations: Locations, attempt: str) -> Receipt | None:
    """The receipt of the run that an attempt of a schedule began; None if none can be read.

    The newest are read first, and one at a time: a schedule asks after each of its runs, for years.
    """
    files = reversed(list(_receipts_in(locations.runs)))
    return next((run for run in _readable(files, _receipt) if run.attempt == attempt), None)


def newest(locations: Locations) -> Receipt | None:
    """The receipt of the newest run of a pipeline that can be read; None if there is none.

    Runs count in the order of their ids. The older ones are not read: a run of thousands asks.
    """
    files = reversed(list(_receipts_in(locations.runs)))
    return next(_readable(files, _receipt), None)


def left_receipt(locations: Locations, attempt: str) -> bool:
    """Whether an attempt of a schedule left a receipt, of whatever version."""
    files = reversed(list(_receipts_in(locations.runs)))
    documents = _readable(files, lambda path: _document(path)[1])
    return any(document.get("attempt") == attempt for document in documents)


def in_order(receipts: Iterable[Receipt]) -> list[Receipt]:
    """Receipts in the order in which their runs began, whatever the clock said then."""
    # Two pipelines may have begun a run at once.
    return sorted(receipts, key=lambda receipt: (receipt.sequence, receipt.run_id))


def next_sequence(output_dir: pathlib.Path) -> int:
    """The sequence number of a run that begins now; for the holder of the pipeline's lock.

    Receipts of other versions count, too: a project that reads those lists both. A number that no
    receipt may have does not.
    """
    documents = _readable(_receipt_files(output_dir), lambda path: _document(path)[1])
    numbers = (document.get("sequence") for document in documents)
    counted = (number for number in numbers if isinstance(number, int) and number < MOST_COUNTED)
    return 1 + max(counted, default=0)


def _readable(
    files: Iterable[pathlib.Path], read: Callable[[pathlib.Path], Read]
) -> Iterator[Read]:
    """What `read` makes of every receipt; a line in the log says which are left out, and why."""
    for path in files:
        try:
            yield read(path)
        except _FaultyReceiptError as fault:
            _warn_left_out(path, str(fault))


def _receipt_files(output_dir: pathlib.Path) -> Iterator[pathlib.Path]:
    """The file of each receipt; also one that may not be read, unlike with `glob`."""
    for runs in output_dir.glob("*/runs"):
        yield from _receipts_in(runs)


def _receipts_in(runs: pathlib.Path) -> Iterator[pathlib.Path]:
    try:
        folders = sorted(runs.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        _warn_left_out(runs, str(_unreadable(told(error))))
        return
    for folder in folders:
        path = folder / RECEIPT_FILE
        if os.path.lexists(path) or not os.access(folder, os.R_OK | os.X_OK):
            yield path


def _document(path: pathlib.Path) -> tuple[str, dict[str, JsonValue]]:
    """The text of a receipt of whatever version, and the JSON object that it is."""
    try:
        text = read_regular(path).decode()
        document = json.loads(text, parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(told(error)) from error
    if not isinstance(document, dict):
        raise _unreadable("it is not a JSON object")
    return text, document


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _receipt(path: pathlib.Path) -> Receipt:
    text, document = _document(path)
    _check_version(document.get("schema_version"))
    try:
        receipt = Receipt.from_json(text)
    except pydantic.ValidationError as error:
        raise _misfit(error) from error
    if receipt.status == Status.RUNNING:
        # So a run counts while it holds the lock; no run writes it.
        raise _unreadable("status: running is never written")
    own = f"{receipt.pipeline}/runs/{receipt.run_id}"
    if path.parts[-4:-1] != tuple(own.split("/")):
        raise _unreadable(f"it is that of {shown(own)}, of which this folder is a copy")
    return receipt


def _check_version(version: JsonValue) -> None:
    if not isinstance(version, int):
        raise _unreadable("it does not say its version")
    number = shown(str(version))
    if version > SCHEMA_VERSION:
        raise _FaultyReceiptError(
            f"has version {number}, of a later project; this one knows version {SCHEMA_VERSION}. "
            "Update the project"
        )
    if version < SCHEMA_VERSION:
        raise _FaultyReceiptError(
            f"has version {number}, of an earlier project; expected version {SCHEMA_VERSION}. "
            "Its page can still be opened. To be rid of this line, remove the folder of the run"
        )


def _misfit(error: pydantic.ValidationError) -> _FaultyReceiptError:
    """What to say of a JSON object of this version that is no receipt of this checkout."""
    if any(fault["type"] not in _FAULTS_OF_KEYS for fault in error.errors()):
        return _unreadable(faults_of(error))
    return _FaultyReceiptError(
        f"has other keys than this checkout of the project writes ({faults_of(error)}): an earlier "
        "or a later one wrote it, or it is damaged. Its page can still be opened. To be rid of "
        "this line, remove the folder of the run"
    )


def _unreadable(why: str) -> _FaultyReceiptError:
    return _FaultyReceiptError(
        f"cannot be read ({why}); expected the receipt of a run. Put the file back from a copy, or "
        "remove the folder of the run"
    )


@functools.cache
def _warn_left_out(path: pathlib.Path, fault: str) -> None:
    # Once: some commands read the receipts several times.
    logger.warning("%s %s. The run is left out.", escaped(str(path)), fault)


def runs(output_dir: pathlib.Path, wanted: Filter) -> list[Receipt]:
    """The receipts of the runs that fit, oldest first; a run at work has the status `running`.

    Raises:
      UnknownRunError: where there is no pipeline of the name.
    """
    receipts = read_receipts(output_dir)
    if wanted.pipeline is not None:
        find_pipeline(output_dir, wanted.pipeline)
    # Once for each pipeline: a database that does not answer takes seconds to say so.
    holder_of = functools.cache(_holder)
    present = [_as_of_now(receipt, output_dir, holder_of) for receipt in receipts]
    return [receipt for receipt in present if wanted.fits(receipt)]


def _as_of_now(
    receipt: Receipt, output_dir: pathlib.Path, holder_of: Callable[[Locations], Holder | None]
) -> Receipt:
    """The receipt, with the status `running` if the run is still at work."""
    if not receipt.is_unfinished:
        return receipt
    holder = holder_of(Locations(output_dir / receipt.pipeline))
    at_work = holder is not None and holder.run == receipt.run_id
    return receipt.changed(status=Status.RUNNING) if at_work else receipt


def _holder(locations: Locations) -> Holder | None:
    try:
        return exclusion.holder(locations)
    except (StoreError, StoreLockedError) as error:
        logger.warning("Whether a run of %s is at work is not known: %s", locations.root, error)
        return None


def find(output_dir: pathlib.Path, run: str) -> Receipt:
    """The receipt of a run; its status is `running` if the run is still at work.

    Args:
      output_dir: Folder of all pipelines.
      run: Id of the run, start of the id, or `latest`; `PIPELINE/` may stand before it.

    Raises:
      UnknownRunError: where no run, or more than one, fits.
    """
    pipeline, _, run_id = run.rpartition("/")
    receipts = read_receipts(output_dir)
    named = [receipt for receipt in receipts if pipeline in ("", receipt.pipeline)]
    fitting = [receipt for receipt in named if receipt.run_id.startswith(run_id)]
    if run_id == "latest":
        fitting = named[-1:]
    if len(fitting) == 1:
        return _as_of_now(fitting[0], output_dir, _holder)
    if not receipts:
        raise UnknownRunError(
            f"no run below {output_dir} yet; expected one to look at. Start one with "
            "`run`, or name another folder with --output-dir."
        )
    raise UnknownRunError(
        f"{len(fitting)} runs below {output_dir} fit {run!r}; expected the id of one run, "
        "PIPELINE/ID or latest. `runs` lists them."
    )


def receipts_of(locations: Locations) -> list[Receipt]:
    """The receipts of the runs of one pipeline, oldest first."""
    receipts = read_receipts(locations.root.parent)
    return [receipt for receipt in receipts if receipt.pipeline == locations.root.name]


def names_in(locations: Locations) -> set[str]:
    """The pipelines whose receipts are in the folder of one, whatever their version."""
    documents = _readable(_receipts_in(locations.runs), lambda path: _document(path)[1])
    return {str(document["pipeline"]) for document in documents if "pipeline" in document}


def pipelines(output_dir: pathlib.Path) -> list[Locations]:
    """Pipelines with runs below the output folder, in the order of their names.

    Any trace of a run is enough: other traces may have been lost.
    """
    folders = [Locations(path) for path in sorted(output_dir.resolve().glob("*")) if path.is_dir()]
    return [each for each in folders if any(_is_there(trace) for trace in _traces(each))]


def _is_there(path: pathlib.Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        # The folder belongs to somebody else and is no pipeline.
        return False


def _traces(locations: Locations) -> tuple[pathlib.Path, ...]:
    return locations.runs, locations.serving, locations.metadata, locations.database


def chosen(output_dir: pathlib.Path, name: str | None) -> list[Locations]:
    """The pipeline of a name; without one, all of them.

    Raises:
      UnknownRunError: where there is no such pipeline, or none at all.
    """
    chosen_pipelines = [find_pipeline(output_dir, name)] if name else pipelines(output_dir)
    if not chosen_pipelines:
        raise UnknownRunError(
            f"nothing has run below {output_dir}; expected a folder of results. Name it with "
            "--output-dir."
        )
    return chosen_pipelines


def served(output_dir: pathlib.Path) -> dict[str, int]:
    """The version that each pipeline serves now, by the name of the pipeline."""
    newest = {
        locations.root.name: versions.served_versions(locations.serving)[-1:]
        for locations in pipelines(output_dir)
    }
    return {name: found[0] for name, found in newest.items() if found}


def find_pipeline(output_dir: pathlib.Path, name: str) -> Locations:
    """The pipeline of a name.

    Raises:
      UnknownRunError: where none of the name has run below the output folder.
    """
    known = {locations.root.name: locations for locations in pipelines(output_dir)}
    if name in known:
        return known[name]
    raise UnknownRunError(
        f"no pipeline {name!r} has run below {output_dir}; expected "
        f"{' or '.join(known) or 'another --output-dir'}."
    )
