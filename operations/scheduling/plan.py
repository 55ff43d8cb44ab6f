"""What the scheduler is asked for: what to run, and what to do when it does not go smoothly."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib

from operations.scheduling.clock import duration
from operations.scheduling.timetable import Timetable
from pipeline.config_file import Settings, combine
from pipeline.errors import ConfigurationError

_SHOWN_TIMES = 5


@dataclasses.dataclass(frozen=True)
class Target:
    """What to run, in options of `run`.

    Attributes:
      config_file: Configuration file, which each run reads anew; None for no file.
      profile: Name of a profile; None leaves it to the file, else to the data.
      data: `auto`, `sample` or a path; None leaves it to the file, else `auto`.
      runner: `local` or `beam`.
      assignments: `key=value` each.
      seed: Random seed; None leaves the one of the configuration.
      output_dir: Folder of all pipelines.
      notify_file: File of the addresses to notify; None for no file.
    """

    config_file: pathlib.Path | None
    profile: str | None
    data: str | None
    runner: str
    assignments: tuple[str, ...]
    seed: int | None
    output_dir: pathlib.Path
    notify_file: pathlib.Path | None

    def settings(self) -> Settings:
        """What the options ask for, with the configuration file as it is now.

        Raises:
          ConfigurationError: where the file cannot be read, or a key or a value in it is bad.
          PathError: where its path, or one that it holds, cannot be used.
        """
        return combine(
            self.config_file,
            profile=self.profile,
            data=self.data,
            seed=self.seed,
            assignments=self.assignments,
        )

    def arguments(self, folder: str) -> list[str]:
        """The arguments of `run`.

        Args:
          folder: Data that was found; it replaces `auto`, which may find the sample.
        """
        options: dict[str, object] = {"--config": self.config_file, "--profile": self.profile}
        options |= {"--data": folder}
        options |= {"--runner": self.runner, "--seed": self.seed}
        options |= {"--output-dir": self.output_dir, "--notify-file": self.notify_file}
        given = [(name, str(value)) for name, value in options.items() if value is not None]
        given += [("--set", assignment) for assignment in self.assignments]
        return [part for pair in given for part in pair]


@dataclasses.dataclass(frozen=True)
class Policy:
    """What to do when runs do not go smoothly.

    Attributes:
      queue: Whether a run that is due waits for the one at work, instead of being skipped.
      run_missed: Whether a missed run is made up for, once.
      grace_seconds: Longest delay after which a missed run is still made up for.
      jitter_seconds: Longest random delay of each run.
      time_limit_seconds: Longest duration of a run; None sets no limit.
      retries: Number of retries after a failure.
      backoff_seconds: Pause before the first retry; it doubles with each.
      on_change: Whether runs only begin where data, code or configuration changed.
      data_due_seconds: Longest time without new data before an alarm; None for no alarm.
      look_seconds: Longest time for reading the data ahead of a run. What takes longer hangs, on a
        network drive for example.
      stop_seconds: Time that a run has to end once it is asked to, before it is killed.
    """

    queue: bool = False
    run_missed: bool = True
    grace_seconds: float = 12 * 3600
    jitter_seconds: float = 0
    time_limit_seconds: float | None = None
    retries: int = 0
    backoff_seconds: float = 60
    on_change: bool = False
    data_due_seconds: float | None = None
    look_seconds: float = 3600
    stop_seconds: float = 60

    @property
    def description(self) -> str:
        """The policy in words."""
        limit, due = self.time_limit_seconds, self.data_due_seconds
        parts = [
            f"a run that is due while another is at work {'waits' if self.queue else 'is skipped'}",
            f"one that was missed is made up for within {duration(self.grace_seconds)}"
            if self.run_missed
            else "one that was missed is skipped",
            f"a run may take {duration(limit)}" if limit else "a run may take as long as it does",
            f"{self.retries} retries, the first after {duration(self.backoff_seconds)}"
            if self.retries
            else "no retries",
            "only where data, code or configuration changed" if self.on_change else None,
            f"new data is due every {duration(due)}" if due else None,
        ]
        return "; ".join(part for part in parts if part)


@dataclasses.dataclass(frozen=True)
class Upcoming:
    """The next times at which runs are due.

    Attributes:
      now: Time at which they were asked for.
      times: Times, in the zone of the schedule.
    """

    now: datetime.datetime
    times: tuple[datetime.datetime, ...]


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of `schedule`.

    Attributes:
      target: What to run.
      policy: What to do when runs do not go smoothly.
      cron: Cron expression; a single run needs none.
      timezone: Time zone of the expression.
      start: Earliest time, as text; None for no limit.
      end: Latest time, as text; None for no limit.
      metrics_port: Port of the metrics; None serves none.
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
          ConfigurationError: where the times cannot be read, or nothing is due any more.
        """
        if self.cron is None:
            raise ConfigurationError(
                "--cron is missing; expected an expression, such as --cron '30 3 * * mon-fri', or "
                "--once for a single run."
            )
        timetable = Timetable(self.cron, self.timezone, self.start, self.end)
        if timetable.next_after(datetime.datetime.now(datetime.UTC)) is None:
            raise ConfigurationError(
                f"--end {self.end} leaves no time for {timetable.name}; expected a later date, "
                "such as --end 2030-12-31, or none."
            )
        return timetable

    def upcoming(self) -> Upcoming:
        """The next times at which runs are due.

        Raises:
          ConfigurationError: where the times cannot be read, or nothing is due any more.
        """
        now = datetime.datetime.now(datetime.UTC)
        return Upcoming(now, tuple(self.timetable().upcoming(now, _SHOWN_TIMES)))
