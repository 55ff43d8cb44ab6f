"""The request for a run, and the checks before anything heavy is imported."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import multiprocessing
import pathlib
import sys
import tempfile
from collections.abc import Iterator, Sequence

from components.image_schema import ImageSchema
from components.messages import shown
from operations import other_data
from pipeline import class_weights, exclusion, machine, precision
from pipeline.config import Config, load_config, pipeline_name
from pipeline.datasets import AUTO
from pipeline.datasets.dataset import DataSet, Source
from pipeline.datasets.find import find_source
from pipeline.datasets.reading import read_dataset
from pipeline.datasets.schema_file import read_schema, schema_path
from pipeline.errors import ConfigurationError, OutputError
from pipeline.locations import Locations
from pipeline.records import metadata, served_version
from pipeline.runners import readiness


@dataclasses.dataclass(frozen=True)
class Request:
    """The request for a run.

    Attributes:
      profile: Name of a profile; None takes `default`, or `smoke` for the sample.
      data: `auto`, `sample`, a folder or a file, which may be in a bucket.
      runner: `local` or `beam`.
      assignments: `key=value` each.
      seed: Random seed; None leaves the one of the configuration.
      use_cache: Whether nodes may take their outputs from the cache.
      force: Whether to run the graph even if nothing changed.
      output_dir: Folder of all pipelines.
      new_line: Whether to replace a served model for other images or classes, uncompared.
      verbose: Whether to show the log on the terminal.
      command: Command that started the run.
      resumed: Position of the run that it continues among all runs; None where it continues none.
    """

    profile: str | None
    data: str
    runner: str
    assignments: tuple[str, ...]
    seed: int | None
    use_cache: bool
    force: bool
    output_dir: pathlib.Path
    new_line: bool
    verbose: bool
    command: str
    resumed: int | None = None


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A run whose input has been found sound.

    Attributes:
      name: Name of the pipeline.
      config: Configuration of the run.
      data: Images and labels.
      schema: Shape of the images, and names of the classes.
      locations: Paths of the pipeline.
      precision: `float32` or `bfloat16`.
      served_version: Version that the new model is compared with; None where nothing is served, or
        a new line of models begins.
    """

    name: str
    config: Config
    data: DataSet
    schema: ImageSchema
    locations: Locations
    precision: str
    served_version: int | None


class Progress(logging.Handler):
    """Shows how far a run is, from its log; this one only prints what it is told."""

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a log record of the run."""

    def notify(self, line: str) -> None:
        """Shows a line."""
        print(line, file=sys.stderr)

    @contextlib.contextmanager
    def showing(self, nodes: Sequence[str]) -> Iterator[None]:
        """Shows the progress of `nodes` until the block ends."""
        yield


def prepare(request: Request, progress: Progress) -> Prepared:
    """Checks everything that can be checked before anything heavy is imported.

    Raises:
      UsageError: where input or configuration is bad, or the machine lacks shared memory.
      LockHeldError: where another run of the same pipeline is at work.
      StoreLockedError: where another process has locked ML Metadata, or its server does not answer.
      UnreachableError: where a bucket does not answer.
    """
    _check_shared_memory()
    # The configuration first: a mistyped key should not wait for a download.
    config, chosen = _configured(request, sample=False)
    readiness.check_complete(config.beam)
    readiness.check_reachable(config.beam)
    source = find_source(request.data, progress.notify, config.spans, config.data)
    _check_outside(request.output_dir, source)
    if source.sample:
        if request.data == AUTO:
            progress.notify(_SAMPLE_NOTICE)
        config, chosen = _configured(request, sample=True)
    name = pipeline_name(config, source.sample)
    # Before the data is read: that takes as long as all the rest together.
    place = Locations(request.output_dir / name)
    exclusion.check_free(place, config.metadata.address)
    metadata.check_store(config.metadata.address or place.metadata, writing=True)
    schema, schema_sha256 = read_schema(config.schema_file)
    class_weights.check(config.training.class_weights, schema.class_names)
    data = read_dataset(
        source,
        schema,
        schema_sha256,
        config,
        trust_time_stamps=not request.force,
        notify=progress.notify,
    )
    _tell_other_data(place, data, progress)
    # Last, so that bad input leaves no folder behind.
    locations = Locations(writable(request.output_dir / name))
    served = served_version.version_to_compare(locations, schema, request.new_line)
    return Prepared(name, config, data, schema, locations, chosen, served)


def _check_outside(output_dir: pathlib.Path, source: Source) -> None:
    """Refuses to write into the data: the predictions of a run would be part of the next one.

    What lies beside spans is never read.

    Raises:
      OutputError: where the output folder is the data folder or lies in it.
    """
    if not isinstance(source.place, pathlib.Path) or source.window is not None:
        return
    place, data = output_dir.resolve(), source.place.resolve()
    if data in (place, *place.parents):
        raise OutputError(
            f"the output folder {shown(str(output_dir))} is in the data folder {shown(str(data))}, "
            "and would become part of the data; expected another folder. Choose one with "
            "--output-dir."
        )


def _tell_other_data(place: Locations, data: DataSet, progress: Progress) -> None:
    """Warns where the last run of the pipeline was on other data: two projects may share a name."""
    last = other_data.last_run_elsewhere(place, data.name)
    # The same files may lie elsewhere now.
    if last is not None and last.data.sha256 != data.sha256s:
        progress.notify(
            f"Warning: the last run of the pipeline {place.root.name} ({last.run_id}) was on other "
            f"data, {last.data.description}; this one is on {data.description}. The new model "
            "replaces the served one if it passes. If these are two projects, give one "
            "of them another name (`name` in pipeline.toml)."
        )


def _check_shared_memory() -> None:
    """Refuses a machine without shared memory: Beam needs it at the end, to write evaluations.

    Raises:
      ConfigurationError: where no lock can be made there.
    """
    try:
        multiprocessing.Lock()
    except OSError as error:
        raise ConfigurationError(
            f"no lock can be made in /dev/shm ({error.strerror}); expected shared memory to write "
            "to. Mount it with: mount -t tmpfs tmpfs /dev/shm"
        ) from error


def _configured(request: Request, sample: bool) -> tuple[Config, str]:
    """The configuration of a run, with the full path of its schema; and its precision."""
    profile = request.profile or ("smoke" if sample else "default")
    config = load_config(profile, request.assignments, sample=sample, seed=request.seed)
    chosen = precision.resolve(config.training.precision, machine.cpu_features())
    schema_file = schema_path(config.schema_file)
    return config.model_copy(update={"schema_file": schema_file}), chosen


_SAMPLE_NOTICE = """
*******************************************************************************
  NO DATA FOUND: this run uses the synthetic sample instead.
  Its results say nothing about real images. To use your data, set the variable
  FASHION_MNIST_DIR to the folder of the four IDX files, or give --data FOLDER.
*******************************************************************************
"""


def writable(root: pathlib.Path, advice: str = "Choose another with --output-dir.") -> pathlib.Path:
    """Makes a folder if it is missing, and returns its full path.

    Args:
      root: The folder.
      advice: What to do where nothing can be written to it.

    Raises:
      OutputError: where nothing can be written to it.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            return root.resolve()
    except OSError as error:
        is_file = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "it is no folder, or lies below none" if is_file else error.strerror
        raise OutputError(
            f"{root} cannot be written to ({reason}); expected a folder for the results. {advice}"
        ) from error
