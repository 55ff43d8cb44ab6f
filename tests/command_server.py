"""Runs commands of `pipeline_runner.py`, each in a fork that need not import the stack again.

    python tests/command_server.py          for commands that run the graph or ask a model
    python tests/command_server.py --light  for those that import nothing heavy

Reads one request per line from its input, a JSON object with `arguments`, with the `environment`
and the `folder` to run in, with the files `output` and `errors` that the streams go to, and with
the file that the names of all imported packages are written to, `packages`. Answers each with the
exit code, on a line.

TensorFlow is imported here, but not used: its threads would not survive the fork.
"""

import json
import os
import sys
import traceback
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

import pipeline_runner  # noqa: E402
from components import environment  # noqa: E402

# Before TensorFlow is imported.
environment.enter()


def import_checks() -> None:
    """Imports what is imported before the checks of a command are over."""
    from cli import doctor  # noqa: F401
    from cli.render import digest, runs  # noqa: F401
    from components.pusher import served  # noqa: F401
    from operations import changes, compile_request, preparation  # noqa: F401
    from operations.initialization import command as init  # noqa: F401
    from operations.scheduling import command as schedule  # noqa: F401
    from pipeline.datasets import reading  # noqa: F401
    from review import collect, page  # noqa: F401


def import_stack() -> None:
    """Imports what a run imports; its own import statements then find it there."""
    import tensorflow  # noqa: F401

    from cli.render import progress, runs  # noqa: F401
    from pipeline import dag  # noqa: F401
    from pipeline.records import (
        evaluation,  # noqa: F401
    )
    from pipeline.runners import dag_runners, engine, observation  # noqa: F401


def run(request: dict) -> int:
    """Runs a command to its end and returns its exit code."""
    child = os.fork()
    if child == 0:
        os._exit(run_in_child(request))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_in_child(request: dict) -> int:
    """Becomes the command; returns the exit code that a Python process would end with."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name, descriptor in (("output", 1), ("errors", 2)):
        file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
    packages = Path(request["packages"])
    packages.write_text("[]")
    sys.argv = [pipeline_runner.__file__, *request["arguments"]]
    try:
        pipeline_runner.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    packages.write_text(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
    return code


def main() -> None:
    """Serves requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    if "--light" in sys.argv:
        import_checks()
    else:
        import_stack()
    for line in sys.stdin:
        print(run(json.loads(line)), file=answers)


if __name__ == "__main__":
    main()
