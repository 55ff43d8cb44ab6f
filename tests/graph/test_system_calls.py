"""System calls that fail, or at which the process is killed: SQLite's and TensorFlow's, too.

strace counts the calls of the main thread of a command that goes well. Then the same command runs
once more on a copy of the same pipeline, and one of these calls fails or kills it. Whatever was
written by then, no receipt and no served version is half there, one message says what happened,
and the next command goes well.
"""

import dataclasses
import json
import re
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.graph import aftermath, tracing
from tests.skipping import skip_loudly

RUNNER = Path(__file__).resolve().parents[2] / "pipeline_runner.py"
PIPELINE = "fashion-mnist-smoke"
# Not openat: how many files an import opens depends on what was compiled.
CALLS = (
    *("fdatasync", "flock", "fsync", "ftruncate", "mkdir", "rename", "sendfile"),
    "unlinkat",
)
KILL, KILLED = "KILL", -9
CALL = re.compile(r"([a-z0-9]+)\(")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclasses.dataclass(frozen=True)
class Point:
    """A call at which something happens.

    Attributes:
      command: key of the commands.
      call: name of the system call.
      path: pattern of the line in which strace shows it.
      fault: name of the error with which it fails, or KILL for the signal ahead of it.
      code: exit code of the command.
      which: which of these calls it is; negative from the end.
    """

    command: str
    call: str
    path: str
    fault: str
    code: int
    which: int = 0

    @property
    def injection(self):
        """The fault as strace is told of it."""
        return f"signal={self.fault}" if self.fault == KILL else f"error={self.fault}"

    def number(self, calls):
        """Which of all calls of its name it is, as strace counts."""
        named = [line for line in calls if line.startswith(f"{self.call}(")]
        fitting = [number for number, line in enumerate(named, 1) if re.search(self.path, line)]
        assert fitting, f"no {self.call} of {self.path}; the command has changed"
        return fitting[self.which]


POINTS = {
    # Before anything heavy is imported.
    "the lock of a run": Point("run", "flock", r"/lock>", "ENOLCK", 2),
    "the first receipt": Point("run", "rename", r'receipt\.json"', "ENOSPC", 2),
    "kill at the first receipt": Point("run", "fsync", r"/\.receipt\.json", KILL, KILLED),
    "the temporary folder": Point("run", "mkdir", r'/runs/[^/]+/tmp"', "ENOSPC", 2),
    # The nodes of a run, and SQLite below ML Metadata.
    "a shard of examples": Point("run", "rename", r"/Split-train/data_tfrecord", "ENOSPC", 1),
    "the store on its way to the disk": Point("run", "fdatasync", r"/metadata\.db>", "EIO", 1, 20),
    "kill at the journal of the store": Point(
        "run", "fdatasync", r"/metadata\.db-journal>", KILL, KILLED, 50
    ),
    "the weights of the best epoch": Point("run", "fsync", r"/unfinished/best\.npz>", "EIO", 1),
    "kill at a snapshot of the training": Point("run", "rename", r"/snapshot-", KILL, KILLED),
    "the export": Point("run", "rename", r"/Format-Serving/saved_model\.pb", "EIO", 1),
    # The end of a run.
    "the copy of the export": Point("run", "sendfile", r"/\.incoming-.*\.pb>", "ENOSPC", 1),
    "kill at the new version": Point("run", "rename", r'/serving/\d+"', KILL, KILLED),
    "the last receipt": Point("run", "rename", r'receipt\.json"', "ENOSPC", 1, -1),
    "the page of a run": Point("run", "rename", r'/review\.html"', "EACCES", 0),
    # Other commands.
    "the kept files of a rollback": Point("rollback", "rename", r"/\.kept/", "EIO", 2),
    "kill at the version of a rollback": Point(
        "rollback", "rename", r'/serving/\d+"', KILL, KILLED
    ),
    "what is cleaned away": Point("clean", "unlinkat", r"/artifacts/", "EIO", 2),
    "what the store notes of it": Point("clean", "fdatasync", r"/metadata\.db", "EIO", 2),
    "kill at a version that is withdrawn": Point("clean", "rename", r"/\.outgoing-", KILL, KILLED),
    "the lock given back": Point("clean", "ftruncate", r"/lock>", "EIO", 0, -1),
    "a page made again": Point("review", "rename", r'/review\.html"', "ENOSPC", 2),
    "kill at the list of runs": Point("review", "rename", r'/index\.html"', KILL, KILLED),
    "kill at the new store of a repair": Point(
        "repair", "rename", r'/metadata\.db"\)', KILL, KILLED
    ),
    "the state of a schedule": Point("schedule", "rename", r'/state\.json"', "ENOSPC", 0),
    "kill at the state of a schedule": Point("schedule", "rename", r'/state\.json"', KILL, KILLED),
}


@pytest.fixture(scope="module")
def traced():
    """Runs the command line under strace; returns how it ended."""
    if not tracing.is_possible():
        said = "No strace, or no right to trace: NO SYSTEM CALL WAS MADE TO FAIL."
        skip_loudly(said, "strace")

    def run(log, arguments, *options):
        words = ["strace", "--decode-fds=path", "--string-limit=1", f"--output={log}", *options]
        words += [sys.executable, str(RUNNER), *map(str, arguments)]
        return aftermath.run(words)

    return run


@pytest.fixture(scope="module")
def commands(few):
    """Commands that write, by name."""
    return {
        "run": ("run", *few, "--seed", "3"),
        "rollback": ("rollback",),
        "clean": ("clean", "--keep-last", "1", "--keep-versions", "1", "--apply"),
        "review": ("review",),
        "repair": ("repair",),
        "schedule": ("schedule", "--once", "--on-change", *few, "--seed", "2"),
    }


@dataclasses.dataclass
class Prepared:
    """A pipeline that has served two models, and what is known of the calls of each command."""

    outputs: Path
    calls: dict[str, list[str]]


@pytest.fixture(scope="module")
def prepared(traced, few, quick_command, tmp_path_factory):
    """A run, and another under strace: the calls of a third are the same."""
    folder = tmp_path_factory.mktemp("prepared")
    outputs, log = folder / "outputs", folder / "log"
    first = quick_command("run", *few, "--output-dir", outputs)
    assert first.code == 0, first.errors
    arguments = ("run", *few, "--seed", "2", "--output-dir", outputs)
    second = traced(log, arguments, f"--trace={','.join(CALLS)}")
    assert second.code == 0, second.errors
    return Prepared(outputs, {"run": calls_in(log)})


@pytest.fixture
def copy(prepared, tmp_path):
    """Makes copies of the pipeline, whose ML Metadata knows where they are."""

    def make(name, command):
        outputs = tmp_path / name
        shutil.copytree(prepared.outputs, outputs)
        store = outputs / PIPELINE / "metadata.db"
        with sqlite3.connect(store) as database:
            moved = (str(prepared.outputs), str(outputs))
            database.execute("UPDATE Artifact SET uri = replace(uri, ?, ?)", moved)
        database.close()
        if command == "repair":
            store.write_bytes(b"damaged" * 1000)
        return outputs

    return make


@pytest.fixture
def calls(prepared, traced, commands, copy, tmp_path):
    """The calls of a command that goes well."""

    def record(command):
        if command not in prepared.calls:
            arguments = (*commands[command], "--output-dir", copy("recorded", command))
            ended = traced(tmp_path / "log", arguments, f"--trace={','.join(CALLS)}")
            assert ended.code == 0, ended.errors
            prepared.calls[command] = calls_in(tmp_path / "log")
        return prepared.calls[command]

    return record


def calls_in(log):
    """The calls that strace wrote down, a line each."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if CALL.match(line)]


def is_hit(point, log):
    """Whether the fault met what it was meant for."""
    calls = calls_in(log)
    met = calls[-1:] if point.fault == KILL else [line for line in calls if "(INJECTED)" in line]
    return len(met) == 1 and re.search(point.path, met[0])


@pytest.mark.parametrize("where", POINTS)
def test_a_call_that_fails_or_is_the_last_leaves_nothing_half_done(
    where, traced, commands, copy, calls, quick_command, tmp_path
):
    point = POINTS[where]
    number, outputs = point.number(calls(point.command)), copy("outputs", point.command)
    root, asked = outputs / PIPELINE, (*commands[point.command], "--output-dir", outputs)
    before = aftermath.read(root)
    ended = traced(
        tmp_path / "log",
        asked,
        f"--trace={point.call}",
        f"--inject={point.call}:{point.injection}:when={number}",
    )
    assert is_hit(point, tmp_path / "log"), f"the {number}th {point.call} is another one now"
    after = aftermath.check(before, ended, (point.code,), point.command != "clean")

    new = [json.loads(after.receipts[run]) for run in after.receipts.keys() - before.receipts]
    cut_off = any(receipt["status"] != "completed" for receipt in new)
    following = quick_command(*(("resume", "--output-dir", outputs) if cut_off else asked))
    pipeline = aftermath.check_next(root, following)
    if point.command == "run":
        assert pipeline.newest > before.newest
