"""The engine of the nodes' own Beam pipelines, and which engines were seen at work."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.options.pipeline_options import StandardOptions

_FN_API_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"

# Beam's default runner first looks for another engine on the network; naming one makes every
# machine use the same. Any argument makes TFX build a source package per component for remote
# workers, unless a container image is named; workers in this process need neither.
NODE_ARGUMENTS = [f"--runner={_FN_API_RUNNER}", "--sdk_container_image=local"]


@contextlib.contextmanager
def default_engine() -> Iterator[None]:
    """Gives a Beam pipeline that names no runner the same engine as the nodes.

    TFX's BeamDagRunner builds such a pipeline for the graph itself, and has no option for it.
    """
    before = StandardOptions.DEFAULT_RUNNER
    StandardOptions.DEFAULT_RUNNER = _FN_API_RUNNER
    try:
        yield
    finally:
        StandardOptions.DEFAULT_RUNNER = before


class EngineObserver:
    """Notes the runner of each Beam pipeline that is run, as it is run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: list[tuple[bool, str]] = []

    def observed(self) -> dict[str, str | None]:
        """What ran the graph (`dag`) and the nodes' own pipelines (`node`; None where none ran).

        A graph that no Beam pipeline ran was run by TFX's own loop.
        """
        engines = {
            graph: {name for seen, name in self._seen if seen == graph} for graph in (True, False)
        }
        dag = ", ".join(sorted(engines[True])) or "LocalDagRunner"
        return {"dag": dag, "node": ", ".join(sorted(engines[False])) or None}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watches every Beam pipeline that is run inside the block."""
        original = beam.Pipeline.run

        def run(pipeline: beam.Pipeline, *arguments, **options):
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
