"""Makes the project's environment: `.venv`, from the lock that fits this machine.

    python3 -m pipeline.installation [--tests] [--python PATH]

`make setup` calls it, and so does each target that needs the environment; where nothing is missing,
that takes a moment. While an installation is at work, a mark in `.venv` says so: one that was cut
short leaves it there, and the next one starts afresh. Only one is at work at a time.

Standard library alone, and no syntax newer than Python 3.8: it has to answer on a Python that the
rest of the project would not run on.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import itertools
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.installation import interpreters, packages
from pipeline.installation.interpreters import Interpreter, NoInterpreterError
from pipeline.installation.package_installers import InstallationError, Installer
from pipeline.installation.packages import Lock, System

ENVIRONMENT = packages.PROJECT / ".venv"
# Kept open by whoever installs, and by uv and pip: nobody empties what they still write to.
BUSY = packages.PROJECT / ".venv.busy"
UNFINISHED = ENVIRONMENT / "unfinished"
# What a mark says: whether all has to be made anew, or only what the tests need is missing.
ALL, BESIDE = "all", "beside"
RECORDS = ENVIRONMENT / packages.RECORDS
# By these an environment that an earlier version of the project made is known as its own.
EARLIER_MARKS = ("requirements.installed", "requirements.unfinished")
# What comes first: uv, and what builds the packages that come as source.
INSTALLER = packages.FOLDER / "installer.txt"

GIGABYTE = 10**9
NEEDED = 4 * GIGABYTE

# TFDV's package can only be imported with all of TFX, which takes ten seconds. Whether its library
# fits this system shows as soon as it is loaded.
PROOF = """
import ctypes, pathlib, sysconfig
import ml_metadata
site = pathlib.Path(sysconfig.get_path("platlib"))
for library in site.glob("tensorflow_data_validation/pywrap/*.so"):
    ctypes.CDLL(str(library))
"""


@dataclass(frozen=True)
class Goal:
    """What the environment is to be.

    Attributes:
      python: path or name of the Python to make it from; empty for any that fits.
      tests: whether it is to hold what the tests need, too.
      system: what this machine has.
    """

    python: str
    tests: bool
    system: System


def main(arguments: Sequence[str] | None = None) -> int:
    """Installs what is missing; returns the exit code."""
    options = parse(arguments)
    try:
        if options.remove:
            remove()
        else:
            install(Goal(options.python, options.tests, packages.read_system()))
        if options.announce:
            say(f"The environment in {ENVIRONMENT.name} is ready.")
    except (InstallationError, NoInterpreterError) as error:
        return fail(str(error))
    except OSError as error:
        return fail(explain(error))
    except KeyboardInterrupt:
        fail("interrupted.")
        return 128 + signal.SIGINT
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python3 -m pipeline.installation",
        description="Makes the environment in .venv, or adds what it lacks.",
    )
    parser.add_argument("--tests", action="store_true", help="also what tests and checks need")
    parser.add_argument(
        "--python",
        default="",
        metavar="PATH",
        help="the Python to make it from (default: the newest that fits)",
    )
    parser.add_argument("--announce", action="store_true", help="say so when all is in place")
    parser.add_argument("--remove", action="store_true", help="remove the environment instead")
    return parser.parse_args(arguments)


def fail(text: str) -> int:
    """Prints why nothing could be done; returns the exit code for it."""
    for line in text.splitlines():
        print(f"make: {line}", file=sys.stderr)
    return 1


def explain(error: OSError) -> str:
    """Two lines: what the system refused, and what helps."""
    found = f"{error.filename or ENVIRONMENT}: {error.strerror}"
    if error.errno == errno.ENOSPC:
        return f"{found}.\nMake room on that disk, then: make setup"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "Change its owner or permissions, then: make setup"
        return f"{found}; expected to read and write it.\n{advice}"
    return f"{found}.\nThen: make setup"


def install(goal: Goal) -> None:
    """Brings the environment to its goal.

    Raises:
      InstallationError: where that cannot be done.
      NoInterpreterError: where there is no Python to make it from.
      OSError: where a folder cannot be written to.
    """
    if not is_reached(goal):
        with busy() as descriptor:
            # Another one may have done it meanwhile.
            if not is_reached(goal):
                reach(goal, Installer(ENVIRONMENT, ENVIRONMENT / "installation.log", descriptor))


def is_reached(goal: Goal) -> bool:
    """Says whether the environment holds all that it is to hold."""
    if is_cut_short(goal) or (goal.tests and not is_recorded(packages.TESTS)):
        return False
    lock = own_lock(goal)
    return lock is not None and is_recorded(lock.file)


def is_cut_short(goal: Goal) -> bool:
    """Says whether an installation of what is wanted was cut short, or is at work."""
    try:
        mark = UNFINISHED.read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return goal.tests or mark != BESIDE


def own_lock(goal: Goal) -> Lock | None:
    """The lock of the environment; None where it does not work, or is not as the goal has it."""
    own = interpreters.ask(str(ENVIRONMENT / "bin" / "python"))
    copy = packages.installed_lock(ENVIRONMENT)
    # A link to the system's Python leads to another one after an upgrade.
    if not own or not copy or own.version != packages.minor(packages.made_of(ENVIRONMENT)):
        return None
    wanted = interpreters.ask(goal.python) if goal.python else own
    lock = next(lock for lock in packages.LOCKS if lock.name == copy.name)
    # A shell may have another libstdc++ on its path for a while: it counts at the beginning alone.
    system = replace(goal.system, libstdcxx_missing=())
    fits = not packages.obstacles(lock, system, own.version)
    return lock if fits and wanted and wanted.version == own.version else None


def is_recorded(requirements: Path) -> bool:
    """Says whether a file of exact versions was installed as it is now, and none of it is gone."""
    try:
        same = (RECORDS / requirements.name).read_bytes() == requirements.read_bytes()
    except FileNotFoundError:
        return False
    return same and not missing(requirements)


@contextlib.contextmanager
def busy() -> Iterator[int]:
    """Waits until no other installation is at work; yields the descriptor that keeps others out."""
    with BUSY.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another installation is at work in this folder: waiting for its end.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def reach(goal: Goal, installer: Installer) -> None:
    """Makes the environment, or adds what it lacks."""
    lock = None if is_cut_short(goal) else own_lock(goal)
    if lock is None:
        interpreter, lock = interpreters.find(goal.python, goal.system)
        make_way(goal)
        create(interpreter, installer)
        installer.with_pip(INSTALLER)
        check(INSTALLER, installer)
        record(INSTALLER)
    if not is_recorded(INSTALLER):
        update(INSTALLER, ALL, installer)
    if not is_recorded(lock.file):
        say(f"Installing {lock.name}: 3.3 GB, half a minute on a fast network.")
        update(lock.file, ALL, installer)
    if goal.tests and not is_recorded(packages.TESTS):
        say(f"Installing {packages.TESTS.name}, what the tests need beside it.")
        update(packages.TESTS, BESIDE, installer)
    UNFINISHED.unlink(missing_ok=True)


def make_way(goal: Goal) -> None:
    """Empties the environment's folder; what this project did not put there is moved aside.

    Raises:
      InstallationError: where there is no room for another one, or no path for any.
    """
    if os.pathsep in str(ENVIRONMENT):
        raise InstallationError(
            f"{ENVIRONMENT} holds a colon, which separates folders in PATH; expected a path "
            "without one.\nMove the project, then: make setup"
        )
    if is_foreign() or not is_filled():
        check_room()
    if is_cut_short(goal):
        say("The last installation did not end: starting afresh.")
    elif is_foreign():
        aside = free_name()
        ENVIRONMENT.rename(aside)
        say(f"{ENVIRONMENT.name} was not made by this project. It is called {aside.name} now.")
    elif is_filled():
        say(f"{ENVIRONMENT.name} was made of another Python or lock: making it anew.")
    ENVIRONMENT.mkdir(exist_ok=True)
    empty()


def is_filled() -> bool:
    """Says whether something lies in the environment's folder."""
    return ENVIRONMENT.is_dir() and any(ENVIRONMENT.iterdir())


def is_foreign() -> bool:
    """Says whether what lies in the environment's place is not of this project."""
    if not ENVIRONMENT.is_dir():
        return os.path.lexists(ENVIRONMENT)
    marks = (UNFINISHED.name, packages.RECORDS, *EARLIER_MARKS)
    return is_filled() and not any((ENVIRONMENT / mark).exists() for mark in marks)


def free_name() -> Path:
    """A name beside the environment that nothing has yet."""
    names = (ENVIRONMENT.with_name(f"{ENVIRONMENT.name}.before-{n}") for n in itertools.count(1))
    return next(name for name in names if not os.path.lexists(name))


def check_room() -> None:
    """Refuses to begin what would not fit.

    Raises:
      InstallationError: where it would not.
    """
    place = ENVIRONMENT if ENVIRONMENT.is_dir() else packages.PROJECT
    free = shutil.disk_usage(place).free
    if free < NEEDED:
        raise InstallationError(
            f"the environment takes {in_gigabytes(NEEDED)}, and {in_gigabytes(free)} are free at "
            f"{place}.\nMake room, or put a link to a folder of another disk there as "
            f"{ENVIRONMENT.name}; then: make setup"
        )


def empty() -> None:
    """Removes what lies in the environment's folder, which itself may be a link or a volume."""
    # First, so that what is left of a removal that was cut short is known as unfinished.
    UNFINISHED.write_text(ALL, encoding="utf-8")
    for path in list(ENVIRONMENT.iterdir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != UNFINISHED:
            path.unlink()


def remove() -> None:
    """Removes the environment, whoever made it."""
    with busy():
        if ENVIRONMENT.is_dir():
            empty()
            UNFINISHED.unlink()
            # A link or a volume stays: it says where the next one is to lie.
            with contextlib.suppress(OSError):
                ENVIRONMENT.rmdir()
        elif os.path.lexists(ENVIRONMENT):
            ENVIRONMENT.unlink()


def create(interpreter: Interpreter, installer: Installer) -> None:
    """Makes an environment that holds pip and nothing else.

    Raises:
      InstallationError: where this Python makes none.
    """
    say(f"Making {ENVIRONMENT.name} with Python {interpreter.version} ({interpreter.path}).")
    # venv takes no link to a folder.
    made = installer.run([interpreter.path, "-I", "-m", "venv", str(ENVIRONMENT.resolve())])
    if made.code:
        raise InstallationError(f"no environment was made: {made.last}\n{installer.advice}")


def update(requirements: Path, mark: str, installer: Installer) -> None:
    """Brings what is installed to what a file of exact versions says.

    A failure before anything was installed, such as one of the network, changes nothing: whatever
    worked before goes on working.

    Raises:
      InstallationError: where it cannot be installed, or does not work.
    """
    copy = RECORDS / requirements.name
    earlier = copy.read_text(encoding="utf-8") if copy.exists() else ""
    worked = not UNFINISHED.exists()
    before = installed()
    UNFINISHED.write_text(mark, encoding="utf-8")
    copy.unlink(missing_ok=True)
    try:
        installer.with_uv(requirements)
        kept = [path.read_text(encoding="utf-8") for path in (requirements, *RECORDS.glob("*.txt"))]
        dropped = names(earlier) - names(*kept)
        if dropped:
            installer.uninstall(sorted(dropped))
        check(requirements, installer)
    except InstallationError:
        if worked and installed() == before:
            if earlier:
                copy.write_text(earlier, encoding="utf-8")
            UNFINISHED.unlink()
        raise
    record(requirements)


def installed() -> set[tuple[str, int]]:
    """What is installed, each with the time that it came."""
    found = ENVIRONMENT.glob("lib/python*/site-packages/*.dist-info")
    return {(path.name, path.stat().st_mtime_ns) for path in found}


def names(*texts: str) -> set[str]:
    """The packages that files of exact versions name, whatever the condition."""
    return {name for text in texts for name, _, _ in packages.pins(text)}


def check(requirements: Path, installer: Installer) -> None:
    """Looks whether the packages are there, and whether the libraries load that decide on a lock.

    Raises:
      InstallationError: where not.
    """
    elsewhere = missing(requirements)
    if elsewhere:
        raise InstallationError(
            f"{len(elsewhere)} packages are not in {ENVIRONMENT}, such as {elsewhere[0]}.\n"
            "A setting of uv or pip (uv.toml, pip.conf) has them installed elsewhere: remove it, "
            "then: make setup"
        )
    if requirements.name in {lock.name for lock in packages.LOCKS}:
        outcome = installer.run([installer.python, "-I", "-c", PROOF])
        if outcome.code:
            found = f"the libraries of {requirements.name} cannot be loaded here: {outcome.last}"
            raise InstallationError(f"{found}\n{installer.advice}")


def missing(requirements: Path) -> list[str]:
    """What a file of exact versions names without a condition, and what is not installed."""
    pins = packages.pins(requirements.read_text(encoding="utf-8"))
    there = {packages.canonical(name.partition("-")[0]) for name, _ in installed()}
    return sorted({name for name, _, marker in pins if not marker} - there)


def record(requirements: Path) -> None:
    """Leaves a copy in the environment, which says what it holds."""
    RECORDS.mkdir(exist_ok=True)
    shutil.copyfile(requirements, RECORDS / requirements.name)


def in_gigabytes(size: int) -> str:
    """A number of bytes as people write it."""
    return f"{size / GIGABYTE:.1f} GB"


def say(line: str) -> None:
    """Prints a line at once."""
    print(line, flush=True)
