"""Finds the Python to create `.venv` with.

This module uses only the standard library and Python 3.8 syntax.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.installation import packages
from pipeline.installation.packages import Lock, System

OS_RELEASE = Path("/etc/os-release")
# Another Python that comes first on the path may not fit, while that of the system does.
SYSTEM_FOLDER = Path("/usr/bin")
# Ample, even on a slow disk.
ANSWERS_IN_SECONDS = 60

# The wheels need a usual build of CPython: 64 bits, with the global interpreter lock. If the Python
# belongs to an activated environment, the path is that of its base Python, since the environment
# may be removed.
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
# Commands by the version of Python that they install. Distributions are named by the ID of
# /etc/os-release and, if the releases differ, VERSION_ID.
COMMANDS = {
    "debian 12": {"3.11": APT.format("python3")},
    "debian 13": {"3.13": APT.format("python3")},
    "ubuntu 22.04": {"3.11": APT.format("python3.11")},
    "ubuntu 24.04": {"3.12": APT.format("python3")},
    "fedora": {version: f"sudo dnf install python{version}" for version in packages.NEWER.pythons},
    "rhel 8": {"3.11": "sudo dnf install python3.11"},
    "rhel 9": {"3.11": "sudo dnf install python3.11"},
    "rhel 10": {"3.12": "sudo dnf install python3"},
}
# Distributions with the release numbers of RHEL.
RELATIVES = {"almalinux": "rhel", "centos": "rhel", "rocky": "rhel", "ol": "rhel"}


class NoInterpreterError(Exception):
    """No Python of this machine is usable; the message says what was found and what to do."""


@dataclass(frozen=True)
class Interpreter:
    """A Python of this machine.

    Attributes:
      path: Path of the executable, outside of any environment.
      version: Minor version, such as "3.13".
      complete: Whether it has the venv module, a separate package on Debian and Ubuntu.
    """

    path: str
    version: str
    complete: bool


def find(wanted: str, system: System) -> tuple[Interpreter, Lock]:
    """Returns the newest interpreter that fits this machine, and its lock file.

    Args:
      wanted: Path or name of the only interpreter to consider; empty for any.
      system: This machine.

    Raises:
      NoInterpreterError: If no interpreter fits.
    """
    versions = fitting_versions(system)
    interpreters = [each for each in map(ask, candidates(wanted)) if each]
    fit = [each for each in interpreters if each.complete and each.version in versions]
    if fit:
        # Of several with the same version, `max` returns the first one on the path.
        best = max(fit, key=lambda each: versions[each.version])
        lock = packages.choose(system, best.version)
        if lock:
            return best, lock
    raise NoInterpreterError(explain(wanted, interpreters, system))


def fitting_versions(system: System) -> dict[str, tuple[int, ...]]:
    """Returns the minor versions that some lock file supports on this machine, with sort keys."""
    versions = {version for lock in packages.LOCKS for version in lock.pythons}
    return {
        version: tuple(map(int, version.split(".")))
        for version in versions
        if packages.choose(system, version)
    }


def candidates(wanted: str) -> list[str]:
    """Returns possible paths: the wanted one, else those on the path and in the system folder."""
    if wanted:
        return [wanted]
    versions = sorted({version for lock in packages.LOCKS for version in lock.pythons})
    names = ["python3", *(f"python{version}" for version in versions)]
    places = [shutil.which(name) for name in names]
    places += [str(SYSTEM_FOLDER / name) for name in names if (SYSTEM_FOLDER / name).exists()]
    return list(dict.fromkeys(place for place in places if place))


def ask(path: str) -> Interpreter | None:
    """Starts an interpreter to identify it; returns None if it fails or no wheels support it."""
    # Without additions of the site and the user: they take time and may print.
    command = [os.path.expanduser(path), "-I", "-S", "-c", FACTS]  # noqa: PTH111
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=ANSWERS_IN_SECONDS
        )
        usual, base, version, complete = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return Interpreter(base, version, complete) if usual else None


def explain(wanted: str, interpreters: list[Interpreter], system: System) -> str:
    """Returns two lines: which interpreters were found, none of which fits, and what to do."""
    unshadowed = system_python(interpreters, system)
    if unshadowed:
        return (
            f"{sys.executable} loads a libstdc++ without {' and '.join(system.libstdcxx_missing)}; "
            f"expected that of the system.\nUse the system's Python: make setup PYTHON={unshadowed}"
        )
    versions = sorted(fitting_versions(system), key=lambda each: int(each.partition(".")[2]))
    if not versions:
        return unfit_machine(system)
    # The same interpreter may have several names.
    distinct = {os.path.realpath(each.path): each for each in reversed(interpreters)}
    names = ", ".join(describe(each, versions) for each in reversed(distinct.values()))
    nothing = f"PYTHON={wanted}, which does not start as Python 3" if wanted else "no Python"
    expected = f"Python {' or '.join(versions)} with its venv module{reason(system)}"
    advice = "Omit PYTHON, or install a fitting one" if wanted else "Install one"
    return f"found {names or nothing}; expected {expected}.\n{advice}: {command_for(versions)}"


def system_python(interpreters: list[Interpreter], system: System) -> str | None:
    """Returns the path of a system Python that may fit: it may load another libstdc++.

    The running Python may come with its own libstdc++, as that of conda does. If it is one of the
    system's, or if no system Python would fit with another libstdc++, returns None.
    """
    if Path(os.path.realpath(sys.executable)).parent == SYSTEM_FOLDER:
        return None
    versions = fitting_versions(replace(system, libstdcxx_missing=()))
    fit = [
        each
        for each in interpreters
        if each.complete and each.version in versions and Path(each.path).parent == SYSTEM_FOLDER
    ]
    return max(fit, key=lambda each: versions[each.version]).path if fit else None


def unfit_machine(system: System) -> str:
    """Returns two lines: why no lock file fits this machine, and what to do."""
    lock = packages.LOCKS[-1]
    reasons = "; ".join(packages.obstacles(lock, system, lock.pythons[0]))
    advice = packages.advise(system)
    return f"this machine cannot use the libraries of {lock.name}: {reasons}.\n{advice}"


def describe(python: Interpreter, versions: list[str]) -> str:
    """Returns a description of an interpreter, which says if only the venv module is missing."""
    incomplete = python.version in versions and not python.complete
    lacks = " without its venv module" if incomplete else ""
    return f"Python {python.version}{lacks} ({python.path})"


def reason(system: System) -> str:
    """Returns the reason why the newest versions do not fit; an empty text if they fit."""
    newer = packages.NEWER
    if packages.choose(system, newer.pythons[0]):
        return ""
    if system.glibc and system.glibc < newer.glibc:
        need, own = map(packages.dotted, (newer.glibc, system.glibc))
        return f" (a newer Python needs glibc {need}; this system has {own})"
    return f" (a newer Python needs a libstdc++ with {newer.libstdcxx[-1]})"


def command_for(versions: list[str]) -> str:
    """Returns the command that installs the newest of some versions of Python on this machine.

    Args:
      versions: Minor versions, oldest first; at least one.
    """
    name, release = distribution()
    name = RELATIVES.get(name, name)
    keys = (f"{name} {release}", f"{name} {release.partition('.')[0]}", name)
    known = next((COMMANDS[key] for key in keys if key in COMMANDS), {})
    newest = versions[-1]
    return next((known[each] for each in reversed(versions) if each in known), None) or (
        f"pipx run uv python install {newest}; then: "
        f'make setup PYTHON="$(pipx run uv python find {newest})"'
    )


def distribution() -> tuple[str, str]:
    """Returns the name and release of this machine's distribution; empty if unknown."""
    try:
        text = OS_RELEASE.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", ""
    fields = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]*)"?$', text, re.MULTILINE))
    return fields.get("ID", ""), fields.get("VERSION_ID", "")
