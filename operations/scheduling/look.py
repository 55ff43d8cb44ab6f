"""Looks at the data ahead of a run: a process of its own, which needs neither TensorFlow nor TFX.

    python -m operations.scheduling.look TARGET ANSWER

TARGET is what runs, as JSON; ANSWER is the file that says what was seen. Exit codes are those of
`run`: 0 where the input is sound, 2 where it is not, 4 where the pipeline is held.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import sys

import pydantic

from operations.scheduling.plan import Target
from pipeline import streams
from pipeline.datasets import data as data_sets
from pipeline.errors import DataError, PipelineError
from pipeline.locations import write_whole


class Seen(pydantic.BaseModel):
    """What a look at sound input saw.

    Attributes:
      data: what `run --data` is given: `sample` or a folder, never `auto`.
      data_digest: SHA-256 over the data; another one means that data came.
      standing_run: the completed run since which nothing changed; None where a run is due.
      exit_code: of that run.
    """

    data: str
    data_digest: str
    standing_run: str | None = None
    exit_code: int = 0


def look(target: Target) -> Seen:
    """Reads the input of a run and says whether anything changed.

    Raises:
      UsageError: where input or configuration is bad.
      LockHeldError: where a run of the pipeline is at work.
      StoreLockedError: where another process has locked its ML Metadata.
    """
    folder = _found(target.data)
    # Here and not above: the scheduler reads the answer, and needs nothing else of it.
    from cli.render.progress import Progress
    from operations import changes, run

    asked = {**dataclasses.asdict(target), "data": folder}
    # Who is told of it changes nothing.
    del asked["notify_file"]
    request = run.Request(
        **asked,
        use_cache=True,
        force=False,
        new_line=False,
        verbose=False,
        command="",
    )
    prepared = run.prepare(request, Progress(sys.stderr))
    digest = hashlib.sha256(json.dumps(prepared.data.sha256s, sort_keys=True).encode())
    standing = changes.standing_run(prepared)
    seen = Seen(data=folder, data_digest=digest.hexdigest())
    if standing is None:
        return seen
    found = {"standing_run": standing["run_id"], "exit_code": run.exit_code(standing)}
    return seen.model_copy(update=found)


def _found(data: str) -> str:
    """The data that is there; on a schedule, the sample never takes its place."""
    if data != data_sets.AUTO:
        return data
    source = data_sets.find(data, lambda line: print(line, file=sys.stderr))
    if source.sample:
        raise DataError(
            "no data found, and on a schedule the sample never takes its place; expected a folder "
            f"named by {data_sets.DIRECTORY_VARIABLE} or --data, or one that can be downloaded."
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


if __name__ == "__main__":
    sys.exit(main())
