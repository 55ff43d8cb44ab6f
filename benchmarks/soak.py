"""How a schedule holds out for hours, with damaged data and killed processes.

A scheduler trains on the newest span every minute. Spans of the synthetic sample arrive; every
tenth is damaged, and whole again when the next one arrives, as if somebody had mended it. At random
moments the process of a run is killed with SIGKILL, and in the first third of the time the
scheduler too; it is started again, as systemd would do. From then on one scheduler lives, so that
a leak would show. Notifications go to a server of this process.

Every few seconds, the open files and the memory of the scheduler are read, and the space that the
results take. When the time is up, the scheduler is asked to end, a last run completes what was cut
off, and everything is checked:

- `faults`: what is not as promised, a line each. A receipt is missing, cannot be read or has no
  end; a version is damaged, belongs to no run or is half published; no run was given a sound span,
  or a damaged one was trained on; a damaged span raised no alarm; the scheduler ended though nobody
  killed it, or with an error; files or processes were left behind; the scheduler leaks.
- `overtaken`: sound spans that no run began with before the next span came, because an earlier run
  was still at work, or of which every run was killed: the runs of a schedule take the newest alone.
- `open_files_growth`, `memory_growth`: median of the last quarter of the measurements of the last
  scheduler less that of their first quarter; memory in bytes.

The exit code is 1 if there are faults. `python -m benchmarks.soak_chart` draws a record.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import http.server
import itertools
import json
import os
import pathlib
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TextIO

import typer

from benchmarks import command, trainings
from benchmarks.session import Session
from benchmarks.tables import Table
from cli import command_line
from components.pusher import served, versions
from operations.notifications.events import AlarmKind
from pipeline import config as configurations
from pipeline.datasets import SAMPLE
from pipeline.datasets.sample import FILE_NAMES, write_sample
from pipeline.errors import ExitCode, OutputError
from pipeline.locations import RECEIPT_FILE, Locations
from pipeline.records import history
from pipeline.records.outcomes import Status, Verdict
from pipeline.records.receipt import Receipt

NAME = "soak"
PIPELINE = "fashion-mnist-smoke"
DAMAGED_EVERY = 10
# Variable that tells the processes of a soak.
_CACHE = "XDG_CACHE_HOME"
# Folder of temporary files.
TEMPORARY = "tmp"
SETTINGS = ("training.epochs=3", "training.batch_size=100", "split.validation=100")

_MINUTES, _SHORT_MINUTES = 180.0, 3.0
_SPAN_SECONDS, _SHORT_SPAN_SECONDS = 150.0, 60.0
_KILL_SECONDS, _SHORT_KILL_SECONDS = 240.0, 60.0
_LOOK_SECONDS, _SHORT_LOOK_SECONDS = 15.0, 5.0
# Of the kills, those that hit the scheduler itself, as long as it is among what is killed.
_SCHEDULER_SHARE = 0.5
_SCHEDULER = "scheduler"
_STOP_SECONDS = 300.0
# What caches and the garbage of Python may add in hours.
_MOST_GROWTH_BYTES = 32 * 2**20
_MIB = 2**20

app = command.application()


class NoticeServer:
    """A server that takes the notifications of Apprise's `json://` and keeps them."""

    def __init__(self) -> None:
        self.notices: list[dict[str, str]] = []
        taken = self.notices

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                taken.append(json.loads(content))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Prints nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Address for Apprise."""
        return f"json://127.0.0.1:{self._server.server_port}"


class Scheduler:
    """The scheduler as a process, which is started again after it was killed."""

    def __init__(self, folder: pathlib.Path, address: str, output: TextIO):
        """Starts it.

        Args:
          folder: has the folder `spans`, and gets the folder `outputs`.
          address: where notifications go.
          output: takes what it prints.
        """
        self._folder, self._output = folder, output
        self._environment = {
            **os.environ,
            "IMAGE_PIPELINE_NOTIFY": address,
            _CACHE: str(folder / "cache"),
            "TMPDIR": str(folder / TEMPORARY),
            "no_proxy": "127.0.0.1",
        }
        (folder / TEMPORARY).mkdir()
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        words = ["schedule", "--cron", "* * * * *", "--retries", "1", "--backoff", "5"]
        return self._command(*words)

    def _command(self, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(trainings.ROOT / "pipeline_runner.py"), *words]
        command += ["--profile", "smoke", "--data", str(self._folder / "spans")]
        command += ["--output-dir", str(self._folder / "outputs")]
        command += [word for setting in SETTINGS for word in ("--set", setting)]
        return subprocess.Popen(
            command, env=self._environment, stdout=self._output, stderr=self._output
        )

    def keep_alive(self) -> bool:
        """Starts it again if it has ended; returns whether it had."""
        if self.process.poll() is None:
            return False
        self.process = self._started()
        return True

    def run_of(self) -> int | None:
        """Process id of the run at work; None if there is none."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with contextlib.suppress(OSError):
            for child in map(int, children.read_text().split()):
                words = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                if b"run" in words:
                    return child
        return None

    def end(self) -> list[str]:
        """Asks it to end, waits for it, and lets a last run complete what was cut off.

        Returns:
          What is not as promised, a line each.
        """
        self.process.terminate()
        return [*_ends(self.process, "the scheduler"), *_ends(self._command("run"), "the last run")]


def _ends(process: subprocess.Popen[bytes], name: str) -> Iterator[str]:
    """Waits for the end of a process; yields what is wrong with it, a line."""
    try:
        code = process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        yield f"{name} was still at work after {_STOP_SECONDS:.0f} s"
        return
    # 3: a refused model is a good end, too.
    if code not in (ExitCode.PUSHED, ExitCode.REFUSED):
        yield f"{name} ended with {code}"


@dataclasses.dataclass
class Span:
    """A span of data.

    Attributes:
      number: Its number.
      came: Time of its arrival.
      damage: What is wrong with it; empty if nothing is.
    """

    number: int
    came: datetime.datetime
    damage: str = ""


class Spans:
    """The spans, which come one after the other."""

    def __init__(self, folder: pathlib.Path, staging: pathlib.Path):
        """Spans come to `folder`; they are made in `staging`, on the same file system."""
        folder.mkdir()
        self._folder, self._staging = folder, staging
        self.all: list[Span] = []

    def come(self) -> None:
        """Mends the last span if it is damaged, and has the next one arrive whole."""
        self._mend()
        number = len(self.all) + 1
        made = self._made(number)
        damage = ""
        if number % DAMAGED_EVERY == 0:
            damage = _DAMAGES[number // DAMAGED_EVERY % len(_DAMAGES)]
            _spoil(made, damage)
        made.rename(self._folder / made.name)
        self.all.append(Span(number, datetime.datetime.now(datetime.UTC), damage))

    def _mend(self) -> None:
        if not self.all or not self.all[-1].damage:
            return
        number = self.all[-1].number
        made = self._made(number)
        for path in made.iterdir():
            path.replace(self._folder / made.name / path.name)

    def _made(self, number: int) -> pathlib.Path:
        folder = self._staging / f"span-{number}"
        write_sample(folder, seed=number)
        return folder


_IMAGES, _LABELS = FILE_NAMES[:2]
_DAMAGES = ("cut short", "without labels", "not an IDX file")


def _spoil(folder: pathlib.Path, damage: str) -> None:
    images = folder / _IMAGES
    match damage:
        case "cut short":
            os.truncate(images, images.stat().st_size // 2)
        case "without labels":
            (folder / _LABELS).unlink()
        case "not an IDX file":
            images.write_bytes(b"<html>Not found</html>")


@app.command(
    cls=command_line.Command,
    epilog="""Examples:

`python -m benchmarks.soak --json` takes three hours.

`python -m benchmarks.soak --minutes 60 --seed 2`

`python -m benchmarks.soak --short` sees that it works.""",
)
def main(
    minutes: Annotated[
        float | None, typer.Option(min=1, help=f"Duration; {_MINUTES:.0f} by default.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the kills.")] = 1,
    folder: Annotated[
        pathlib.Path | None,
        typer.Option(help="New folder for all results, which stays; a temporary one by default."),
    ] = None,
    record: command.RecordTo = None,
    short: command.Short = False,
    as_json: command.AsJson = False,
) -> None:
    """Run a schedule for hours, with damaged data and killed processes."""
    duration = 60 * (minutes or (_SHORT_MINUTES if short else _MINUTES))
    source, _ = trainings.checked(SAMPLE)
    configuration = {
        "short": short,
        "minutes": duration / 60,
        "seed": seed,
        "span_seconds": _SHORT_SPAN_SECONDS if short else _SPAN_SECONDS,
        "kill_seconds": _SHORT_KILL_SECONDS if short else _KILL_SECONDS,
        "look_seconds": _SHORT_LOOK_SECONDS if short else _LOOK_SECONDS,
        "trained": configurations.load_config("smoke", SETTINGS).model_dump(mode="json"),
    }
    session = Session(NAME, configuration, source, record)
    with _workplace(folder) as place, (place / "output.txt").open("w+") as output:
        soak = Soak(place, output, session, random.Random(seed), configuration)
        soak.last(duration)
        answer = soak.figures()
    session.end(answer, [table(answer)], as_json)
    if answer["faults"]:
        raise typer.Exit(1)


@contextlib.contextmanager
def _workplace(folder: pathlib.Path | None) -> Iterator[pathlib.Path]:
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
            yield pathlib.Path(name)
        return
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise OutputError(
            f"--folder {folder} cannot be made ({error.strerror}); expected the path of a folder "
            "that is not there yet. Name another one."
        ) from error
    yield folder.resolve()


class Soak:
    """A soak at work."""

    def __init__(
        self,
        folder: pathlib.Path,
        output: TextIO,
        session: Session,
        chance: random.Random,
        configuration: dict[str, Any],
    ):
        """Starts the scheduler with a first span.

        Args:
          folder: An empty folder.
          output: Takes what the scheduler prints.
          session: Takes the measurements.
          chance: Decides when what is killed.
          configuration: Has `span_seconds`, `kill_seconds` and `look_seconds`, the times between
            two; between kills, it is the mean.
        """
        self._folder, self._session, self._chance = folder, session, chance
        self._span_seconds = configuration["span_seconds"]
        self._kill_seconds = configuration["kill_seconds"]
        self._look_seconds = configuration["look_seconds"]
        self._locations = Locations(folder / "outputs" / PIPELINE)
        self._began = time.monotonic()
        self._server = NoticeServer()
        self._spans = Spans(folder / "spans", folder)
        self._kills: Counter[str] = Counter()
        self._restarts = 0
        self._faults: list[str] = []
        self._spans.come()
        self._scheduler = Scheduler(folder, self._server.address, output)

    def last(self, duration: float) -> None:
        """Lets spans arrive and kills processes for so many seconds; then ends the scheduler."""
        next_span, next_kill = self._span_seconds, self._until_kill(0.0)
        while (now := self._seconds()) < duration:
            # The last span has time to be trained on.
            if now >= next_span and duration - now > 2 * self._span_seconds / 3:
                self._spans.come()
                next_span += self._span_seconds
            if now >= next_kill and self._kill(with_scheduler=now < duration / 3):
                next_kill = self._until_kill(self._seconds())
            # It may end at this moment, and is started again at the next look.
            with contextlib.suppress(OSError):
                self._look()
            time.sleep(self._look_seconds)
        self._faults = self._scheduler.end()

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _until_kill(self, now: float) -> float:
        return now + self._chance.expovariate(1 / self._kill_seconds)

    def _kill(self, with_scheduler: bool) -> bool:
        """Kills a run, or perhaps the scheduler; returns whether it did."""
        if self._chance.random() < _SCHEDULER_SHARE and with_scheduler:
            self._scheduler.process.kill()
            self._scheduler.process.wait()
            self._kills[_SCHEDULER] += 1
            return True
        run = self._scheduler.run_of()
        if run is None:
            return False
        time.sleep(self._chance.uniform(0, 20))
        with contextlib.suppress(ProcessLookupError):
            os.kill(run, signal.SIGKILL)
            self._kills["run"] += 1
        return True

    def _look(self) -> None:
        restarted = self._scheduler.keep_alive()
        self._restarts += restarted
        process = pathlib.Path(f"/proc/{self._scheduler.process.pid}")
        receipts = history.receipts_of(self._locations)
        repeat = {
            "seconds": round(self._seconds(), 1),
            "restarted": restarted,
            "open_files": len(list((process / "fd").iterdir())),
            "memory": _memory(process),
            "disk": _disk(self._folder / "outputs"),
            "runs": len(receipts),
            "pushed": sum(receipt.verdict == Verdict.PUSHED for receipt in receipts),
            "spans": len(self._spans.all),
            "damaged": sum(bool(span.damage) for span in self._spans.all),
            "killed_runs": self._kills["run"],
            "killed_schedulers": self._kills[_SCHEDULER],
            "alarms": sum(map(_is_alarm, self._server.notices)),
            "notices": len(self._server.notices),
        }
        self._session.add(repeat, _line(repeat))

    def figures(self) -> dict[str, Any]:
        """Counts, growths and faults, after the end."""
        receipts = history.receipts_of(self._locations)
        repeats = self._session.repeats
        files, memory = growth(repeats, "open_files"), growth(repeats, "memory")
        return {
            "hours": self._seconds() / 3600,
            "runs": len(receipts),
            "outcomes": dict(Counter(_outcome(receipt) for receipt in receipts)),
            "spans": len(self._spans.all),
            "damaged": sum(bool(span.damage) for span in self._spans.all),
            "overtaken": overtaken(self._spans.all, receipts),
            "killed": dict(self._kills),
            "alarms": sum(map(_is_alarm, self._server.notices)),
            "recoveries": sum(map(_is_recovery, self._server.notices)),
            "open_files_growth": files,
            "memory_growth": memory,
            "disk": _disk(self._folder / "outputs"),
            "faults": [
                *self._faults,
                *scheduler_faults(self._restarts - self._kills[_SCHEDULER], files, memory),
                *faults(self._locations, self._spans.all, self._server.notices),
                *left_behind(self._folder),
            ],
        }


def _memory(process: pathlib.Path) -> int:
    """Memory of a process in bytes, without what it shares with files."""
    lines = (process / "status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 2**10


def _disk(folder: pathlib.Path) -> int:
    """Size of all files of a folder in bytes."""
    total = 0
    for path in folder.rglob("*"):
        # A run may remove it at this moment.
        with contextlib.suppress(FileNotFoundError):
            total += path.lstat().st_size if not path.is_dir() else 0
    return total


def _outcome(receipt: Receipt) -> str:
    return receipt.verdict if receipt.verdict != Verdict.NONE else receipt.status


def _is_recovery(notice: dict[str, str]) -> bool:
    return "recovered" in notice["title"]


def _is_alarm(notice: dict[str, str]) -> bool:
    named = any(kind.headline in notice["title"] for kind in AlarmKind)
    return named and not _is_recovery(notice)


def growth(repeats: Sequence[dict[str, Any]], key: str) -> float:
    """How much a figure of the last scheduler grew.

    Args:
      repeats: All measurements; `restarted` says that one is the first of another scheduler.
      key: Name of the figure.

    Returns:
      Median of the last quarter of its measurements less that of the first.
    """
    begun = max((place for place, run in enumerate(repeats) if run["restarted"]), default=0)
    values = [run[key] for run in repeats[begun:]]
    quarter = max(len(values) // 4, 1)
    return statistics.median(values[-quarter:]) - statistics.median(values[:quarter])


def scheduler_faults(crashes: int, files: float, memory: float) -> list[str]:
    """What is wrong with the scheduler, a line each.

    Args:
      crashes: How often it was started again though nobody had killed it.
      files: Growth of its open files.
      memory: Growth of its memory in bytes.
    """
    found = {
        f"the scheduler ended by itself {crashes} times": crashes > 0,
        f"{files:.0f} more files are open": files > 0,
        f"it takes {memory / _MIB:.0f} MiB more memory": memory > _MOST_GROWTH_BYTES,
    }
    return [fault for fault, is_there in found.items() if is_there]


def faults(
    locations: Locations, spans: Sequence[Span], notices: Sequence[dict[str, str]]
) -> list[str]:
    """What is not as promised, a line each.

    Args:
      locations: Locations of the pipeline.
      spans: All spans that came.
      notices: All notifications, each with `title` and `message`.
    """
    receipts = history.receipts_of(locations)
    return [
        *_faulty_receipts(locations, receipts),
        *_faulty_versions(locations, receipts),
        *_faulty_spans(spans, receipts, notices),
        *_left_in_runs(locations),
    ]


def left_behind(folder: pathlib.Path) -> list[str]:
    """Temporary files and processes that outlived all commands, a line each.

    Args:
      folder: Folder of the soak.
    """
    files = sorted((folder / TEMPORARY).iterdir())
    return [
        *(f"{TEMPORARY}/{path.name} was left behind" for path in files),
        *(f"a process was left behind: {words}" for words in _processes(folder)),
    ]


def _processes(folder: pathlib.Path) -> Iterator[str]:
    """Commands that are at work, of those that had the environment of a soak."""
    mark = f"{_CACHE}={folder}".encode()
    for process in pathlib.Path("/proc").iterdir():
        # Processes end, and some belong to others.
        with contextlib.suppress(OSError):
            if process.name.isdigit() and mark in (process / "environ").read_bytes():
                yield (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()


def _faulty_receipts(locations: Locations, receipts: Sequence[Receipt]) -> Iterator[str]:
    known = {receipt.run_id for receipt in receipts}
    for folder in sorted(locations.runs.iterdir()):
        if folder.name not in known:
            yield f"run {folder.name} has no {RECEIPT_FILE} that can be read"
    for receipt in receipts:
        if receipt.is_unfinished:
            yield f"run {receipt.run_id} has no end"


def _faulty_versions(locations: Locations, receipts: Sequence[Receipt]) -> Iterator[str]:
    base = locations.serving
    there = set(versions.served_versions(base))
    pushed = {receipt.pushed_version for receipt in receipts if receipt.pushed_version}
    for version in sorted(there - pushed):
        yield f"version {version} belongs to no run"
    for version in sorted(pushed - there):
        yield f"version {version} was pushed and is gone"
    for path in versions.unfinished(base):
        yield f"{path.name} is half published"
    for version in sorted(there):
        try:
            served.read_version(base, version)
        except served.UnreadableModelError as error:
            yield f"version {version}: {error}"


def _faulty_spans(
    spans: Sequence[Span], receipts: Sequence[Receipt], notices: Sequence[dict[str, str]]
) -> Iterator[str]:
    trained, missed = _spans_of(receipts, Status.COMPLETED), overtaken(spans, receipts)
    for span in spans:
        name = f"span-{span.number}"
        if span.damage:
            if span.number in trained:
                yield f"{name} was trained on, though it was {span.damage}"
            told = re.compile(rf"\b{name}\b")
            if not any(_is_alarm(each) and told.search(each["message"]) for each in notices):
                yield f"{name} raised no alarm, though it was {span.damage}"
        elif span.number not in trained.union(missed):
            yield f"{name} was never trained on"


def overtaken(spans: Sequence[Span], receipts: Sequence[Receipt]) -> list[int]:
    """Numbers of the sound spans that no run could train on before the next one came."""
    killed = _spans_of(receipts, Status.INTERRUPTED)
    unbegun = {
        span.number
        for span, following in itertools.pairwise(spans)
        if not any(span.came <= receipt.began < following.came for receipt in receipts)
    }
    left = (killed | unbegun) - _spans_of(receipts, Status.COMPLETED)
    return [span.number for span in spans if not span.damage and span.number in left]


def _spans_of(receipts: Sequence[Receipt], status: Status) -> set[int]:
    ended = [receipt for receipt in receipts if receipt.status == status]
    return {number for receipt in ended for number in receipt.data.spans}


def _left_in_runs(locations: Locations) -> Iterator[str]:
    for run in sorted(locations.runs.iterdir()):
        for path in sorted(run.iterdir()):
            if path.name.startswith(".") or path.name == "tmp":
                yield f"{run.name}/{path.name} was left behind"


def table(figures: dict[str, Any]) -> Table:
    """A row for each figure."""
    rows = [
        ["hours", f"{figures['hours']:.1f}"],
        ["runs", _counts(figures["runs"], figures["outcomes"])],
        [
            "spans, of which damaged, overtaken",
            f"{figures['spans']}, {figures['damaged']}, {len(figures['overtaken'])}",
        ],
        ["killed", _counts(sum(figures["killed"].values()), figures["killed"])],
        ["alarms, recoveries", f"{figures['alarms']}, {figures['recoveries']}"],
        ["growth of open files", f"{figures['open_files_growth']:+.0f}"],
        ["growth of memory, MiB", f"{figures['memory_growth'] / _MIB:+.1f}"],
        ["results on disk, MiB", f"{figures['disk'] / _MIB:.0f}"],
        *(["fault", fault] for fault in figures["faults"]),
    ]
    return Table(["figure", "value"], rows)


def _counts(total: int, counts: dict[str, int]) -> str:
    parts = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    return f"{total} ({parts})" if parts else str(total)


def _line(repeat: dict[str, Any]) -> str:
    return (
        f"{repeat['spans']} spans, {repeat['runs']} runs, {repeat['pushed']} pushed, "
        f"{repeat['alarms']} alarms, {repeat['killed_runs']} + {repeat['killed_schedulers']} "
        f"killed; {repeat['open_files']} open files, {repeat['memory'] / _MIB:.0f} MiB"
    )


if __name__ == "__main__":
    command_line.start(app)
