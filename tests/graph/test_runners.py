"""The other runner: a Beam DAG runs the same graph to the same result."""

import pytest

from pipeline.nodes import NODES

pytestmark = pytest.mark.slow


def test_a_beam_dag_gives_the_same_result(sample_run, run_graph, tmp_path):
    beam = run_graph(tmp_path / "outputs", "--data", "sample", "--runner", "beam")
    assert beam.receipt["runner"] == {"dag": "FnApiRunner", "node": "FnApiRunner"}
    assert list(beam.receipt["nodes"]) == list(NODES)
    assert {node["status"] for node in beam.receipt["nodes"].values()} == {"complete"}
    for key in ("verdict", "evaluation"):
        assert beam.receipt[key] == sample_run.receipt[key], key
    assert beam.export.is_dir()


def test_a_beam_dag_takes_what_the_local_runner_left(few_run, run_few, tmp_path):
    """One cache and one ML Metadata, whichever runner."""
    output_dir = few_run.copy(tmp_path / "outputs")
    run_few(output_dir)
    beam = run_few(output_dir, "--runner", "beam")
    assert beam.receipt["runner"]["dag"] == "FnApiRunner"
    assert all(node["status"] == "cached" for node in beam.receipt["nodes"].values())
    assert beam.receipt["pushed_version"] == few_run.receipt["pushed_version"]
