"""The locks of versions: which one fits a machine, and which one an environment holds.

ML Metadata and TFDV have wheels for glibc 2.39 and newer, and others for older systems. So there
are two locks. docs/decisions/0001-the-stack-and-its-locks.md has the reasons.

Standard library alone, and no syntax newer than Python 3.8: read where nothing is installed yet.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import re
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "requirements"
# Of an environment: copies of what was installed into it, once that was complete.
RECORDS = "requirements"


@dataclass(frozen=True)
class Lock:
    """Exact versions of all libraries, and what their wheels ask of a machine.

    Attributes:
      name: of its file in `requirements/`.
      pythons: minor versions of Python that it was made for, newest first.
      glibc: the lowest version.
      libstdcxx: versions of symbols that the system's libstdc++ has to have.
    """

    name: str
    pythons: tuple[str, ...]
    glibc: tuple[int, int]
    libstdcxx: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        """Its file in the project."""
        return FOLDER / self.name


NEWER = Lock(
    "glibc-2.39.txt", ("3.13", "3.12", "3.11"), (2, 39), ("GLIBCXX_3.4.32", "CXXABI_1.3.15")
)
OLDER = Lock("glibc-2.28.txt", ("3.11",), (2, 28), ("GLIBCXX_3.4.22", "CXXABI_1.3.11"))
# The one to prefer comes first.
LOCKS = (NEWER, OLDER)
# What the tests and `make check` need beside either.
TESTS = FOLDER / "test.txt"

LINUX, MACOS = "Linux x86_64", "Darwin arm64"


@dataclass(frozen=True)
class System:
    """What a machine has that wheels depend on.

    Attributes:
      platform: system and processor, such as "Linux x86_64".
      glibc: its version; None where there is none, as on macOS or on Alpine Linux, which has musl.
      libstdcxx_missing: versions of symbols that some lock needs and its libstdc++ lacks.
    """

    platform: str
    glibc: tuple[int, int] | None
    libstdcxx_missing: tuple[str, ...]


def read_system() -> System:
    """What this machine has."""
    name = f"{platform.system()} {platform.machine()}"
    return System(name, glibc(), _libstdcxx_missing() if name == LINUX else ())


def choose(system: System, python: str) -> Lock | None:
    """The lock to prefer for a machine and a minor version of Python; None where none fits."""
    return next((lock for lock in LOCKS if not obstacles(lock, system, python)), None)


def obstacles(lock: Lock, system: System, python: str) -> list[str]:
    """Why a lock does not fit a machine and a Python, each in a few words; empty where it fits."""
    unfit = []
    if python not in lock.pythons:
        unfit.append(f"it is for Python {', '.join(lock.pythons)}, not {python}")
    if system.platform == MACOS and lock is NEWER:
        return unfit
    if system.platform != LINUX:
        return [f"it is for {LINUX}, not {system.platform}", *unfit]
    if system.glibc is None:
        return [f"it needs glibc {dotted(lock.glibc)}", *unfit]
    if system.glibc < lock.glibc:
        unfit.append(f"it needs glibc {dotted(lock.glibc)}, not {dotted(system.glibc)}")
    missing = [symbol for symbol in lock.libstdcxx if symbol in system.libstdcxx_missing]
    if missing:
        unfit.append(f"the system's libstdc++ lacks {', '.join(missing)}")
    return unfit


def advise(system: System) -> str:
    """What to do about a machine that no lock fits."""
    lowest = min(lock.glibc for lock in LOCKS)
    if system.platform != LINUX:
        return f"use a {LINUX} machine or container: the locked packages are made for it"
    if system.glibc is None or system.glibc < lowest:
        version = dotted(lowest)
        return f"use a system with glibc {version} or newer, such as Debian 12 or Ubuntu 22.04"
    return "install libstdc++; on Debian and Ubuntu its package is libstdc++6"


def made_of(environment: Path) -> str:
    """The version of Python that an environment was made of; "unknown" where it does not tell."""
    try:
        text = (environment / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "unknown"
    found = re.search(r"^version\s*=\s*(\S+)", text, re.MULTILINE)
    return found.group(1) if found else "unknown"


def minor(version: str) -> str:
    """The minor version of a Python, such as "3.13" of "3.13.5"."""
    return ".".join(version.split(".")[:2])


def dotted(version: tuple[int, ...]) -> str:
    """A version as people write it."""
    return ".".join(map(str, version))


def glibc() -> tuple[int, int] | None:
    """The version of this system's glibc; None where it has another C library."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        major, minor = version.split(".")[:2]
        return (int(major), int(minor)) if name == "glibc" else None
    except (AttributeError, OSError, ValueError):
        return None


def _libstdcxx_missing() -> tuple[str, ...]:
    wanted = [symbol for lock in LOCKS for symbol in lock.libstdcxx]
    content = _libstdcxx()
    return tuple(symbol for symbol in wanted if symbol.encode() + b"\0" not in content)


def _libstdcxx() -> bytes:
    """The library that an extension of this process would be linked to; empty where none is."""
    try:
        # The loader alone knows which one it takes.
        ctypes.CDLL("libstdc++.so.6")
        places = Path("/proc/self/maps").read_text(errors="surrogateescape").splitlines()
        # Address, permissions, offset, device and inode come before the path.
        found = [place.split(None, 5)[5] for place in places if "libstdc++.so" in place]
        return Path(found[0]).read_bytes()
    except (OSError, IndexError):
        return b""


@dataclass(frozen=True)
class Packages:
    """The libraries of an environment, which results depend on.

    Attributes:
      python: minor version, such as "3.13": a lock may have other versions for each.
      lock: name of the installed lock; None where the environment was not made from one.
      sha256: of the installed lock; without one, of the names and versions that are installed.
    """

    python: str
    lock: str | None
    sha256: str


def installed() -> Packages:
    """The libraries of the running environment."""
    lock = installed_lock(Path(sys.prefix))
    found = lock.read_bytes() if lock else _versions()
    return Packages(
        minor(platform.python_version()),
        lock.name if lock else None,
        hashlib.sha256(found).hexdigest(),
    )


def of_image() -> Packages:
    """The libraries of the image that the Containerfile builds."""
    return Packages(
        NEWER.pythons[0], NEWER.name, hashlib.sha256(NEWER.file.read_bytes()).hexdigest()
    )


def installed_lock(environment: Path) -> Path | None:
    """The copy of a lock that was installed into an environment, None where there is none."""
    copies = [environment / RECORDS / lock.name for lock in LOCKS]
    return next((copy for copy in copies if copy.is_file()), None)


def pins(lock: str) -> list[tuple[str, str, str]]:
    """The lines of a lock's text: name, version and, where a line has one, its marker."""
    line = re.compile(r"^([\w.-]+)==([^\s;\\]+)(?: *; *([^\\\n]+))?", re.MULTILINE)
    return [(name, version, marker.strip()) for name, version, marker in line.findall(lock)]


def canonical(name: str) -> str:
    """The name of a package as locks spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _versions() -> bytes:
    # A package of which an installation left half has no name.
    named = [item for item in metadata.distributions() if "Name" in item.metadata]
    found = {f"{item.metadata['Name']}=={item.version}" for item in named}
    return "\n".join(sorted(found)).encode()
