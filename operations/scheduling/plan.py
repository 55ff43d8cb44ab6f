"""What is asked of the scheduler: what to run, and what to do where it does not go smoothly."""

from __future__ import annotations

import dataclasses
import pathlib

from operations.scheduling.clock import duration
from pipeline import config
from pipeline.datasets import data


@dataclasses.dataclass(frozen=True)
class Target:
    """What runs: the options of `run` that say so.

    Attributes:
      profile: name of a profile; None takes `default`, or `smoke` for the sample.
      data: `auto`, `sample` or a folder.
      runner: `local` or `beam`.
      assignments: `key=value` each.
      seed: of everything random; None leaves the configuration's.
      output_dir: below it a folder per pipeline.
      notify_file: addresses of those who are told of runs and alarms; None names no file.
    """

    profile: str | None
    data: str
    runner: str
    assignments: tuple[str, ...]
    seed: int | None
    output_dir: pathlib.Path
    notify_file: pathlib.Path | None

    def pipeline_name(self) -> str:
        """The pipeline that the runs are of; never that of the sample, unless it is asked for.

        Raises:
          ConfigurationError: where the profile, a key or a value is not known or out of range.
        """
        sample = self.data == data.SAMPLE
        profile = self.profile or ("smoke" if sample else "default")
        found = config.load(profile, self.assignments, sample=sample, seed=self.seed)
        return config.pipeline_name(found, sample)

    def arguments(self, folder: str) -> list[str]:
        """The arguments of `run`.

        Args:
          folder: the data that was found; takes the place of `auto`, which may find the sample.
        """
        options: dict[str, object] = {"--profile": self.profile, "--data": folder}
        options |= {"--runner": self.runner, "--seed": self.seed}
        options |= {"--output-dir": self.output_dir, "--notify-file": self.notify_file}
        given = [(name, str(value)) for name, value in options.items() if value is not None]
        given += [("--set", assignment) for assignment in self.assignments]
        return [part for pair in given for part in pair]


@dataclasses.dataclass(frozen=True)
class Policy:
    """What happens where runs do not go smoothly.

    Attributes:
      queue: whether one run waits for the one at work; else it is skipped.
      run_missed: whether a run that was missed is made up for, once.
      grace_seconds: how late such a run may be.
      jitter_seconds: by how much a run is put off at most, at random.
      time_limit_seconds: how long a run may take; None sets no limit.
      retries: how often a run that failed is tried again.
      backoff_seconds: the pause before the first retry; it doubles with each.
      on_change: whether it runs only where data, code or configuration changed.
      data_due_seconds: how long the data may stay the same without an alarm; None for ever.
      stop_seconds: how long a run has to end once it is asked to, before it is killed.
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
    stop_seconds: float = 60

    @property
    def description(self) -> str:
        """The same in words."""
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
