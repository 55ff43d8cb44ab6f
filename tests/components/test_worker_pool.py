"""Worker pools: their processes have the environment of a run, whoever starts them."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port

PROJECT = Path(__file__).resolve().parents[2]
# Asks a worker of the pool for its environment, through Beam's own job server.
ASK = """
import json, sys
import apache_beam as beam

class Ask(beam.DoFn):
    def __init__(self, path):
        self.path = path
    def process(self, element):
        import json, os, pathlib, sys
        import components.worker_pool
        found = [sys.executable, dict(os.environ), os.getpid()]
        pathlib.Path(self.path).write_text(json.dumps(found))

port, answer = sys.argv[1:]
arguments = ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL",
    f"--environment_config=localhost:{port}"]
with beam.Pipeline(argv=arguments) as pipeline:
    pipeline | beam.Create(["image"]) | beam.ParDo(Ask(answer))
"""


@pytest.fixture
def pool(tmp_path):
    """A pool that a user with settings of Keras starts anywhere, with no Python on the path."""
    port = free_port()
    variables = {
        **{name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(PROJECT),
        "KERAS_BACKEND": "jax",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_USE_LEGACY_KERAS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "components.worker_pool", "--port", str(port)],
        env=variables,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if f"port {port}" in line:
            break
    yield port, process
    process.kill()
    process.wait()
    process.stderr.close()


@pytest.mark.slow
def test_workers_have_the_environment_of_a_run_and_end_with_the_pool(pool, python, tmp_path):
    port, process = pool
    answer = tmp_path / "answer.json"
    ended = python("-c", ASK, str(port), str(answer), no_proxy="localhost")
    assert ended.returncode == 0, ended.stderr
    executable, variables, _ = json.loads(answer.read_text())
    assert executable == sys.executable
    assert variables["KERAS_BACKEND"] == "tensorflow"
    assert variables["TF_USE_LEGACY_KERAS"] == "0"
    assert variables["TF_DETERMINISTIC_OPS"] == "1"
    assert "TF_NUM_INTRAOP_THREADS" not in variables
    process.terminate()
    assert process.wait(timeout=60) == 0


@pytest.mark.slow
def test_no_other_machine_reaches_a_pool_and_no_second_pool_takes_its_port(pool, python):
    port, _ = pool
    with socket.create_connection(("127.0.0.1", port)):
        pass
    # Any other address of this machine is what other machines would use.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port))
    ended = python("-m", "components.worker_pool", "--port", str(port))
    assert ended.returncode == 2
    assert f"port {port} of localhost cannot be listened on" in ended.stderr


def test_a_port_in_use_is_told(python):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        options = ("--host", "127.0.0.1", "--port", str(port))
        ended = python("-m", "components.worker_pool", *options)
    assert ended.returncode == 2
    assert f"port {port} of 127.0.0.1 cannot be listened on" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("port", ["0", "65536", "no"])
def test_a_port_out_of_range_is_told(port, capsys):
    from components import worker_pool

    with pytest.raises(SystemExit):
        worker_pool.main(["--port", port])
    assert "expected a port from 1 to 65535" in " ".join(capsys.readouterr().err.split())
