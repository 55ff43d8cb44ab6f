"""The Beam engine of the nodes, and an observer that records which engines ran."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import StandardOptions

_FN_API_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"

# Beam's default runner first looks for another engine on the network; with an explicit runner,
# every machine uses the same engine. The image prevents a needless step: with any argument but no
# image, TFX builds a source package per component for remote workers.
# A tuple, since TFX's executors add their labels to the list that they are given.
NODE_ARGUMENTS = (f"--runner={_FN_API_RUNNER}", "--sdk_container_image=local")


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


class Observed(NamedTuple):
    """The observed engines.

    Attributes:
      dag: Engine of the graph.
      node: Engine of the nodes' own Beam pipelines; None if none ran.
    """

    dag: str
    node: str | None


class EngineObserver:
    """Records the runner of each Beam pipeline when it starts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: list[tuple[bool, str]] = []

    def observed(self) -> Observed:
        """Returns the engines seen so far.

        If no Beam pipeline ran the graph, TFX's own loop did.
        """
        engines = {
            graph: {name for seen, name in self._seen if seen == graph} for graph in (True, False)
        }
        dag = ", ".join(sorted(engines[True])) or "LocalDagRunner"
        return Observed(dag, ", ".join(sorted(engines[False])) or None)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Records every Beam pipeline that runs inside the block."""
        original = beam.Pipeline.run

        def run(pipeline: beam.Pipeline, *arguments: object, **options: object) -> object:
            self._note(pipeline)
            return original(pipeline, *arguments, **options)

        beam.Pipeline.run = run
        try:
            yield
        finally:
            beam.Pipeline.run = original

    def _note(self, pipeline: beam.Pipeline) -> None:
        roots = {part.full_label for part in pipeline.transforms_stack[0].parts}
        with self._lock:
            self._seen.append(("CreateRoot" in roots, type(pipeline.runner).__name__))
