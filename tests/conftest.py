"""What tests share: a world closed off from the user's, the command line, and one smoke run.

The command line is asked in three ways. `command` starts a process as a person would.
`quick_command` has a process that has imported the stack fork itself, which saves a run ten seconds
of imports; what follows is the same code, with the same arguments, streams and exit code.
`light_command` does the same for a command that ends before anything heavy is imported.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components import environment

# Before anything imports NumPy or TensorFlow. Two test runs on one machine, or a test beside the
# process that it started, would otherwise fight for the same cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
environment.enter(log_level="2")

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from tests import s3, scheduling  # noqa: E402

pytest_plugins = ["tests.made_runs", "tests.postgresql"]

# On a busy machine an example of a property test may take its time.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

PROJECT = Path(__file__).resolve().parents[1]
RUNNER = PROJECT / "pipeline_runner.py"
SERVER = PROJECT / "tests" / "command_server.py"
SAMPLE_PIPELINE = "fashion-mnist-sample-smoke"
DATA_VARIABLE = "FASHION_MNIST_DIR"
# As IDX files are called, by the half of the data that they hold.
IDX_NAMES = {
    half: (f"{half}-images-idx3-ubyte.gz", f"{half}-labels-idx1-ubyte.gz")
    for half in ("train", "t10k")
}
# What a copy of the project needs not, or must not have.
_NOT_COPIED = (".*", "__pycache__", "outputs", "build", "dist", "*.egg-info", "docs", "tests")
_HEAVY = ("tensorflow", "tfx", "apache_beam", "keras", "tensorflow_model_analysis")
# Nothing listens on the discard port: whatever tries to download fails at once.
_UNREACHABLE = "http://127.0.0.1:9"
_PATIENCE_SECONDS = 30

_REAL_DATA = os.environ.get(DATA_VARIABLE)


@pytest.fixture(autouse=True, scope="module")
def seed_of_tensorflow() -> None:
    """Seeds TensorFlow's random operations, wherever a module before this one has imported it.

    Some tests make its operations deterministic, which cannot be undone in a process. From then on,
    random operations without a seed are refused. Not before each test: with a seed, TensorFlow
    forgets the graphs that it has optimized, and takes a second to optimize a large one again.
    """
    if tensorflow := sys.modules.get("tensorflow"):
        tensorflow.random.set_seed(1)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seeds what Keras draws from where no seed is named, such as the first weights of a network.

    Otherwise each process has other weights, and now and then those that a test fails with.
    """
    random.seed(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-golden",
        action="store_true",
        help="write the golden forms of the graph anew instead of comparing with them",
    )
    parser.addoption(
        "--share",
        action="store_true",
        help="give all tests of a folder that share runs or pages to one worker",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getoption("share"):
        return scheduling.SharingScheduling(config, log)
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    scheduling.longest_first(items)
    if _REAL_DATA:
        return
    skip = pytest.mark.skip(reason=f"{DATA_VARIABLE} names no folder of real data")
    for item in items:
        if item.get_closest_marker("real_data"):
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def closed_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test touches the user's cache, downloads anything, or takes data it did not name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv(DATA_VARIABLE, raising=False)
        patch.setenv("no_proxy", "")
        patch.delenv("no_grpc_proxy", raising=False)
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.setenv(name, _UNREACHABLE)
            patch.setenv(name.upper(), _UNREACHABLE)
        yield


@pytest.fixture
def listening_to_signals() -> Iterator[None]:
    """What this process starts listens to SIGINT and SIGHUP, even where this one was told not to.

    So are the workers that tests run in side by side, and what a shell starts in the background.
    """
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def is_alive() -> Callable[[int], bool]:
    """Tells whether a process is there and has not ended."""

    def alive(process: int) -> bool:
        try:
            status = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            return False
        # Where nobody waits for it, a process that has ended stays as a zombie.
        return status.rpartition(")")[2].split()[0] != "Z"

    return alive


@pytest.fixture(scope="session")
def ends(is_alive: Callable[[int], bool]) -> Callable[[int], bool]:
    """Tells whether a process that was killed ends: on a busy machine that takes its time."""

    def wait(process: int) -> bool:
        until = time.monotonic() + _PATIENCE_SECONDS
        while is_alive(process) and time.monotonic() < until:
            time.sleep(0.02)
        return not is_alive(process)

    return wait


@pytest.fixture(scope="session")
def real_data_folder() -> Path:
    """The folder of the real data; only for tests marked `real_data`."""
    assert _REAL_DATA, "a test that asks for real data must be marked real_data"
    return Path(_REAL_DATA)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code and what it wrote.

    Attributes:
      code: exit code.
      output: what it wrote to standard output.
      errors: what it wrote to standard error.
      packages: what it had imported in the end; only a command server tells.
    """

    code: int
    output: str
    errors: str
    packages: frozenset[str] = frozenset()

    @property
    def json(self) -> Any:
        """The JSON document that the command printed."""
        return json.loads(self.output)


Command = Callable[..., Outcome]


@pytest.fixture(scope="session")
def command() -> Command:
    """Runs `pipeline_runner.py` in a process of its own.

    `root` names a copy of the project, `memory` the bytes that the process may have, `python` that
    of another environment.
    """

    def run(
        *arguments: object,
        root: Path = PROJECT,
        memory: int | None = None,
        python: Path = Path(sys.executable),
        **environment: str,
    ) -> Outcome:
        limit = functools.partial(resource.setrlimit, resource.RLIMIT_AS, (memory, memory))
        ended = subprocess.run(
            [str(python), str(root / RUNNER.name), *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            preexec_fn=limit if memory else None,
        )
        return Outcome(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python with these arguments in a process that may import the project."""

    def run(
        *arguments: object, cwd: Path = PROJECT, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        )

    return run


@pytest.fixture
def project_copy(tmp_path: Path) -> Path:
    """A copy of the project to edit; its environment stays the one that runs the tests."""
    copy = tmp_path / "project"
    shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns(*_NOT_COPIED))
    return copy


class _CommandServer:
    """A process that has imported what commands import, and runs each in a fork of itself."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        """Starts it; its files are below `folder`."""
        self._folder = folder
        self._environment = environment
        self._log = folder / "server.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(SERVER), *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **environment},
            )

    def run(self, *arguments: object, **environment: str) -> Outcome:
        """Runs a command with the variables and in the folder of this process."""
        files = {name: str(self._folder / name) for name in ("output", "errors", "packages")}
        request = {
            "arguments": [str(argument) for argument in arguments],
            "environment": {**os.environ, **self._environment, **environment},
            "folder": str(Path.cwd()),
            **files,
        }
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"the command server ended: {self._log.read_text()}"
        output, errors, packages = (Path(f).read_text(encoding="utf-8") for f in files.values())
        return Outcome(int(answer), output, errors, frozenset(json.loads(packages)))

    def close(self) -> None:
        """Ends it."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


@pytest.fixture(scope="session")
def quick_command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """Runs `pipeline_runner.py` in a fork of a process that has imported the stack."""
    with contextlib.closing(_CommandServer(tmp_path_factory.mktemp("quick"))) as server:
        yield server.run


@pytest.fixture(scope="session")
def light_command(tmp_path_factory: pytest.TempPathFactory, tripwires: str) -> Iterator[Command]:
    """Runs `pipeline_runner.py` in a fork of a process that can import nothing heavy.

    A command that tries to ends with the words "heavy import".
    """
    folder = tmp_path_factory.mktemp("light")
    server = _CommandServer(folder, "--light", PYTHONPATH=tripwires)
    with contextlib.closing(server):
        yield server.run


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A run that has ended.

    Attributes:
      output_dir: given as `--output-dir`.
      receipt: of the run.
      outcome: of the command that ran it.
    """

    output_dir: Path
    receipt: dict[str, Any]
    outcome: Outcome

    @property
    def root(self) -> Path:
        """The folder of its pipeline."""
        return self.output_dir / self.receipt["pipeline"]

    @property
    def evaluation(self) -> dict[str, Any]:
        """What its receipt says of the test split."""
        return self.receipt["evaluation"]

    @property
    def export(self) -> Path:
        """The version that it pushed."""
        return self.root / "serving" / str(self.receipt["pushed_version"])

    def copy(self, folder: Path) -> Path:
        """Copies all of it, so that a test may change it; returns the new output folder.

        What ML Metadata says of the artifacts still points at the original: to be read alone.
        """
        shutil.copytree(self.output_dir, folder)
        return folder


def finished(output_dir: Path, outcome: Outcome) -> FinishedRun:
    """The newest run below `output_dir`, which `outcome` tells of."""
    paths = output_dir.glob("*/runs/*/receipt.json")
    receipts = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    newest = max(receipts, key=lambda receipt: receipt["sequence"])
    return FinishedRun(output_dir, newest, outcome)


@pytest.fixture(scope="session")
def tripwires(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder for PYTHONPATH: importing one of the heavy libraries ends the process."""
    folder = tmp_path_factory.mktemp("tripwires")
    for name in _HEAVY:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise SystemExit('heavy import')")
    return str(folder)


@pytest.fixture(scope="session")
def run_graph(quick_command: Command) -> Callable[..., FinishedRun]:
    """Runs the graph with further arguments of `run`, changed or not, and reads the receipt.

    It has to end with `code`.
    """

    def run(output_dir: Path, *arguments: object, code: int = 0) -> FinishedRun:
        outcome = quick_command("run", "--force", "--output-dir", output_dir, *arguments)
        assert outcome.code == code, outcome.errors
        return finished(output_dir, outcome)

    return run


@pytest.fixture(scope="session")
def sample_run(command: Command, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """One smoke run of the whole graph on the synthetic sample, as a person would start it.

    Shared by all tests: look, do not touch. `copy` makes one that may be changed.
    """
    output_dir = tmp_path_factory.mktemp("sample_run") / "outputs"
    outcome = command("run", "--data", "sample", "--output-dir", output_dir)
    assert outcome.code == 0, f"the smoke run failed:\n{outcome.output}\n{outcome.errors}"
    return finished(output_dir, outcome)


@dataclasses.dataclass(frozen=True)
class Images:
    """Labelled images in memory, as the four IDX files hold them."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    def change(self, **arrays: np.ndarray) -> Images:
        """The same with other arrays."""
        return dataclasses.replace(self, **arrays)

    def first(self, train_per_class: int, test_per_class: int) -> Images:
        """The first so many of each class, class by class."""
        train = _first_of_each(self.train_labels, train_per_class)
        test = _first_of_each(self.test_labels, test_per_class)
        return Images(
            self.train_images[train],
            self.train_labels[train],
            self.test_images[test],
            self.test_labels[test],
        )

    def write(self, folder: Path) -> Path:
        """Writes the four files and returns the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = iter(dataclasses.astuple(self))
        for names in IDX_NAMES.values():
            for name in names:
                (folder / name).write_bytes(gzip.compress(idx_bytes(next(arrays)), 1, mtime=0))
        return folder


def _first_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)])


def idx_bytes(array: np.ndarray) -> bytes:
    """An array of unsigned bytes in IDX format."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture(scope="session")
def as_idx() -> Callable[[np.ndarray], bytes]:
    """Turns an array of unsigned bytes into the content of an IDX file."""
    return idx_bytes


@pytest.fixture(scope="session")
def sample_images(closed_world: None) -> Images:
    """The synthetic sample, read from the files that runs take it from."""
    from pipeline.datasets import sample
    from pipeline.datasets.find import cache_folder

    folder = cache_folder() / "sample"
    sample.write_sample(folder)
    arrays = [_read_idx(folder / name) for names in IDX_NAMES.values() for name in names]
    return Images(*arrays)


def _read_idx(path: Path) -> np.ndarray:
    content = gzip.decompress(path.read_bytes())
    dimensions = content[3]
    shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


@pytest.fixture(scope="session")
def used_bytes() -> Callable[[Path], int]:
    """The bytes of a pipeline on the disk, each file once, as the system's own tool says."""

    def used(root: Path) -> int:
        folders = [root / name for name in ("artifacts", "runs", "serving")]
        command = ["du", "--summarize", "--total", "--block-size=1"]
        command += [str(folder) for folder in folders if folder.exists()]
        return int(subprocess.check_output(command, text=True).splitlines()[-1].split()[0])

    return used


@pytest.fixture(scope="session")
def digest_of() -> Callable[[Path], str]:
    """SHA-256 over the names and the contents of all files below a folder."""

    def digest(folder: Path) -> str:
        found = hashlib.sha256()
        for path in sorted(folder.rglob("*")):
            found.update(f"{path.relative_to(folder)}\0".encode())
            found.update(path.read_bytes() if path.is_file() else b"")
        return found.hexdigest()

    return digest


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of an S3 that is a process of its own."""
    with s3.serving() as address:
        yield address


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> s3.Bucket:
    """An empty bucket, whose server this process and those that it starts find."""
    for name, value in s3.environment(s3_server).items():
        monkeypatch.setenv(name, value)
    return s3.Bucket(s3_server, f"bucket-{uuid.uuid4().hex}")


@pytest.fixture
def faults(
    bucket: s3.Bucket, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[s3.Faults]:
    """A way to the server of the bucket on which a test lets requests fail."""
    import s3fs

    with s3.faulty(s3_server) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", way.address)
        # This process keeps its connection.
        s3fs.S3FileSystem.clear_instance_cache()
        yield way
        s3fs.S3FileSystem.clear_instance_cache()
