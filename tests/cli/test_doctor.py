"""The doctor: its findings on a good machine, and on machines with one problem each."""

import ast
import functools
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cli import doctor
from components import control_groups
from pipeline.database import binding
from pipeline.database.address import Address
from pipeline.installation import packages
from pipeline.installation.packages import LINUX, LOCKS, MACOS, NEWER, OLDER, System
from pipeline.locations import Locations
from tests.ports import free_port

DEBIAN_12 = System(LINUX, (2, 36), NEWER.libstdcxx)
DEBIAN_13 = System(LINUX, (2, 41), ())


# Each Python of this machine takes a fifth of a second to answer.
ASKED_ONCE = functools.cache(doctor.interpreters.ask)


@pytest.fixture(autouse=True)
def fit_machine(monkeypatch, tmp_path):
    """A machine without problems, whatever the tests run on: each test then breaks one thing."""
    monkeypatch.delenv("FASHION_MNIST_DIR", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(packages, "read_system", lambda: DEBIAN_13)
    monkeypatch.setattr(packages, "FOLDER", tmp_path / "locks")
    for lock in LOCKS:
        write(lock.file, "tfx==1.21.0 \\\n")
    write_package(tmp_path / "packages", "tfx", "1.21.0")
    monkeypatch.setattr(doctor, "find_environment", lambda: environment_in(tmp_path))
    install(tmp_path)
    monkeypatch.setattr(doctor.interpreters, "ask", ASKED_ONCE)
    flags = "flags\t\t: avx avx2 avx512f avx512_bf16 amx_bf16\n"
    monkeypatch.setattr(doctor, "PROCESSOR_INFORMATION", write(tmp_path / "cpuinfo", flags))
    set_memory(monkeypatch, tmp_path, kilobytes=8_000_000)


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def environment_in(folder, version="3.12.9", packages="packages"):
    python = Path(sys.executable)
    return doctor.Environment(python, version, folder, (str(folder / packages),))


def install(folder, lock=NEWER):
    """Writes the copy of the lock file that `make setup` leaves."""
    write(folder / packages.RECORDS / lock.name, lock.file.read_text())


def lock_and_install(folder, text):
    write(NEWER.file, text)
    install(folder)


def write_package(folder, name, version):
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    write(folder / f"{name}-{version}.dist-info" / "METADATA", text)


def write_data(folder, names=doctor.DATA_FILES, ending=""):
    for name in names:
        write(folder / (name + ending), "")
    return folder


def set_memory(monkeypatch, folder, kilobytes, group="/", limits=()):
    information = write(folder / "meminfo", f"MemTotal:  {kilobytes} kB\nMemFree:  1 kB\n")
    monkeypatch.setattr(doctor, "MEMORY_INFORMATION", information)
    memberships = write(folder / "cgroup", f"0::{group}\n")
    monkeypatch.setattr(control_groups, "MEMBERSHIPS", memberships)
    monkeypatch.setattr(control_groups, "ROOT", folder / "groups")
    for path, limit in limits:
        write(folder / "groups" / path, f"{limit}\n")


def examine(tmp_path, data="sample"):
    findings = doctor.examine(False, data, tmp_path / "outputs", dropped=[])
    return {finding.name: finding for finding in findings}


def test_a_fit_machine_is_ready(tmp_path, capsys):
    assert doctor.main(False, False, "sample", tmp_path / "outputs", []) == 0
    printed = capsys.readouterr().out
    assert "fix:" not in printed
    assert printed.endswith("Ready for a run.\n")


def test_a_problem_fails_and_names_its_fix(tmp_path, capsys, monkeypatch):
    lock_and_install(tmp_path, "absent==1.0\n")
    assert doctor.main(False, False, "sample", tmp_path / "outputs", []) == 1
    printed = capsys.readouterr().out
    assert "fail  packages   1 missing: absent" in printed
    assert "fix: make setup" in printed
    assert "fix packages." in printed


def test_a_warning_does_not_prevent_a_run(tmp_path, capsys):
    assert doctor.main(False, False, "auto", tmp_path / "outputs", []) == 0
    assert "warn  data" in capsys.readouterr().out


def test_json_holds_every_finding(tmp_path, capsys):
    doctor.main(False, True, "auto", tmp_path / "outputs", [])
    report = json.loads(capsys.readouterr().out)
    assert report["ready"] is True
    statuses = {finding["name"]: finding["status"] for finding in report["findings"]}
    assert statuses["data"] == "warn"
    assert set(statuses) == set(examine(tmp_path))


@pytest.mark.parametrize(
    ("variable", "folder"),
    [
        ("FASHION_MNIST_DIR", "~nobody-of-this-name/data"),
        ("XDG_CACHE_HOME", "~nobody-of-this-name/cache"),
        ("FASHION_MNIST_DIR", os.fsdecode(b"/data-\xe9")),
        ("XDG_CACHE_HOME", os.devnull),
    ],
)
def test_a_folder_that_no_run_could_use_fails(tmp_path, monkeypatch, variable, folder):
    monkeypatch.setenv(variable, folder)
    finding = examine(tmp_path, data=None)["data"]
    assert finding.status == "fail"
    assert finding.fix


def test_a_folder_of_results_that_is_not_utf8_fails(tmp_path):
    assert examine(tmp_path / os.fsdecode(b"\xe9"))["output"].status == "fail"


def test_ignored_settings_are_listed(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert doctor.check_settings([]).found == "no settings of Keras or TensorFlow"
    write(tmp_path / ".keras" / "keras.json", "{}")
    text = doctor.check_settings(["KERAS_BACKEND", "XLA_FLAGS"]).found
    assert text == f"ignored: KERAS_BACKEND, XLA_FLAGS, {tmp_path}/.keras/keras.json"


def test_every_finding_that_is_not_ok_names_a_fix(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "read_system", lambda: System("Linux aarch64", (2, 41), ()))
    old = environment_in(tmp_path / "absent", "3.10.1")
    monkeypatch.setattr(doctor, "find_environment", lambda: old)
    set_memory(monkeypatch, tmp_path, kilobytes=1_000_000)
    findings = examine(tmp_path, data="auto")
    problems = {name for name, finding in findings.items() if finding.status != "ok"}
    assert problems == {"platform", "python", "packages", "memory", "data"}
    assert all(findings[name].fix for name in problems)


SYMBOLS = NEWER.libstdcxx + OLDER.libstdcxx


@pytest.mark.parametrize(
    ("system", "status", "words", "fix"),
    [
        (DEBIAN_13, "ok", "Linux x86_64, glibc 2.41: glibc-2.39.txt fits", ""),
        (
            DEBIAN_12,
            "ok",
            "Linux x86_64, glibc 2.36: glibc-2.28.txt fits; glibc-2.39.txt does not fit: it "
            "needs glibc 2.39, not 2.36 and the libstdc++ of this Python lacks "
            "GLIBCXX_3.4.32, CXXABI_1.3.15",
            "",
        ),
        (
            System(LINUX, (2, 39), ("CXXABI_1.3.15",)),
            "ok",
            "Linux x86_64, glibc 2.39: glibc-2.28.txt fits; glibc-2.39.txt does not fit: the "
            "libstdc++ of this Python lacks CXXABI_1.3.15",
            "",
        ),
        (
            System(LINUX, (2, 27), ()),
            "fail",
            "Linux x86_64, glibc 2.27: glibc-2.28.txt does not fit: it needs glibc 2.28, not 2.27",
            "glibc 2.28 or newer",
        ),
        (
            System(LINUX, None, ()),
            "fail",
            "Linux x86_64 without glibc: glibc-2.28.txt does not fit: it needs glibc 2.28",
            "glibc 2.28 or newer",
        ),
        (
            System(LINUX, (2, 41), SYMBOLS),
            "fail",
            "Linux x86_64, glibc 2.41: glibc-2.28.txt does not fit: the libstdc++ of "
            "this Python lacks GLIBCXX_3.4.22, CXXABI_1.3.11",
            "libstdc++6",
        ),
        (
            System(MACOS, None, ()),
            "warn",
            "Darwin arm64: all locked packages are available, but the pipeline was never tested "
            "on it",
            "Linux x86_64",
        ),
        (
            System("Darwin x86_64", None, ()),
            "fail",
            "Darwin x86_64: glibc-2.28.txt does not fit: it is for Linux x86_64, not Darwin x86_64",
            "use a Linux x86_64 machine or container",
        ),
    ],
    ids=["13", "12", "old libstdc++", "old", "musl", "no libstdc++", "mac", "old mac"],
)
def test_the_lock_file_that_fits_is_named_or_why_none_does(system, status, words, fix):
    finding = doctor.check_platform(system)
    assert (finding.status, finding.found) == (status, words)
    assert fix in finding.fix


@pytest.mark.parametrize(
    ("system", "fitting"),
    [
        (DEBIAN_12, {"3.11"}),
        (DEBIAN_13, {"3.11", "3.12", "3.13"}),
        (System(MACOS, None, ()), {"3.11", "3.12", "3.13"}),
        # Here the platform fails, not the Python.
        (System(LINUX, None, ()), {"3.11", "3.12", "3.13"}),
    ],
)
def test_the_python_has_to_be_one_of_a_lock_that_fits(tmp_path, system, fitting):
    for version in ("3.10", "3.11", "3.12", "3.13", "3.14", "3.1"):
        finding = doctor.check_python(environment_in(tmp_path, f"{version}.1"), system)
        assert finding.status == ("ok" if version in fitting else "fail"), version
        named = set(re.findall(r"3\.\d+", finding.fix))
        assert named == (set() if version in fitting else fitting)


def test_an_environment_of_unknown_version_or_without_a_python_fails(tmp_path):
    assert doctor.check_python(environment_in(tmp_path, "unknown"), DEBIAN_13).status == "fail"
    gone = doctor.Environment(tmp_path / "absent", "3.11.9", tmp_path, ())
    assert doctor.check_imports(gone).status == "fail"


def test_a_package_of_another_version_is_named(tmp_path):
    write_package(tmp_path / "newer", "tfx", "1.22.0")
    finding = doctor.check_packages(environment_in(tmp_path, packages="newer"), DEBIAN_13)
    assert (finding.status, finding.found) == ("fail", "different: tfx 1.22.0 instead of 1.21.0")


def test_a_lock_file_that_changed_since_it_was_installed_fails(tmp_path):
    write(NEWER.file, "tfx==1.22.0\n")
    finding = examine(tmp_path)["packages"]
    assert (finding.status, finding.fix) == ("fail", "make setup")
    assert finding.found == "glibc-2.39.txt has changed since it was installed"


def test_an_installed_lock_that_does_not_fit_this_system_fails(tmp_path):
    """For example, after the project folder was copied to another machine."""
    finding = doctor.check_packages(environment_in(tmp_path), DEBIAN_12)
    assert (finding.status, finding.fix) == ("fail", "make clean-env setup")
    assert finding.found.startswith("the installed glibc-2.39.txt does not fit: ")


@pytest.mark.parametrize(("system", "lock"), [(DEBIAN_12, OLDER), (DEBIAN_13, NEWER)])
def test_an_environment_made_by_hand_is_compared_with_the_lock_that_fits(tmp_path, system, lock):
    write(lock.file, "tfx==1.22.0\n")
    by_hand = doctor.Environment(
        Path(sys.executable), "3.11.9", tmp_path / "by_hand", (str(tmp_path / "packages"),)
    )
    finding = doctor.check_packages(by_hand, system)
    assert finding.found == "different: tfx 1.21.0 instead of 1.22.0"
    write(lock.file, "tfx==1.21.0\n")
    finding = doctor.check_packages(by_hand, system)
    words = f"all 1 packages of {lock.name} are installed"
    assert (finding.status, finding.found) == ("ok", words)


MARKED = """\
tfx==1.21.0 \\
    --hash=sha256:0
other==1.0 ; python_full_version < '3.12' \\
    --hash=sha256:0
other==2.0 ; python_full_version >= '3.12' and sys_platform == 'linux' \\
    --hash=sha256:0
windows-alone==1.0 ; sys_platform == 'win32' \\
    --hash=sha256:0
"""


@pytest.mark.parametrize(
    ("version", "pin"), [("3.11.9", "1.0"), ("3.12.0", "2.0"), ("3.13.1", "2.0")]
)
def test_a_line_applies_to_the_pythons_that_its_marker_names(tmp_path, version, pin):
    """The Python of the environment counts, not the one that runs the doctor."""
    pins = doctor.read_pins(write(tmp_path / "lock.txt", MARKED), version)
    assert pins == {"tfx": "1.21.0", "other": pin}


@pytest.mark.parametrize("cause", ["no packaging", "an unknown version"])
def test_lines_with_a_marker_that_cannot_be_evaluated_are_ignored(tmp_path, monkeypatch, cause):
    if cause == "no packaging":
        monkeypatch.setitem(sys.modules, "packaging.markers", None)
    version = "3.12.1" if cause == "no packaging" else "unknown"
    pins = doctor.read_pins(write(tmp_path / "lock.txt", MARKED), version)
    assert pins["tfx"] == "1.21.0"
    assert "other" not in pins


def test_a_package_name_may_be_spelled_in_another_way(tmp_path):
    write_package(tmp_path / "packages", "Some_Package.Name", "1.0")
    lock_and_install(tmp_path, "some-package-name==1.0\n")
    assert examine(tmp_path)["packages"].status == "ok"


def test_a_package_is_missing_if_its_installation_was_interrupted(tmp_path, monkeypatch):
    (tmp_path / "packages" / "other-1.0.dist-info").mkdir()
    lock_and_install(tmp_path, "other==1.0\n")
    assert examine(tmp_path)["packages"].found == "1 missing: other"


def test_the_first_of_two_versions_counts(tmp_path):
    write_package(tmp_path / "earlier", "tfx", "1.20.0")
    folders = (str(tmp_path / "earlier"), str(tmp_path / "packages"))
    assert doctor.read_installed(folders)["tfx"] == "1.20.0"


def test_many_missing_packages_take_one_short_line(tmp_path, monkeypatch):
    lock = "".join(f"package-{number}==1.0 \\\n    --hash=sha256:0\n" for number in range(200))
    lock_and_install(tmp_path, lock)
    text = examine(tmp_path)["packages"].found
    assert text.startswith("200 missing: package-0, ")
    assert text.endswith(" and 196 more")


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_the_locks_of_the_project_can_be_read(monkeypatch, lock):
    monkeypatch.undo()
    for python in lock.pythons:
        pins = doctor.read_pins(lock.file, f"{python}.1")
        assert pins["tfx"].startswith("1.21.")
        assert len(pins) > 100
        assert "pywin32" not in pins


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        ("avx avx2", "ok", "no AVX-512"),
        ("avx avx2", "ok", "no bfloat16 in hardware"),
        ("avx avx512f", "ok", "no bfloat16 in hardware"),
        ("avx avx512f avx512_bf16", "ok", "bfloat16 in hardware (AVX-512)"),
        ("avx avx512f avx512_bf16 amx_bf16", "ok", "bfloat16 in hardware (AMX, AVX-512)"),
        ("sse4_2", "fail", "no AVX"),
    ],
)
def test_processor_features_and_their_consequence(tmp_path, monkeypatch, flags, status, words):
    information = write(tmp_path / "other", f"processor: 0\nflags\t: {flags}\n")
    monkeypatch.setattr(doctor, "PROCESSOR_INFORMATION", information)
    finding = doctor.check_processor()
    assert finding.status == status
    assert words in finding.found


def test_a_system_that_lists_no_features_is_not_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "PROCESSOR_INFORMATION", tmp_path / "absent")
    assert doctor.check_processor().status == "ok"


@pytest.mark.parametrize(
    ("path", "limit", "status"),
    [
        ("memory.max", "max", "ok"),
        ("memory.max", "2000000000", "warn"),
        ("outer/memory.max", "2000000000", "warn"),
        ("outer/inner/memory.max", "2000000000", "warn"),
        ("elsewhere/memory.max", "2000000000", "ok"),
        ("memory/memory.limit_in_bytes", "2000000000", "warn"),
        ("memory/memory.limit_in_bytes", "9223372036854771712", "ok"),
    ],
)
def test_the_memory_of_a_container_counts(tmp_path, monkeypatch, path, limit, status):
    set_memory(monkeypatch, tmp_path, 8_000_000, "/outer/inner", [(path, limit)])
    assert doctor.check_memory().status == status


def test_little_memory_and_a_full_disk_warn(tmp_path, monkeypatch):
    set_memory(monkeypatch, tmp_path, kilobytes=2_000_000)
    usage = doctor.shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    findings = examine(tmp_path)
    memory, disk = findings["memory"], findings["disk"]
    assert (memory.status, memory.found) == ("warn", "2.0 GB")
    assert (disk.status, disk.found) == ("warn", f"1.0 GB free at {tmp_path}")
    assert disk.fix == f"free 2 GB at {tmp_path}, or choose another disk with --output-dir"


@pytest.fixture
def disks(tmp_path, monkeypatch):
    """Sets the free space of the disks of `.venv` and of the results, which may be one."""
    places = {name: tmp_path / name for name in ("project", "results")}
    for place in places.values():
        place.mkdir()
    monkeypatch.setattr(doctor, "PROJECT_ENVIRONMENT", places["project"] / ".venv")
    stat, usage = Path.stat, doctor.shutil.disk_usage(tmp_path)

    def has(**gigabytes):
        free = {places[name]: size * 10**9 for name, size in gigabytes.items()}

        def stat_of(path, **options):
            found = list(stat(path, **options))
            number = list(free).index(path) if path in free else 0
            return os.stat_result([*found[:2], number, *found[3:]])

        monkeypatch.setattr(Path, "stat", stat_of)
        monkeypatch.setattr(
            doctor.shutil, "disk_usage", lambda place: usage._replace(free=free[place])
        )
        return places

    return has


NO_ROOM_FOR_VENV = "or make .venv a link to a folder on another disk"
NO_ROOM_FOR_RESULTS = "or choose another disk with --output-dir"


@pytest.mark.parametrize(
    ("free", "size", "fix"),
    [
        ({"results": 1, "project": 9}, 2, NO_ROOM_FOR_RESULTS),
        ({"results": 3, "project": 3}, 4, NO_ROOM_FOR_VENV),
        ({"results": 5}, 6, NO_ROOM_FOR_RESULTS),
        ({"results": 3, "project": 5}, None, None),
        ({"results": 7}, None, None),
    ],
)
def test_before_the_installation_the_environment_needs_room_too(disks, free, size, fix):
    """On its own disk, or on that of the results."""
    places = disks(**free)
    found = doctor.check_disk(places["results"] / "outputs", None)
    shown = [f"{gigabytes}.0 GB free at {places[name]}" for name, gigabytes in free.items()]
    assert found.found == "; ".join(shown)
    assert found.status == ("warn" if fix else "ok")
    place = places["project" if fix is NO_ROOM_FOR_VENV else "results"]
    assert found.fix == (f"free {size} GB at {place}, {fix}" if fix else "")


def test_after_the_installation_only_the_results_need_room(disks, tmp_path):
    places = disks(results=3, project=0)
    found = doctor.check_disk(places["results"], environment_in(tmp_path))
    assert (found.status, found.found) == ("ok", f"3.0 GB free at {places['results']}")


@pytest.fixture
def nothing_installed(monkeypatch):
    """A machine on which only the names of the files can be checked."""
    monkeypatch.setattr(doctor, "find_environment", lambda: None)


@pytest.fixture
def sound_data(tmp_path, as_idx):
    """IDX files of the shape and the classes of the project's schema."""
    for half in ("train", "t10k"):
        count = 6000 if half == "train" else 10
        write_bytes(tmp_path / f"sound/{half}-images-idx3-ubyte", as_idx(np.zeros((count, 28, 28))))
        write_bytes(tmp_path / f"sound/{half}-labels-idx1-ubyte", as_idx(np.arange(count) % 10))
    return tmp_path / "sound"


def write_bytes(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def test_data_is_checked_as_a_run_does(tmp_path, sound_data):
    finding = examine(tmp_path, data=str(sound_data))["data"]
    assert finding.status == "ok"
    assert finding.found.endswith("10 classes, 1000 train, 5000 val, 10 test")
    labels = sound_data / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    finding = examine(tmp_path, data=str(sound_data))["data"]
    assert finding.status == "fail"
    assert str(labels) in finding.found
    assert finding.fix.startswith("expected ")


def test_what_is_not_read_is_told_and_what_may_not_be_meant_is_warned_of(tmp_path, sound_data):
    write(sound_data / "readme.txt", "notes")
    finding = examine(tmp_path, data=str(sound_data))["data"]
    assert finding.status == "ok"
    assert finding.found.endswith("; ignored readme.txt: not part of the data")
    for path in sound_data.glob("*-ubyte"):
        path.rename(sound_data / f"emnist-letters-{path.name}")
    finding = examine(tmp_path, data=str(sound_data))["data"]
    assert finding.status == "warn"
    assert "rows and columns exchanged" in finding.fix


@pytest.mark.parametrize(
    ("program", "status", "told"),
    [
        ("raise MemoryError('all is used')", "fail", "exit code 1: MemoryError: all is used"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "fail", "-9: no message"),
        ("import sys; sys.exit(2)", "fail", "exit code 2: no message"),
        ("import sys; sys.exit('error: x is 1; expected 2')", "fail", "x is 1"),
        # Files with the right names are all that can be seen without libraries.
        ("import no_such_library", "ok", "sound"),
        ("import sys; sys.exit('The environment is missing: typer')", "ok", "sound"),
        ("import sys; sys.exit('error: the environment lacks numpy; expected all')", "ok", "sound"),
    ],
)
def test_data_whose_reading_crashes_is_no_sound_data(
    tmp_path, sound_data, monkeypatch, program, status, told
):
    write(tmp_path / "project" / "pipeline_runner.py", program)
    monkeypatch.setattr(doctor, "PROJECT", tmp_path / "project")
    finding = examine(tmp_path, data=str(sound_data))["data"]
    assert finding.status == status
    assert told in finding.found


def test_the_data_of_a_configuration_file_is_checked(tmp_path, sound_data):
    file = write(tmp_path / "pipeline.toml", 'data = "sound"\n')
    (finding,) = [
        each
        for each in doctor.examine(False, None, tmp_path / "outputs", [], file)
        if each.name == "data"
    ]
    assert (finding.status, str(sound_data) in finding.found) == ("ok", True)
    write(file, "epochs = 3")
    finding = doctor.check_data(None, file, environment_in(tmp_path))
    assert finding.status == "fail"
    assert "unknown key 'epochs'" in finding.found


@pytest.mark.parametrize("data", ["auto", pytest.param("sample", marks=pytest.mark.slow)])
def test_a_configuration_file_does_not_replace_the_data_of_the_command_line(
    tmp_path, sound_data, monkeypatch, data
):
    """As with a run: its classes are not those of the file's schema."""
    monkeypatch.setenv("FASHION_MNIST_DIR", str(sound_data))
    write(tmp_path / "other.pbtxt", "")
    file = write(tmp_path / "pipeline.toml", 'data = "nowhere"\nschema_file = "other.pbtxt"\n')
    finding = doctor.check_data(data, file, environment_in(tmp_path))
    assert finding.status == "fail"
    assert "other.pbtxt" in finding.found
    write(file, 'data = "nowhere"\n')
    assert doctor.check_data(data, file, environment_in(tmp_path)).status == "ok"


UNUSABLE = """
data = "sample"
[metadata]
uri = "postgresql://ada@127.0.0.1:9/ml"
[serving]
bucket = "s3://nosuch/x"
[beam]
runner = "flink"
"""


def services_of(tmp_path, data=None):
    """The findings of doctor that an installed project makes of a configuration file alone."""
    file = tmp_path / "pipeline.toml"
    findings = doctor.examine(False, data, tmp_path / "outputs", [], file)
    usual = {"data", *examine(tmp_path)}
    return {each.name: each for each in findings if each.name not in usual}


@pytest.mark.usefixtures("bucket")
def test_the_services_of_a_configuration_file_are_checked(tmp_path, monkeypatch, tripwires):
    # Nothing heavy is imported for it.
    monkeypatch.setenv("PYTHONPATH", tripwires)
    write(tmp_path / "pipeline.toml", UNUSABLE)
    findings = services_of(tmp_path)
    assert {name: each.status for name, each in findings.items()} == dict.fromkeys(
        ("engine", "metadata", "bucket"), "fail"
    )
    assert findings["engine"].found.startswith("beam.runner=flink")
    assert "job server of Beam for Flink" in findings["engine"].fix
    assert "127.0.0.1:9 cannot be reached" in findings["metadata"].found
    assert findings["bucket"].found == (
        "s3://nosuch/x/fashion-mnist-sample-smoke cannot be listed: there is no bucket nosuch"
    )


@pytest.mark.slow
def test_of_services_that_a_configuration_file_does_not_set_nothing_is_told(tmp_path):
    write(tmp_path / "pipeline.toml", "[training]\nepochs = 3\n")
    assert services_of(tmp_path, "sample") == {}


@pytest.mark.parametrize("data", [None, "sample"])
def test_a_faulty_configuration_file_is_one_problem(tmp_path, data):
    file = write(tmp_path / "pipeline.toml", "epochs = 3\n")
    # Reading the data tells.
    findings = doctor.examine(False, data, tmp_path / "outputs", [], file)
    (told,) = [each for each in findings if "unknown key 'epochs'" in each.found]
    assert (told.name, told.status) == ("data", "fail")


ANSWER = '{"name": "engine", "status": "ok", "message": "prism"}'


@pytest.mark.parametrize(
    ("program", "names", "told"),
    [
        (
            f"print('a library says', {ANSWER!r}); print({ANSWER!r}, flush=True); "
            "raise MemoryError('of hunter2')",
            ["engine"],
            "1: MemoryError",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", [], "-9: no message"),
        ("import no_such_library", [], None),
    ],
)
def test_services_whose_check_crashes_are_not_sound(tmp_path, monkeypatch, program, names, told):
    write(tmp_path / "project" / "operations" / "__init__.py", "")
    write(tmp_path / "project" / "operations" / "services.py", program)
    monkeypatch.setattr(doctor, "PROJECT", tmp_path / "project")
    findings = doctor.check_services(tmp_path / "a.toml", None, tmp_path, environment_in(tmp_path))
    assert [each.name for each in findings] == [*names, *(["services"] if told else [])]
    if told:
        assert findings[-1].status == "fail"
        assert told in findings[-1].found and "hunter2" not in findings[-1].found


def test_a_service_that_does_not_answer_is_told_beside_those_that_do(tmp_path, monkeypatch):
    def hang(command, **_):
        raise subprocess.TimeoutExpired(command, 60, f"{ANSWER}\n{ANSWER[:9]}".encode())

    monkeypatch.setattr(subprocess, "run", hang)
    engine, rest = doctor.check_services(
        tmp_path / "a.toml", None, tmp_path, environment_in(tmp_path)
    )
    assert engine == doctor.Finding("engine", "ok", "prism")
    assert (rest.name, rest.status) == ("services", "warn")
    assert "does not answer within 60 s" in rest.found


@pytest.mark.usefixtures("nothing_installed")
def test_other_data_is_not_checked_where_nothing_is_installed(tmp_path):
    write(tmp_path / "photos" / "rose" / "a.png", "")
    finding = examine(tmp_path, data=str(tmp_path / "photos"))["data"]
    assert (finding.status, finding.fix[:10]) == ("warn", "make setup")
    file = write(tmp_path / "pipeline.toml", "")
    assert doctor.check_data(None, file, None).status == "warn"


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_data_named_by_the_environment_unless_an_option_names_other(tmp_path, monkeypatch, ending):
    folder = write_data(tmp_path / "data", ending=ending)
    monkeypatch.setenv("FASHION_MNIST_DIR", str(folder))
    assert examine(tmp_path, data="auto")["data"].status == "ok"
    assert examine(tmp_path, data=str(tmp_path / "absent"))["data"].status == "fail"


@pytest.mark.usefixtures("nothing_installed")
def test_a_named_folder_that_lacks_files_fails(tmp_path, monkeypatch):
    folder = write_data(tmp_path / "data", names=doctor.DATA_FILES[:3])
    monkeypatch.setenv("FASHION_MNIST_DIR", str(folder))
    finding = examine(tmp_path, data=None)["data"]
    assert finding.status == "fail"
    assert finding.found.endswith("lacks: t10k-labels-idx1-ubyte")


def write_spans(folder, tested, names=doctor.TRAIN_FILES):
    """Spans 2, 9 and 10: `tested` maps a span to its test files, `names` are files of span 10."""
    write_data(folder / "span-9", doctor.TRAIN_FILES)
    write_data(folder / "span-2", doctor.TRAIN_FILES)
    write_data(folder / "span-10", names)
    for number, files in tested.items():
        write_data(folder / f"span-{number}", files, ".gz")
    return folder


@pytest.mark.usefixtures("nothing_installed")
def test_a_folder_of_spans_is_data(tmp_path):
    folder = write_spans(tmp_path / "spans", {9: doctor.TEST_FILES})
    assert examine(tmp_path, data=str(folder))["data"].status == "ok"


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize(
    ("tested", "names", "missing"),
    [
        ({2: doctor.TEST_FILES}, doctor.TRAIN_FILES[:1], "span-10/train-labels-idx1-ubyte"),
        ({2: doctor.TEST_FILES[:1], 9: doctor.TEST_FILES}, None, "span-2/t10k-labels-idx1-ubyte"),
        ({}, None, "span-2/t10k-images-idx3-ubyte, span-2/t10k-labels-idx1-ubyte"),
    ],
    ids=["newest span", "reference span", "no test files"],
)
def test_missing_files_of_spans_are_named(tmp_path, tested, names, missing):
    folder = write_spans(tmp_path / "spans", tested, names or doctor.TRAIN_FILES)
    finding = examine(tmp_path, data=str(folder))["data"]
    assert finding.status == "fail"
    assert finding.found.endswith(f"lacks: {missing}")


def test_cached_data_is_found(tmp_path):
    folder = write_data(tmp_path / "cache" / "image-pipeline" / "fashion-mnist", ending=".gz")
    finding = examine(tmp_path, data="auto")["data"]
    assert (finding.status, finding.found) == ("ok", f"{folder} (cache)")


def test_outputs_below_a_file_fail_and_the_check_leaves_nothing_behind(tmp_path):
    file = write(tmp_path / "file", "")
    finding = doctor.check_output(file / "deep" / "outputs")
    assert finding.status == "fail"
    assert finding.found.startswith(f"{file} is not writable")
    assert doctor.check_output(tmp_path / "deep" / "outputs").status == "ok"
    assert not (tmp_path / "deep").exists()


def test_the_environment_of_the_project_is_used_if_the_current_one_has_no_tfx(
    tmp_path, monkeypatch
):
    monkeypatch.undo()
    write(tmp_path / "bin" / "python", "")
    write(tmp_path / "pyvenv.cfg", "home = /usr/bin\nversion = 3.11.4\n")
    write_package(tmp_path / "lib" / "python3.11" / "site-packages", "tfx", "1.21.0")
    monkeypatch.setattr(doctor, "PROJECT_ENVIRONMENT", tmp_path)
    monkeypatch.setattr(sys, "path", [])
    environment = doctor.find_environment()
    assert (environment.python, environment.version) == (tmp_path / "bin" / "python", "3.11.4")
    assert doctor.find_version("tfx", environment.packages) == "1.21.0"


def test_before_the_installation_it_looks_for_a_python(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "PROJECT_ENVIRONMENT", tmp_path)
    monkeypatch.setattr(sys, "path", [])
    assert doctor.find_environment() is None
    installed = doctor.check_packages(None, DEBIAN_13)
    assert (installed.status, installed.fix) == ("fail", "make setup")

    interpreter = doctor.interpreters.Interpreter("/usr/bin/python3", "3.13", complete=True)
    monkeypatch.setattr(doctor.interpreters, "ask", lambda path: interpreter)
    fit = doctor.check_python(None, DEBIAN_13)
    assert fit.status == "ok"
    assert fit.found == "3.13 (/usr/bin/python3); make setup will use it for .venv"

    monkeypatch.setattr(doctor.interpreters, "ask", lambda path: None)
    unfit = doctor.check_python(None, DEBIAN_13)
    assert unfit.status == "fail"
    assert "found no Python" in unfit.found
    assert "nstall" in unfit.fix


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({}, "ok", "Keras 3.15.1"),
        ({"absent": ["Trainer"]}, "fail", "tfx.components lacks Trainer"),
        ({"tf_keras": "2.21.0"}, "fail", "two versions of Keras"),
    ],
)
def test_a_deep_check_examines_the_imported_libraries(monkeypatch, changes, status, words):
    answer = {"keras": "3.15.1", "tf_keras": "3.15.1", "tensorflow": "2.21.0", "absent": []}
    monkeypatch.setattr(
        doctor, "probe", lambda python: doctor.Probe(**{**answer, "seconds": 9.0, **changes})
    )
    finding = doctor.check_imports(doctor.find_environment())
    assert finding.status == status
    assert words in finding.found


def test_an_import_that_fails_is_quoted(monkeypatch):
    monkeypatch.setattr(doctor, "PROBE", "import no_such_module")
    finding = doctor.check_imports(doctor.find_environment())
    assert finding.status == "fail"
    assert finding.found == "ModuleNotFoundError: No module named 'no_such_module'"


@pytest.mark.slow
def test_the_stack_of_this_environment_imports():
    finding = doctor.check_imports(doctor.find_environment())
    assert finding.status == "ok", finding.found


@pytest.mark.parametrize("colour", [True, False])
def test_colour_only_if_it_is_wanted(colour):
    findings = [doctor.Finding("data", "warn", "none", "get some")]
    assert ("\033[33m" in doctor.as_text(findings, colour)) is colour


@pytest.mark.parametrize(
    ("terminal", "no_colour", "wanted"),
    [(True, None, True), (True, "", False), (True, "1", False), (False, None, False)],
)
def test_colour_is_wanted_on_terminals_unless_no_color_is_set(
    monkeypatch, terminal, no_colour, wanted
):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    if no_colour is not None:
        monkeypatch.setenv("NO_COLOR", no_colour)
    assert doctor.wants_colour() is wanted


def test_without_a_database_there_is_nothing_to_tell_of_one(tmp_path):
    (tmp_path / "clothes").mkdir()
    assert doctor.check_databases(tmp_path) == []


def test_the_server_of_each_database_has_to_answer(tmp_path):
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        for name in ("clothes", "shoes"):
            (tmp_path / name).mkdir()
            address = Address("ada", "127.0.0.1", port, "ml")
            binding.write(Locations(tmp_path / name), address)
        (finding,) = doctor.check_databases(tmp_path)
        assert (finding.status, finding.found) == (
            "ok",
            "1 metadata database, whose server answers",
        )
    (finding,) = doctor.check_databases(tmp_path)
    assert finding.status == "fail"
    told = f"the database ml at 127.0.0.1:{port} cannot be reached (Connection refused)"
    assert finding.found == told
    (tmp_path / "shoes" / "metadata.json").write_text("{}")
    (finding,) = doctor.check_databases(tmp_path)
    assert "metadata.json cannot be read (it does not name a database)" in finding.found


def test_the_doctor_needs_only_the_standard_library():
    """The option -S leaves site-packages out: an import of any installed package would fail."""
    code = f"import sys; sys.path.insert(0, {str(packages.PROJECT)!r}); import cli.doctor"
    command = [sys.executable, "-I", "-S", "-c", code]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.parametrize(
    "module",
    [
        "cli/doctor.py",
        "cli/help_texts.py",
        "cli/without_libraries.py",
        "components/disk.py",
        "pipeline/database/address.py",
        "pipeline/database/binding.py",
        "pipeline/errors.py",
        "components/files.py",
        "pipeline/installation/interpreters.py",
        "pipeline/installation/package_installers.py",
        "pipeline/installation/packages.py",
        "pipeline/installation/virtual_environment.py",
        "pipeline/paths.py",
        "pipeline/records/stores.py",
        "pipeline/streams.py",
    ],
)
def test_an_old_python_can_parse_the_modules_that_run_before_the_installation(module):
    """So that they can say which Python is needed, instead of failing with a syntax error."""
    source = (packages.PROJECT / module).read_text()
    ast.parse(source, feature_version=(3, 8))
