"""Asks one reader with damaged files, in a process that may take neither long nor much memory."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable

from tests.fuzzing.mutation import mutated
from tests.fuzzing.reader import Reader, check
from tests.fuzzing.readers import READERS

# A reader has as many seconds of a processor for a case, and as much memory beyond what the process
# has at its start.
CASE_SECONDS, _MEMORY_BYTES = 20, 2 * 2**30
# How many times as long it may take by the clock: others may be at work on the machine, too.
_PATIENCE = 10
# On a busy machine TensorFlow takes minutes to be imported.
_WARM_UP_SECONDS = 600
_CASE, _REPORT = "case", "report.json"


@dataclasses.dataclass(frozen=True)
class Result:
    """What asking a reader showed.

    Attributes:
      cases: Number of damaged sets of files.
      refused: Number of them of which something was refused; of the others all was answered.
      cpu_seconds: Processor time of the processes that asked.
      findings: Folders with files that break a promise of the reader.
    """

    cases: int
    refused: int
    cpu_seconds: float
    findings: tuple[pathlib.Path, ...]


class _TooLongError(BaseException):
    """No `except Exception` of a reader may take it for one of its own."""


def fuzz(
    name: str,
    seed: int,
    seconds: float,
    kept: pathlib.Path,
    report: Callable[[int, int], None] = lambda cases, findings: None,
) -> Result:
    """Asks a reader with damaged files for a while; each kind of finding is kept once.

    Args:
      name: Name of the reader.
      seed: Random seed; a case depends on it, on the name and on its number alone.
      seconds: How long.
      kept: Folder of the findings.
      report: Called about once a second with the numbers of cases and findings so far.
    """
    spent = _spent()
    cases, refused, kinds, findings = 0, 0, set[str](), []
    with tempfile.TemporaryDirectory() as folder:
        sound = pathlib.Path(folder, "sound")
        sound.mkdir()
        READERS[name].make(sound)
        began = time.monotonic()
        while (left := began + seconds - time.monotonic()) > 0:
            work = pathlib.Path(folder, "work")
            told = _batch(name, seed, cases, left, work, lambda n: report(n, len(findings)))
            cases, kind, refused = told.cases, told.kind, refused + told.refused
            if kind is not None and _beginning(kind) not in kinds:
                kinds.add(_beginning(kind))
                findings.append(_keep(name, seed, cases, kind, work / _CASE, kept))
            shutil.rmtree(work, ignore_errors=True)
    return Result(cases, refused, _spent() - spent, tuple(findings))


def _beginning(kind: str) -> str:
    """The place and the first words, without numbers: they tell one fault from another."""
    return re.sub(r"[0-9]+", "", ": ".join(kind.split(": ", 2)[:2]))[:140]


def _spent() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@dataclasses.dataclass(frozen=True)
class _Told:
    """What a process tells: the next case, how many were refused, and a finding that ended it."""

    cases: int
    refused: int = 0
    kind: str | None = None


def _batch(
    name: str,
    seed: int,
    first: int,
    seconds: float,
    work: pathlib.Path,
    report: Callable[[int], None],
) -> _Told:
    """Asks in a process until the first finding."""
    sound = work.parent / "sound"
    work.mkdir()
    receiver, sender = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    # A process that dies can tell nothing more.
    at_work = context.Value("q", first, lock=False)
    child = context.Process(target=_child, args=(name, seed, at_work, seconds, sound, work, sender))
    child.start()
    sender.close()
    told, until, warm = _Told(first), time.monotonic() + _WARM_UP_SECONDS, False
    with contextlib.suppress(EOFError):
        while time.monotonic() < until and receiver.poll(until - time.monotonic()):
            told = receiver.recv()
            if not warm:
                # The first message says that the process has loaded what it needs.
                until, warm = time.monotonic() + seconds + 2 * _PATIENCE * CASE_SECONDS, True
            report(told.cases)
            if told.kind is not None:
                break
    kind = told.kind
    if kind is None and child.is_alive() and time.monotonic() >= until:
        kind = "it hangs, out of reach of signals"
        child.kill()
    child.join()
    if kind is None and child.exitcode:
        kind = f"the process ended with {child.exitcode}"
    # A case that ended its process is not tried again.
    cases = at_work.value + 1 if kind is not None else told.cases
    return dataclasses.replace(told, cases=cases, kind=kind)


def _child(name, seed, at_work, seconds, sound, work, sender) -> None:
    reader = READERS[name]
    if reader.warm_up is not None:
        reader.warm_up(sound)
    sender.send(_Told(at_work.value))
    _limit_memory()
    _heed_limits()
    until, told, number = time.monotonic() + seconds, time.monotonic(), at_work.value
    refused = 0
    while time.monotonic() < until:
        case, at_work.value = work / _CASE, number
        write_case(reader, f"{seed}-{name}-{number}", sound, case)
        number += 1
        answer = ask(reader, case)
        kind = answer if isinstance(answer, str) else None
        refused += answer is True
        if kind is not None or time.monotonic() > told + 1:
            told = time.monotonic()
            sender.send(_Told(number, refused, kind))
        if kind is not None:
            os._exit(0)
        shutil.rmtree(case)
    sender.send(_Told(number, refused))
    os._exit(0)


def write_case(reader: Reader, seed: str, sound: pathlib.Path, case: pathlib.Path) -> None:
    """Copies sound files, and damages one of them, or rarely two."""
    generator = random.Random(seed)
    shutil.copytree(sound, case)
    files = [path for path in sorted(case.rglob("*")) if path.is_file()]
    open_files = [
        path
        for path in files
        if not str(path.relative_to(case)).startswith(reader.fixed or ("\0",))
    ]
    for path in generator.sample(open_files, min(len(open_files), generator.choice((1, 1, 1, 2)))):
        path.write_bytes(mutated(path.read_bytes(), generator))


def ask(reader: Reader, folder: pathlib.Path) -> str | bool:
    """Asks a reader: what promise it broke, in a line; else whether it refused something."""
    before = _listed(folder.parent)
    with contextlib.suppress(ValueError):
        _limit_time(CASE_SECONDS)
    try:
        refused = check(reader, folder)
    except _TooLongError:
        return f"it took longer than {CASE_SECONDS} s"
    except BaseException as error:
        # Where it broke, so that one fault is one finding.
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} at {place.filename}:{place.lineno}: {str(error)[:200]!a}"
    finally:
        _limit_time(0)
    written = _listed(folder.parent) - before
    return f"it wrote {sorted(written)}" if written else refused


def _listed(folder: pathlib.Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def _heed_limits() -> None:
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, _too_long)


def _limit_time(seconds: float) -> None:
    """Limits the seconds of a processor and, less strictly, of the clock; 0 ends the limits."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE * seconds)


def _too_long(*_: object) -> None:
    raise _TooLongError


def _limit_memory() -> None:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _keep(
    name: str, seed: int, cases: int, kind: str, case: pathlib.Path, kept: pathlib.Path
) -> pathlib.Path:
    folder = kept / f"{name}-{seed}-{cases - 1}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if case.is_dir():
        shutil.copytree(case, folder / _CASE)
    (folder / _REPORT).write_text(json.dumps({"reader": name, "found": kind}, indent=1))
    return folder


def replay(folder: pathlib.Path) -> str | None:
    """Asks the reader of a finding once more; the promise that it breaks, or None."""
    report = json.loads((folder / _REPORT).read_text())
    _heed_limits()
    with tempfile.TemporaryDirectory() as place:
        copied = pathlib.Path(place, _CASE)
        shutil.copytree(folder / _CASE, copied)
        reader = READERS[report["reader"]]
        if reader.warm_up is not None:
            reader.warm_up(copied)
        answer = ask(reader, copied)
    return answer if isinstance(answer, str) else None
