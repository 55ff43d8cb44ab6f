"""Tells whether this machine is fit for a run, and how to mend what is not.

Standard library alone, and no syntax newer than Python 3.8: the doctor has to answer where nothing
is installed yet, and on a Python that the rest of the project would not run on.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from pipeline import paths
from pipeline.errors import PathError
from pipeline.installation import interpreters, packages
from pipeline.installation.packages import LOCKS, Lock, System

Status = Literal["ok", "warn", "fail"]

PROJECT = Path(__file__).resolve().parent.parent
PROJECT_ENVIRONMENT = PROJECT / ".venv"
PROCESSOR_INFORMATION = Path("/proc/cpuinfo")
MEMORY_INFORMATION = Path("/proc/meminfo")
CONTROL_GROUP = Path("/proc/self/cgroup")
CONTROL_GROUPS = Path("/sys/fs/cgroup")

GIGABYTE = 10**9
FREE_DISK = 6 * GIGABYTE
# A little under 4 GB, for a machine sold as such keeps some of it to itself.
MEMORY = 3.7 * GIGABYTE
TRAIN_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST_FILES = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
DATA_FILES = TRAIN_FILES + TEST_FILES
COMPONENTS = ("StatisticsGen", "Transform", "Trainer", "Evaluator", "Pusher")
DEEP_LIMIT_SECONDS = 300
COLOURS = {"ok": "32", "warn": "33", "fail": "31"}

# tfx.components turns an import that failed into None, so an import that succeeds proves nothing.
PROBE = f"""
import json, time
started = time.perf_counter()
import keras, tensorflow, tfx.components
absent = [name for name in {COMPONENTS!r} if getattr(tfx.components, name, None) is None]
print(json.dumps(dict(
    keras=keras.__version__, tf_keras=tensorflow.keras.__version__,
    tensorflow=tensorflow.__version__, absent=absent, seconds=time.perf_counter() - started)))
"""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found and, where it is not as it should be, what mends it."""

    name: str
    status: Status
    found: str
    mend: str = ""


@dataclass(frozen=True)
class Environment:
    """A Python, the folder it is installed in, and the folders it takes packages from."""

    python: Path
    version: str
    folder: Path
    packages: tuple[str, ...]

    @property
    def minor_version(self) -> str:
        """Its version as locks name it, such as "3.13"."""
        return packages.minor(self.version)


def main(deep: bool, as_json: bool, data: str | None, output_dir: Path, dropped: list[str]) -> int:
    """Print what was found; return 1 where something needs mending before a run, else 0."""
    findings = examine(deep, data, output_dir, dropped)
    print(as_json_text(findings) if as_json else as_text(findings, wants_colour()))
    return 0 if is_ready(findings) else 1


def examine(deep: bool, data: str | None, output_dir: Path, dropped: list[str]) -> list[Finding]:
    """Look at everything a run needs; `deep` imports the whole stack too, which takes a while."""
    # Unlike that of `Path`, this one raises nothing.
    output_dir = Path(os.path.expanduser(output_dir))  # noqa: PTH111
    environment = find_environment()
    system = packages.read_system()
    findings = [
        check_platform(system),
        check_python(environment, system),
        check_packages(environment, system),
        check_processor(),
        check_cores(),
        check_memory(),
        check_disk(output_dir),
        check_data(data),
        check_output(output_dir),
        check_stores(output_dir),
    ]
    if not deep:
        return findings
    return [*findings, check_settings(dropped), check_imports(environment)]


def is_ready(findings: Iterable[Finding]) -> bool:
    """Say whether a run can go ahead; warnings do not hinder it."""
    return all(finding.status != "fail" for finding in findings)


def find_environment() -> Environment | None:
    """Return the environment a run takes: the present one, or .venv where TFX is only there.

    None where nothing is installed yet.
    """
    present = Environment(
        Path(sys.executable), platform.python_version(), Path(sys.prefix), tuple(sys.path)
    )
    if find_version("tfx", present.packages):
        return present
    if not (PROJECT_ENVIRONMENT / "bin/python").exists():
        return None
    folders = sorted(PROJECT_ENVIRONMENT.glob("lib/python*/site-packages"))
    return Environment(
        PROJECT_ENVIRONMENT / "bin/python",
        packages.made_of(PROJECT_ENVIRONMENT),
        PROJECT_ENVIRONMENT,
        tuple(str(folder) for folder in folders),
    )


def find_version(name: str, folders: Iterable[str]) -> str | None:
    """Return the version of a package installed in one of these folders, None where it is not."""
    for distribution in metadata.Distribution.discover(name=name, path=list(folders)):
        return distribution.version
    return None


def check_platform(system: System) -> Finding:
    """Look which lock fits this system, and why not the one that is preferred."""
    found = system.platform
    if system.platform == packages.LINUX:
        found += f", glibc {packages.dotted(system.glibc)}" if system.glibc else " without glibc"
    if system.platform == packages.MACOS:
        found += ": the locked packages exist for it, but no run was ever tried"
        return Finding("platform", "warn", found, f"where runs fail, use {packages.LINUX}")
    fitting = locks_of(system)
    if not fitting:
        found = f"{found}: {unfit(LOCKS[-1], system)}"
        return Finding("platform", "fail", found, packages.advise(system))
    preferred = LOCKS[: LOCKS.index(fitting[0])]
    reasons = [unfit(lock, system) for lock in preferred]
    return Finding("platform", "ok", "; ".join([f"{found}: {fitting[0].name} fits", *reasons]))


def unfit(lock: Lock, system: System) -> str:
    """Say why a lock does not fit a system."""
    return f"{lock.name} does not fit: {' and '.join(system_obstacles(lock, system))}"


def locks_of(system: System) -> list[Lock]:
    """Return the locks that fit a system, whatever its Python; the one to prefer first."""
    return [lock for lock in LOCKS if not system_obstacles(lock, system)]


def system_obstacles(lock: Lock, system: System) -> list[str]:
    """Return why a lock does not fit a system, whatever its Python."""
    return packages.obstacles(lock, system, lock.pythons[0])


def check_python(environment: Environment | None, system: System) -> Finding:
    """Look whether a lock that fits this system was made for the environment's Python.

    Where there is no environment, look for a Python to make it from.
    """
    if environment is None:
        try:
            interpreter, _ = interpreters.find("", system)
        except interpreters.NoInterpreterError as error:
            return Finding("python", "fail", *str(error).splitlines())
        found = f"{interpreter.version} ({interpreter.path}), of which make setup makes .venv"
        return Finding("python", "ok", found)
    found = f"{environment.version} ({environment.python})"
    # Where no lock fits the system, that is told of the platform.
    locks = locks_of(system) or LOCKS
    fitting = list(dict.fromkeys(python for lock in locks for python in lock.pythons))
    if environment.minor_version in fitting:
        return Finding("python", "ok", found)
    mend = f"install Python {' or '.join(fitting)}, then: make clean-env setup"
    return Finding("python", "fail", f"{found}; expected {' or '.join(fitting)}", mend)


def check_packages(environment: Environment | None, system: System) -> Finding:
    """Compare what is installed with the installed lock; without one, with the lock that fits."""
    if environment is None:
        return Finding("packages", "fail", "none are installed yet", "make setup")
    record = packages.installed_lock(environment.folder)
    if record is None:
        lock = packages.choose(system, environment.minor_version)
        if lock is None:
            found = f"no lock fits Python {environment.minor_version} on this system"
            return Finding("packages", "fail", found, "mend platform and python first")
        return compare_packages(environment, lock.file)
    lock = next(lock for lock in LOCKS if lock.name == record.name)
    obstacles = packages.obstacles(lock, system, environment.minor_version)
    if obstacles:
        found = f"{lock.name} is installed, and does not fit, since {' and '.join(obstacles)}"
        return Finding("packages", "fail", found, "make clean-env setup")
    if read_text(record) != read_text(lock.file):
        found = f"the project's {lock.name} is not the one that was installed"
        return Finding("packages", "fail", found, "make setup")
    return compare_packages(environment, record)


def compare_packages(environment: Environment, lock: Path) -> Finding:
    """Compare what an environment holds with a lock."""
    pins = read_pins(lock, environment.version)
    if not pins:
        own = packages.FOLDER / lock.name
        return Finding("packages", "fail", f"no pins in {lock}", f"restore {own}, then: make setup")
    installed = read_installed(environment.packages)
    missing = [name for name in pins if name not in installed]
    different = [
        f"{name} {installed[name]} instead of {version}"
        for name, version in pins.items()
        if installed.get(name, version) != version
    ]
    if not missing and not different:
        return Finding("packages", "ok", f"all {len(pins)} of {lock.name}")
    parts = [shorten(f"{len(missing)} missing", missing), shorten("different", different)]
    mend = "make clean-env setup" if different else "make setup"
    return Finding("packages", "fail", "; ".join(filter(None, parts)), mend)


def read_pins(lock: Path, python: str) -> dict[str, str]:
    """Return version by package name from the lines of a lock that count for this Python."""
    pins = packages.pins(read_text(lock))
    return {name: version for name, version, marker in pins if counts(marker, python)}


def counts(marker: str, python: str) -> bool:
    """Say whether a line with this marker counts; not where this Python cannot tell."""
    if not marker:
        return True
    try:
        from packaging.markers import Marker

        version = {"python_full_version": python, "python_version": packages.minor(python)}
        return Marker(marker).evaluate(version)
    except (ImportError, ValueError):
        return False


def read_installed(folders: Iterable[str]) -> dict[str, str]:
    """Return version by package name, spelled as in a lock, of what these folders hold."""
    found = (item.metadata for item in metadata.distributions(path=list(folders)))
    # The first folder wins, as it does on import; an unfinished installation has no name.
    named = [(item["Name"], item["Version"]) for item in found if "Name" in item]
    return {packages.canonical(name): version for name, version in reversed(named)}


def shorten(label: str, names: list[str], most: int = 4) -> str:
    """Return a label and the first few of many names; nothing where there are none."""
    if not names:
        return ""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{label}: {', '.join(names[:most])}{rest}"


def check_processor() -> Finding:
    """Look at what the processor can do; it sets the pace, and without AVX nothing runs."""
    flags = read_processor_flags(PROCESSOR_INFORMATION)
    if not flags:
        return Finding("processor", "ok", "not known: there is no list of its features")
    if "avx" not in flags:
        mend = "use another machine: TensorFlow's packages are built for AVX"
        return Finding("processor", "fail", "no AVX", mend)
    return Finding("processor", "ok", f"{name_vectors(flags)}; {name_bfloat16(flags)}")


def read_processor_flags(information: Path) -> frozenset[str]:
    """Return the features of the first processor, as Linux lists them."""
    match = re.search(r"^flags\s*:(.*)$", read_text(information), re.MULTILINE)
    return frozenset(match.group(1).split()) if match else frozenset()


def name_vectors(flags: frozenset[str]) -> str:
    """Say how wide its float32 arithmetic is."""
    if "avx512f" in flags:
        return "AVX-512: float32 at full width"
    return "no AVX-512: float32 at half width"


def name_bfloat16(flags: frozenset[str]) -> str:
    """Say whether bfloat16 is worth its loss of precision."""
    units = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512"}
    found = [unit for flag, unit in units.items() if flag in flags]
    if found:
        return f"bfloat16 in hardware ({', '.join(found)}): mixed precision can pay"
    return "no bfloat16 in hardware: mixed precision would be slower"


def check_cores() -> Finding:
    """Count the cores that this process may use."""
    cores = count_cores()
    return Finding("cores", "ok", f"{cores} to use of {os.cpu_count()}")


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_memory() -> Finding:
    """Look whether a run fits into memory, that of the container where there is one."""
    sizes = [*machine_memory(), *container_memory()]
    if not sizes:
        return Finding("memory", "ok", "not known")
    found = f"{min(sizes) / GIGABYTE:.1f} GB"
    if min(sizes) >= MEMORY:
        return Finding("memory", "ok", found)
    mend = "give the machine or the container 4 GB, or expect the system to end a run half-way"
    return Finding("memory", "warn", found, mend)


def machine_memory() -> Iterator[int]:
    """Yield the bytes of memory that the machine has, where it tells."""
    match = re.search(r"^MemTotal:\s*(\d+) kB", read_text(MEMORY_INFORMATION), re.MULTILINE)
    if match:
        yield int(match.group(1)) * 1024


def container_memory() -> Iterator[int]:
    """Yield the limits in bytes that the control groups around this process set."""
    match = re.search(r"^0::/(.*)$", read_text(CONTROL_GROUP), re.MULTILINE)
    group = CONTROL_GROUPS / (match.group(1) if match else "")
    folders = [group, *group.parents][: len(group.parts) - len(CONTROL_GROUPS.parts) + 1]
    files = [folder / "memory.max" for folder in folders]
    for file in [*files, CONTROL_GROUPS / "memory" / "memory.limit_in_bytes"]:
        text = read_text(file).strip()
        if text.isdigit():
            yield int(text)


def check_disk(output_dir: Path) -> Finding:
    """Look whether there is room for the environment and some runs."""
    folder = nearest_existing(output_dir)
    free = shutil.disk_usage(folder).free
    found = f"{free / GIGABYTE:.1f} GB free at {folder}"
    if free >= FREE_DISK:
        return Finding("disk", "ok", found)
    mend = f"free {FREE_DISK / GIGABYTE:.0f} GB there, or name another place with --output-dir"
    return Finding("disk", "warn", found, mend)


def check_data(data: str | None) -> Finding:
    """Look whether the data that a run would take lies ready."""
    if data == "sample":
        return Finding("data", "ok", "the built-in sample")
    try:
        if data not in (None, "auto"):
            return judge_named(data, "--data")
        if os.environ.get("FASHION_MNIST_DIR"):
            return judge_named(os.environ["FASHION_MNIST_DIR"], "FASHION_MNIST_DIR")
        return judge_cache(data_cache())
    except PathError as error:
        return Finding("data", "fail", str(error), "name another folder, by its full path")


def judge_named(name: str, origin: str) -> Finding:
    """Judge a folder that someone named: it has to hold all files that a run takes from it.

    Raises:
      PathError: where no run takes a folder of this name.
    """
    folder = paths.resolved(Path(name), origin)
    missing = missing_data(folder)
    if not missing:
        return Finding("data", "ok", f"{folder} ({origin})")
    found = shorten(f"{folder} ({origin}) lacks", missing)
    return Finding("data", "fail", found, f"put them there, gzipped or not, or change {origin}")


def judge_cache(folder: Path) -> Finding:
    """Judge the user's cache, which a run fills by itself where it can."""
    if not missing_data(folder):
        return Finding("data", "ok", f"{folder} (cache)")
    place = nearest_existing(folder)
    if not (place.is_dir() and os.access(place, os.W_OK)):
        mend = "set FASHION_MNIST_DIR to a folder with the four IDX files, or XDG_CACHE_HOME"
        return Finding("data", "fail", f"none, and a run cannot put any below {place}", mend)
    found = "none yet: a run downloads it, or takes the built-in sample where it cannot"
    mend = f"set FASHION_MNIST_DIR to a folder with the four IDX files, or put them in {folder}"
    return Finding("data", "warn", found, mend)


def data_cache() -> Path:
    """Return the folder that downloaded data is kept in."""
    return paths.in_home(".cache", "XDG_CACHE_HOME") / "image-pipeline" / "fashion-mnist"


def missing_data(folder: Path) -> list[str]:
    """Return which files a folder lacks that a run would take from it."""
    return [name for name in needed_data(folder) if not is_data(folder / name)]


def needed_data(folder: Path) -> list[str]:
    """Return all four files or, of spans, the training files of the newest and one's test files."""
    spans = find_spans(folder)
    if not spans:
        return list(DATA_FILES)
    tested = [span for span in spans if any(is_data(folder / span / name) for name in TEST_FILES)]
    reference = next(iter(tested), spans[0])
    trained = [f"{spans[-1]}/{name}" for name in TRAIN_FILES]
    return [*trained, *(f"{reference}/{name}" for name in TEST_FILES)]


def find_spans(folder: Path) -> list[str]:
    """Return the folders called span-N in a folder, the lowest number first."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return []
    spans = [name for name in names if re.fullmatch("span-[0-9]+", name)]
    return sorted(spans, key=lambda name: int(name.partition("-")[2]))


def is_data(path: Path) -> bool:
    """Say whether a data file lies there, gzipped or not."""
    candidates = (path, path.with_name(path.name + ".gz"))
    return any(is_there(each) and each.is_file() for each in candidates)


def check_output(output_dir: Path) -> Finding:
    """Write a nameless file where the outputs will lie; permissions alone do not tell all."""
    try:
        paths.output_folder(output_dir)
    except PathError as error:
        return Finding("output", "fail", str(error), "name another folder with --output-dir")
    folder = nearest_existing(output_dir)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Finding("output", "ok", f"{folder} can be written to")
    except OSError as error:
        found = f"{folder} cannot be written to: {error.strerror}"
        return Finding("output", "fail", found, "name another folder with --output-dir")


def check_stores(output_dir: Path) -> Finding:
    """Ask the metadata store of each pipeline whether a run could use it."""
    try:
        from pipeline.records.stores import find_fault
    except ImportError:
        return Finding("stores", "ok", "not known: this Python has no sqlite3")
    paths = sorted(output_dir.glob("*/metadata.db"))
    faults = [fault for fault in (find_fault(path, writing=True) for path in paths) if fault]
    if not faults:
        return Finding("stores", "ok", f"{len(paths)} of earlier runs, all sound")
    # One that is locked may be free when the run begins.
    status: Status = "warn" if all(fault.kind == "locked" for fault in faults) else "fail"
    found = "; ".join(fault.found for fault in faults)
    return Finding("stores", status, found, "; ".join(fault.fix for fault in faults))


def nearest_existing(path: Path) -> Path:
    """Return the path, or the closest of its parents that exists."""
    path = path.absolute()
    return next(place for place in [path, *path.parents] if is_there(place))


def is_there(path: Path) -> bool:
    """Say whether something lies there, as far as this user can see."""
    try:
        return path.exists()
    except OSError:
        return False


def check_settings(dropped: list[str]) -> Finding:
    """Name the user's settings of Keras and TensorFlow that no run takes."""
    names = list(dropped)
    keras = Path.home() / ".keras" / "keras.json"
    if is_there(keras):
        names.append(str(keras))
    return Finding("settings", "ok", shorten("not used", names, len(names)) or "none to leave out")


def check_imports(environment: Environment | None) -> Finding:
    """Import the stack in a process of its own and look whether all of it is there."""
    if environment is None:
        return Finding("imports", "fail", "none: nothing is installed yet", "make setup")
    try:
        answer = probe(environment.python)
    except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        return Finding("imports", "fail", name_failure(error), "make clean-env setup")
    versions = f"TensorFlow {answer['tensorflow']}, Keras {answer['keras']}"
    found = f"{versions}, tf.keras {answer['tf_keras']}, in {answer['seconds']:.0f} s"
    if answer["absent"]:
        found = f"tfx.components lacks {', '.join(answer['absent'])}; {found}"
        return Finding("imports", "fail", found, "make clean-env setup")
    if answer["keras"] != answer["tf_keras"]:
        return Finding("imports", "fail", f"two kinds of Keras: {found}", "make clean-env setup")
    return Finding("imports", "ok", found)


def probe(python: Path) -> dict:
    """Return what a fresh process of this Python says after importing the stack."""
    process = subprocess.run(
        [str(python), "-c", PROBE],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=True,
        timeout=DEEP_LIMIT_SECONDS,
    )
    return json.loads(process.stdout.splitlines()[-1])


def name_failure(error: Exception) -> str:
    """Return the one line that says most about why the imports failed."""
    stderr = getattr(error, "stderr", None)
    lines = stderr.strip().splitlines() if isinstance(stderr, str) else []
    return lines[-1] if lines else str(error)


def read_text(file: Path) -> str:
    """Return the text of a file, nothing where it is absent or may not be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def wants_colour() -> bool:
    """Say whether the output goes to a terminal whose owner has not turned colour off."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def as_json_text(findings: list[Finding]) -> str:
    """Return the findings for a program to read."""
    report = {"ready": is_ready(findings), "findings": [asdict(finding) for finding in findings]}
    return json.dumps(report, indent=2)


def as_text(findings: list[Finding], colour: bool) -> str:
    """Return the findings for a person to read, and a verdict below them."""
    width = max(len(finding.name) for finding in findings)
    lines = [line for finding in findings for line in as_lines(finding, width, colour)]
    return "\n".join([*lines, "", verdict(findings)])


def as_lines(finding: Finding, width: int, colour: bool) -> list[str]:
    """Return the line of a finding and, where something is amiss, the line that mends it."""
    word = f"{finding.status:<4}"
    if colour:
        word = f"\033[{COLOURS[finding.status]}m{word}\033[0m"
    lines = [f"{word}  {finding.name:<{width}}  {finding.found}"]
    if finding.mend:
        lines.append(f"{'':<{width + 8}}mend: {finding.mend}")
    return lines


def verdict(findings: list[Finding]) -> str:
    """Return the one sentence that sums up."""
    to_mend = [finding.name for finding in findings if finding.status == "fail"]
    if to_mend:
        return f"Not ready for a run: mend {', '.join(to_mend)}."
    return "Ready for a run."
