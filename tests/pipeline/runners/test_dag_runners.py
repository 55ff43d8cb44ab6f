"""What a runner checks around each node, in runs of a graph of one node."""

import pytest
from tfx.dsl.component.experimental.annotations import OutputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.types import standard_artifacts

from pipeline.nodes import PUSHER
from pipeline.records import metadata
from pipeline.records.outcomes import NodeStatus
from pipeline.runners import dag_runners
from pipeline.store_connection import connection

# TFX asks protobuf for what protobuf deprecates, in C, where no exception can come of it.
pytestmark = pytest.mark.filterwarnings("ignore:label:DeprecationWarning")


class ChangedError(Exception):
    """The code has changed."""


class Checkout:
    """The code, and what the node does to it: both runners run nodes in this process."""

    def __init__(self):
        self.changed = False
        self.in_node = lambda: None
        self.runs_of_node = 0

    def change(self):
        self.changed = True

    def break_node(self):
        self.change()
        raise ImportError("half of an update")

    def check(self):
        if self.changed:
            raise ChangedError


checkout = Checkout()


@component
def Writer(made: OutputArtifact[standard_artifacts.String]):
    """Writes a text."""
    checkout.runs_of_node += 1
    checkout.in_node()
    made.value = "made"


@pytest.fixture(autouse=True)
def unchanged():
    checkout.__init__()


@pytest.fixture(params=["local", "beam"])
def run(request, tmp_path):
    """Runs the graph; returns how its node ended, and the error of the runner."""

    def run(run_id, node="Maker"):
        graph = tfx_pipeline.Pipeline(
            "clothes",
            str(tmp_path / "clothes"),
            metadata_connection_config=connection(tmp_path / "metadata.db"),
            components=[Writer().with_id(node)],
            enable_cache=True,
        )
        error = None
        try:
            dag_runners.run(request.param, graph, run_id, [], checkout.check)
        except Exception as raised:
            error = raised
        store = metadata.open_store(tmp_path / "metadata.db")
        return metadata.read_nodes(store, "clothes", run_id, [node])[node].status, error

    return run


def test_a_node_does_not_run_on_changed_code(run):
    checkout.change()
    status, error = run("20260101-000000")
    assert (status, type(error)) == (NodeStatus.FAILED, ChangedError)
    assert checkout.runs_of_node == 0


def test_what_a_node_made_while_the_code_changed_does_not_come_from_the_cache(run):
    """Also where the change was taken back: that the node has imported it nobody knows."""
    checkout.in_node = checkout.change
    status, error = run("20260101-000000")
    assert (status, type(error)) == (NodeStatus.FAILED, ChangedError)
    checkout.__init__()
    assert run("20260102-000000") == (NodeStatus.COMPLETE, None)
    assert checkout.runs_of_node == 1
    assert run("20260103-000000") == (NodeStatus.CACHED, None)
    assert checkout.runs_of_node == 1


def test_a_node_that_fails_while_the_code_changed_fails_for_the_change(run):
    checkout.in_node = checkout.break_node
    status, error = run("20260101-000000")
    assert (status, type(error)) == (NodeStatus.FAILED, ChangedError)


def test_what_pusher_has_published_stands(run):
    """It is of the code that was checked before, and served by now."""
    checkout.in_node = checkout.change
    assert run("20260101-000000", PUSHER) == (NodeStatus.COMPLETE, None)
