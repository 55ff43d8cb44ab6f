"""What the receipt says of the engine that ran, and the jobs of a run that ends early."""

import time

import apache_beam as beam
import grpc
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.portable_runner import PipelineResult
from apache_beam.runners.runner import PipelineState

from pipeline.config import BeamConfig
from pipeline.runners import engine
from pipeline.runners.observation import EngineObserver, Observed


def observed(config):
    """What is told of a run, past the proxy that keeps tests away from the network."""
    with engine.serving(config) as serving:
        observer = EngineObserver(serving.started)
        options = PipelineOptions(list(serving.arguments))
        with observer.watching(), beam.Pipeline(options=options) as pipeline:
            _ = pipeline | beam.Create(["image"]) | beam.Map(len)
    return observer.observed()


def test_the_observer_tells_engine_address_and_workers():
    local = observed(BeamConfig())
    assert local == Observed("LocalDagRunner", "FnApiRunner", None, "this process")
    portable = observed(BeamConfig(runner="portable", job_endpoint="embed"))
    assert portable == Observed("LocalDagRunner", "PortableRunner", "embed", "this process")


def waiting(element, open_door):
    while not open_door.exists():
        time.sleep(0.01)
    return element


def test_an_interrupted_run_leaves_no_job(tmp_path):
    door = tmp_path / "open"
    with engine.serving(BeamConfig(runner="portable", job_endpoint="embed")) as serving:
        observer = EngineObserver(serving.started)
        pipeline = beam.Pipeline(options=PipelineOptions(list(serving.arguments)))
        _ = pipeline | beam.Create(["image"]) | beam.Map(waiting, door)
        with pytest.raises(KeyboardInterrupt), observer.watching():
            result = pipeline.run()
            while result.state != PipelineState.RUNNING:
                time.sleep(0.01)
            raise KeyboardInterrupt
        cancelled = result.state
        door.touch()
        assert cancelled == PipelineState.CANCELLED


class GoneJobService:
    def GetState(self, request):
        raise grpc.RpcError("unavailable")


def test_a_job_whose_engine_is_gone_hides_no_error(monkeypatch):
    monkeypatch.setattr(PipelineResult, "cancel", lambda result: pytest.fail("not reached"))
    result = PipelineResult(GoneJobService(), "job", (), ())
    monkeypatch.setattr(beam.Pipeline, "run", lambda pipeline: result)
    with pytest.raises(LookupError), EngineObserver(started=None).watching():
        beam.Pipeline(options=PipelineOptions(list(engine.NODE_ARGUMENTS))).run()
        raise LookupError
