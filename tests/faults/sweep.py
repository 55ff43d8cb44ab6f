"""Explores every crash point and every refusal of a scenario, each in a process of its own.

    python -m tests.faults.sweep              the whole matrix, as a table
    python -m tests.faults.sweep --json NAME  one scenario, for the tests

A first process carries out the command and counts its operations. Then, for each operation and each
fault, another process starts over in a fresh copy of the folder and runs into the fault; what has
to hold is checked, the same command is given once more without a fault, and all is checked again.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults import scenarios, sites, stubs
from tests.faults.injection import (
    REFUSALS,
    Death,
    Fault,
    Injector,
    Operation,
    Refusal,
)
from tests.faults.scenarios import SCENARIOS, Ended, Scenario

# Of the traces of a fault that nobody may see.
_TRACES = ("Traceback (most recent call last)", "Logging error")


# Numbers of operations, and what goes wrong there.
Matrix = list[tuple[int, Fault]]
Choice = Callable[[Matrix], Matrix]


@dataclasses.dataclass
class Sweep:
    """What a sweep did and found.

    Attributes:
      operations: Number of operations of the command that go wrong.
      matrix: Number of faults in the whole matrix of the scenario.
      faults: Number of faults that were tried.
      runs: Number of processes.
      sites: Keys of the write sites that a fault hit or could have hit.
      findings: What did not hold, a line each.
      seconds: Duration.
    """

    operations: int = 0
    matrix: int = 0
    faults: int = 0
    runs: int = 0
    sites: list[str] = dataclasses.field(default_factory=list)
    findings: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


class Explorer:
    """Explores one scenario in a folder of its own."""

    def __init__(self, scenario: Scenario, workplace: Path):
        """Builds the folder of the scenario below `workplace`."""
        self._scenario = scenario
        # What ML Metadata holds are full paths: every copy lies in the same place.
        self._folder = workplace / "case"
        self._before = workplace / "before"
        self._streams = workplace / "streams"
        self._notes = workplace / "notes"
        self.sweep = Sweep()
        self._lines: set[str] = set()
        self._known: set[object] = set()
        ended = self._in_child(self._build)
        if ended.code:
            raise RuntimeError(f"the scenario cannot be built:\n{ended.told}")
        shutil.copytree(self._folder, self._before, symlinks=True)

    def explore(self, chosen: Choice) -> Sweep:
        """Tries some of the faults: those that `chosen` takes from the matrix."""
        began = time.monotonic()
        operations, ended = self._watched(None, None)
        if ended.code not in self._scenario.good:
            raise RuntimeError(f"without a fault it ends with {ended.code}:\n{ended.told}")
        self._usual = scenarios.names(self._folder) | scenarios.names(self._before)
        concerned = [
            number for number, each in enumerate(operations, 1) if self._scenario.is_about(each)
        ]
        matrix = [each for each in every_fault(operations) if each[0] in concerned]
        self.sweep.operations, self.sweep.matrix = len(concerned), len(matrix)
        for number, fault in chosen(matrix):
            self._try(number, fault)
        self.sweep.sites = [s.key for s in sites.find() if any(map(s.covers, self._lines))]
        self.sweep.seconds = round(time.monotonic() - began, 1)
        return self.sweep

    def _build(self) -> int:
        self._scenario.build(self._folder)
        return 0

    def _try(self, number: int, fault: Fault) -> None:
        operations, ended = self._watched(number, fault)
        self.sweep.faults += 1
        where = f"operation {number}"
        if len(operations) >= number:
            at = operations[number - 1]
            where = f"{at.kind} of {at.path} ({at.lines[0]}), operation {number}"
        flaws = [f"it shows {trace}" for trace in _TRACES if trace in ended.told]
        lasts = isinstance(fault, Refusal) and fault.lasts
        ended = dataclasses.replace(ended, tidied=not lasts)
        # What holds, and what comes next, depends on nothing else.
        told = tuple(ended.told.count(words) for words in scenarios.LOOKED_FOR)
        state = (ended.code, ended.tidied, told, self._state())
        if state not in self._known:
            self._known.add(state)
            flaws += self._aftermath(ended)
        text = fault.value if isinstance(fault, Death) else str(fault)
        for flaw in flaws:
            self.sweep.findings.append(f"{where}, {text} (exit code {ended.code}): {flaw}")

    def _state(self) -> object:
        """What is in the folder, as far as it matters to what comes next."""
        paths = list(self._folder.rglob("*"))
        names = scenarios.in_order([path.relative_to(self._folder).as_posix() for path in paths])
        return frozenset(zip(names, map(_content, paths), strict=True))

    def _aftermath(self, ended: Ended) -> list[str]:
        """What does not hold after a fault, and after the same command without one.

        All in one process, but none of those that ran before: ML Metadata remembers what it opened.
        """
        scenario, flaws = self._scenario, self._notes

        def check() -> int:
            found = scenario.check(self._before, self._folder, ended)
            sys.stdout.flush()
            start = self._streams.stat().st_size
            code = scenario.act(self._folder)
            sys.stdout.flush()
            sys.stderr.flush()
            again = Ended(code, self._streams.read_bytes()[start:].decode(errors="replace"))
            if code not in scenario.good_again:
                found.append(f"the next one ends with {code}: {again.told[-600:]}")
            else:
                left = scenarios.names(self._folder) - self._usual
                then = scenario.check_again(self._before, self._folder, again)
                then += [
                    f"{name} is left"
                    for name in sorted(left)
                    if not any(may in name for may in scenario.may_leave)
                ]
                found += [f"then: {flaw}" for flaw in then]
            flaws.write_text(json.dumps(found))
            return 0

        done = self._in_child(check)
        if done.code:
            return [f"the check failed: {done.told[-2000:]}"]
        found: list[str] = json.loads(flaws.read_text())
        return found

    def _watched(self, number: int | None, fault: Fault | None) -> tuple[list[Operation], Ended]:
        """Carries out the command in a fresh copy, with a fault."""
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._before, self._folder, symlinks=True)
        self._notes.unlink(missing_ok=True)
        with self._notes.open("a", buffering=1) as notes:
            injector = Injector(self._folder, number, fault, notes)

            def act() -> int:
                stubs.watching.append(injector)
                injector.start()
                return self._scenario.act(self._folder)

            ended = self._in_child(act)
        lines = self._notes.read_text().splitlines()
        operations = [Operation(**json.loads(line)) for line in lines]
        self._lines.update(line for each in operations for line in each.lines)
        return operations, ended

    def _in_child(self, act: Callable[[], int]) -> Ended:
        self.sweep.runs += 1
        child = os.fork()
        if child == 0:
            os._exit(self._become(act))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return Ended(code, self._streams.read_text(errors="replace"))

    def _become(self, act: Callable[[], int]) -> int:
        stream = os.open(self._streams, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False, buffering=1)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
        try:
            code = act()
        except BaseException:
            traceback.print_exc()
            code = 70
        sys.stdout.flush()
        sys.stderr.flush()
        return int(code)


def every_fault(operations: list[Operation]) -> Iterator[tuple[int, Fault]]:
    """Each death at every operation, and each refusal at all that code does in one place.

    A tree that is copied or removed is one place, in which the same error has the same effect. The
    errors that last take turns.
    """
    places: set[tuple[object, ...]] = set()
    for number, operation in enumerate(operations, 1):
        yield number, Death.BEFORE
        if operation.kind == "write":
            yield number, Death.MIDDLE
        place = (operation.kind, *operation.lines)
        if place not in places:
            places.add(place)
            fitting = [refusal for refusal in REFUSALS if refusal.hits(operation.kind)]
            once = [refusal for refusal in fitting if not refusal.lasts]
            lasting = [refusal for refusal in fitting if refusal.lasts]
            yield from ((number, refusal) for refusal in once)
            yield number, lasting[len(places) % len(lasting)]


def _content(path: Path) -> object:
    if path.is_symlink() or not path.is_file():
        return None
    # Times and numbers differ in all that is written, so its length has to do; of what ML Metadata
    # holds, that says nothing.
    if path.name.startswith("metadata.db"):
        return scenarios.executions(path)
    if "serving" in path.parts:
        return path.read_bytes()
    return path.stat().st_size


def _all(matrix: Matrix) -> Matrix:
    return matrix


def _one(matrix: Matrix) -> Matrix:
    """One of them, another one in each scenario."""
    return matrix[len(matrix) * 7 % 10 * len(matrix) // 10 :][:1]


CHOICES: dict[str, Choice] = {"all": _all, "one": _one, "none": lambda matrix: []}


def sweep(scenario: Scenario, chosen: str) -> Sweep:
    """Explores a scenario in a temporary folder, in memory where there is such a place."""
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="faults-", dir=place) as folder:
        return Explorer(scenario, Path(folder)).explore(CHOICES[chosen])


def main() -> int:
    """Explores the scenarios that are asked for, or all; returns 1 where something did not hold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios; by default all")
    parser.add_argument("--faults", choices=CHOICES, default="all")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--list", action="store_true", help="print the names as JSON")
    parser.add_argument("--training", action="store_true", help="sweep a training, with Keras")
    parser.add_argument("--in-place", action="store_true", help="spoil `compile`, for a test")
    options = parser.parse_args()
    if options.list:
        print(json.dumps(list(SCENARIOS)))
        return 0
    asked = SCENARIOS
    if options.training:
        # Imported, but not used before the forks: the threads of TensorFlow would not survive them.
        from tests.faults import training

        asked = training.SCENARIOS
    stubs.install()
    if options.in_place:
        stubs.write_in_place()
    gc.freeze()
    gc.disable()
    swept = {}
    for name in options.names or asked:
        swept[name] = sweep(asked[name], options.faults)
        if not options.json:
            done = swept[name]
            print(
                f"{name:40} {len(done.sites):4} sites {done.operations:4} operations "
                f"{done.faults:5} faults {done.runs:5} runs {len(done.findings):4} findings "
                f"{done.seconds:6.1f} s",
                flush=True,
            )
            print("".join(f"  {finding}\n" for finding in done.findings), end="")
    if options.json:
        print(json.dumps({name: dataclasses.asdict(each) for name, each in swept.items()}))
    return int(any(each.findings for each in swept.values()))


if __name__ == "__main__":
    sys.exit(main())
