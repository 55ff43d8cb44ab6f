"""Whether the engine, the database and the bucket that a configuration names can be used.

A process of its own, since the doctor needs no library. The arguments of the process are the
configuration file, the output folder and, if the command line names them, the data. It prints each
answer as soon as it is there, as a line of JSON: name, status and message. Nothing is changed.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Literal

from components.object_store import ObjectStoreError
from components.pusher import bucket
from pipeline import exclusion, paths, streams
from pipeline.config import BeamConfig, Config, serving_bucket
from pipeline.config_file import combine
from pipeline.database import binding
from pipeline.errors import LockHeldError, PipelineError
from pipeline.locations import Locations
from pipeline.records import metadata, served_version
from pipeline.runners import readiness


@dataclasses.dataclass(frozen=True)
class Answer:
    """Whether a run could use a service.

    Attributes:
      name: What was checked: `engine`, `metadata`, `bucket`, or `config` if the file is faulty.
      status: As for the findings of the doctor.
      message: What was found, and if it is a problem, what was expected and how to fix it.
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    message: str


def check(
    file: pathlib.Path, output_dir: pathlib.Path, data: str | None = None
) -> Iterator[Answer]:
    """Checks the services that a configuration file names, as a run does but without any change.

    Args:
      file: Configuration file.
      output_dir: Folder of all pipelines.
      data: Data of the command line; None leaves that of the file.
    """
    try:
        settings = combine(paths.expanded(file, "--config"), data=data)
        config, name = settings.config(), settings.pipeline_name()
    except PipelineError as error:
        yield Answer("config", "fail", str(error))
        return
    locations = Locations(output_dir / name)
    if config.beam != BeamConfig():
        yield _engine(config.beam)
    if config.metadata.address or locations.database.exists():
        yield _metadata(config, locations)
    address = serving_bucket(config, name)
    if address is not None:
        yield _bucket(address, locations)


def _engine(beam: BeamConfig) -> Answer:
    try:
        readiness.check_complete(beam)
        readiness.check_reachable(beam)
    except PipelineError as error:
        return Answer("engine", "fail", str(error))
    return Answer("engine", "ok", f"{beam.runner}: settings, programs and servers are there")


def _metadata(config: Config, locations: Locations) -> Answer:
    address = config.metadata.address
    try:
        # Also without an address: then the pipeline is in a database, and a run refuses to leave.
        binding.check(locations, address)
        if address is not None:
            metadata.check_store(address, writing=True)
            exclusion.check_free(locations, address)
    except LockHeldError as error:
        return Answer("metadata", "warn", str(error))
    except (PipelineError, OSError) as error:
        return Answer("metadata", "fail", str(error))
    shown = metadata.shown_place(address or locations.metadata)
    return Answer("metadata", "ok", f"{shown} can be used")


def _bucket(address: str, locations: Locations) -> Answer:
    try:
        newest = bucket.check_unchanged(locations.serving, address)
    except ObjectStoreError as error:
        return Answer("bucket", "fail", str(served_version.in_bucket(error)))
    except OSError as error:
        return Answer("bucket", "fail", f"{locations.serving} cannot be read ({error.strerror})")
    holds = "no version yet" if newest is None else f"version {newest}"
    return Answer("bucket", "ok", f"{address} can be read, and has {holds}; writing is not tried")


def main() -> None:
    """Checks the services of the arguments, and prints the answers."""
    streams.prepare()
    file, output_dir, *data = sys.argv[1:]
    for answer in check(pathlib.Path(file), pathlib.Path(output_dir), data[0] if data else None):
        print(json.dumps(dataclasses.asdict(answer)), flush=True)
