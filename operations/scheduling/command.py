"""The `schedule` command: puts the scheduler together, and starts it."""

from __future__ import annotations

import contextlib
import zoneinfo
from collections.abc import Iterator

from components import environment
from operations.notifications.metrics import Metrics
from operations.notifications.notifying import CurrentNotifier
from operations.preparation import writable
from operations.scheduling.clock import Clock
from operations.scheduling.look import Seen, look
from operations.scheduling.plan import Options, Target
from operations.scheduling.processes import Commands
from operations.scheduling.report import Report
from operations.scheduling.runs import Runs
from operations.scheduling.service import Service
from operations.scheduling.timetable import Timetable
from operations.scheduling.work import Work
from pipeline.errors import ExitCode, LockHeldError, StoreLockedError
from pipeline.locations import Locations
from pipeline.lock import check_free, exclusive
from pipeline.records import history

_EACH_MINUTE = "* * * * *"


def once(options: Options) -> ExitCode:
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
    timetable = options.timetable()
    with _scheduler(options, timetable.zone) as (runs, clock, report):
        times = options.upcoming().times
        report.tell(f"{timetable.name}; next {', '.join(map(report.time, times))}")
        report.tell(options.policy.description)
        if runs.state.last_run:
            report.tell(f"the last one: {runs.state.last_run.text}")
        Service(timetable, options.policy, runs, clock, report).serve()


@contextlib.contextmanager
def _scheduler(options: Options, zone: zoneinfo.ZoneInfo) -> Iterator[tuple[Runs, Clock, Report]]:
    """The parts of a scheduler, which is the only one of its pipeline until the block ends."""
    target, policy = options.target, options.policy
    name = target.settings().pipeline_name()
    locations = Locations((target.output_dir / name).resolve())
    file = locations.root / "schedule" / "state.json"
    clock = Clock()
    lock = locations.root / "schedule.lock"
    # A second scheduler neither reads all data nor asks for the port of the first. The lock itself
    # makes a folder, which nobody wants where the input is refused.
    check_free(lock)
    notifier, metrics = CurrentNotifier(target.notify_file), Metrics(name)
    report = Report(name, zone, clock, metrics, notifier)
    seen = None if file.exists() else _first_look(target, name)
    writable(file.parent)
    with exclusive(lock, "schedule"), clock.listening():
        if environment.dropped():
            # The runs do not inherit them, so that their logs cannot name them.
            report.tell(f"left out of the environment: {', '.join(environment.dropped())}")
        work = Work(Commands(target, name), policy, locations, clock, report)
        runs = Runs(work, policy, file, clock, report)
        if options.metrics_port is not None:
            past = history.runs(target.output_dir, history.Filter())
            metrics.restore(past, runs.state.unrecorded)
            metrics.serve(options.metrics_port)
        if seen:
            runs.data.note(seen)
        yield runs, clock, report


def _first_look(target: Target, pipeline: str) -> Seen | None:
    """Looks at the input for the first time: what is not sound is refused.

    Later, when nobody is there to be told, it is an alarm.
    """
    # A run by hand may be at work, or somebody reads; the schedule begins all the same.
    with contextlib.suppress(LockHeldError, StoreLockedError):
        return look(target, pipeline)
    return None
