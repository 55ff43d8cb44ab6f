"""Where TFX looks for the inputs of a node, in runs of a small graph."""

import sys
from pathlib import Path

import pytest
from ml_metadata.metadata_store import metadata_store
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.portable.input_resolution import channel_resolver
from tfx.types import standard_artifacts

from pipeline.records import metadata
from pipeline.runners import dag_runners
from pipeline.store_connection import connection

# TFX asks protobuf for what protobuf deprecates, in C, where no exception can come of it.
pytestmark = pytest.mark.filterwarnings("ignore:label:DeprecationWarning")


@component
def Maker(made: OutputArtifact[standard_artifacts.String], text: Parameter[str]):
    """Writes a text."""
    made.value = text


@component
def Reader(
    read: InputArtifact[standard_artifacts.String],
    other: InputArtifact[standard_artifacts.String],
    copy: OutputArtifact[standard_artifacts.String],
):
    """Joins two texts."""
    copy.value = read.value + other.value


@pytest.fixture(params=["local", "beam"])
def run(request, tmp_path):
    """Runs the graph; returns what its last node has written."""

    def run(run_id, text, pipeline="clothes"):
        first = Maker(text=text).with_id("First")
        second = Maker(text=text.upper()).with_id("Second")
        reader = Reader(read=first.outputs["made"], other=second.outputs["made"])
        graph = tfx_pipeline.Pipeline(
            pipeline,
            str(tmp_path / pipeline),
            metadata_connection_config=connection(tmp_path / "metadata.db"),
            components=[first, second, reader],
        )
        dag_runners.run(request.param, graph, run_id, [], lambda: None)
        store = metadata.open_store(tmp_path / "metadata.db")
        node = metadata.read_nodes(store, pipeline, run_id, ["Reader"])["Reader"]
        return Path(node.output("copy").uri).read_text()

    return run


def test_a_node_reads_what_its_own_run_made(run):
    """Not what other nodes, runs and pipelines made, also where two runs have the same id."""
    assert run("20260101-000000", "a") == "aA"
    assert run("20260102-000000", "b") == "bB"
    assert run("20260102-000000", "c", pipeline="shoes") == "cC"


def test_the_inputs_of_a_node_cost_the_same_after_many_runs(run, monkeypatch):
    """ML Metadata takes longer for each execution of a context that it is asked for.

    What TFX reads to register an execution does not count: with the ML Metadata of Python 3.12 and
    later, these are all of the pipeline.
    """
    numbers = []
    whole = metadata_store.MetadataStore.get_executions_by_context

    def counted(store, *arguments, **options):
        found = whole(store, *arguments, **options)
        if sys._getframe(1).f_globals["__name__"] == channel_resolver.__name__:
            numbers.append(len(found))
        return found

    for number in range(3):
        run(f"2026010{number}-000000", str(number))
    monkeypatch.setattr(metadata_store.MetadataStore, "get_executions_by_context", counted)
    run("20260109-000000", "last")
    assert numbers == [1, 1]
