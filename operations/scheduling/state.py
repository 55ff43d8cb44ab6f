"""What the scheduler knows after a restart."""

from __future__ import annotations

import datetime
import pathlib

import pydantic


class LastRun(pydantic.BaseModel):
    """How the run before ended.

    Attributes:
      scheduled: when it was due.
      ended: when it ended.
      exit_code: of the run.
      run_id: None where it did not come so far.
      text: the same in words.
    """

    scheduled: datetime.datetime
    ended: datetime.datetime
    exit_code: int
    run_id: str | None
    text: str


class State(pydantic.BaseModel):
    """The state of a schedule.

    Attributes:
      schedule: cron expression and zone that `handled` is of.
      handled: all times up to this one have been run, skipped or told as missed.
      at_work: when the run that has not ended was due.
      waiting: when the run that waits for it was due.
      last_run: the one that ended last.
      alarms: what was told and is not over, by kind.
      data_digest: of the data that was seen last.
      data_since: when that was first seen.
    """

    schedule: str | None = None
    handled: datetime.datetime | None = None
    at_work: datetime.datetime | None = None
    waiting: datetime.datetime | None = None
    last_run: LastRun | None = None
    alarms: dict[str, str] = {}
    data_digest: str | None = None
    data_since: datetime.datetime | None = None


def read_state(path: pathlib.Path) -> State:
    """The state that an earlier scheduler kept; a new one where it kept none that can be read."""
    try:
        return State.model_validate_json(path.read_bytes())
    except (FileNotFoundError, pydantic.ValidationError):
        return State()
