"""An observer that records which engines ran, and cancels the jobs of a run that ends early."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
)
from apache_beam.runners.portability import flink_runner, portable_runner
from apache_beam.runners.runner import PipelineState

logger = logging.getLogger(__name__)

_SECONDS_TO_CANCEL = 10.0


class Observed(NamedTuple):
    """The observed engines.

    Attributes:
      dag: Engine of the graph.
      node: Engine of the nodes' own Beam pipelines; None if none ran.
      address: Address of the job server or of Flink's job manager; None if the run started them
        itself, or needed none.
      workers: Where they were worked on: `this process`, or `pool HOST:PORT`, or `image IMAGE`;
        None if none ran.
    """

    dag: str
    node: str | None
    address: str | None
    workers: str | None


class EngineObserver:
    """Records the runner of each Beam pipeline when it starts, and where its workers are."""

    def __init__(self, started: str | None):
        """Takes the address of the job server that this process started, if any."""
        self._started = started
        self._lock = threading.Lock()
        self._graph: set[str] = set()
        self._nodes: set[tuple[str, str, str]] = set()

    def observed(self) -> Observed:
        """Returns the engines seen so far.

        If no Beam pipeline ran the graph, TFX's own loop did.
        """
        runners, addresses, workers = (
            ", ".join(sorted({found[place] for found in self._nodes} - {""})) or None
            for place in range(3)
        )
        dag = ", ".join(sorted(self._graph)) or "LocalDagRunner"
        return Observed(dag, runners, addresses, workers)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Records every Beam pipeline that runs inside the block.

        If the block ends with an error or is interrupted, jobs that still run are cancelled: on a
        cluster they would go on, and write what nobody reads.
        """
        original, results = beam.Pipeline.run, []

        def run(pipeline: beam.Pipeline, *arguments: object, **options: object) -> object:
            self._note(pipeline)
            results.append(original(pipeline, *arguments, **options))
            return results[-1]

        beam.Pipeline.run = run
        try:
            yield
        except BaseException:
            _cancel(results)
            raise
        finally:
            beam.Pipeline.run = original

    def _note(self, pipeline: beam.Pipeline) -> None:
        roots = {part.full_label for part in pipeline.transforms_stack[0].parts}
        name = type(pipeline.runner).__name__
        with self._lock:
            if "CreateRoot" in roots:
                self._graph.add(name)
            else:
                address = self._address(pipeline.options)
                self._nodes.add((name, address, _place_of_workers(pipeline.options)))

    def _address(self, options: PipelineOptions) -> str:
        endpoint = options.view_as(PortableOptions).job_endpoint
        if endpoint and endpoint != self._started:
            return str(endpoint)
        master = options.view_as(FlinkRunnerOptions).flink_master
        return str(master) if self._started and master not in flink_runner.MAGIC_HOST_NAMES else ""


def _cancel(results: Sequence[object]) -> None:
    """Cancels those of the jobs that run on another engine; one that does not answer is left."""
    # A pipeline of the local engine has ended when its result is there.
    jobs = [each for each in results if isinstance(each, portable_runner.PipelineResult)]
    cancelling = [threading.Thread(target=_cancel_job, args=(job,), daemon=True) for job in jobs]
    for thread in cancelling:
        thread.start()
    until = time.monotonic() + _SECONDS_TO_CANCEL
    for thread in cancelling:
        thread.join(max(0.0, until - time.monotonic()))


def _cancel_job(result: portable_runner.PipelineResult) -> None:
    try:
        if not PipelineState.is_terminal(result.state):
            result.cancel()
            logger.info("the engine was asked to cancel a job of this run")
    except Exception as error:
        # The error that ends the run says more.
        logger.info("a job of the engine may still run: %s", error)


def _place_of_workers(given: PipelineOptions) -> str:
    options = given.view_as(PortableOptions)
    if options.environment_type == "EXTERNAL":
        return f"pool {options.environment_config}"
    if options.environment_type == "DOCKER":
        return f"image {options.environment_config}"
    return "this process"
