"""Looks at the data ahead of a run: a process of its own, which needs neither TensorFlow nor TFX.

The arguments of the process are what to run (`Target`, as JSON), and the file for the answer
(`Seen`). Exit codes are those of `run`: 0 where the input is sound, 2 where it is not, 4 where
another run holds the pipeline.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import sys
from collections.abc import Callable

import pydantic

from operations.scheduling.plan import Target
from pipeline import streams
from pipeline.datasets import AUTO
from pipeline.datasets.find import DIRECTORY_VARIABLE, find_source
from pipeline.errors import DataError, ExitCode, PipelineError
from pipeline.records.files import write_whole


class Seen(pydantic.BaseModel):
    """What a look at sound input saw.

    Attributes:
      data: Data for `run --data`: `sample` or a folder, never `auto`.
      data_digest: SHA-256 of the data; it changes when new data comes.
      standing_run: Completed run since which nothing changed; None where a run is due.
      exit_code: Exit code of that run.
    """

    data: str
    data_digest: str
    standing_run: str | None = None
    exit_code: ExitCode = ExitCode.PUSHED


def look(target: Target) -> Seen:
    """Reads the input of a run and says whether anything changed.

    Raises:
      UsageError: where input or configuration is bad.
      LockHeldError: where a run of the pipeline is at work.
      StoreLockedError: where another process has locked its ML Metadata.
    """
    # Here and not above: the scheduler reads the answer, and needs nothing else of it.
    from operations import changes
    from operations.preparation import Progress, Request, prepare

    progress = Progress()
    folder = _found(target.data, progress.notify)
    request = Request(
        profile=target.profile,
        data=folder,
        runner=target.runner,
        assignments=target.assignments,
        seed=target.seed,
        use_cache=True,
        force=False,
        output_dir=target.output_dir,
        new_line=False,
        verbose=False,
        command="",
    )
    prepared = prepare(request, progress)
    digest = hashlib.sha256(json.dumps(prepared.data.sha256s, sort_keys=True).encode())
    seen = Seen(data=folder, data_digest=digest.hexdigest())
    standing = changes.standing_run(prepared)
    if standing is None:
        return seen
    return seen.model_copy(
        update={"standing_run": standing.run_id, "exit_code": standing.exit_code}
    )


def _found(data: str, notify: Callable[[str], None]) -> str:
    """The data that is there; on a schedule, the sample never takes its place."""
    if data != AUTO:
        return data
    source = find_source(data, notify)
    if source.sample:
        raise DataError(
            "no data found, and on a schedule the sample never takes its place; expected a folder "
            f"named by {DIRECTORY_VARIABLE} or --data, or one that can be downloaded."
        )
    return str(source.folder)


def main() -> int:
    """Looks, writes the answer, and returns the exit code."""
    streams.prepare()
    target, answer = sys.argv[1:]
    try:
        seen = look(pydantic.TypeAdapter(Target).validate_json(target))
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    write_whole(pathlib.Path(answer), seen.model_dump_json())
    return 0
