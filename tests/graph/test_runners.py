"""The other runner and other engines: the same graph, to the same result."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.nodes import NODES
from tests.ports import free_port
from tests.skipping import skip_loudly

PROJECT = Path(__file__).resolve().parents[2]
LOCAL = {"node": "FnApiRunner", "address": None, "workers": "this process"}

pytestmark = pytest.mark.slow


def test_a_beam_dag_gives_the_same_result(sample_run, run_graph, tmp_path):
    beam = run_graph(tmp_path / "outputs", "--data", "sample", "--runner", "beam")
    assert beam.receipt["runner"] == {**LOCAL, "dag": "FnApiRunner"}
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


@pytest.fixture
def pool(tmp_path):
    """Address of a worker pool, which is a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "components.worker_pool", "--port", str(port)]
    with (tmp_path / "pool.txt").open("wb+") as log:
        process = subprocess.Popen(command, cwd=PROJECT, stderr=log)
        try:
            while b"Worker pool on port" not in (tmp_path / "pool.txt").read_bytes():
                assert process.poll() is None
            yield f"localhost:{port}"
        finally:
            process.terminate()
            process.wait()


def test_workers_of_a_pool_give_the_digests_of_the_local_engine_and_its_cache(
    few_run, run_few, pool, set_values, tmp_path, monkeypatch
):
    """All engines but the local one go this way; here the job server is Beam's own."""
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    engine = set_values(
        beam__runner="portable",
        beam__job_endpoint="embed",
        beam__environment="pool",
        beam__worker_pool=pool,
    )
    # The nodes that compare with what is served run again, and no others.
    settled = run_few(few_run.copy(tmp_path / "outputs"), *engine)
    assert settled.receipt["runner"] == {
        "dag": "LocalDagRunner",
        "node": "PortableRunner",
        "address": "embed",
        "workers": f"pool {pool}",
    }
    assert settled.receipt["nodes"]["ExampleGen"]["status"] == "cached"
    assert settled.receipt["nodes"]["Predictions"]["status"] == "complete"
    assert settled.receipt["digests"] == few_run.receipt["digests"]
    # Back on the local engine, nothing runs again.
    local = run_few(settled.output_dir)
    assert all(node["status"] == "cached" for node in local.receipt["nodes"].values())


def test_prism_gives_the_digests_of_the_local_engine(
    few_run, run_few, set_values, tmp_path, monkeypatch
):
    prism = shutil.which("prism") or shutil.which(str(Path.home() / "go" / "bin" / "prism"))
    if prism is None:
        skip_loudly("Without Prism (docs/engines.md), its results are not compared.")
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    engine = set_values(beam__runner="prism", beam__prism_location=prism)
    run = run_few(tmp_path / "outputs", *engine)
    assert run.receipt["runner"]["node"] == "PrismRunner"
    assert run.receipt["digests"] == few_run.receipt["digests"]
