"""The lock files: which one fits a machine, and which one an environment was installed from.

A lock file names the exact version of every library. There are two, since ML Metadata and TFDV have
different wheels for systems with glibc 2.39 or newer and for older systems. See
docs/decisions/0001-the-stack-and-its-locks.md for the reasons.

This module uses only the standard library and Python 3.8 syntax, since it runs before anything is
installed.
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
# Folder of an environment for copies of the installed lock files; written after the installation.
RECORDS = "requirements"


@dataclass(frozen=True)
class Lock:
    """A lock file, and the requirements of its wheels.

    Attributes:
      name: Name of the file in `requirements/`.
      pythons: Supported minor versions of Python, newest first.
      glibc: Minimum version of glibc.
      libstdcxx: Symbol versions that the system's libstdc++ needs.
    """

    name: str
    pythons: tuple[str, ...]
    glibc: tuple[int, int]
    libstdcxx: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        """Path of the file in the project."""
        return FOLDER / self.name


NEWER = Lock(
    "glibc-2.39.txt", ("3.13", "3.12", "3.11"), (2, 39), ("GLIBCXX_3.4.32", "CXXABI_1.3.15")
)
OLDER = Lock("glibc-2.28.txt", ("3.11",), (2, 28), ("GLIBCXX_3.4.22", "CXXABI_1.3.11"))
# In order of preference.
LOCKS = (NEWER, OLDER)
# Additional packages for the tests and `make check`; they fit both lock files.
TESTS = FOLDER / "test.txt"

# Free disk space that a new environment needs, in bytes.
NEEDED = 4 * 10**9

LINUX, MACOS = "Linux x86_64", "Darwin arm64"


@dataclass(frozen=True)
class System:
    """The properties of a machine that wheels depend on.

    Attributes:
      platform: System and processor, such as "Linux x86_64".
      glibc: Version of glibc; None if there is none, as on macOS and Alpine Linux.
      libstdcxx_missing: Symbol versions that a lock file needs and libstdc++ lacks. It is the one
        that the running Python loads, which may not be that of the system.
    """

    platform: str
    glibc: tuple[int, int] | None
    libstdcxx_missing: tuple[str, ...]


def read_system() -> System:
    """Returns the properties of this machine."""
    name = f"{platform.system()} {platform.machine()}"
    return System(name, glibc(), _libstdcxx_missing() if name == LINUX else ())


def choose(system: System, python: str) -> Lock | None:
    """Returns the best lock file for a machine and a minor version of Python; None if none fits."""
    return next((lock for lock in LOCKS if not obstacles(lock, system, python)), None)


def obstacles(lock: Lock, system: System, python: str) -> list[str]:
    """Returns the reasons why a lock file does not fit a machine and a Python; empty if it fits."""
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
        unfit.append(f"the libstdc++ of this Python lacks {', '.join(missing)}")
    return unfit


def advise(system: System) -> str:
    """Returns advice for a machine that no lock file fits."""
    lowest = min(lock.glibc for lock in LOCKS)
    if system.platform != LINUX:
        return f"use a {LINUX} machine or container: the locked packages are built for it"
    if system.glibc is None or system.glibc < lowest:
        version = dotted(lowest)
        return f"use a system with glibc {version} or newer, such as Debian 12 or Ubuntu 22.04"
    return "install libstdc++; on Debian and Ubuntu its package is libstdc++6"


def made_of(environment: Path) -> str:
    """Returns the version of Python that an environment was created with, or "unknown"."""
    try:
        text = (environment / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "unknown"
    match = re.search(r"^version\s*=\s*(\S+)", text, re.MULTILINE)
    return match.group(1) if match else "unknown"


def minor(version: str) -> str:
    """Returns the minor version, such as "3.13" for "3.13.5"."""
    return ".".join(version.split(".")[:2])


def dotted(version: tuple[int, ...]) -> str:
    """Returns a version as text, such as "2.39"."""
    return ".".join(map(str, version))


def glibc() -> tuple[int, int] | None:
    """Returns the version of this system's glibc; None if it has another C library."""
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
    """Returns the content of the libstdc++ that this process loads; empty if there is none."""
    try:
        # Load the library, then look up its path: only the loader knows which file it uses.
        ctypes.CDLL("libstdc++.so.6")
        places = Path("/proc/self/maps").read_text(errors="surrogateescape").splitlines()
        # Address, permissions, offset, device and inode come before the path.
        files = [place.split(None, 5)[5] for place in places if "libstdc++.so" in place]
        return Path(files[0]).read_bytes()
    except (OSError, IndexError):
        return b""


@dataclass(frozen=True)
class Packages:
    """The libraries of an environment, which results depend on.

    Attributes:
      python: Minor version of Python, which may decide on versions in a lock file.
      lock: Name of the installed lock file; None if the environment was not made from one.
      sha256: Digest of the installed lock file, else of all installed names and versions.
    """

    python: str
    lock: str | None
    sha256: str


def installed() -> Packages:
    """Returns the libraries of the running environment."""
    lock = installed_lock(Path(sys.prefix))
    content = lock.read_bytes() if lock else _versions()
    return Packages(
        minor(platform.python_version()),
        lock.name if lock else None,
        hashlib.sha256(content).hexdigest(),
    )


def of_image() -> Packages:
    """Returns the libraries of the image that the Containerfile builds."""
    return Packages(
        NEWER.pythons[0], NEWER.name, hashlib.sha256(NEWER.file.read_bytes()).hexdigest()
    )


def installed_lock(environment: Path) -> Path | None:
    """Returns the copy of the lock file that was installed into an environment, or None."""
    copies = [environment / RECORDS / lock.name for lock in LOCKS]
    return next((copy for copy in copies if copy.is_file()), None)


def pins(lock: str) -> list[tuple[str, str, str]]:
    """Returns name, version and marker of each package in the text of a lock file."""
    line = re.compile(r"^([\w.-]+)==([^\s;\\]+)(?: *; *([^\\\n]+))?", re.MULTILINE)
    return [(name, version, marker.strip()) for name, version, marker in line.findall(lock)]


def canonical(name: str) -> str:
    """Returns the name of a package as spelled in lock files."""
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions() -> dict[str, metadata.Distribution]:
    """Returns the packages that are installed, by their names as spelled in lock files.

    Where a name is found twice, it is the one that Python would import.
    """
    # setuptools, once imported, adds the folder of the packages that it brings along.
    path = [each for each in sys.path if Path(each).name != "_vendor"]
    found: dict[str, metadata.Distribution] = {}
    for each in metadata.distributions(path=path):
        # An interrupted installation leaves a package without a name.
        if "Name" in each.metadata:
            found.setdefault(canonical(each.metadata["Name"]), each)
    return found


def _versions() -> bytes:
    versions = [f"{name}=={each.version}" for name, each in distributions().items()]
    return "\n".join(sorted(versions)).encode()
