"""The processes that a scheduled run is made of."""

from __future__ import annotations

import pathlib
import sys
from typing import Protocol

import pydantic

from operations.receipts import ATTEMPT_VARIABLE
from operations.scheduling.child import Child, ProcessGroup
from operations.scheduling.plan import Target

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# Not by PYTHONPATH, which a colon in the name of the checkout would split.
_LOOK = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
    "runpy.run_module('operations.scheduling.look', run_name='__main__')"
)


class Commands(Protocol):
    """Starts what a scheduled run is made of."""

    def look(self, answer: pathlib.Path, log: pathlib.Path) -> Child:
        """Starts a look at the input; it leaves what it saw (`Seen`) in the file `answer`.

        Raises:
          OSError: where it cannot be started, or the log cannot be written.
        """

    def run(self, data: str, force: bool, log: pathlib.Path, attempt: str) -> Child:
        """Starts the run.

        Args:
          data: what it takes.
          force: whether it runs where nothing changed, too.
          log: what it prints is added to this file.
          attempt: what its receipt names, so that it is known by it.

        Raises:
          OSError: where it cannot be started, or the log cannot be written.
        """


class PipelineCommands:
    """Looks and runs with the code of this checkout."""

    def __init__(self, target: Target):
        """Starts runs of `target`."""
        self._target = target

    def look(self, answer: pathlib.Path, log: pathlib.Path) -> Child:
        """Starts a look at the input; it leaves what it saw (`Seen`) in the file `answer`."""
        target = pydantic.TypeAdapter(Target).dump_json(self._target).decode()
        # -P: the folder that the scheduler was started in holds no modules of ours.
        command = [sys.executable, "-P", "-c", _LOOK, str(_ROOT), target, str(answer)]
        return ProcessGroup(command, log, {})

    def run(self, data: str, force: bool, log: pathlib.Path, attempt: str) -> Child:
        """Starts the run."""
        command = [sys.executable, str(_ROOT / "pipeline_runner.py"), "run"]
        command += self._target.arguments(data) + (["--force"] if force else [])
        return ProcessGroup(command, log, {ATTEMPT_VARIABLE: attempt})
