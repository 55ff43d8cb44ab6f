"""Runs uv and pip: their options, their progress and the explanation of their errors.

This module uses only the standard library and Python 3.8 syntax.
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

from components.redaction import redacted

# These packages exist only as source, in pure Python. All others must have wheels, so that no
# compiler is needed.
SOURCE_ALONE = ("google-apitools", "kfp-server-api", "rouge-score")
# Lines of uv that report progress. Of the downloads, only those of 10 MiB or more.
_PROGRESS = re.compile(r"\s*(Downloading \S+ \(\d{2,}\.\dMiB|Prepared|Installed|Bytecode compiled)")
_REPORT_SECONDS = 10
_WRONG_HASH = re.compile(r"hash mismatch|do not match the hashes", re.IGNORECASE)
_FULL_DISK = re.compile(r"no space left|os error 28\b|disk quota exceeded", re.IGNORECASE)
_NO_NETWORK = re.compile(
    r"connection|connect error|dns error|name resolution|timed out|timeout|unreachable"
    r"|max retries|failed to (fetch|download)|error sending request|no matching distribution",
    re.IGNORECASE,
)
# Settings of pip and uv that would install other packages or use another folder, and settings of
# Python that would make environments differ between machines.
_DROPPED = re.compile(
    r"PYTHON(HOME|PATH|DONTWRITEBYTECODE|STARTUP|USERBASE)"
    r"|(PIP|UV)_(USER|TARGET|PREFIX|ROOT|DRY_RUN|SYSTEM_PYTHON|PYTHON|CONSTRAINT|OVERRIDE|EXCLUDE.*"
    r"|NO_BINARY.*|ONLY_BINARY|NO_BUILD.*|REQUIRE_HASHES|NO_VERIFY_HASHES|PRE|PRERELEASE|REPORT"
    r"|PROJECT|WORKING_DIR)"
)
# Settings of pip, and the settings of uv with the same meaning.
_UV_NAMES = {
    "PIP_CERT": "SSL_CERT_FILE",
    "PIP_EXTRA_INDEX_URL": "UV_EXTRA_INDEX_URL",
    "PIP_INDEX_URL": "UV_INDEX_URL",
}
_UV_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL")


class InstallationError(Exception):
    """An installation failed; the message has two lines: what happened, and what to do."""


@dataclass(frozen=True)
class Outcome:
    """Exit code and output lines of a command."""

    code: int
    lines: list[str]

    @property
    def last(self) -> str:
        """Line that best explains a failure: a cause, else the first error, else the last line."""
        lines = [line.strip() for line in self.lines if line.strip()] or ["no output"]
        errors = [line for line in lines if line.lower().startswith("error:")]
        return errors[0] if errors and not lines[-1].startswith("Caused by") else lines[-1]

    def line(self, pattern: re.Pattern[str]) -> str | None:
        """Returns the first line that matches, or None."""
        return next((line.strip() for line in self.lines if pattern.search(line)), None)

    def package_of_wrong_hash(self) -> str:
        """Returns the first line that names a package, starting at that of the wrong hash."""
        numbers = [number for number, line in enumerate(self.lines) if _WRONG_HASH.search(line)]
        rest = self.lines[numbers[0] :] if numbers else []
        return next((line.strip() for line in rest if "==" in line), self.last)


@dataclass(frozen=True)
class Installer:
    """Installs lock files into an environment.

    Attributes:
      environment: Folder of the environment.
      log: File for the output of all commands.
      descriptor: File descriptor that started processes inherit, and so keep open.
    """

    environment: Path
    log: Path
    descriptor: int

    @property
    def python(self) -> str:
        """Path of the environment's Python."""
        return str(self.environment / "bin" / "python")

    def with_uv(self, requirements: Path) -> None:
        """Installs a lock file with uv, or with pip if uv fails.

        Raises:
          InstallationError: If pip fails too, or would fail for the same reason as uv.
        """
        command = ["-m", "uv", "pip", "install", "--python", self.python, *_uv_options()]
        outcome = self.run([self.python, "-I", *command, *options(requirements)])
        if outcome.code == 0:
            return
        if outcome.line(_WRONG_HASH) or outcome.line(_FULL_DISK):
            raise InstallationError(self.explain(outcome))
        print(f"uv failed ({outcome.last}). Trying pip, which takes a few minutes.")
        self.with_pip(requirements)

    def with_pip(self, requirements: Path) -> None:
        """Installs a lock file with pip.

        Raises:
          InstallationError: If pip fails.
        """
        command = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        outcome = self.run([self.python, "-I", *command, *options(requirements)])
        if outcome.code:
            raise InstallationError(self.explain(outcome))

    def uninstall(self, names: list[str]) -> None:
        """Removes packages; ignores those that are not installed.

        Raises:
          InstallationError: If they cannot be removed.
        """
        command = ["-m", "uv", "pip", "uninstall", "--quiet", "--python", self.python]
        outcome = self.run([self.python, "-I", *command, *names])
        if outcome.code:
            raise InstallationError(self.explain(outcome))

    def run(self, command: list[str]) -> Outcome:
        """Runs a command, prints its progress, and writes its output to the log."""
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
            # Unpack packages on the disk of the environment: /tmp may be in memory and too small.
            env={**_settings(), "TMPDIR": str(scratch)},
            pass_fds=[self.descriptor],
        )
        lines = []
        with process, self.log.open("a", encoding="utf-8") as log, _progress_reported(scratch):
            try:
                for printed in process.stdout or ():
                    # The address of an index or a proxy may hold a password.
                    line = redacted(printed)
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
        """Returns two lines: why a command failed, and what to do."""
        full, refused = outcome.line(_FULL_DISK), outcome.line(_WRONG_HASH)
        if full:
            return (
                f"a disk is full: {full}\nFree some space, or set UV_CACHE_DIR to a folder on "
                "another disk. Then: make setup"
            )
        if refused:
            package = outcome.package_of_wrong_hash()
            return (
                f"a package does not have the hash of the lock file: {package}\nThe package index "
                "or a proxy changed or damaged the package. Use another index, or ask its "
                "administrator. Then: make setup"
            )
        if outcome.line(_NO_NETWORK):
            return (
                f"the packages could not be downloaded: {outcome.last}\nCheck the network, or set "
                "PIP_INDEX_URL to an index that is reachable. Then: make setup. It reuses the "
                "packages that are already downloaded."
            )
        return f"the packages could not be installed: {outcome.last}\n{self.advice}"

    @property
    def advice(self) -> str:
        """What to do if the cause is unknown."""
        return f"Read {self.log} and fix the problem. Then: make setup"


@contextlib.contextmanager
def _progress_reported(place: Path) -> Iterator[None]:
    """Prints every ten seconds how much was written, since uv and pip may be silent for long."""
    before, done = shutil.disk_usage(place).free, threading.Event()

    def report() -> None:
        while not done.wait(_REPORT_SECONDS):
            written = max(0, before - shutil.disk_usage(place).free) / 10**9
            print(f"  ... {written:.1f} GB so far", flush=True)

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def options(requirements: Path) -> list[str]:
    """Returns the options that uv and pip have in common."""
    sources = [f"--no-binary={name}" for name in SOURCE_ALONE]
    checks = ["--no-deps", "--require-hashes", "--no-build-isolation", "--only-binary=:all:"]
    return [*checks, *sources, "--requirement", str(requirements)]


def _uv_options() -> list[str]:
    """Returns options for settings that uv does not read from environment variables."""
    flags = []
    # Usually the first run compiles the third of the modules that it needs, which is faster. If
    # Python writes no bytecode, each start would compile them again.
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        flags.append("--compile-bytecode")
    if os.environ.get("PIP_NO_INDEX"):
        flags.append("--no-index")
    return flags


def _settings() -> dict[str, str]:
    """Returns the environment variables for uv and pip."""
    kept = {name: value for name, value in os.environ.items() if not _DROPPED.fullmatch(name)}
    has_index = any(name in kept for name in _UV_INDEXES)
    for theirs, own in _UV_NAMES.items():
        if theirs in kept and not (has_index and own in _UV_INDEXES):
            kept.setdefault(own, kept[theirs])
    if "PIP_NO_INDEX" in kept and "PIP_FIND_LINKS" in kept:
        kept.setdefault("UV_FIND_LINKS", ",".join(kept["PIP_FIND_LINKS"].split()))
    # Any index may provide a package: its hash proves that it is the right one.
    kept.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return kept
