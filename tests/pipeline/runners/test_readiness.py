"""What is refused before a run: an engine that lacks a setting, a program or a server."""

import concurrent.futures
import contextlib
import shutil
import socket
import zipfile

import grpc
import pytest

from pipeline.config import BeamConfig
from pipeline.errors import ConfigurationError
from pipeline.runners import readiness
from tests.ports import free_port

POOL = {"environment": "pool", "worker_pool": "localhost:50000"}
FLINK = {"runner": "flink", "job_endpoint": "localhost:8099", **POOL}
COMPLETE = [
    {},
    {"runner": "prism"},
    {"runner": "prism", **POOL},
    FLINK,
    {"runner": "flink", "flink_job_server_jar": "server.jar"},
    {"runner": "flink", "flink_job_server_jar": "server.jar", "flink_master": "a:8081", **POOL},
    {"runner": "portable", "job_endpoint": "embed"},
    {"runner": "portable", "job_endpoint": "localhost:8099"},
    {
        "runner": "portable",
        "job_endpoint": "cluster.example.org:8099",
        "environment": "docker",
        "worker_image": "registry.example.org/image-pipeline:1.0",
    },
    {
        "runner": "portable",
        "options": ("--runner=DataflowRunner", "--project=clothes"),
        "environment": "docker",
        "worker_image": "image-pipeline:1.0",
    },
    # What another engine needs may stay while one tries something out.
    {**FLINK, "runner": "local"},
]
INCOMPLETE = [
    ({"runner": "flink"}, "beam.job_endpoint=HOST:PORT, or to be started"),
    ({**FLINK, "flink_job_server_jar": "server.jar"}, "Set one of the two"),
    ({**FLINK, "job_endpoint": "embed"}, "expected the job server of Beam for Flink"),
    ({**FLINK, "environment": "loopback"}, "which an engine on other machines does not reach"),
    (
        {"runner": "flink", "flink_job_server_jar": "server.jar", "flink_master": "a:8081"},
        "expected pool or docker",
    ),
    ({"runner": "portable"}, "expected beam.job_endpoint"),
    ({"runner": "portable", "job_endpoint": "far:8099"}, "expected pool or docker"),
    ({"runner": "portable", "options": ("--runner=SparkRunner",)}, "expected pool or docker"),
    ({"runner": "prism", "environment": "pool"}, "--set beam.worker_pool=HOST:PORT"),
    ({"runner": "prism", "environment": "docker"}, "--set beam.worker_image=IMAGE"),
    ({"options": ("parallelism=2",)}, "one does not begin with --"),
    ({"options": ("--parallelism=2",)}, "expected beam.parallelism instead"),
    ({"options": ("--job_endpoint=a:1",)}, "expected beam.job_endpoint instead"),
    ({"options": ("--runner=SparkRunner",)}, "expected beam.runner instead"),
]


@pytest.mark.parametrize("values", COMPLETE)
def test_a_complete_engine_is_accepted(values):
    readiness.check_complete(BeamConfig(**values))


@pytest.mark.parametrize(("values", "told"), INCOMPLETE)
def test_an_incomplete_engine_is_refused_with_what_to_set(values, told):
    with pytest.raises(ConfigurationError) as caught:
        readiness.check_complete(BeamConfig(**values))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "option", ["--aws_secret_key=4711", "--api_token=4711", "--proxy=http://me:4711@proxy:1"]
)
def test_options_with_secrets_are_refused_without_telling_them(option):
    with pytest.raises(ConfigurationError, match="looks like a secret") as caught:
        readiness.check_complete(BeamConfig(options=(option,)))
    assert "4711" not in str(caught.value)


@contextlib.contextmanager
def listening():
    """A port on which something listens that is no server of Beam."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def grpc_port():
    """A port on which a server of gRPC answers, as those of Beam do."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield port
        server.stop(None).wait()


@pytest.fixture
def closed_port():
    """A port on which nothing listens."""
    return free_port()


def refusal(**values):
    beam = BeamConfig(**values)
    readiness.check_complete(beam)
    with pytest.raises(ConfigurationError) as caught:
        readiness.check_reachable(beam)
    return str(caught.value)


def test_the_local_engine_needs_nothing(monkeypatch):
    monkeypatch.setenv("PATH", "")
    readiness.check_reachable(BeamConfig(**{**FLINK, "runner": "local"}))


def test_a_missing_prism_is_told_with_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "`prism` on the search path is not there" in refusal(runner="prism")
    place = tmp_path / "prism"
    place.write_text("")
    message = refusal(runner="prism", prism_location=str(place))
    assert str(place) in message
    assert "go install" in message
    place.chmod(0o755)
    readiness.check_reachable(BeamConfig(runner="prism", prism_location=str(place)))
    # Also on the search path.
    readiness.check_reachable(BeamConfig(runner="prism"))


def test_a_missing_java_and_a_missing_jar_are_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    jar = tmp_path / "server.jar"
    asked = {"runner": "flink", "flink_job_server_jar": str(jar)}
    assert "`java` is not on the search path" in refusal(**asked)
    (tmp_path / "java").write_text("")
    (tmp_path / "java").chmod(0o755)
    assert f"{jar} is missing or no jar" in refusal(**asked)
    jar.write_text("<html>404</html>")
    assert f"{jar} is missing or no jar" in refusal(**asked)
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "")
    readiness.check_reachable(BeamConfig(**asked))


def test_a_job_manager_that_does_not_answer_is_told(monkeypatch, tmp_path, closed_port):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "java").write_text("")
    (tmp_path / "java").chmod(0o755)
    jar = tmp_path / "server.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "")
    asked = {"runner": "flink", "flink_job_server_jar": str(jar), **POOL}
    message = refusal(**asked, flink_master=f"localhost:{closed_port}")
    assert f"beam.flink_master: localhost:{closed_port} does not answer" in message


def test_a_job_server_that_does_not_answer_is_told(closed_port, grpc_port):
    asked = {"runner": "portable", "job_endpoint": f"localhost:{closed_port}"}
    assert "expected a job server of Beam. Start it" in refusal(**asked)
    readiness.check_reachable(
        BeamConfig(runner="portable", job_endpoint=f"localhost:{grpc_port}", environment="loopback")
    )


def test_a_server_of_another_kind_is_told(monkeypatch):
    monkeypatch.setattr(readiness, "_SECONDS", 0.5)
    with listening() as port:
        message = refusal(runner="portable", job_endpoint=f"localhost:{port}")
    assert "another kind of server is there" in message


def test_a_pool_that_does_not_answer_is_told(closed_port, grpc_port):
    asked = {"runner": "portable", "job_endpoint": "embed", "environment": "pool"}
    message = refusal(**asked, worker_pool=f"localhost:{closed_port}")
    assert f"beam.worker_pool: localhost:{closed_port} does not answer" in message
    readiness.check_reachable(BeamConfig(**asked, worker_pool=f"localhost:{grpc_port}"))


def test_the_pools_beside_the_workers_of_a_cluster_are_not_looked_for_here(closed_port, grpc_port):
    asked = {"runner": "flink", "job_endpoint": f"localhost:{grpc_port}", "environment": "pool"}
    readiness.check_reachable(BeamConfig(**asked, worker_pool=f"localhost:{closed_port}"))


def test_a_machine_without_an_address_of_its_own_is_told(monkeypatch):
    """Workers would look for it for a minute, and end with an error of Beam's."""

    def unknown(*_):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getfqdn", lambda: "nowhere.invalid")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConfigurationError, match=r"`127\.0\.1\.1 nowhere\.invalid` to /etc/hosts"):
        readiness.check_reachable(BeamConfig(runner="portable", job_endpoint="embed"))
    # Another engine does not look for it.
    program = shutil.which("true")
    other = {"runner": "prism", "prism_location": program, "job_endpoint": "embed"}
    readiness.check_reachable(BeamConfig(**other))
