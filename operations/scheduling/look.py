"""Looks at the data ahead of a run: a process of its own, which needs neither TensorFlow nor TFX.

The arguments of the process are what to run (`Target`, as JSON), the name of the pipeline, and the
file for the answer (`Seen`). Exit codes are those of `run`: 0 where the input is sound, 2 where it
is not, 4 where another run holds the pipeline.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable

import pydantic

from components.disk import write_whole
from operations.scheduling.plan import Target
from pipeline import streams
from pipeline.config_file import Settings
from pipeline.datasets import AUTO
from pipeline.datasets.find import DIRECTORY_VARIABLE, find_source
from pipeline.errors import ConfigurationError, DataError, ExitCode, PipelineError


class Seen(pydantic.BaseModel):
    """What a look at sound input saw.

    Attributes:
      data: Data for `run --data`: `sample`, a folder or a file, never `auto`.
      arrivals: Number of looks so far that saw new data.
      standing_run: Completed run since which nothing changed; None where a run is due, be it only
        to copy the served version to the bucket.
      exit_code: Exit code of that run.
    """

    data: str
    arrivals: int
    standing_run: str | None = None
    exit_code: ExitCode = ExitCode.PUSHED


def look(target: Target, pipeline: str) -> Seen:
    """Reads the input of a run and says whether anything changed.

    Keeps what the data holds, for the next look: new data is what was not there before.

    Args:
      target: What to run.
      pipeline: Name of the pipeline when the schedule began.

    Raises:
      UsageError: where input or configuration is bad.
      LockHeldError: where a run of the pipeline is at work.
      StoreLockedError: where another process has locked its ML Metadata.
    """
    # Here and not above: the scheduler reads the answer, and needs nothing else of it.
    from operations import changes
    from operations.preparation import Progress, Request, prepare
    from operations.scheduling import arrivals
    from pipeline.config import serving_bucket
    from pipeline.records import history, served_version

    progress = Progress()
    settings = target.settings()
    _check_name(settings, pipeline)
    folder = _found(settings, progress.notify)
    request = Request(
        profile=settings.profile,
        data=folder,
        runner=target.runner,
        assignments=settings.assignments,
        seed=settings.seed,
        use_cache=True,
        force=False,
        output_dir=target.output_dir,
        new_line=False,
        verbose=False,
        command="",
    )
    prepared = prepare(request, progress)
    kept = prepared.locations.root / "schedule" / "contents.json"
    seen = Seen(data=folder, arrivals=arrivals.count(prepared.data, kept))
    standing = changes.standing_run(prepared, history.receipts_of(prepared.locations))
    address = serving_bucket(prepared.config, prepared.name)
    # The run that begins then copies first, and finds that nothing else is to be done.
    if standing is None or not served_version.is_copied(prepared.locations, address):
        return seen
    return seen.model_copy(
        update={"standing_run": standing.run_id, "exit_code": standing.exit_code}
    )


def _check_name(settings: Settings, pipeline: str) -> None:
    """Refuses a configuration file that was changed to name another pipeline.

    The lock, the state and the metrics of the schedule are those of the first.
    """
    name = settings.pipeline_name()
    if name != pipeline:
        raise ConfigurationError(
            f"the configuration names the pipeline {name}, and this schedule began with "
            f"{pipeline}; expected the same name and profile. Change them back, or start the "
            "schedule again."
        )


def _found(settings: Settings, notify: Callable[[str], None]) -> str:
    """The data that is there; on a schedule, the sample never takes its place."""
    data = settings.data or AUTO
    if data != AUTO:
        return data
    config = settings.config()
    source = find_source(data, notify, config.spans, config.data)
    if source.sample:
        raise DataError(
            "no data found, and on a schedule the sample never takes its place; expected a folder "
            f"named by {DIRECTORY_VARIABLE} or --data, or one that can be downloaded."
        )
    return str(source.place)


def main() -> int:
    """Looks, writes the answer, and returns the exit code."""
    streams.prepare()
    target, pipeline, answer = sys.argv[1:]
    try:
        seen = look(pydantic.TypeAdapter(Target).validate_json(target), pipeline)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    try:
        write_whole(pathlib.Path(answer), seen.model_dump_json())
    except OSError as error:
        # The scheduler tells the last line that begins so.
        print(
            f"error: {answer} cannot be written ({error.strerror}); expected room and write "
            "permission in the folder of the schedule. Fix that; the next look tries again.",
            file=sys.stderr,
        )
        return ExitCode.FAILED
    return 0
