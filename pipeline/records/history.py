"""Which runs there were: those that fit a filter, with those still at work told apart."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
from typing import Any

from components.pusher import versions
from pipeline import lock
from pipeline.errors import UnknownRunError, UsageError
from pipeline.locations import Locations
from pipeline.records import metadata

# Of a run that is at work; its receipt says "interrupted" until its end.
RUNNING = "running"


@dataclasses.dataclass(frozen=True)
class Filter:
    """Which runs are asked for; None asks for all.

    Attributes:
      status: `running`, or one of the receipt's.
      verdict: one of the receipt's.
      pipeline: the name of a pipeline.
      since: the earliest beginning, with its time zone.
      until: the latest beginning, with its time zone.
    """

    status: str | None = None
    verdict: str | None = None
    pipeline: str | None = None
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None

    def fits(self, receipt: dict[str, Any]) -> bool:
        """Whether a run is among those that are asked for."""
        began = datetime.datetime.fromisoformat(receipt["began"])
        return (
            self.status in (None, receipt["status"])
            and self.verdict in (None, receipt["verdict"])
            and self.pipeline in (None, receipt["pipeline"])
            and (self.since is None or began >= self.since)
            and (self.until is None or began <= self.until)
        )


def runs(output_dir: pathlib.Path, wanted: Filter) -> list[dict[str, Any]]:
    """The receipts of the runs that fit, oldest first; the status of one at work is `running`.

    Raises:
      UnknownRunError: where there is no pipeline of the name.
    """
    receipts = metadata.read_receipts(output_dir)
    if wanted.pipeline is not None:
        find_pipeline(output_dir, wanted.pipeline)
    present = [as_of_now(receipt, output_dir) for receipt in receipts]
    return [receipt for receipt in present if wanted.fits(receipt)]


def as_of_now(receipt: dict[str, Any], output_dir: pathlib.Path) -> dict[str, Any]:
    """A receipt whose status is `running` where the run has not come to its end yet."""
    if not metadata.is_unfinished(receipt):
        return receipt
    holder = lock.holder(Locations(output_dir / receipt["pipeline"]).lock) or {}
    at_work = holder.get("run") == receipt["run_id"]
    return {**receipt, "status": RUNNING} if at_work else receipt


def find(output_dir: pathlib.Path, run: str) -> dict[str, Any]:
    """The receipt of one run; the status of one at work is `running`.

    Raises:
      UnknownRunError: where no run, or more than one, fits.
    """
    return as_of_now(metadata.find_receipt(output_dir, run), output_dir)


def receipts_of(locations: Locations) -> list[dict[str, Any]]:
    """Those of the runs of one pipeline, oldest first."""
    receipts = metadata.read_receipts(locations.root.parent)
    return [receipt for receipt in receipts if receipt["pipeline"] == locations.root.name]


def pipelines(output_dir: pathlib.Path) -> list[Locations]:
    """Those that have run at least once below the output folder, in the order of their names.

    Any trace of a run is enough: the others may have been lost.
    """
    found = [Locations(path) for path in sorted(output_dir.resolve().glob("*")) if path.is_dir()]
    return [each for each in found if any(_is_there(trace) for trace in _traces(each))]


def _is_there(path: pathlib.Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        # A folder of somebody else, beside those of the pipelines.
        return False


def _traces(locations: Locations) -> tuple[pathlib.Path, ...]:
    return locations.runs, locations.serving, locations.metadata


def chosen(output_dir: pathlib.Path, name: str | None) -> list[Locations]:
    """The pipeline of a name; without one, all of them.

    Raises:
      UnknownRunError: where there is no such pipeline, or none at all.
    """
    found = [find_pipeline(output_dir, name)] if name else pipelines(output_dir)
    if not found:
        raise UnknownRunError(
            f"nothing has run below {output_dir}; expected a folder of results. Name it with "
            "--output-dir."
        )
    return found


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


def between(
    since: str | None, until: str | None
) -> tuple[datetime.datetime | None, datetime.datetime | None]:
    """A span of time as people write it, in local time unless a zone is named.

    Args:
      since: its beginning, in ISO 8601, such as `2026-11-22`, `2026-11-22 21:30` or
        `2026-11-22T21:30+01:00`; a date alone counts from its first moment.
      until: its end, of the same form; a date alone counts to its last moment.

    Raises:
      UsageError: where one is neither date nor time, or the end comes before the beginning.
    """
    begin = None if since is None else _moment(since, datetime.time.min)
    end = None if until is None else _moment(until, datetime.time.max)
    if begin and end and end < begin:
        raise UsageError(
            f"--until {until} lies before --since {since}; expected a later time, or the same day."
        )
    return begin, end


def _moment(text: str, of_a_date: datetime.time) -> datetime.datetime:
    try:
        found = _parsed(text, of_a_date)
        return found if found.tzinfo else found.astimezone()
    # Of times so far off that no zone reaches them, the system says that they overflow.
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{text!r} is no date or time; expected one such as 2026-11-22 or 2026-11-22T21:30."
        ) from error


def _parsed(text: str, of_a_date: datetime.time) -> datetime.datetime:
    try:
        return datetime.datetime.combine(datetime.date.fromisoformat(text), of_a_date)
    except ValueError:
        return datetime.datetime.fromisoformat(text)
