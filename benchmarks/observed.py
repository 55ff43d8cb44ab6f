"""Runs a command as a process of its own, and observes what it costs."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import resource
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence

from benchmarks import processes

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_SECONDS_BETWEEN_LOOKS = 0.25
# getrusage counts writes in blocks of 512 bytes, whatever those of the file system are.
_BLOCK = 512


@dataclasses.dataclass(frozen=True)
class Observed:
    """What a command cost, with all processes that it started.

    Attributes:
      began: when it was started, in seconds since 1970.
      seconds: from its start to its end.
      processor_seconds: that its processes were at work, on all cores together.
      peak_memory: bytes, of all its processes together; what several of them have in memory, such
        as a library, counts for each.
      bytes_written: to files on disks, those that it removed again included. What is written to
        file systems in memory does not count.
      bytes_left: in its temporary folder when it had ended.
    """

    began: float
    seconds: float
    processor_seconds: float
    peak_memory: int
    bytes_written: int
    bytes_left: int


def observe(command: Sequence[str], folder: pathlib.Path, environment: dict[str, str]) -> Observed:
    """Runs a command in the project's folder.

    Args:
      command: with its arguments.
      folder: an empty one for its log and its temporary files.
      environment: variables that it gets beside those of this process.

    Raises:
      MeasurementError: where it fails.
    """
    temporary, log = folder / "tmp", folder / "log.txt"
    temporary.mkdir(parents=True)
    variables = {**os.environ, **environment, "TMPDIR": str(temporary)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began, started = time.time(), time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=_ROOT,
            env=variables,
            stdout=output,
            stderr=output,
            # A session of its own, by which its processes are known.
            start_new_session=True,
        )
        with _ended_with_us(process):
            peak_memory = _wait(process)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise _failure(command, process.returncode, log)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Observed(
        began=began,
        seconds=seconds,
        processor_seconds=_processor_seconds(after) - _processor_seconds(before),
        peak_memory=peak_memory,
        bytes_written=(after.ru_oublock - before.ru_oublock) * _BLOCK,
        bytes_left=size(temporary),
    )


def size(folder: pathlib.Path) -> int:
    """Bytes of all files below a folder, those with several names counted once."""
    found = [path.lstat() for path in folder.rglob("*") if path.is_file()]
    return sum({(status.st_dev, status.st_ino): status.st_size for status in found}.values())


def _wait(process: subprocess.Popen) -> int:
    """Waits for the end; returns the most memory that was seen in use, in bytes."""
    peak = 0
    while True:
        try:
            process.wait(_SECONDS_BETWEEN_LOOKS)
            return peak
        except subprocess.TimeoutExpired:
            peak = max(peak, _memory(process.pid))


def _memory(session: int) -> int:
    """Memory of all processes of a session, in bytes."""
    processes_now = [path for path in pathlib.Path("/proc").iterdir() if path.name.isdigit()]
    return sum(_resident(path, session) for path in processes_now)


def _resident(process: pathlib.Path, session: int) -> int:
    """Bytes of a process, where it belongs to the session and has not just ended."""
    try:
        if os.getsid(int(process.name)) != session:
            return 0
        # A counter of the system. The share of shared memory, in smaps_rollup, is found by a walk
        # over all pages, during which the process can neither get memory nor give it back.
        pages = (process / "statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()


def _processor_seconds(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


@contextlib.contextmanager
def _ended_with_us(process: subprocess.Popen) -> Iterator[None]:
    """Kills the process and those that it started where this one is interrupted."""
    try:
        yield
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _failure(command: Sequence[str], code: int, log: pathlib.Path) -> processes.MeasurementError:
    return processes.MeasurementError(
        f"{shlex.join(command)} ended with exit code {code}; expected 0. Run it by itself to see "
        f"why. Its last words:\n{processes.last_lines(log)}"
    )
