"""What the scheduler knows after a restart."""

from __future__ import annotations

import pathlib

import pydantic

from components.disk import write_whole
from operations.notifications.events import AlarmKind
from pipeline.errors import ExitCode


class LastRun(pydantic.BaseModel):
    """How the last run ended.

    Attributes:
      scheduled: Time at which it was due.
      ended: Time of its end.
      exit_code: Exit code of the run.
      run_id: Id of the run; None where it has no receipt.
      text: Its end in words.
    """

    scheduled: pydantic.AwareDatetime
    ended: pydantic.AwareDatetime
    exit_code: ExitCode
    run_id: str | None
    text: str


class State(pydantic.BaseModel):
    """The state of a schedule.

    Attributes:
      schedule: Cron expression and zone of the times below.
      handled: Time up to which every run has been run, skipped or told as missed.
      at_work: Due time of the run that is at work.
      waiting: Due time of the run that waits for it, or for a look at the data.
      held_since: Due time of the first of the last runs that all found the pipeline held by others.
      last_run: The run that ended last.
      unrecorded: For each exit code, when a run last ended with it and left no receipt. It may have
        found that nothing changed, or that its input is bad.
      alarms: Text of each alarm that is not over.
      refused_by_run: Whether a run itself refused to start, for a reason that no look checks, and
        none has started since.
      untold: Those of these alarms whose message has reached nobody yet.
      arrivals: What the last look saw: `Seen.arrivals`.
      data_since: Time at which new data was last seen, or data for the first time.
    """

    schedule: str | None = None
    handled: pydantic.AwareDatetime | None = None
    at_work: pydantic.AwareDatetime | None = None
    waiting: pydantic.AwareDatetime | None = None
    held_since: pydantic.AwareDatetime | None = None
    last_run: LastRun | None = None
    unrecorded: dict[ExitCode, pydantic.AwareDatetime] = {}
    alarms: dict[AlarmKind, str] = {}
    refused_by_run: bool = False
    untold: set[AlarmKind] = set()
    arrivals: int = 0
    data_since: pydantic.AwareDatetime | None = None

    def write(self, path: pathlib.Path) -> None:
        """Writes the state whole or not at all.

        Raises:
          OSError: where it cannot be written.
        """
        write_whole(path, self.model_dump_json(indent=1) + "\n")


def read_state(path: pathlib.Path) -> State:
    """The state that an earlier scheduler kept; a new one where there is none that can be read."""
    # A pipe would keep its reader waiting, and a device might have no end.
    if not path.is_file():
        return State()
    try:
        return State.model_validate_json(path.read_bytes())
    except (FileNotFoundError, pydantic.ValidationError):
        return State()
