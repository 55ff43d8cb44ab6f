"""uv and pip at work in an environment: what they are told, how far they are, why they failed.

Standard library alone, and no syntax newer than Python 3.8.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# These come as source alone, in pure Python. Everything else is taken as it was built, so that no
# compiler is needed.
SOURCE_ALONE = ("google-apitools", "kfp-server-api", "rouge-score")
# The lines of uv that say how far it is; of the downloads, those that take a while.
_PROGRESS = re.compile(r"\s*(Downloading \S+ \(\d{2,}\.\dMiB|Prepared|Installed|Bytecode compiled)")
_TELL_SECONDS = 10
_WRONG_HASH = re.compile(r"hash mismatch|do not match the hashes", re.IGNORECASE)
_FULL_DISK = re.compile(r"no space left|os error 28\b|disk quota exceeded", re.IGNORECASE)
_NO_NETWORK = re.compile(
    r"connection|connect error|dns error|name resolution|timed out|timeout|unreachable"
    r"|max retries|failed to (fetch|download)|error sending request|no matching distribution",
    re.IGNORECASE,
)
# Settings by which something else would be installed, or elsewhere, and those of Python by which
# the environment would be another one than on the next machine.
_DROPPED = re.compile(
    r"PYTHON(HOME|PATH|DONTWRITEBYTECODE|STARTUP|USERBASE)"
    r"|(PIP|UV)_(USER|TARGET|PREFIX|ROOT|DRY_RUN|SYSTEM_PYTHON|PYTHON|CONSTRAINT|OVERRIDE|EXCLUDE.*"
    r"|NO_BINARY.*|ONLY_BINARY|NO_BUILD.*|REQUIRE_HASHES|NO_VERIFY_HASHES|PRE|PRERELEASE|REPORT"
    r"|PROJECT|WORKING_DIR)"
)
# What uv reads in the place of what pip reads.
_UV_NAMES = {
    "PIP_CERT": "SSL_CERT_FILE",
    "PIP_EXTRA_INDEX_URL": "UV_EXTRA_INDEX_URL",
    "PIP_INDEX_URL": "UV_INDEX_URL",
}
_UV_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL")


class InstallationError(Exception):
    """Why nothing could be installed, in two lines: what was found, and what helps."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code, and the lines that it printed."""

    code: int
    lines: list[str]

    @property
    def last(self) -> str:
        """The line that says most: the last one, or that of an error to which no cause is told."""
        said = [line.strip() for line in self.lines if line.strip()] or ["no word"]
        errors = [line for line in said if line.lower().startswith("error:")]
        return errors[0] if errors and not said[-1].startswith("Caused by") else said[-1]

    def line(self, pattern: re.Pattern[str]) -> str | None:
        """The first line that matches; None where none does."""
        return next((line.strip() for line in self.lines if pattern.search(line)), None)

    def package_after(self, pattern: re.Pattern[str]) -> str:
        """The line that names a package, at or after the first one that matches."""
        numbers = [number for number, line in enumerate(self.lines) if pattern.search(line)]
        rest = self.lines[numbers[0] :] if numbers else []
        return next((line.strip() for line in rest if "==" in line), self.last)


@dataclass(frozen=True)
class Installer:
    """Installs files of exact versions with hashes into one environment.

    Attributes:
      environment: its folder.
      log: gets all that is said.
      descriptor: of an open file that whatever is started keeps open, too.
    """

    environment: Path
    log: Path
    descriptor: int

    @property
    def python(self) -> str:
        """The Python of the environment."""
        return str(self.environment / "bin" / "python")

    def with_uv(self, requirements: Path) -> None:
        """Installs a file with uv, or with pip where uv fails.

        Raises:
          InstallationError: where pip fails, too, or would.
        """
        command = ["-m", "uv", "pip", "install", "--python", self.python, *_uv_options()]
        outcome = self.run([self.python, "-I", *command, *options(requirements)])
        if outcome.code == 0:
            return
        if outcome.line(_WRONG_HASH) or outcome.line(_FULL_DISK):
            raise InstallationError(self.explain(outcome))
        print(f"uv failed ({outcome.last}): going on with pip, which takes some minutes.")
        self.with_pip(requirements)

    def with_pip(self, requirements: Path) -> None:
        """Installs a file with pip.

        Raises:
          InstallationError: where pip fails.
        """
        command = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        outcome = self.run([self.python, "-I", *command, *options(requirements)])
        if outcome.code:
            raise InstallationError(self.explain(outcome))

    def uninstall(self, names: list[str]) -> None:
        """Removes packages; one that is not there is no fault.

        Raises:
          InstallationError: where they cannot be removed.
        """
        command = ["-m", "uv", "pip", "uninstall", "--quiet", "--python", self.python]
        outcome = self.run([self.python, "-I", *command, *names])
        if outcome.code:
            raise InstallationError(self.explain(outcome))

    def run(self, command: list[str]) -> Outcome:
        """Runs a command, prints how far it is, and keeps all that it says."""
        scratch = self.environment / "tmp"
        scratch.mkdir(exist_ok=True)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            # Packages are unpacked where there is room, which a folder in memory may not have.
            env={**_settings(), "TMPDIR": str(scratch)},
            pass_fds=[self.descriptor],
        )
        lines = []
        with process, self.log.open("a", encoding="utf-8") as log, _telling_of_growth(scratch):
            try:
                for line in process.stdout or ():
                    lines.append(line)
                    log.write(line)
                    if _PROGRESS.match(line):
                        print(f"  {line.strip()}", flush=True)
            except BaseException:
                process.terminate()
                raise
        shutil.rmtree(scratch, ignore_errors=True)
        return Outcome(process.returncode, lines)

    def explain(self, outcome: Outcome) -> str:
        """Two lines: why something failed, and what helps."""
        full, refused = outcome.line(_FULL_DISK), outcome.line(_WRONG_HASH)
        if full:
            return (
                f"a disk is full: {full}\nMake room there. UV_CACHE_DIR names another place for "
                "what uv keeps. Then: make setup"
            )
        if refused:
            package = outcome.package_after(_WRONG_HASH)
            return (
                f"a package is not the one that the lock names: {package}\nSomething between here "
                "and the package index changed or damaged it: ask whoever runs the index, or use "
                "another one. Then: make setup"
            )
        if outcome.line(_NO_NETWORK):
            return (
                f"the packages could not be downloaded: {outcome.last}\nCheck the network, or let "
                "PIP_INDEX_URL name an index that can be reached. Then: make setup. What was "
                "downloaded is kept."
            )
        return f"the packages could not be installed: {outcome.last}\n{self.advice}"

    @property
    def advice(self) -> str:
        """What helps where nothing is known of the cause."""
        return f"{self.log} has all that was said. Mend what it names, then: make setup"


@contextlib.contextmanager
def _telling_of_growth(place: Path) -> Iterator[None]:
    """Says every ten seconds how much was written, where uv and pip say nothing."""
    before, done = shutil.disk_usage(place).free, threading.Event()

    def tell() -> None:
        while not done.wait(_TELL_SECONDS):
            written = max(0, before - shutil.disk_usage(place).free) / 10**9
            print(f"  ... {written:.1f} GB so far", flush=True)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def options(requirements: Path) -> list[str]:
    """What uv and pip are told alike."""
    sources = [f"--no-binary={name}" for name in SOURCE_ALONE]
    checks = ["--no-deps", "--require-hashes", "--no-build-isolation", "--only-binary=:all:"]
    return [*checks, *sources, "--requirement", str(requirements)]


def _uv_options() -> list[str]:
    """What uv is told by options, since it has no variables for it."""
    found = []
    # Where Python writes bytecode, the first run writes the third that it needs, which is faster.
    # Where it writes none, each start would compile anew.
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        found.append("--compile-bytecode")
    if os.environ.get("PIP_NO_INDEX"):
        found.append("--no-index")
    return found


def _settings() -> dict[str, str]:
    """The environment variables for uv and pip."""
    kept = {name: value for name, value in os.environ.items() if not _DROPPED.fullmatch(name)}
    has_index = any(name in kept for name in _UV_INDEXES)
    for theirs, own in _UV_NAMES.items():
        if theirs in kept and not (has_index and own in _UV_INDEXES):
            kept.setdefault(own, kept[theirs])
    if "PIP_NO_INDEX" in kept and "PIP_FIND_LINKS" in kept:
        kept.setdefault("UV_FIND_LINKS", ",".join(kept["PIP_FIND_LINKS"].split()))
    # Hashes say which file is right, whichever index has it.
    kept.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return kept
