"""Which Python the environment is made from. Standard library alone, no syntax newer than 3.8."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pipeline.installation import packages
from pipeline.installation.packages import Lock, System

OS_RELEASE = Path("/etc/os-release")
# A Python that somebody put ahead on the path may not fit where that of the system does.
SYSTEM_FOLDER = Path("/usr/bin")
# By far, even from a slow disk.
ANSWERS_IN_SECONDS = 60

# The wheels are for CPython as it is usually built: 64 bits, with its global lock. The path is that
# of the Python behind an environment, which may be activated and about to be removed.
FACTS = """
import json, platform, sys, sysconfig
try:
    import ensurepip, venv
    complete = True
except ImportError:
    complete = False
usual = (
    platform.python_implementation() == "CPython"
    and sys.maxsize > 2**32
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
)
path = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps([usual, path, "{}.{}".format(*sys.version_info[:2]), complete]))
"""

APT = "sudo apt install {0} {0}-venv"
# By what /etc/os-release has as ID and, where releases differ, VERSION_ID.
COMMANDS = {
    "debian 12": APT.format("python3"),
    "debian 13": APT.format("python3"),
    "ubuntu 22.04": APT.format("python3.11"),
    "ubuntu 24.04": APT.format("python3"),
    "fedora": "sudo dnf install python3.13",
    "rhel 8": "sudo dnf install python3.11",
    "rhel 9": "sudo dnf install python3.11",
    "rhel 10": "sudo dnf install python3",
}
# RHEL's relatives number their releases as it does.
RELATIVES = {"almalinux": "rhel", "centos": "rhel", "rocky": "rhel", "ol": "rhel"}


class NoInterpreterError(Exception):
    """No Python of this machine will do; the message says what was found and what helps."""


@dataclass(frozen=True)
class Interpreter:
    """A Python of this machine.

    Attributes:
      path: as it is started, outside of any environment.
      version: minor version, such as "3.13".
      complete: whether it can make environments; Debian and Ubuntu have that in a package apart.
    """

    path: str
    version: str
    complete: bool


def find(wanted: str, system: System) -> tuple[Interpreter, Lock]:
    """Returns the newest interpreter that fits this machine, and the lock for it.

    Args:
      wanted: path or name of the only one to look at; empty for any.
      system: what this machine has.

    Raises:
      NoInterpreterError: where there is none.
    """
    versions = fitting_versions(system)
    found = [each for each in map(ask, candidates(wanted)) if each]
    # `max` takes the first of several: the one that comes first on the path.
    fit = [each for each in found if each.complete and each.version in versions]
    if fit:
        best = max(fit, key=lambda each: versions[each.version])
        lock = packages.choose(system, best.version)
        if lock:
            return best, lock
    raise NoInterpreterError(explain(wanted, found, system))


def fitting_versions(system: System) -> dict[str, tuple[int, ...]]:
    """The minor versions that some lock has for this machine, with what they are compared by."""
    versions = {version for lock in packages.LOCKS for version in lock.pythons}
    return {
        version: tuple(map(int, version.split(".")))
        for version in versions
        if packages.choose(system, version)
    }


def candidates(wanted: str) -> list[str]:
    """Where an interpreter may be: the wanted one, else those of the path and of the system."""
    if wanted:
        return [wanted]
    versions = sorted({version for lock in packages.LOCKS for version in lock.pythons})
    names = ["python3", *(f"python{version}" for version in versions)]
    places = [shutil.which(name) for name in names]
    places += [str(SYSTEM_FOLDER / name) for name in names if (SYSTEM_FOLDER / name).exists()]
    return list(dict.fromkeys(place for place in places if place))


def ask(path: str) -> Interpreter | None:
    """Asks an interpreter what it is; None where none answers, or one that no wheels are for."""
    # Without what sites and users add, which may print and takes time.
    command = [os.path.expanduser(path), "-I", "-S", "-c", FACTS]  # noqa: PTH111
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=ANSWERS_IN_SECONDS
        )
        usual, base, version, complete = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return Interpreter(base, version, complete) if usual else None


def explain(wanted: str, found: list[Interpreter], system: System) -> str:
    """Two lines: what was found where nothing fits, and what helps."""
    versions = sorted(fitting_versions(system), key=lambda each: int(each.partition(".")[2]))
    if not versions:
        return unfit_machine(system)
    # One may be found by several names.
    apart = {os.path.realpath(each.path): each for each in reversed(found)}
    told = ", ".join(describe(each, versions) for each in reversed(apart.values()))
    told = told or (f"PYTHON={wanted}, which is no Python 3 that starts" if wanted else "no Python")
    expected = f"Python {' or '.join(versions)} with its venv module{reason(system)}"
    way_out = "Leave PYTHON out, or install one" if wanted else "Install one"
    return f"found {told}; expected {expected}.\n{way_out}: {command_for(versions[-1])}"


def unfit_machine(system: System) -> str:
    """Why no lock fits, and where one would."""
    lock = packages.LOCKS[-1]
    found = "; ".join(packages.obstacles(lock, system, lock.pythons[0]))
    advice = packages.advise(system)
    return f"no libraries exist for this machine: of {lock.name}, {found}.\n{advice}"


def describe(found: Interpreter, versions: list[str]) -> str:
    """An interpreter, and what it lacks."""
    lacks = " without its venv module" if found.version in versions and not found.complete else ""
    return f"Python {found.version}{lacks} ({found.path})"


def reason(system: System) -> str:
    """Why the newest versions do not fit, where that is so."""
    newer = packages.NEWER
    if packages.choose(system, newer.pythons[0]):
        return ""
    if system.glibc and system.glibc < newer.glibc:
        need, found = map(packages.dotted, (newer.glibc, system.glibc))
        return f" (a newer Python needs glibc {need}, and here is {found})"
    return f" (a newer Python needs a libstdc++ with {newer.libstdcxx[-1]})"


def command_for(version: str) -> str:
    """What to type on this machine to have a Python that fits."""
    name, release = distribution()
    name = RELATIVES.get(name, name)
    keys = (f"{name} {release}", f"{name} {release.partition('.')[0]}", name)
    known = next((COMMANDS[key] for key in keys if key in COMMANDS), None)
    return known or (
        f"pipx run uv python install {version}; then: "
        f'make setup PYTHON="$(pipx run uv python find {version})"'
    )


def distribution() -> tuple[str, str]:
    """The name and the release of this machine's distribution; empty where it does not tell."""
    try:
        text = OS_RELEASE.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", ""
    fields = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]*)"?$', text, re.MULTILINE))
    return fields.get("ID", ""), fields.get("VERSION_ID", "")
