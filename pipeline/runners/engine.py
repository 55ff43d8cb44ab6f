"""The Beam engine of the nodes: its arguments, and the job server that it needs."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
from collections.abc import Callable, Iterator

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer
from apache_beam.runners.portability.job_server import SubprocessJobServer
from apache_beam.runners.portability.prism_runner import PrismJobServer
from apache_beam.utils import subprocess_server

from pipeline.config import BeamConfig
from pipeline.errors import ConfigurationError
from pipeline.runners import readiness

_FN_API_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"

_FLINK_IN_JOB_SERVER = "[local]"

# With any argument but no image, TFX builds a source package per component for remote workers, and
# these would install all requirements of it. Our workers have everything.
_NO_PACKAGE = "--sdk_container_image=local"
# Beam's default runner first looks for another engine on the network; with an explicit runner,
# every machine uses the same engine.
# A tuple, since TFX's executors add their labels to the list that they are given.
NODE_ARGUMENTS = (f"--runner={_FN_API_RUNNER}", _NO_PACKAGE)

# With it, gRPC does not read `no_proxy`.
_UNPROXIED = "no_grpc_proxy"

# A job server that was reached before the run answers at once.
_TIMEOUT = "--job_server_timeout=120"


@dataclasses.dataclass(frozen=True)
class Engine:
    """The engine of the nodes' Beam pipelines, ready for work.

    Attributes:
      arguments: Arguments of these pipelines.
      started: Address of the job server that this process started; None if it started none.
    """

    arguments: tuple[str, ...]
    started: str | None


@contextlib.contextmanager
def serving(config: BeamConfig) -> Iterator[Engine]:
    """Starts the job server that the engine of a run needs; it ends with the block.

    Beam's runners would start one for each pipeline, and end all of them with the process.

    Args:
      config: Settings that `readiness.check_complete` has found sound.
    """
    if config.runner == "local":
        yield Engine(node_arguments(config), None)
        return
    with _this_machine_reached_directly():
        server = _job_server(config)
        if server is None:
            yield Engine(node_arguments(config), None)
        else:
            with _started(server, config) as address:
                endpoint = (f"--job_endpoint={address}", _TIMEOUT)
                yield Engine((*node_arguments(config), *endpoint), address)


@contextlib.contextmanager
def _this_machine_reached_directly() -> Iterator[None]:
    """Keeps gRPC from the environment's proxy between this process, its job server and workers.

    A proxy of a company cannot reach them, and Beam would wait for them without an end.
    """
    before = os.environ.get(_UNPROXIED)
    known = before or os.environ.get("no_proxy", "")
    here = ("localhost", "127.0.0.1", socket.getfqdn())
    os.environ[_UNPROXIED] = ",".join(filter(None, (known, *here)))
    try:
        yield
    finally:
        if before is None:
            del os.environ[_UNPROXIED]
        else:
            os.environ[_UNPROXIED] = before


@contextlib.contextmanager
def _started(
    server: Callable[[PipelineOptions], SubprocessJobServer], config: BeamConfig
) -> Iterator[str]:
    """Address of a job server that ends with the block."""
    (port,) = subprocess_server.pick_port(None)
    options = PipelineOptions([*node_arguments(config), f"--job_port={port}"])
    running, address = server(options), f"localhost:{port}"
    try:
        running.start()
    except BaseException as error:
        # It may have nothing to stop.
        with contextlib.suppress(Exception):
            running.stop()
        if isinstance(error, RuntimeError | OSError):
            raise _not_started(config, error) from error
        raise
    try:
        yield address
    finally:
        running.stop()


def _job_server(config: BeamConfig) -> Callable[[PipelineOptions], SubprocessJobServer] | None:
    """The kind of job server that has to be started."""
    if config.runner == "prism":
        return PrismJobServer  # type: ignore[no-any-return]
    if config.runner == "flink" and config.flink_job_server_jar:
        return FlinkJarJobServer  # type: ignore[no-any-return]
    return None


def _not_started(config: BeamConfig, error: Exception) -> ConfigurationError:
    if config.runner == "prism":
        return ConfigurationError(
            f"beam.prism_location: {_prism(config)} did not start as a server ({error}); expected "
            "Prism's executable, of Beam's version. docs/engines.md says how to install it."
        )
    return ConfigurationError(
        f"beam.flink_job_server_jar: {config.flink_job_server_jar} did not start as a server "
        f"({error}); expected Beam's job server for Flink. docs/engines.md says how to get it."
    )


def node_arguments(config: BeamConfig) -> tuple[str, ...]:
    """The arguments of the nodes' Beam pipelines; what they need may have to be started.

    Args:
      config: Settings that `readiness.check_complete` has found sound.
    """
    if config.runner == "local":
        return NODE_ARGUMENTS
    return (*_runner(config), *_workers(config), *_parallelism(config), *config.options)


def _runner(config: BeamConfig) -> tuple[str, ...]:
    if config.runner == "prism":
        return ("--runner=PrismRunner", f"--prism_location={_prism(config)}")
    endpoint = (f"--job_endpoint={config.job_endpoint}", _TIMEOUT)
    if config.runner == "flink":
        if config.job_endpoint:
            return ("--runner=FlinkRunner", *endpoint)
        jar = readiness.job_server(config)
        master = config.flink_master or _FLINK_IN_JOB_SERVER
        return (
            "--runner=FlinkRunner",
            f"--flink_job_server_jar={jar}",
            f"--flink_master={master}",
        )
    # Without an endpoint, the options name another runner of Beam.
    return ("--runner=PortableRunner", *endpoint) if config.job_endpoint else ()


def _prism(config: BeamConfig) -> str:
    return readiness.prism(config) or config.prism_location or "prism"


def _workers(config: BeamConfig) -> tuple[str, ...]:
    if config.environment == "docker":
        image = config.worker_image
        return (
            f"--sdk_container_image={image}",
            "--environment_type=DOCKER",
            f"--environment_config={image}",
        )
    if config.environment == "pool":
        pool = f"--environment_config={config.worker_pool}"
        return (_NO_PACKAGE, "--environment_type=EXTERNAL", pool)
    return (_NO_PACKAGE, "--environment_type=LOOPBACK")


def _parallelism(config: BeamConfig) -> tuple[str, ...]:
    return () if config.parallelism is None else (f"--parallelism={config.parallelism}",)


@contextlib.contextmanager
def default_engine() -> Iterator[None]:
    """Makes the engine of the nodes the default for Beam pipelines without a runner.

    TFX's BeamDagRunner builds such a pipeline for the graph itself, and has no option for its
    runner.
    """
    before = StandardOptions.DEFAULT_RUNNER
    StandardOptions.DEFAULT_RUNNER = _FN_API_RUNNER
    try:
        yield
    finally:
        StandardOptions.DEFAULT_RUNNER = before
