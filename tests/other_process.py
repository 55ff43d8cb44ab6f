"""Another process that does something at the same time."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def at_work(code, *arguments, says):
    """Starts Python code with arguments, waits for a line of it, and kills it in the end."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    ) as process:
        assert process.stdout.readline() == f"{says}\n"
        yield process
        process.kill()
