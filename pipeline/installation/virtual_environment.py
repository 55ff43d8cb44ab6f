"""Creates the project's environment `.venv` from the lock file that fits this machine.

    python3 -m pipeline.installation [--tests] [--python PATH]

`make setup` and every target that needs the environment call this module. It returns at once if
nothing is missing. A mark in `.venv` exists during an installation. An interrupted installation
leaves the mark, and the next installation starts from scratch. Only one installation runs at a
time.

This module uses only the standard library and Python 3.8 syntax: it has to print a useful error on
a Python that is too old for the rest of the project.
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

from components.messages import shown
from pipeline.installation import interpreters, packages
from pipeline.installation.interpreters import Interpreter, NoInterpreterError
from pipeline.installation.package_installers import InstallationError, Installer
from pipeline.installation.packages import Lock, System

ENVIRONMENT = packages.PROJECT / ".venv"
# Lock file. The installer, uv and pip keep it open, so that nobody empties a folder that they still
# write to.
BUSY = packages.PROJECT / ".venv.busy"
UNFINISHED = ENVIRONMENT / "unfinished"
# Content of a mark: everything has to be installed again, or only the packages for the tests.
ALL, BESIDE = "all", "beside"
RECORDS = ENVIRONMENT / packages.RECORDS
# Installed first: uv, and the build tools for packages that exist only as source.
INSTALLER = packages.FOLDER / "installer.txt"

GIGABYTE = 10**9

# An import of TFDV takes ten seconds, since it imports all of TFX. Loading only its shared library
# proves that it fits this system.
PROOF = """
import ctypes, pathlib, sysconfig
import ml_metadata
site = pathlib.Path(sysconfig.get_path("platlib"))
for library in site.glob("tensorflow_data_validation/pywrap/*.so"):
    ctypes.CDLL(str(library))
"""


@dataclass(frozen=True)
class Goal:
    """The wanted environment.

    Attributes:
      python: Path or name of the Python to create it with; empty for any that fits.
      tests: Whether to install the packages for the tests too.
      system: This machine.
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
        description="Create the environment in .venv, or install what it lacks.",
    )
    parser.add_argument(
        "--tests", action="store_true", help="install the packages for tests and checks too"
    )
    parser.add_argument(
        "--python",
        default="",
        metavar="PATH",
        help="Python to create the environment with (default: the newest that fits)",
    )
    parser.add_argument(
        "--announce", action="store_true", help="print a line when the environment is ready"
    )
    parser.add_argument("--remove", action="store_true", help="remove the environment")
    return parser.parse_args(arguments)


def fail(text: str) -> int:
    """Prints an error; returns the exit code."""
    for line in text.splitlines():
        print(f"make: {line}", file=sys.stderr)
    return 1


def explain(error: OSError) -> str:
    """Returns two lines: what the system refused, and what to do."""
    problem = f"{shown(str(error.filename or ENVIRONMENT))}: {error.strerror}"
    if error.errno == errno.ENOSPC:
        return f"{problem}.\nFree space on that disk, then: make setup"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "Change its owner or permissions, then: make setup"
        return f"{problem}; expected read and write permission.\n{advice}"
    return f"{problem}.\nFix this, then: make setup"


def install(goal: Goal) -> None:
    """Creates or updates the environment if needed.

    Raises:
      InstallationError: If the installation fails.
      NoInterpreterError: If no Python fits.
      OSError: If a folder is not writable.
    """
    if not is_reached(goal):
        with busy() as descriptor:
            # Another installation may have reached the goal in the meantime.
            if not is_reached(goal):
                reach(goal, Installer(ENVIRONMENT, ENVIRONMENT / "installation.log", descriptor))


def is_reached(goal: Goal) -> bool:
    """Returns whether the environment is complete."""
    if is_cut_short(goal) or (goal.tests and not is_recorded(packages.TESTS)):
        return False
    lock = own_lock(goal)
    return lock is not None and is_recorded(lock.file)


def is_cut_short(goal: Goal) -> bool:
    """Returns whether an installation that the goal needs was interrupted or is in progress."""
    try:
        mark = UNFINISHED.read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return goal.tests or mark != BESIDE


def own_lock(goal: Goal) -> Lock | None:
    """Returns the environment's lock file; None if the environment is broken or does not fit."""
    own = interpreters.ask(str(ENVIRONMENT / "bin" / "python"))
    copy = packages.installed_lock(ENVIRONMENT)
    # After a system upgrade, the link to the system's Python may lead to another version.
    if not own or not copy or own.version != packages.minor(packages.made_of(ENVIRONMENT)):
        return None
    wanted = interpreters.ask(goal.python) if goal.python else own
    lock = next(lock for lock in packages.LOCKS if lock.name == copy.name)
    # Ignore libstdc++ here: a shell may use another one for a while. It counts only at creation.
    system = replace(goal.system, libstdcxx_missing=())
    fits = not packages.obstacles(lock, system, own.version)
    return lock if fits and wanted and wanted.version == own.version else None


def is_recorded(requirements: Path) -> bool:
    """Returns whether a lock file was installed in its present form and no package is missing."""
    try:
        same = (RECORDS / requirements.name).read_bytes() == requirements.read_bytes()
    except FileNotFoundError:
        return False
    return same and not missing(requirements)


@contextlib.contextmanager
def busy() -> Iterator[int]:
    """Waits for other installations, then locks them out; yields the descriptor of the lock."""
    with BUSY.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another installation is in progress in this folder. Waiting for it to end.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def reach(goal: Goal, installer: Installer) -> None:
    """Creates the environment, or installs what it lacks."""
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
        say(f"Installing {lock.name} (3.3 GB, half a minute on a fast network).")
        update(lock.file, ALL, installer)
    if goal.tests and not is_recorded(packages.TESTS):
        say(f"Installing {packages.TESTS.name}, the packages for the tests.")
        update(packages.TESTS, BESIDE, installer)
    UNFINISHED.unlink(missing_ok=True)


def make_way(goal: Goal) -> None:
    """Empties the environment's folder; renames a folder that this project did not make.

    Raises:
      InstallationError: If the disk has too little space, or the path is unusable.
    """
    if os.pathsep in str(ENVIRONMENT):
        raise InstallationError(
            f"{ENVIRONMENT} contains a colon, which separates folders in PATH; expected a path "
            "without colons.\nMove the project, then: make setup"
        )
    if is_foreign() or not is_filled():
        check_room()
    if is_cut_short(goal):
        say("The last installation was interrupted. Starting from scratch.")
    elif is_foreign():
        aside = free_name()
        ENVIRONMENT.rename(aside)
        say(f"{ENVIRONMENT.name} was not made by this project. Renamed it to {aside.name}.")
    elif is_filled():
        say(f"{ENVIRONMENT.name} was made with another Python or lock file. Creating it again.")
    ENVIRONMENT.mkdir(exist_ok=True)
    empty()


def is_filled() -> bool:
    """Returns whether the environment's folder has any content."""
    return ENVIRONMENT.is_dir() and any(ENVIRONMENT.iterdir())


def is_foreign() -> bool:
    """Returns whether something other than this project made the environment."""
    if not ENVIRONMENT.is_dir():
        return os.path.lexists(ENVIRONMENT)
    marks = (UNFINISHED.name, packages.RECORDS)
    return is_filled() and not any((ENVIRONMENT / mark).exists() for mark in marks)


def free_name() -> Path:
    """Returns an unused path next to the environment."""
    names = (ENVIRONMENT.with_name(f"{ENVIRONMENT.name}.before-{n}") for n in itertools.count(1))
    return next(name for name in names if not os.path.lexists(name))


def check_room() -> None:
    """Checks that the disk has enough space.

    Raises:
      InstallationError: If it has too little space.
    """
    place = ENVIRONMENT if ENVIRONMENT.is_dir() else packages.PROJECT
    free, needed = shutil.disk_usage(place).free, packages.NEEDED
    if free < needed:
        raise InstallationError(
            f"{place} has {in_gigabytes(free)} of free space; expected {in_gigabytes(needed)} for "
            f"the environment.\nFree some space, or make {ENVIRONMENT.name} a link to a folder on "
            "another disk. Then: make setup"
        )


def empty() -> None:
    """Empties the environment's folder, but keeps the folder: it may be a link or a volume."""
    # Write the mark first, so that the rest of an interrupted removal counts as unfinished.
    UNFINISHED.write_text(ALL, encoding="utf-8")
    for path in list(ENVIRONMENT.iterdir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != UNFINISHED:
            path.unlink()


def remove() -> None:
    """Removes the environment, even if something else made it."""
    with busy():
        if ENVIRONMENT.is_dir():
            empty()
            UNFINISHED.unlink()
            # A link or a volume stays: it is the place for the next environment.
            with contextlib.suppress(OSError):
                ENVIRONMENT.rmdir()
        elif os.path.lexists(ENVIRONMENT):
            ENVIRONMENT.unlink()


def create(interpreter: Interpreter, installer: Installer) -> None:
    """Creates an environment with nothing but pip.

    Raises:
      InstallationError: If this Python cannot create one.
    """
    say(f"Creating {ENVIRONMENT.name} with Python {interpreter.version} ({interpreter.path}).")
    # venv does not accept a link to a folder.
    made = installer.run([interpreter.path, "-I", "-m", "venv", str(ENVIRONMENT.resolve())])
    if made.code:
        raise InstallationError(
            f"the environment could not be created: {made.last}\n{installer.advice}"
        )


def update(requirements: Path, mark: str, installer: Installer) -> None:
    """Updates the installed packages to those of a lock file.

    If it fails before anything was installed, for example without a network, it changes nothing:
    the previous environment keeps working.

    Raises:
      InstallationError: If the installation fails, or the libraries do not load.
    """
    copy = RECORDS / requirements.name
    earlier = copy.read_text(encoding="utf-8") if copy.exists() else ""
    worked = not UNFINISHED.exists()
    before = installed()
    try:
        UNFINISHED.write_text(mark, encoding="utf-8")
        copy.unlink(missing_ok=True)
        installer.with_uv(requirements)
        kept = [path.read_text(encoding="utf-8") for path in (requirements, *RECORDS.glob("*.txt"))]
        dropped = names(earlier) - names(*kept)
        if dropped:
            installer.uninstall(sorted(dropped))
        check(requirements, installer)
    except (InstallationError, OSError):
        if worked and installed() == before:
            if earlier:
                copy.write_text(earlier, encoding="utf-8")
            UNFINISHED.unlink(missing_ok=True)
        raise
    record(requirements)


def installed() -> set[tuple[str, int]]:
    """Returns the name of each installed package, with the time of its installation."""
    folders = ENVIRONMENT.glob("lib/python*/site-packages/*.dist-info")
    return {(path.name, path.stat().st_mtime_ns) for path in folders}


def names(*texts: str) -> set[str]:
    """Returns the names of all packages in the texts of lock files, whatever their markers."""
    return {name for text in texts for name, _, _ in packages.pins(text)}


def check(requirements: Path, installer: Installer) -> None:
    """Checks that the packages are installed, and that the system-dependent libraries load.

    Raises:
      InstallationError: If a package is missing or a library does not load.
    """
    elsewhere = missing(requirements)
    if elsewhere:
        raise InstallationError(
            f"{len(elsewhere)} packages are missing in {ENVIRONMENT}, such as {elsewhere[0]}.\n"
            "A setting of uv or pip (uv.toml, pip.conf) installs them into another folder. Remove "
            "the setting, then: make setup"
        )
    if requirements.name in {lock.name for lock in packages.LOCKS}:
        outcome = installer.run([installer.python, "-I", "-c", PROOF])
        if outcome.code:
            problem = f"the libraries of {requirements.name} do not load here: {outcome.last}"
            raise InstallationError(f"{problem}\n{installer.advice}")


def missing(requirements: Path) -> list[str]:
    """Returns the packages that a lock file names without a marker and that are not installed."""
    pins = packages.pins(requirements.read_text(encoding="utf-8"))
    there = {packages.canonical(name.partition("-")[0]) for name, _ in installed()}
    return sorted({name for name, _, marker in pins if not marker} - there)


def record(requirements: Path) -> None:
    """Copies a lock file into the environment, as a record of what is installed."""
    RECORDS.mkdir(exist_ok=True)
    shutil.copyfile(requirements, RECORDS / requirements.name)


def in_gigabytes(size: int) -> str:
    """Returns a number of bytes as text, in GB."""
    return f"{size / GIGABYTE:.1f} GB"


def say(line: str) -> None:
    """Prints a line at once."""
    print(line, flush=True)
