"""The `schedule` command: what it refuses, and what it starts."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import shlex
import sys
import zoneinfo
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from operations.scheduling.clock import SystemClock, duration
from operations.scheduling.plan import Policy, Target
from operations.scheduling.timetable import Timetable
from pipeline import config as configuration
from pipeline import paths
from pipeline.datasets import data as data_sets
from pipeline.errors import ConfigurationError, LockHeldError, OutputError, StoreLockedError
from pipeline.locations import Locations
from pipeline.lock import exclusive

if TYPE_CHECKING:
    from operations.notifications.metrics import Metrics
    from operations.notifications.notifying import Notifier
    from operations.scheduling.look import Seen
    from operations.scheduling.report import Report
    from operations.scheduling.runs import Runs

_SHOWN_TIMES = 5
_EACH_MINUTE = "* * * * *"
# What has no place in a unit: a service that ends with each run would be started again and again.
_NOT_IN_UNIT = ("--once", "--next", "--json")
_PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "pipeline_runner.py"


@dataclasses.dataclass(frozen=True)
class Options:
    """What `schedule` was given.

    Attributes:
      target: what runs.
      policy: what happens where runs do not go smoothly.
      cron: the expression; None is enough for a single run.
      timezone: in which it counts.
      start: the earliest time, as text; None for no limit.
      end: the latest time, as text; None for no limit.
      metrics_port: where monitoring finds metrics; None serves none.
    """

    target: Target
    policy: Policy
    cron: str | None
    timezone: str
    start: str | None
    end: str | None
    metrics_port: int | None

    def timetable(self) -> Timetable:
        """When runs are due.

        Raises:
          ConfigurationError: where that cannot be read, or nothing is due any more.
        """
        if self.cron is None:
            raise ConfigurationError(
                "--cron is missing; expected an expression, such as --cron '30 3 * * mon-fri', or "
                "--once for a single run."
            )
        timetable = Timetable(self.cron, self.timezone, self.start, self.end)
        if timetable.next_after(_now()) is None:
            raise ConfigurationError(
                f"--end {self.end} leaves no time for {timetable.name}; expected a later date, "
                "such as --end 2030-12-31, or none."
            )
        return timetable


def show_next(options: Options, as_json: bool) -> None:
    """Prints the next times, and starts nothing."""
    now = _now()
    times = options.timetable().upcoming(now, _SHOWN_TIMES)
    if as_json:
        print(json.dumps([time.isoformat() for time in times]))
        return
    for time in times:
        print(f"{time:%a %Y-%m-%d %H:%M %Z}  in {duration((time - now).total_seconds())}")


def install_unit(options: Options, arguments: Sequence[str], path: str | None) -> None:
    """Writes the systemd unit for a command line, and says how to enable it; starts nothing.

    Args:
      options: what the command line says.
      arguments: the command line itself: `schedule`, and what it is given.
      path: of the unit file; `-` prints it, None takes systemd's folder of the user.

    Raises:
      UsageError: where the service would refuse to start, or the unit cannot be written.
    """
    from operations.notifications.notifying import ADDRESSES_VARIABLE
    from operations.scheduling.unit import Unit

    _check_unit(options, arguments)
    command = [sys.executable, str(_PROGRAM), *_without_unit(arguments)]
    pipeline, stop_seconds = options.target.pipeline_name(), options.policy.stop_seconds
    unit = Unit(pipeline, command, pathlib.Path.cwd(), stop_seconds)
    if os.environ.get(ADDRESSES_VARIABLE):
        note = f"{ADDRESSES_VARIABLE} holds secrets and is not part of the unit: name a file"
        print(f"{note} with --notify-file instead.", file=sys.stderr)
    if path == "-":
        print(unit.text(os.environ), end="")
        return
    written = unit.install(pathlib.Path(path) if path else None)
    print(f"Wrote {written}. It starts now, and whenever the machine does, with:\n")
    name = shlex.quote(str(written)) if path else unit.file_name
    print(f"  systemctl --user enable --now {name}")
    print("  loginctl enable-linger")


def _check_unit(options: Options, arguments: Sequence[str]) -> None:
    """Refuses now, while somebody is there, what the service would refuse at its start."""
    alone = [argument for argument in arguments if argument in _NOT_IN_UNIT]
    if alone:
        raise ConfigurationError(
            f"{', '.join(alone)} beside --install-unit; expected the options of a schedule that "
            "goes on. Leave out one or the other."
        )
    _check_working_folder(pathlib.Path.cwd())
    options.timetable()
    target = options.target
    if target.notify_file:
        _notifier(target)
    if target.data not in (data_sets.AUTO, data_sets.SAMPLE):
        asked = configuration.load(target.profile or "default", target.assignments)
        data_sets.find(target.data, lambda line: print(line, file=sys.stderr), asked.spans)


def _check_working_folder(folder: pathlib.Path) -> None:
    """Refuses a folder whose name systemd reads otherwise: it takes no quotes around it."""
    paths.refuse_untold(str(folder), "working folder")
    if str(folder) != str(folder).rstrip(" \\"):
        raise ConfigurationError(
            f"the working folder {str(folder)!r} ends in a space or a backslash, which systemd "
            "does not take; expected another end. Rename it, or start from another folder."
        )


def _without_unit(arguments: Sequence[str]) -> list[str]:
    """A command line that runs what it would otherwise install."""
    left, skip = [], False
    for argument in arguments:
        if not skip and argument != "--install-unit" and not argument.startswith("--unit-file"):
            left.append(argument)
        skip = argument == "--unit-file"
    return left


def once(options: Options) -> int:
    """Runs now as the schedule would; returns the exit code of the run.

    Raises:
      UsageError: where the input is not sound when a schedule begins, or its times cannot be read.
    """
    cron = options.cron or _EACH_MINUTE
    timetable = Timetable(cron, options.timezone, options.start, options.end)
    with _scheduler(options, timetable.zone) as (runs, _, _):
        return runs.once()


def serve(options: Options) -> None:
    """Runs the schedule, until none of its times is left or somebody asks for the end.

    Raises:
      UsageError: where the input is not sound when a schedule begins.
      LockHeldError: where another scheduler is at work.
    """
    from operations.scheduling.service import Service

    timetable = options.timetable()
    with _scheduler(options, timetable.zone) as (runs, clock, report):
        times = timetable.upcoming(clock.now(), _SHOWN_TIMES)
        report.tell(f"{timetable.name}; next {', '.join(map(report.time, times))}")
        report.tell(options.policy.description)
        if runs.state.last_run:
            report.tell(f"the last one: {runs.state.last_run.text}")
        Service(timetable, options.policy, runs, clock, report).serve()


@contextlib.contextmanager
def _scheduler(
    options: Options, place: zoneinfo.ZoneInfo
) -> Iterator[tuple[Runs, SystemClock, Report]]:
    """The parts of a scheduler, which is the only one of its pipeline until the block ends."""
    # Here and not above: whatever is refused is refused before, and at once.
    from operations.scheduling.commands import PipelineCommands
    from operations.scheduling.report import Report
    from operations.scheduling.runs import Runs
    from operations.scheduling.state import read_state
    from operations.scheduling.work import Work

    target, policy = options.target, options.policy
    name = target.pipeline_name()
    locations = Locations((target.output_dir / name).resolve())
    file = locations.root / "schedule" / "state.json"
    clock = SystemClock()
    report = Report(name, place, clock, _metrics(options, name), _notifier(target))
    seen = None if file.exists() else _first_look(target)
    _make(file.parent)
    with exclusive(locations.root / "schedule.lock", "schedule"), clock.listening():
        work = Work(PipelineCommands(target), policy, locations, clock, report)
        runs = Runs(work, policy, read_state(file), file, clock, report)
        if seen:
            runs.data.note(seen)
        yield runs, clock, report


def _metrics(options: Options, pipeline: str) -> Metrics:
    from operations.notifications.metrics import Metrics
    from pipeline.records import history, metadata

    metrics = Metrics(pipeline)
    if options.metrics_port is not None:
        metrics.serve(options.metrics_port)
        output_dir = options.target.output_dir
        receipts = metadata.read_receipts(output_dir)
        metrics.restore([history.as_of_now(receipt, output_dir) for receipt in receipts])
    return metrics


def _notifier(target: Target) -> Notifier:
    from operations.notifications.notifying import Notifier

    return Notifier.from_options(target.notify_file)


def _first_look(target: Target) -> Seen | None:
    """Looks at the input where nobody has before: what is not sound then is refused.

    Later, when nobody is there to be told, it is an alarm.
    """
    from operations.scheduling.look import look

    # A run by hand may be at work, or somebody reads; the schedule begins all the same.
    with contextlib.suppress(LockHeldError, StoreLockedError):
        return look(target)
    return None


def _make(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made ({error.strerror}); expected a folder for the results. "
            "Choose another with --output-dir."
        ) from error


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
