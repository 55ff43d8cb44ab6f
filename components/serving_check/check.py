"""Checks an export in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

_PROBE = pathlib.Path(__file__).with_name("probe.py")

_TIMEOUT_SECONDS = 300

# The process that `standing_by` started, until a check uses it or the block ends.
_waiting: list[subprocess.Popen[str]] = []


def check_export(export: str, golden_file: str, class_names: tuple[str, ...]) -> list[str]:
    """Loads an export in a clean process and compares its answers with those of Trainer.

    Args:
      export: local folder of the SavedModel.
      golden_file: local `.npz` with `images` (uint8 [N, bytes]), `image_shape` and Trainer's
        `probabilities` (float32 [N, classes]).
      class_names: names of the classes, in label order.

    Returns:
      The problems, one line each; empty if there are none.
    """
    task = json.dumps({"export": export, "golden_file": golden_file, "class_names": class_names})
    with _clean_process() as process:
        try:
            output, errors = process.communicate(task, timeout=_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            return [f"loading the export did not end within {_TIMEOUT_SECONDS} s"]
    lines = output.strip().splitlines()
    if process.returncode or not lines:
        last = (errors.strip().splitlines() or ["no output"])[-1]
        return [f"the process that loads the export ended with {process.returncode}: {last}"]
    return json.loads(lines[-1])


@contextlib.contextmanager
def standing_by() -> Iterator[None]:
    """Starts the clean process for the first check in the block in advance.

    The process imports TensorFlow, which takes most of the time of a check, and waits. Without a
    check it ends with the block; if this process is killed, it ends by itself.
    """
    with _ending(_start()) as process:
        _waiting.append(process)
        try:
            yield
        finally:
            _waiting.clear()


@contextlib.contextmanager
def _clean_process() -> Iterator[subprocess.Popen[str]]:
    """A process that waits for its task: the one that stands by, or else a new one."""
    process = _waiting.pop() if _waiting else None
    # A process that ended early, such as for lack of memory in training, says nothing about the
    # export.
    if process is None or process.poll() is not None:
        process = _start()
    with _ending(process):
        yield process


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", str(_PROBE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Libraries may print in any encoding.
        errors="backslashreplace",
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


@contextlib.contextmanager
def _ending(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        # Does nothing if it has already ended.
        process.kill()
        process.communicate()
