"""Runs each measurement in a process of its own.

Determinism, once enabled, holds for a whole process, and so do the threads and the memory that
TensorFlow has taken: what is measured first would change what is measured after it.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import pathlib
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import ParamSpec, TypeVar

from pipeline.errors import PipelineError
from pipeline.streams import output_to_log

# Imported once, by a server that every measuring process is forked from, which saves each of them
# ten seconds. The server uses none of it: TensorFlow's threads would not survive the fork.
IMPORTED_ONCE = ["components.trainer.training", "tensorflow_transform.beam", "pipeline.dag"]
_SECONDS_BETWEEN_LOOKS = 0.2
_LINES_OF_LOG = 10

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

# Where a measuring process sends its lines; None in any other process.
_sender: Connection | None = None


class MeasurementError(PipelineError):
    """A measurement that did not come to its end."""


def in_fresh_process(
    function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """Calls a function of a module in a process that does nothing else, and returns its answer.

    What the function tells `notify` is shown; what libraries print is not. The process ends with
    the one that waits for it, also where that is killed.

    Raises:
      MeasurementError: where the process was killed. What the function raises is raised here.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED_ONCE)
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        log = pathlib.Path(folder) / "log.txt"
        pool = concurrent.futures.ProcessPoolExecutor(1, context, _begin, (sender, str(log)))
        with pool:
            # The server begins here, and imports for the first time.
            with output_to_log(log, verbose=False):
                future = pool.submit(function, *args, **kwargs)
            while not future.done() or receiver.poll():
                if receiver.poll(_SECONDS_BETWEEN_LOOKS):
                    notify(receiver.recv())
            return _answer(future, log)


def notify(line: str) -> None:
    """Shows a line of progress on the terminal, apart from the results."""
    if _sender is not None:
        _sender.send(line)
        return
    print(line, file=sys.stderr, flush=True)


def _begin(sender: Connection, log: str) -> None:
    global _sender
    _sender = sender
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # TensorFlow writes past Python's streams, hence the file descriptors.
    with pathlib.Path(log).open("ab", buffering=0) as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    # At once: nobody is left who would take an answer.
    os._exit(1)


def _answer(future: concurrent.futures.Future[Result], log: pathlib.Path) -> Result:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise MeasurementError(
            "the measuring process was killed before it had an answer; expected it to end by "
            "itself. Most often memory ran out: end other programs, or take fewer images. Its "
            f"last words:\n{last_lines(log)}"
        ) from error


def last_lines(log: pathlib.Path) -> str:
    """Returns the end of a log, which says why a process failed."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LINES_OF_LOG:])
