"""Whether the engine that the configuration names can take work: checked before a run begins.

Nothing here imports Beam, so that a refusal answers at once.
"""

from __future__ import annotations

import pathlib
import re
import shutil
import socket
import zipfile

from components.redaction import redacted
from pipeline import paths
from pipeline.config import EMBEDDED, BeamConfig
from pipeline.errors import ConfigurationError

_SECONDS = 5.0
_OPTION = re.compile(r"--([A-Za-z][A-Za-z0-9_-]*)(?:=.*)?", re.DOTALL)
# Options of Beam that have keys here.
_KEYS = {
    "environment_config": "beam.worker_pool or beam.worker_image",
    "environment_option": "beam.worker_pool or beam.worker_image",
    "environment_options": "beam.worker_pool or beam.worker_image",
    "environment_type": "beam.environment",
    "flink_job_server_jar": "beam.flink_job_server_jar",
    "flink_master": "beam.flink_master",
    "job_endpoint": "beam.job_endpoint",
    "parallelism": "beam.parallelism",
    "prism_location": "beam.prism_location",
}
_RUNNER = "runner"
_SECRET = re.compile(
    r"password|secret|token|credential|(api|private|access)[-_]?key", re.IGNORECASE
)


def check_complete(beam: BeamConfig) -> None:
    """Checks the settings against each other; those that the engine does not need may stay.

    Raises:
      ConfigurationError: The engine lacks a setting, or an option of Beam is none for here.
    """
    for option in beam.options:
        _check_option(option, beam)
    if beam.runner == "flink":
        _check_flink(beam)
    if beam.runner == "portable" and not beam.job_endpoint and not _names_runner(beam):
        raise ConfigurationError(
            "beam.runner=portable: no engine is named; expected beam.job_endpoint. Start the job "
            "server of an engine, and set its host:port with --set beam.job_endpoint=HOST:PORT."
        )
    if beam.runner != "local":
        _check_environment(beam)


def _check_option(option: str, beam: BeamConfig) -> None:
    matched = _OPTION.fullmatch(option)
    # Without the value of a faulty option: it may be a secret.
    name = matched[1] if matched else ""
    if matched is None:
        raise ConfigurationError(
            "beam.options: one does not begin with -- and a name; expected a JSON list such as "
            '["--number_of_execution_retries=3"]. Correct the list.'
        )
    if name in _KEYS or (name == _RUNNER and beam.runner != "portable"):
        key = _KEYS.get(name, "beam.runner")
        raise ConfigurationError(
            f"beam.options: --{name} is set by a key; expected {key} instead. Move it there."
        )
    if _SECRET.search(name) or redacted(option) != option:
        raise ConfigurationError(
            f"beam.options: --{name} looks like a secret, and receipts keep the configuration; "
            "expected options without secrets. Give it to the engine when it starts."
        )


def _check_flink(beam: BeamConfig) -> None:
    if beam.job_endpoint and beam.flink_job_server_jar:
        found = "both"
    else:
        found = "embed, which is another engine" if beam.job_endpoint else "none"
    if beam.job_endpoint == EMBEDDED or bool(beam.job_endpoint) == bool(beam.flink_job_server_jar):
        raise ConfigurationError(
            f"beam.runner=flink: found {found}; expected the job server of Beam for Flink, either "
            "running, as beam.job_endpoint=HOST:PORT, or to be started, as "
            "beam.flink_job_server_jar=FILE. Set one of the two; docs/engines.md says how to get "
            "it."
        )


def _check_environment(beam: BeamConfig) -> None:
    needed = {"pool": ("worker_pool", "HOST:PORT"), "docker": ("worker_image", "IMAGE")}
    key, form = needed.get(beam.environment, ("", ""))
    if key and not getattr(beam, key):
        raise ConfigurationError(
            f"beam.environment={beam.environment}: no workers are named; expected beam.{key}. Set "
            f"it with --set beam.{key}={form}."
        )
    if beam.environment == "loopback" and not _is_on_this_machine(beam):
        raise ConfigurationError(
            "beam.environment=loopback: the workers would run in this process, which an engine on "
            "other machines does not reach, nor do Flink's task managers wherever the job server "
            "is; expected pool or docker. Start "
            "`python -m components.worker_pool --port 50000` beside each worker of the engine, and "
            "set beam.environment=pool and beam.worker_pool=localhost:50000."
        )


def check_reachable(beam: BeamConfig) -> None:
    """Checks that programs are there, and that servers answer, within seconds.

    A pool at `localhost` is not asked where the engine runs on other machines: it is theirs.

    Args:
      beam: Settings that `check_complete` has found sound.

    Raises:
      ConfigurationError: Something is missing or does not answer.
    """
    if beam.runner == "local":
        return
    if beam.runner == "prism":
        _check_prism(beam)
    if beam.runner == "flink" and beam.flink_job_server_jar:
        _check_job_server(job_server(beam))
        if beam.flink_master:
            _check_port(beam.flink_master, "beam.flink_master", "Flink's job manager")
    elif beam.runner != "prism" and beam.job_endpoint == EMBEDDED:
        _check_own_name()
    elif beam.runner != "prism" and beam.job_endpoint is not None:
        _check_grpc(str(beam.job_endpoint), "beam.job_endpoint", "a job server of Beam")
    if beam.environment == "pool" and beam.worker_pool and _sees_pool(beam):
        _check_grpc(beam.worker_pool, "beam.worker_pool", "a worker pool")


def prism(beam: BeamConfig) -> str | None:
    """Path of Prism's executable; None where none is found."""
    if beam.prism_location is None:
        return shutil.which("prism")
    return shutil.which(_absolute(beam.prism_location, "beam.prism_location"))


def job_server(beam: BeamConfig) -> str:
    """Path of the job server for Flink, where one is named."""
    return _absolute(str(beam.flink_job_server_jar), "beam.flink_job_server_jar")


def _absolute(path: str, key: str) -> str:
    return str(paths.expanded(pathlib.Path(path), key).absolute())


def _check_prism(beam: BeamConfig) -> None:
    if prism(beam) is None:
        place = beam.prism_location or "`prism` on the search path"
        raise ConfigurationError(
            f"beam.runner=prism: {place} is not there or cannot be started; expected Prism's "
            "executable. Install it with `go install "
            "github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0`, and set beam.prism_location to "
            "~/go/bin/prism."
        )


def _check_job_server(jar: str) -> None:
    if shutil.which("java") is None:
        raise ConfigurationError(
            "beam.flink_job_server_jar: `java` is not on the search path; expected Java 11 or 17. "
            "Install it, or start the job server elsewhere and set beam.job_endpoint."
        )
    # Of another file, Java would tell only after a minute of waiting.
    if not zipfile.is_zipfile(jar):
        raise ConfigurationError(
            f"beam.flink_job_server_jar: {jar} is missing or no jar; expected Beam's job server "
            "for Flink as one file that `java -jar` starts. docs/engines.md says how to get it."
        )


def _check_port(address: str, key: str, server: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _SECONDS).close()
    except OSError as error:
        raise _silent(address, key, server, str(error)) from error


def _check_grpc(address: str, key: str, server: str) -> None:
    _check_port(address, key, server)
    # Here and not above: most runs need none of it.
    import grpc

    # A proxy of the environment does not reach this machine.
    options = [("grpc.enable_http_proxy", 0)] if _is_local(address) else []
    with grpc.insecure_channel(address, options) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=_SECONDS)
        except grpc.FutureTimeoutError as error:
            raise _silent(address, key, server, "another kind of server is there") from error


def _check_own_name() -> None:
    """Beam's own engine tells workers to look for it under the name of this machine."""
    name = socket.getfqdn()
    try:
        socket.getaddrinfo(name, None)
    except OSError as error:
        raise ConfigurationError(
            f"beam.job_endpoint={EMBEDDED}: the name of this machine, {name}, has no address "
            f"({error.strerror}); expected one, since Beam's workers look for it. Add the line "
            f"`127.0.1.1 {name}` to /etc/hosts, or take another engine."
        ) from error


def _silent(address: str, key: str, server: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{key}: {address} does not answer ({reason}); expected {server}. Start it, or set {key} "
        "to the address of one that runs."
    )


def _is_on_this_machine(beam: BeamConfig) -> bool:
    """Whether the engine itself gives work to this machine alone."""
    if beam.runner == "flink":
        return beam.job_endpoint is None and beam.flink_master is None
    if beam.runner == "portable":
        return beam.job_endpoint is not None and _is_local(beam.job_endpoint)
    return True


def _sees_pool(beam: BeamConfig) -> bool:
    return _is_on_this_machine(beam) or not _is_local(str(beam.worker_pool))


def _is_local(address: str) -> bool:
    host = address.partition(":")[0]
    return host in (EMBEDDED, "localhost") or host.startswith("127.")


def _names_runner(beam: BeamConfig) -> bool:
    return any(option.startswith(f"--{_RUNNER}=") for option in beam.options)
