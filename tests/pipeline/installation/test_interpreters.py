"""The choice of a Python on different machines, and the error message if none fits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.installation import interpreters, packages

NEW = packages.System(packages.LINUX, (2, 41), ())
OLD = packages.System(packages.LINUX, (2, 36), packages.NEWER.libstdcxx)
# As in an activated conda, whose Python brings along an older libstdc++.
SHADOWED = packages.System(packages.LINUX, (2, 39), packages.NEWER.libstdcxx)
MUSL = packages.System(packages.LINUX, None, ())
RELEASES = {
    "debian": 'PRETTY_NAME="Debian GNU/Linux 13"\nID=debian\nVERSION_ID="13"\n',
    "jammy": 'ID=ubuntu\nVERSION_ID="22.04"\nVERSION="22.04.5 LTS (Jammy Jellyfish)"\n',
    "noble": 'ID=ubuntu\nVERSION_ID="24.04"\n',
    "fedora": "ID=fedora\nVERSION_ID=42\nPLATFORM_ID=platform:f42\n",
    "rocky": 'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n',
    "arch": "ID=arch\n",
}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine without any Python; the fixture is a function that adds one to the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(interpreters, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setenv("PATH", str(folder))
    release(monkeypatch, tmp_path, RELEASES["debian"])

    def add(name, version, complete=True):
        return write_interpreter(folder / name, version, complete)

    return add


def write_interpreter(path, version, complete=True, usual=True, base=None):
    answer = json.dumps([usual, str(base or path), version, complete])
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return str(path)


def release(monkeypatch, folder, text):
    file = folder / "os-release"
    file.write_text(text)
    monkeypatch.setattr(interpreters, "OS_RELEASE", file)


def refusal(system, wanted=""):
    with pytest.raises(interpreters.NoInterpreterError) as raised:
        interpreters.find(wanted, system)
    problem, advice = str(raised.value).splitlines()
    return problem, advice


@pytest.mark.parametrize(
    ("system", "version", "lock"),
    [(NEW, "3.13", packages.NEWER), (OLD, "3.11", packages.OLDER)],
)
def test_the_newest_that_fits_is_taken(machine, system, version, lock):
    paths = {each: machine(f"python{each}", each) for each in ("3.11", "3.12", "3.13", "3.14")}
    machine("python3", "3.14")
    python, chosen = interpreters.find("", system)
    assert (python.path, python.version, chosen) == (paths[version], version, lock)


def test_the_wanted_one_is_taken(machine):
    machine("python3.13", "3.13")
    wanted = machine("other", "3.12")
    assert interpreters.find(wanted, NEW)[0].path == wanted


def test_one_that_cannot_create_environments_is_skipped(machine):
    machine("python3.13", "3.13", complete=False)
    fit = machine("python3", "3.12")
    assert interpreters.find("", NEW)[0].path == fit


def test_the_python_of_the_system_is_found_behind_another(machine, tmp_path):
    machine("python3", "3.14")
    (tmp_path / "system").mkdir()
    own = write_interpreter(tmp_path / "system" / "python3", "3.13")
    assert interpreters.find("", NEW)[0].path == own


@pytest.fixture
def system_python(tmp_path):
    """Adds a Python to the folder of the system."""

    def add(name, version, complete=True):
        (tmp_path / "system").mkdir(exist_ok=True)
        return write_interpreter(tmp_path / "system" / name, version, complete)

    return add


def test_behind_a_python_with_its_own_libstdcxx_that_of_the_system_is_named(machine, system_python):
    machine("python3", "3.13")
    system_python("python3.11", "3.11", complete=False)
    own = system_python("python3", "3.12")
    problem, advice = refusal(SHADOWED)
    lacks = "loads a libstdc++ without GLIBCXX_3.4.32 and CXXABI_1.3.15"
    assert problem == f"{sys.executable} {lacks}; expected that of the system."
    assert advice == f"Use the system's Python: make setup PYTHON={own}"


@pytest.mark.parametrize(("version", "complete"), [("3.12", False), ("3.14", True), (None, True)])
def test_a_python_of_the_system_that_could_not_fit_is_not_named(
    machine, system_python, version, complete
):
    machine("python3", "3.13")
    if version:
        system_python("python3", version, complete)
    assert "expected Python 3.11 with its venv module" in refusal(SHADOWED)[0]


def test_a_python_of_the_system_has_no_libstdcxx_of_its_own(machine, monkeypatch):
    """What it lacks, another one of the system lacks too."""
    running = Path(sys.executable).resolve()
    machine("python3", "3.14")
    monkeypatch.setattr(interpreters, "SYSTEM_FOLDER", running.parent)
    path = str(running.with_name("python3.12"))
    beside = interpreters.Interpreter(path, "3.12", complete=True)
    assert "Install one: " in interpreters.explain("", [beside], SHADOWED)


def test_the_base_python_of_an_activated_environment_is_taken(tmp_path):
    """Otherwise the environment that is about to be removed could be chosen."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    inside = interpreters.ask(str(tmp_path / "env" / "bin" / "python"))
    assert tmp_path not in Path(inside.path).parents
    assert interpreters.ask(inside.path) == inside


def test_a_tilde_that_the_shell_left_is_replaced(machine, monkeypatch, tmp_path):
    machine("python3.13", "3.13")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert interpreters.find("~/bin/python3.13", NEW)[0].version == "3.13"


def test_builds_without_wheels_are_skipped(machine, tmp_path):
    """For example PyPy, or a Python without the global interpreter lock."""
    write_interpreter(tmp_path / "bin" / "python3.13", "3.13", usual=False)
    fit = machine("python3.12", "3.12")
    assert interpreters.find("", NEW)[0].path == fit


def test_a_missing_venv_module_is_reported_with_the_command_that_installs_it(machine):
    path = machine("python3", "3.13", complete=False)
    problem, advice = refusal(NEW)
    assert f"found Python 3.13 without its venv module ({path})" in problem
    assert advice == "Install one: sudo apt install python3 python3-venv"


@pytest.mark.parametrize("version", ["3.10", "3.14"])
def test_other_versions_are_named(machine, version):
    machine("python3", version)
    problem, _ = refusal(NEW)
    assert f"found Python {version} (" in problem
    assert "expected Python 3.11 or 3.12 or 3.13 with its venv module" in problem


def test_an_older_system_says_why_a_newer_python_does_not_fit(machine):
    machine("python3.13", "3.13")
    problem, _ = refusal(OLD)
    assert "expected Python 3.11 with its venv module" in problem
    assert "a newer Python needs glibc 2.39; this system has 2.36" in problem


@pytest.mark.parametrize("broken", ["", "#!/bin/sh\nexit 127\n", "#!/bin/sh\necho no JSON\n"])
def test_a_program_that_does_not_answer_is_no_python(machine, tmp_path, broken):
    path = tmp_path / "bin" / "python3.13"
    path.write_text(broken)
    path.chmod(0o755)
    assert "found no Python;" in refusal(NEW)[0]


def test_a_wanted_one_that_does_not_start_is_named(machine):
    machine("python3.13", "3.13")
    problem, advice = refusal(NEW, "/no such/python")
    assert "PYTHON=/no such/python, which does not start as Python 3" in problem
    assert advice.startswith("Omit PYTHON, or install a fitting one: ")


@pytest.mark.parametrize(
    ("name", "system", "command"),
    [
        ("debian", NEW, "sudo apt install python3 python3-venv"),
        ("jammy", OLD, "sudo apt install python3.11 python3.11-venv"),
        ("noble", NEW, "sudo apt install python3 python3-venv"),
        # Its python3 is newer than a libstdc++ like this allows.
        ("noble", SHADOWED, "uv python install 3.11"),
        ("fedora", NEW, "sudo dnf install python3.13"),
        ("fedora", SHADOWED, "sudo dnf install python3.11"),
        ("rocky", OLD, "sudo dnf install python3.11"),
        ("arch", NEW, "uv python install 3.13"),
    ],
)
def test_the_command_is_the_one_of_the_distribution(
    machine, monkeypatch, tmp_path, name, system, command
):
    release(monkeypatch, tmp_path, RELEASES[name])
    assert command in refusal(system)[1]


def test_a_machine_without_a_lock_file_gets_advice(machine):
    machine("python3.13", "3.13")
    problem, advice = refusal(MUSL)
    reason = "this machine cannot use the libraries of glibc-2.28.txt: it needs glibc 2.28"
    assert reason in problem
    assert "such as Debian 12" in advice
