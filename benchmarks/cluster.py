"""A Flink cluster and worker pools on one machine, each machine of theirs a network namespace.

The namespaces are joined by a bridge, so that processes reach each other only as they would on
machines of their own: two task managers each find their own worker pool at `localhost`. All of them
see the same files. It takes root.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.processes import MeasurementError

POOL_PORT = 50_000
# The role of a process is in its environment, so that its children have it too.
_ROLE = "BENCHMARK_ROLE"
_BRIDGE, _PREFIX = "pipeline-br", "10.213.77."
_JOB_SERVER_PORT, _REST_PORT = 8199, 8081
_SECONDS_TO_START = 120
_SECONDS_BETWEEN_LOOKS, _SECONDS_BETWEEN_TRIES = 0.25, 0.02
_ROOT = pathlib.Path(__file__).resolve().parent.parent
_MACHINES = {"job manager": 2, "task manager 1": 3, "task manager 2": 4}
_OPENED = ("lang", "lang.reflect", "io", "net", "nio", "text", "time", "util", "util.concurrent")
_MIB = "m"
# Megabytes of a task manager, which Flink's scripts would derive from its total.
_TASK_MEMORY = {
    "framework.heap.size": 128,
    "framework.off-heap.size": 128,
    "task.heap.size": 384,
    "task.off-heap.size": 0,
    # The pipeline of Evaluator has many shuffles.
    "network.min": 1024,
    "network.max": 1024,
    "managed.size": 64,
    "jvm-metaspace.size": 256,
    "jvm-overhead.min": 64,
    "jvm-overhead.max": 64,
}


@dataclasses.dataclass(frozen=True)
class Programs:
    """What the cluster is made of.

    Attributes:
      flink: folder of Flink's jars.
      job_server: folder of the jars of Beam's job server for Flink.
    """

    flink: pathlib.Path
    job_server: pathlib.Path


class Cluster:
    """A job manager, two task managers, a worker pool beside each, and a job server."""

    def __init__(self, programs: Programs, folder: pathlib.Path, retries: int):
        """Starts nothing yet.

        Args:
          programs: what it is made of.
          folder: an empty one, for logs and files.
          retries: how often Flink begins a job again.
        """
        self._programs = programs
        self._folder = folder
        self._retries = retries
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def job_endpoint(self) -> str:
        """Address of the job server."""
        return f"localhost:{_JOB_SERVER_PORT}"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Starts everything, and ends it with the block."""
        with _namespaces():
            try:
                self._start_all()
                yield
            finally:
                for name in reversed(list(self._processes)):
                    self._end(name, signal.SIGKILL)

    def kill(self, name: str) -> None:
        """Kills a process with its children (SIGKILL)."""
        self._end(name, signal.SIGKILL)

    def start(self, name: str) -> None:
        """Starts a process, as whoever supervises it would do after its end."""
        kind, _, number = name.rpartition(" ")
        if kind == "worker pool":
            command = [sys.executable, "-m", "components.worker_pool", "--port", str(POOL_PORT)]
            self._run(name, command, f"task manager {number}")
        elif kind == "task manager":
            self._run(name, self._task_manager(name), name)
        elif name == "job manager":
            main = "runtime.entrypoint.StandaloneSessionClusterEntrypoint"
            self._run(name, self._flink(main, heap=384), name)
        else:
            self._run(name, self._job_server_command(), None)

    def _start_all(self) -> None:
        (self._folder / "conf").mkdir(parents=True)
        (self._folder / "conf" / "config.yaml").write_text(self._configuration(), "utf-8")
        for name in ("job manager", "task manager 1", "task manager 2"):
            self.start(name)
        for name in ("worker pool 1", "worker pool 2", "job server"):
            self.start(name)
        wait_until(lambda: self._asked("overview")["slots-total"] == 2, "both task managers")
        wait_until(functools.partial(self._says, "job server", "running"), "the job server")
        for name in ("worker pool 1", "worker pool 2"):
            wait_until(functools.partial(self._says, name, "Worker pool on"), name)

    def _configuration(self) -> str:
        restart = "none" if not self._retries else "fixed-delay"
        return "\n".join(
            [
                f"jobmanager.rpc.address: {address('job manager')}",
                f"rest.address: {address('job manager')}",
                f"rest.port: {_REST_PORT}",
                f"rest.bind-address: {address('job manager')}",
                "jobmanager.bind-host: 0.0.0.0",
                f"restart-strategy.type: {restart}",
                f"restart-strategy.fixed-delay.attempts: {self._retries}",
                "restart-strategy.fixed-delay.delay: 2 s",
                "heartbeat.interval: 2000",
                "heartbeat.timeout: 20000",
                "",
            ]
        )

    def _task_manager(self, name: str) -> list[str]:
        main = "runtime.taskexecutor.TaskManagerRunner"
        memory = {f"memory.{key}": f"{size}{_MIB}" for key, size in _TASK_MEMORY.items()}
        settings = {
            **memory,
            "cpu.cores": "1.0",
            "numberOfTaskSlots": "1",
            "host": address(name),
            "bind-host": "0.0.0.0",
        }
        flags = [
            word for key, value in settings.items() for word in ("-D", f"taskmanager.{key}={value}")
        ]
        direct = "-XX:MaxDirectMemorySize=1400m"
        java, *rest = self._flink(main, heap=512)
        return [java, direct, *rest, *flags]

    def _flink(self, main: str, heap: int) -> list[str]:
        opened = [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in _OPENED]
        paths = f"{self._programs.flink}/*"
        command = ["java", f"-Xmx{heap}m", *opened, "-cp", paths, f"org.apache.flink.{main}"]
        return [*command, "--configDir", str(self._folder / "conf")]

    def _job_server_command(self) -> list[str]:
        main = "org.apache.beam.runners.flink.FlinkJobServerDriver"
        return [
            *("java", "-Xmx512m", "-cp", f"{self._programs.job_server}/*", main),
            *("--flink-master", f"{address('job manager')}:{_REST_PORT}"),
            *("--artifacts-dir", str(self._folder / "staged")),
            *("--job-port", str(_JOB_SERVER_PORT), "--artifact-port", "0"),
            *("--expansion-port", "0"),
        ]

    def _run(self, name: str, command: Sequence[str], machine: str | None) -> None:
        inside = [] if machine is None else ["ip", "netns", "exec", _namespace(machine)]
        with self._log_file(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*inside, *command],
                cwd=_ROOT,
                env={**os.environ, _ROLE: name},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _end(self, name: str, number: int) -> None:
        process = self._processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        process.wait()

    def _asked(self, path: str) -> dict[str, Any]:
        where = f"http://{address('job manager')}:{_REST_PORT}/{path}"
        try:
            with urllib.request.urlopen(where, timeout=5) as answer:
                return dict(json.load(answer))
        except OSError:
            return {"slots-total": 0}

    def _log_file(self, name: str) -> pathlib.Path:
        return self._folder / f"{name.replace(' ', '-')}.log"

    def _says(self, name: str, word: str) -> bool:
        return word in self._log_file(name).read_text("utf-8", errors="replace")


def address(machine: str) -> str:
    """IP address of a namespace."""
    return f"{_PREFIX}{_MACHINES[machine]}"


def wait_until(holds: Callable[[], bool], what: str, seconds: float = _SECONDS_TO_START) -> None:
    """Waits for something.

    Raises:
      MeasurementError: where it does not come in time.
    """
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise MeasurementError(
                f"{what} did not come within {seconds:.0f} s; expected it sooner. Look at the "
                "logs, and whether the machine is idle."
            )
        time.sleep(_SECONDS_BETWEEN_TRIES)


def _namespace(machine: str) -> str:
    return f"pipeline-{machine.replace(' ', '-')}"


@contextlib.contextmanager
def _namespaces() -> Iterator[None]:
    if os.geteuid() or shutil.which("ip") is None:
        raise MeasurementError(
            "network namespaces take root and the command `ip`; expected both. Install iproute2, "
            "and run as root."
        )
    _remove()
    try:
        _ip("link", "add", _BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{_PREFIX}1/24", "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
        for number, machine in enumerate(_MACHINES):
            _join(_namespace(machine), address(machine), f"pipeline-{number}")
        yield
    finally:
        _remove()


def _join(namespace: str, own_address: str, link: str) -> None:
    """Makes a namespace with a link to the bridge."""
    _ip("netns", "add", namespace)
    _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    _ip("link", "set", link, "master", _BRIDGE, "up")
    inside = ("-n", namespace)
    _ip(*inside, "addr", "add", f"{own_address}/24", "dev", "eth0")
    _ip(*inside, "link", "set", "eth0", "up")
    _ip(*inside, "link", "set", "lo", "up")


def _ip(*arguments: str) -> None:
    ended = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if ended.returncode:
        raise MeasurementError(
            f"`ip {' '.join(arguments)}` failed ({ended.stderr.strip()}); expected a network "
            "namespace. Run as root, outside of a container without that right."
        )


def _remove() -> None:
    for number, machine in enumerate(_MACHINES):
        # A namespace is there as long as a process of it.
        subprocess.run(["ip", "link", "del", f"pipeline-{number}"], capture_output=True)
        subprocess.run(["ip", "netns", "del", _namespace(machine)], capture_output=True)
    subprocess.run(["ip", "link", "del", _BRIDGE], capture_output=True)


class Memory:
    """Watches the anonymous memory of this process, its children, and theirs, by their roles."""

    OWN = "run"

    def __init__(self) -> None:
        self._peaks: dict[str, int] = {}
        self._done = threading.Event()

    @property
    def peaks(self) -> Mapping[str, int]:
        """Most bytes at once, by role."""
        return self._peaks

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watches as long as the block runs."""
        self._done.clear()
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_SECONDS_BETWEEN_LOOKS):
            for role, size in _anonymous(os.getpid()).items():
                self._peaks[role] = max(self._peaks.get(role, 0), size)


def _anonymous(root: int) -> dict[str, int]:
    """Bytes of anonymous memory of the descendants of a process, by role."""
    parents, sizes = {}, {}
    for place in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, KeyError, ValueError):
            lines = (place / "status").read_text("utf-8").splitlines()
            fields = dict(line.partition(":")[::2] for line in lines)
            parents[int(place.name)] = int(fields["PPid"])
            sizes[int(place.name)] = int(fields["RssAnon"].split()[0]) * 2**10
    found: dict[str, int] = {}
    for process, size in sizes.items():
        if process != root and _descends(process, root, parents):
            role = _role(process)
            found[role] = found.get(role, 0) + size
    return found


def _descends(process: int, root: int, parents: Mapping[int, int]) -> bool:
    while process in parents and process != root:
        process = parents[process]
    return process == root


def _role(process: int) -> str:
    with contextlib.suppress(OSError):
        for variable in pathlib.Path(f"/proc/{process}/environ").read_bytes().split(b"\0"):
            name, _, value = variable.partition(b"=")
            if name.decode(errors="replace") == _ROLE:
                return value.decode()
        if pathlib.Path(f"/proc/{process}/comm").read_text("utf-8").strip() == "prism":
            return "prism"
    return Memory.OWN
