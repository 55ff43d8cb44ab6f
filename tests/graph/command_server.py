"""Runs commands of `pipeline_runner.py`, each in a fork that need not import the stack again.

Reads one request per line from its input, a JSON object with `arguments` and with the files
`output` and `errors` that the streams go to. Answers each with the exit code, on a line.

TensorFlow is imported here, but not used: its threads would not survive the fork.
"""

import json
import os
import sys
import traceback
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

import pipeline_runner  # noqa: E402
from components import environment  # noqa: E402

# Before TensorFlow is imported.
environment.enter()


def import_stack() -> None:
    """Imports what a run imports; its own import statements then find it there."""
    import tensorflow  # noqa: F401

    from cli.render import progress, runs  # noqa: F401
    from pipeline import dag  # noqa: F401
    from pipeline.records import (
        evaluation,  # noqa: F401
    )
    from pipeline.runners import dag_runners, engine  # noqa: F401


def run(request: dict) -> int:
    """Runs a command to its end and returns its exit code."""
    child = os.fork()
    if child == 0:
        os._exit(run_in_child(request))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_in_child(request: dict) -> int:
    """Becomes the command; returns the exit code that a Python process would end with."""
    for name, descriptor in (("output", 1), ("errors", 2)):
        file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
    sys.argv = ["pipeline_runner.py", *request["arguments"]]
    try:
        pipeline_runner.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def main() -> None:
    """Serves requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    import_stack()
    for line in sys.stdin:
        print(run(json.loads(line)), file=answers)


if __name__ == "__main__":
    main()
