"""Checks whether this machine can run the pipeline, and suggests fixes.

This module uses only the standard library and Python 3.8 syntax: the doctor has to work before
anything is installed, and on a Python that is too old for the rest of the project.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

from components import control_groups
from pipeline import paths
from pipeline.errors import PathError
from pipeline.installation import interpreters, packages
from pipeline.installation.packages import LOCKS, Lock, System

Status = Literal["ok", "warn", "fail"]

PROJECT = Path(__file__).resolve().parent.parent
PROJECT_ENVIRONMENT = PROJECT / ".venv"
PROCESSOR_INFORMATION = Path("/proc/cpuinfo")
MEMORY_INFORMATION = Path("/proc/meminfo")

GIGABYTE = 10**9
# Free disk space for the results of some runs.
RUNS_DISK = 2 * GIGABYTE
# A little under 4 GB: a machine with 4 GB reports less, since the system reserves some.
MEMORY = 3.7 * GIGABYTE
TRAIN_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST_FILES = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
DATA_FILES = TRAIN_FILES + TEST_FILES
COMPONENTS = ("StatisticsGen", "Transform", "Trainer", "Evaluator", "Pusher")
DEEP_LIMIT_SECONDS = 300
DATA_LIMIT_SECONDS = 300
SERVICES_LIMIT_SECONDS = 60
DATABASE_SECONDS = 3.0
# How a line of the process that checks services begins.
ANSWER_BEGINS = '{"name": '
# How the last line of a command begins where libraries are missing.
NO_LIBRARIES = (
    "The environment is missing",
    "error: the environment lacks ",
    "ModuleNotFoundError: ",
)
COLOURS = {"ok": "32", "warn": "33", "fail": "31"}

# tfx.components replaces a component that it cannot import by None, so its own import always works.
PROBE = f"""
import json, time
started = time.perf_counter()
import keras, tensorflow, tfx.components
absent = [name for name in {COMPONENTS!r} if getattr(tfx.components, name, None) is None]
print(json.dumps(dict(
    keras=keras.__version__, tf_keras=tensorflow.keras.__version__,
    tensorflow=tensorflow.__version__, absent=absent, seconds=time.perf_counter() - started)))
"""


# Not by PYTHONPATH, which a colon in the name of the checkout would split.
SERVICES = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from operations import services; services.main()"
)


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
      name: Name of the check.
      status: Outcome of the check.
      found: What the check found.
      fix: How to fix it; empty if nothing is wrong.
    """

    name: str
    status: Status
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Environment:
    """A Python environment.

    Attributes:
      python: Path of the interpreter.
      version: Full version of the interpreter, such as "3.13.5".
      folder: Root folder of the environment.
      packages: Folders that the interpreter imports packages from.
    """

    python: Path
    version: str
    folder: Path
    packages: tuple[str, ...]

    @property
    def minor_version(self) -> str:
        """Minor version, such as "3.13", as used in the lock files."""
        return packages.minor(self.version)


def main(
    deep: bool,
    as_json: bool,
    data: str | None,
    output_dir: Path,
    dropped: list[str],
    config: Path | None = None,
) -> int:
    """Print the findings; return 1 if a problem prevents a run, else 0."""
    findings = examine(deep, data, output_dir, dropped, config)
    print(as_json_text(findings) if as_json else as_text(findings, wants_colour()))
    return 0 if is_ready(findings) else 1


def examine(
    deep: bool,
    data: str | None,
    output_dir: Path,
    dropped: list[str],
    config: Path | None = None,
) -> list[Finding]:
    """Check everything a run needs; `deep` also imports all libraries, which takes a while."""
    # `Path.expanduser` raises an error if the home folder is unknown; this function does not.
    output_dir = Path(os.path.expanduser(output_dir))  # noqa: PTH111
    environment = find_environment()
    system = packages.read_system()
    of_data = check_data(data, config, environment)
    findings = [
        check_platform(system),
        check_python(environment, system),
        check_packages(environment, system),
        check_processor(),
        check_cores(),
        check_memory(),
        check_disk(output_dir, environment),
        of_data,
        # A faulty configuration file, which both read, is one problem.
        *(
            finding
            for finding in check_services(config, data, output_dir, environment)
            if finding.found != of_data.found
        ),
        check_output(output_dir),
        check_stores(output_dir),
        *check_databases(output_dir),
    ]
    if not deep:
        return findings
    return [*findings, check_settings(dropped), check_imports(environment)]


def is_ready(findings: Iterable[Finding]) -> bool:
    """Return whether a run can start; warnings do not prevent it."""
    return all(finding.status != "fail" for finding in findings)


def find_environment() -> Environment | None:
    """Return the environment that a run would use, or None if nothing is installed yet.

    This is the current environment, or `.venv` if the current one has no TFX.
    """
    present = Environment(
        Path(sys.executable), platform.python_version(), Path(sys.prefix), tuple(sys.path)
    )
    if find_version("tfx", present.packages):
        return present
    if not is_there(PROJECT_ENVIRONMENT / "bin/python"):
        return None
    folders = sorted(PROJECT_ENVIRONMENT.glob("lib/python*/site-packages"))
    return Environment(
        PROJECT_ENVIRONMENT / "bin/python",
        packages.made_of(PROJECT_ENVIRONMENT),
        PROJECT_ENVIRONMENT,
        tuple(str(folder) for folder in folders),
    )


def find_version(name: str, folders: Iterable[str]) -> str | None:
    """Return the version of a package in these folders, or None if it is not installed."""
    for distribution in metadata.Distribution.discover(name=name, path=list(folders)):
        return distribution.version
    return None


def check_platform(system: System) -> Finding:
    """Check which lock file fits this system, and why the preferred one does not."""
    found = system.platform
    if system.platform == packages.LINUX:
        found += f", glibc {packages.dotted(system.glibc)}" if system.glibc else " without glibc"
    if system.platform == packages.MACOS:
        found += ": all locked packages are available, but the pipeline was never tested on it"
        return Finding("platform", "warn", found, f"if a run fails, use {packages.LINUX}")
    fitting = locks_of(system)
    if not fitting:
        found = f"{found}: {unfit(LOCKS[-1], system)}"
        return Finding("platform", "fail", found, packages.advise(system))
    preferred = LOCKS[: LOCKS.index(fitting[0])]
    reasons = [unfit(lock, system) for lock in preferred]
    return Finding("platform", "ok", "; ".join([f"{found}: {fitting[0].name} fits", *reasons]))


def unfit(lock: Lock, system: System) -> str:
    """Return a sentence that says why a lock file does not fit a system."""
    return f"{lock.name} does not fit: {' and '.join(system_obstacles(lock, system))}"


def locks_of(system: System) -> list[Lock]:
    """Return the lock files that fit a system with any Python, in order of preference."""
    return [lock for lock in LOCKS if not system_obstacles(lock, system)]


def system_obstacles(lock: Lock, system: System) -> list[str]:
    """Return the reasons why a lock file does not fit a system with any Python."""
    return packages.obstacles(lock, system, lock.pythons[0])


def check_python(environment: Environment | None, system: System) -> Finding:
    """Check whether a lock file that fits this system supports the Python of the environment.

    If there is no environment, look for a Python to create it with.
    """
    if environment is None:
        try:
            interpreter, _ = interpreters.find("", system)
        except interpreters.NoInterpreterError as error:
            return Finding("python", "fail", *str(error).splitlines())
        found = f"{interpreter.version} ({interpreter.path}); make setup will use it for .venv"
        return Finding("python", "ok", found)
    found = f"{environment.version} ({environment.python})"
    # If no lock file fits the system, the finding "platform" already says so.
    locks = locks_of(system) or LOCKS
    fitting = list(dict.fromkeys(python for lock in locks for python in lock.pythons))
    if environment.minor_version in fitting:
        return Finding("python", "ok", found)
    fix = f"install Python {' or '.join(fitting)}, then: make clean-env setup"
    return Finding("python", "fail", f"{found}; expected {' or '.join(fitting)}", fix)


def check_packages(environment: Environment | None, system: System) -> Finding:
    """Compare the installed packages with the installed lock file.

    If no lock file was installed, use the one that fits this system.
    """
    if environment is None:
        return Finding("packages", "fail", "none are installed yet", "make setup")
    record = packages.installed_lock(environment.folder)
    if record is None:
        lock = packages.choose(system, environment.minor_version)
        if lock is None:
            found = f"no lock file fits Python {environment.minor_version} on this system"
            return Finding("packages", "fail", found, "fix platform and python first")
        return compare_packages(environment, lock.file)
    lock = next(lock for lock in LOCKS if lock.name == record.name)
    obstacles = packages.obstacles(lock, system, environment.minor_version)
    if obstacles:
        found = f"the installed {lock.name} does not fit: {' and '.join(obstacles)}"
        return Finding("packages", "fail", found, "make clean-env setup")
    if read_text(record) != read_text(lock.file):
        found = f"{lock.name} has changed since it was installed"
        return Finding("packages", "fail", found, "make setup")
    return compare_packages(environment, record)


def compare_packages(environment: Environment, lock: Path) -> Finding:
    """Compare the packages of an environment with a lock file."""
    pins = read_pins(lock, environment.version)
    if not pins:
        own = packages.FOLDER / lock.name
        found = f"{lock} names no packages"
        return Finding("packages", "fail", found, f"restore {own}, then: make setup")
    installed = read_installed(environment.packages)
    missing = [name for name in pins if name not in installed]
    different = [
        f"{name} {installed[name]} instead of {version}"
        for name, version in pins.items()
        if installed.get(name, version) != version
    ]
    if not missing and not different:
        return Finding("packages", "ok", f"all {len(pins)} packages of {lock.name} are installed")
    parts = [shorten(f"{len(missing)} missing", missing), shorten("different", different)]
    fix = "make clean-env setup" if different else "make setup"
    return Finding("packages", "fail", "; ".join(filter(None, parts)), fix)


def read_pins(lock: Path, python: str) -> dict[str, str]:
    """Return the versions by package name, from the lines of a lock file that apply to a Python."""
    pins = packages.pins(read_text(lock))
    return {name: version for name, version, marker in pins if counts(marker, python)}


def counts(marker: str, python: str) -> bool:
    """Return whether a line with this marker applies; False if the marker cannot be evaluated."""
    if not marker:
        return True
    try:
        from packaging.markers import Marker

        version = {"python_full_version": python, "python_version": packages.minor(python)}
        return Marker(marker).evaluate(version)
    except (ImportError, ValueError):
        return False


def read_installed(folders: Iterable[str]) -> dict[str, str]:
    """Return the versions of the packages in these folders, by name as spelled in lock files."""
    packages_there = (item.metadata for item in metadata.distributions(path=list(folders)))
    # An interrupted installation leaves a package without a name.
    named = [(item["Name"], item["Version"]) for item in packages_there if "Name" in item]
    # Reversed, so that the first folder wins, as it does on import.
    return {packages.canonical(name): version for name, version in reversed(named)}


def shorten(label: str, names: list[str], most: int = 4) -> str:
    """Return a label and the first few names; an empty text if there are no names."""
    if not names:
        return ""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{label}: {', '.join(names[:most])}{rest}"


def check_processor() -> Finding:
    """Check the processor: TensorFlow needs AVX, and other features decide how fast it is."""
    flags = read_processor_flags(PROCESSOR_INFORMATION)
    if not flags:
        return Finding("processor", "ok", "unknown: this system does not list its features")
    if "avx" not in flags:
        fix = "use another machine: TensorFlow's packages need a processor with AVX"
        return Finding("processor", "fail", "no AVX", fix)
    return Finding("processor", "ok", f"{name_vectors(flags)}; {name_bfloat16(flags)}")


def read_processor_flags(information: Path) -> frozenset[str]:
    """Return the features of the first processor, as named by Linux."""
    match = re.search(r"^flags\s*:(.*)$", read_text(information), re.MULTILINE)
    return frozenset(match.group(1).split()) if match else frozenset()


def name_vectors(flags: frozenset[str]) -> str:
    """Return a phrase about the speed of float32 arithmetic."""
    if "avx512f" in flags:
        return "AVX-512: float32 at full speed"
    return "no AVX-512: float32 at half speed"


def name_bfloat16(flags: frozenset[str]) -> str:
    """Return a phrase about the use of mixed precision."""
    names = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512"}
    units = [unit for flag, unit in names.items() if flag in flags]
    if units:
        return f"bfloat16 in hardware ({', '.join(units)}): mixed precision can be faster"
    return "no bfloat16 in hardware: mixed precision would be slower"


def check_cores() -> Finding:
    """Count the cores that this process may use."""
    cores = control_groups.cores()
    return Finding("cores", "ok", f"{cores} of {os.cpu_count()} available")


def check_memory() -> Finding:
    """Check whether the machine, and the container if there is one, has enough memory for a run."""
    sizes = [*machine_memory(), *container_memory()]
    if not sizes:
        return Finding("memory", "ok", "unknown")
    found = f"{min(sizes) / GIGABYTE:.1f} GB"
    if min(sizes) >= MEMORY:
        return Finding("memory", "ok", found)
    fix = "give the machine or container 4 GB; with less, the system may kill a run"
    return Finding("memory", "warn", found, fix)


def machine_memory() -> Iterator[int]:
    """Yield the memory of the machine in bytes, if the system reports it."""
    match = re.search(r"^MemTotal:\s*(\d+) kB", read_text(MEMORY_INFORMATION), re.MULTILINE)
    if match:
        yield int(match.group(1)) * 1024


def container_memory() -> Iterator[int]:
    """Yield the memory limits, in bytes, of the control groups of this process."""
    for folder in control_groups.folders("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = read_text(folder / name).strip()
            if text.isdigit():
                yield int(text)


def check_disk(output_dir: Path, environment: Environment | None) -> Finding:
    """Check whether the disks have space for some runs and, before it is made, for `.venv`."""
    advice = {nearest_existing(output_dir): "choose another disk with --output-dir"}
    needs = dict.fromkeys(advice, RUNS_DISK)
    if environment is None:
        place = same_disk(nearest_existing(PROJECT_ENVIRONMENT), advice)
        advice.setdefault(place, "make .venv a link to a folder on another disk")
        needs[place] = needs.get(place, 0) + packages.NEEDED
    free = {place: shutil.disk_usage(place).free for place in needs}
    found = "; ".join(f"{free[place] / GIGABYTE:.1f} GB free at {place}" for place in needs)
    fixes = [
        f"free {needs[place] / GIGABYTE:.0f} GB at {place}, or {advice[place]}"
        for place in needs
        if free[place] < needs[place]
    ]
    return Finding("disk", "warn" if fixes else "ok", found, "; ".join(fixes))


def same_disk(place: Path, others: Iterable[Path]) -> Path:
    """Return the first of the other places that is on the disk of a place, else the place."""
    device = place.stat().st_dev
    return next((other for other in others if other.stat().st_dev == device), place)


def check_data(data: str | None, config: Path | None, environment: Environment | None) -> Finding:
    """Check whether the data that a run would use is there and can be used."""
    try:
        if config is not None and data in (None, "auto", "sample"):
            return judge_configured(config, data, environment)
        if data == "sample":
            return Finding("data", "ok", "synthetic sample")
        if data not in (None, "auto"):
            return judge_named(data, "--data", config, environment)
        if os.environ.get("FASHION_MNIST_DIR"):
            name = os.environ["FASHION_MNIST_DIR"]
            return judge_named(name, "FASHION_MNIST_DIR", None, environment)
        return judge_cache(data_cache())
    except PathError as error:
        return Finding("data", "fail", str(error), "use the full path of another folder")


def judge_named(
    name: str, origin: str, config: Path | None, environment: Environment | None
) -> Finding:
    """Check data that the user chose as a run does; without libraries, only the names of its files.

    Raises:
      PathError: If a run cannot use data with this path.
    """
    if name.startswith("s3://"):
        options = ["--data", name, *(["--config", str(config)] if config else [])]
        return read_data(options, environment) or unread(f"{origin} in a bucket")
    place = paths.resolved(Path(name), origin, or_bucket=True)
    options = ["--data", str(place), *(["--config", str(config)] if config else [])]
    read = read_data(options, environment)
    if read is not None:
        return read
    if not is_there(place):
        return Finding("data", "fail", f"{place} ({origin}) does not exist", f"change {origin}")
    if not holds_idx_files(place):
        return unread(f"{place} ({origin})")
    missing = missing_data(place)
    if not missing:
        return Finding("data", "ok", f"{place} ({origin})")
    found = shorten(f"{place} ({origin}) lacks", missing)
    fix = f"put these files there, gzipped or not, or change {origin}"
    return Finding("data", "fail", found, fix)


def judge_configured(config: Path, data: str | None, environment: Environment | None) -> Finding:
    """Check data as a run with a configuration file does: that of the file, `auto` or `sample`."""
    options = ["--config", str(config), *(["--data", data] if data else [])]
    name = f"--data {data} with {config}" if data else f"the data of {config}"
    return read_data(options, environment) or unread(name)


def unread(name: str) -> Finding:
    """Return the finding for data that cannot be checked without the libraries."""
    found = f"{name} is not checked: that needs the libraries"
    return Finding("data", "warn", found, "make setup, then run the doctor again")


def read_data(options: list[str], environment: Environment | None) -> Finding | None:
    """Read data to its end and check it as a run does; None if the libraries are missing."""
    if environment is None:
        return None
    command = ["pipeline_runner.py", "digest", "--json", *options]
    try:
        process = subprocess.run(
            [str(environment.python), str(PROJECT / command[0]), *command[1:]],
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=DATA_LIMIT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        found = f"not read to its end within {DATA_LIMIT_SECONDS} s"
        return Finding("data", "warn", found, "copy it to a faster disk, or just start the run")
    except OSError:
        return None
    if process.returncode == 0:
        return judge_read(json.loads(process.stdout))
    lines = process.stderr.strip().splitlines()
    last = lines[-1] if lines else "no message"
    if process.returncode == 1 and last.startswith(NO_LIBRARIES):
        return None
    refusals = [line for line in lines if line.startswith("error: ")]
    if refusals:
        found, fix = split_message(refusals[-1][len("error: ") :])
        return Finding("data", "fail", found, fix or "change the data")
    # A crash says nothing about the data, but a run would reach the same place.
    found = f"reading it ended unexpectedly, with exit code {process.returncode}: {last}"
    fix = f"see the whole message: {shlex.join(['python3', *command])}"
    return Finding("data", "fail", found, fix)


def judge_read(answer: dict[str, Any]) -> Finding:
    """Return the finding for data that can be read: a warning if it may not be as it is meant."""
    ignored = [f"ignored {line}" for line in answer["ignored"]]
    found = "; ".join([name_data(answer), *ignored])
    doubts = " ".join(answer["doubts"])
    return Finding("data", "warn" if doubts else "ok", found, doubts)


def split_message(message: str) -> tuple[str, str]:
    """Return what an error of the project found, and what it expected; empty if it says nothing."""
    found, *expected = re.split("[;:] expected ", message, maxsplit=1)
    return found, f"expected {expected[0]}" if expected else ""


def name_data(answer: dict[str, Any]) -> str:
    """Return a phrase about data that was read."""
    splits = ("train", "val", "test")
    counts = {split: sum(each[split] for each in answer["classes"]) for split in splits}
    images = ", ".join(f"{count} {split}" for split, count in counts.items())
    return f"{answer['data']}: {answer['summary']}; {len(answer['classes'])} classes, {images}"


def check_services(
    config: Path | None, data: str | None, output_dir: Path, environment: Environment | None
) -> list[Finding]:
    """Check the engine, the database and the bucket that a configuration file names.

    Return nothing without a file or the libraries: other findings say that they are missing.
    """
    if config is None or environment is None:
        return []
    arguments = [str(PROJECT), str(config), str(output_dir), *([data] if data else [])]
    try:
        process = subprocess.run(
            [str(environment.python), "-c", SERVICES, *arguments],
            capture_output=True,
            timeout=SERVICES_LIMIT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        found = f"{config} names a server that does not answer within {SERVICES_LIMIT_SECONDS} s"
        fix = "check the network and the addresses in the file, or just start the run"
        return [*read_answers(error.stdout or b""), Finding("services", "warn", found, fix)]
    except OSError:
        return []
    findings = read_answers(process.stdout)
    if process.returncode == 0:
        return findings
    lines = process.stderr.decode(errors="backslashreplace").strip().splitlines()
    last = lines[-1] if lines else "no message"
    if last.startswith(NO_LIBRARIES):
        return findings
    # Only the kind of the error: its text may have a secret.
    kind = last.partition(":")[0]
    found = f"checking {config} ended unexpectedly, with exit code {process.returncode}: {kind}"
    fix = "start the run, which checks the same and says more"
    return [*findings, Finding("services", "fail", found, fix)]


def read_answers(output: bytes) -> list[Finding]:
    """Return the findings that a process printed, one a line; the last line may be cut short."""
    findings = []
    for line in output.decode(errors="backslashreplace").split("\n")[:-1]:
        # A library may print lines of its own.
        if not line.startswith(ANSWER_BEGINS):
            continue
        answer = json.loads(line)
        found, fix = split_message(answer["message"])
        if answer["status"] != "ok":
            fix = fix or "change the configuration"
        findings.append(Finding(answer["name"], answer["status"], found, fix))
    return findings


def holds_idx_files(folder: Path) -> bool:
    """Return whether a folder holds IDX files or spans."""
    return bool(find_spans(folder)) or any(is_data(folder / name) for name in DATA_FILES)


def judge_cache(folder: Path) -> Finding:
    """Check the user's cache; a run downloads the data to it if it is empty."""
    if not missing_data(folder):
        return Finding("data", "ok", f"{folder} (cache)")
    place = nearest_existing(folder)
    if not (place.is_dir() and os.access(place, os.W_OK)):
        found = f"no data, and no permission to download it to {place}"
        fix = (
            "set FASHION_MNIST_DIR to a folder with the four IDX files, or XDG_CACHE_HOME to a "
            "folder that you can write to"
        )
        return Finding("data", "fail", found, fix)
    found = "no data yet: a run downloads it, or uses the synthetic sample if the download fails"
    fix = (
        "without network access, set FASHION_MNIST_DIR to a folder with the four IDX files, or "
        f"put them in {folder}"
    )
    return Finding("data", "warn", found, fix)


def data_cache() -> Path:
    """Return the folder for downloaded data."""
    return paths.in_home(".cache", "XDG_CACHE_HOME") / "image-pipeline" / "fashion-mnist"


def missing_data(folder: Path) -> list[str]:
    """Return the files that a run needs and that the folder lacks."""
    return [name for name in needed_data(folder) if not is_data(folder / name)]


def needed_data(folder: Path) -> list[str]:
    """Return the files that a run reads from a folder.

    These are the four IDX files. If the folder has spans, these are the training files of the
    newest span, and the test files of the first span that has any.
    """
    spans = find_spans(folder)
    if not spans:
        return list(DATA_FILES)
    tested = [span for span in spans if any(is_data(folder / span / name) for name in TEST_FILES)]
    reference = next(iter(tested), spans[0])
    trained = [f"{spans[-1]}/{name}" for name in TRAIN_FILES]
    return [*trained, *(f"{reference}/{name}" for name in TEST_FILES)]


def find_spans(folder: Path) -> list[str]:
    """Return the names of the `span-N` folders in a folder, in ascending order of N."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return []
    spans = [name for name in names if re.fullmatch("span-[0-9]+", name)]
    return sorted(spans, key=lambda name: int(name.partition("-")[2]))


def is_data(path: Path) -> bool:
    """Return whether a data file exists, gzipped or not."""
    candidates = (path, path.with_name(path.name + ".gz"))
    return any(is_there(each) and each.is_file() for each in candidates)


def check_output(output_dir: Path) -> Finding:
    """Check the output folder by writing a temporary file: permissions alone do not prove it."""
    try:
        paths.output_folder(output_dir)
    except PathError as error:
        return Finding("output", "fail", str(error), "choose another folder with --output-dir")
    folder = nearest_existing(output_dir)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Finding("output", "ok", f"{folder} is writable")
    except OSError as error:
        found = f"{folder} is not writable: {error.strerror}"
        return Finding("output", "fail", found, "choose another folder with --output-dir")


def check_stores(output_dir: Path) -> Finding:
    """Check whether a run could use the metadata store of each pipeline."""
    try:
        from pipeline.records.stores import find_fault
    except ImportError:
        return Finding("stores", "ok", "unknown: this Python has no sqlite3 module")
    stores = sorted(
        path
        for path in output_dir.glob("*/metadata.db")
        # Of a pipeline that moved to a database.
        if not path.with_name("metadata.json").exists()
    )
    faults = [fault for fault in (find_fault(path, writing=True) for path in stores) if fault]
    if not faults:
        return Finding("stores", "ok", name_stores(len(stores)))
    # A locked store may be free again when the run starts.
    status: Status = "warn" if all(fault.kind == "locked" for fault in faults) else "fail"
    found = "; ".join(fault.found for fault in faults)
    return Finding("stores", status, found, "; ".join(fault.fix for fault in faults))


def name_stores(count: int) -> str:
    """Return a phrase about metadata stores without faults."""
    if count == 1:
        return "1 metadata store, usable"
    return f"{count} metadata stores, all usable" if count else "no metadata stores yet"


def name_databases(count: int) -> str:
    """Return a phrase about databases whose servers answer."""
    if count == 1:
        return "1 metadata database, whose server answers"
    return f"{count} metadata databases, whose servers answer"


def check_databases(output_dir: Path) -> list[Finding]:
    """Check whether the server of each database answers that holds the metadata of a pipeline.

    Without such a database there is nothing to tell.
    Whether it takes the password needs its driver, and so an installed project: `check_services`
    tells that of the database of a configuration file, and `run` of any.
    """
    from pipeline.database import binding
    from pipeline.errors import PipelineError
    from pipeline.locations import Locations

    bindings = sorted(output_dir.glob("*/metadata.json"))
    addresses, faults = set(), []
    for path in bindings:
        try:
            bound = binding.read(Locations(path.parent))
        except PipelineError as error:
            faults.append(str(error))
        else:
            addresses |= {bound.address} if bound else set()
    for address in sorted(addresses, key=lambda address: address.uri):
        try:
            socket.create_connection((address.host, address.port), DATABASE_SECONDS).close()
        except OSError as error:
            faults.append(f"the {address.shown} cannot be reached ({error.strerror or error})")
    if faults:
        fix = "start the server, correct the name of its host, or see docs/operations.md"
        return [Finding("databases", "fail", "; ".join(faults), fix)]
    return [Finding("databases", "ok", name_databases(len(addresses)))] if bindings else []


def nearest_existing(path: Path) -> Path:
    """Return the path if it exists, else its closest parent that exists."""
    path = path.absolute()
    return next(place for place in [path, *path.parents] if is_there(place))


def is_there(path: Path) -> bool:
    """Return whether a path exists; False if this user cannot see it."""
    try:
        return path.exists()
    except OSError:
        return False


def check_settings(dropped: list[str]) -> Finding:
    """List the user's Keras and TensorFlow settings, which a run ignores."""
    names = list(dropped)
    keras = Path.home() / ".keras" / "keras.json"
    if is_there(keras):
        names.append(str(keras))
    found = shorten("ignored", names, len(names)) or "no settings of Keras or TensorFlow"
    return Finding("settings", "ok", found)


def check_imports(environment: Environment | None) -> Finding:
    """Import all libraries in a separate process, and check the result."""
    if environment is None:
        return Finding("imports", "fail", "nothing is installed yet", "make setup")
    try:
        answer = probe(environment.python)
    except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        return Finding("imports", "fail", name_failure(error), "make clean-env setup")
    versions = f"TensorFlow {answer.tensorflow}, Keras {answer.keras}"
    found = f"{versions}, tf.keras {answer.tf_keras}, in {answer.seconds:.0f} s"
    if answer.absent:
        found = f"tfx.components lacks {', '.join(answer.absent)}; {found}"
        return Finding("imports", "fail", found, "make clean-env setup")
    if answer.keras != answer.tf_keras:
        found = f"two versions of Keras: {found}"
        return Finding("imports", "fail", found, "make clean-env setup")
    return Finding("imports", "ok", found)


class Probe(NamedTuple):
    """What a process reports after it imported all libraries."""

    keras: str
    tf_keras: str
    tensorflow: str
    absent: list[str]
    seconds: float


def probe(python: Path) -> Probe:
    """Return the report that a new process of this Python prints after importing all libraries."""
    process = subprocess.run(
        [str(python), "-c", PROBE],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=True,
        timeout=DEEP_LIMIT_SECONDS,
    )
    return Probe(**json.loads(process.stdout.splitlines()[-1]))


def name_failure(error: Exception) -> str:
    """Return the line that best explains why the imports failed."""
    stderr = getattr(error, "stderr", None)
    lines = stderr.strip().splitlines() if isinstance(stderr, str) else []
    return lines[-1] if lines else str(error)


def read_text(file: Path) -> str:
    """Return the text of a file, or an empty text if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def wants_colour() -> bool:
    """Return whether the output goes to a terminal, and NO_COLOR is not set."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def as_json_text(findings: list[Finding]) -> str:
    """Return the findings as JSON."""
    report = {"ready": is_ready(findings), "findings": [asdict(finding) for finding in findings]}
    return json.dumps(report, indent=2)


def as_text(findings: list[Finding], colour: bool) -> str:
    """Return the findings as text, followed by a verdict."""
    width = max(len(finding.name) for finding in findings)
    lines = [line for finding in findings for line in as_lines(finding, width, colour)]
    return "\n".join([*lines, "", verdict(findings)])


def as_lines(finding: Finding, width: int, colour: bool) -> list[str]:
    """Return the line of a finding and, if it has a fix, a second line with the fix."""
    word = f"{finding.status:<4}"
    if colour:
        word = f"\033[{COLOURS[finding.status]}m{word}\033[0m"
    lines = [f"{word}  {finding.name:<{width}}  {finding.found}"]
    if finding.fix:
        lines.append(f"{'':<{width + 8}}fix: {finding.fix}")
    return lines


def verdict(findings: list[Finding]) -> str:
    """Return a one-sentence summary."""
    to_fix = [finding.name for finding in findings if finding.status == "fail"]
    if to_fix:
        return f"Not ready for a run: fix {', '.join(to_fix)}."
    return "Ready for a run."
