"""The processes of a scheduled run, each with all that it starts in turn."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

import pydantic

from operations.recording import ATTEMPT_VARIABLE
from operations.scheduling.plan import Target

# The first process of a container or a machine, which becomes the parent of all orphans.
_FIRST_PROCESS = 1
_ROOT = pathlib.Path(__file__).resolve().parents[2]
# Not by PYTHONPATH, which a colon in the name of the checkout would split.
_LOOK = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from operations.scheduling import look; sys.exit(look.main())"
)


class ProcessGroup:
    """A process in a session of its own: neither crash nor leak nor Ctrl-C is shared with it."""

    def __init__(self, command: Sequence[str], log: pathlib.Path, environment: Mapping[str, str]):
        """Starts the process.

        Args:
          command: Program and arguments.
          log: File to which its output is added.
          environment: Variables beside those of this process.

        Raises:
          OSError: where it cannot be started, or the log cannot be written.
        """
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """Exit code, negative after a signal; None while the process is at work.

        When the process has ended, everything that it started ends as well.
        """
        if self._process.returncode is None and self._has_ended():
            # Before its number is given back, so that no other process can have it.
            self.kill()
            self._process.wait()
        if os.getpid() == _FIRST_PROCESS:
            self._reap_orphans()
        return self._process.returncode

    def terminate(self) -> None:
        """Asks the process to end; it ends what it started itself."""
        self._process.terminate()

    def kill(self) -> None:
        """Ends the process and everything that it started."""
        os.killpg(self._process.pid, signal.SIGKILL)

    def _has_ended(self) -> bool:
        return _ended_child(os.P_PID, self._process.pid) is not None

    def _reap_orphans(self) -> None:
        """Reaps what has ended and has no other parent left, or it would stay as a zombie."""
        # How the process itself ended is for `poll` to learn.
        own = self._process.pid if self._process.returncode is None else None
        # Raised where no child is left.
        with contextlib.suppress(ChildProcessError):
            while (ended := _ended_child(os.P_ALL, 0)) not in (None, own):
                os.waitpid(ended, 0)


def _ended_child(kind: int, number: int) -> int | None:
    """Number of a child that has ended and is not reaped yet, if any."""
    ended = os.waitid(kind, number, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return ended.si_pid if ended else None


class Commands:
    """Starts looks and runs with the code of this checkout."""

    def __init__(self, target: Target, pipeline: str):
        """Takes what to run, and the name of the pipeline."""
        self._target = target
        self._pipeline = pipeline

    def look(self, answer: pathlib.Path, log: pathlib.Path) -> ProcessGroup:
        """Starts a look at the input, which writes what it saw (`Seen`) to the file `answer`.

        Raises:
          OSError: where it cannot be started, or the log cannot be written.
        """
        target = pydantic.TypeAdapter(Target).dump_json(self._target).decode()
        # -P: the folder that the scheduler was started in holds no modules of ours.
        command = [sys.executable, "-P", "-c", _LOOK, str(_ROOT), target]
        command += [self._pipeline, str(answer)]
        return ProcessGroup(command, log, {})

    def run(self, data: str, force: bool, log: pathlib.Path, attempt: str) -> ProcessGroup:
        """Starts the run.

        Args:
          data: Data of the run.
          force: Whether it runs where nothing changed, too.
          log: File to which its output is added.
          attempt: Name by which its receipt is found.

        Raises:
          OSError: where it cannot be started, or the log cannot be written.
        """
        command = [sys.executable, str(_ROOT / "pipeline_runner.py"), "run"]
        command += self._target.arguments(data) + (["--force"] if force else [])
        return ProcessGroup(command, log, {ATTEMPT_VARIABLE: attempt})
