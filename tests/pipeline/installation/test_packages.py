"""Tests for the choice between the locks, and for what an environment says of its own."""

import hashlib
import re
import sys

import pytest
from packaging.markers import Marker

from pipeline.installation import packages
from pipeline.installation.packages import LINUX, MACOS, NEWER, OLDER, System

NEW_SYMBOLS = NEWER.libstdcxx
ALL_SYMBOLS = NEWER.libstdcxx + OLDER.libstdcxx


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13", "3.14"])
@pytest.mark.parametrize("glibc", [(2, 27), (2, 28), (2, 36), (2, 39), (2, 41), (3, 0)])
@pytest.mark.parametrize("missing", [(), NEW_SYMBOLS, NEW_SYMBOLS[:1], ALL_SYMBOLS])
def test_the_newer_lock_where_it_fits_else_the_older_one(python, glibc, missing):
    expected = None
    if glibc >= (2, 28) and python == "3.11" and missing != ALL_SYMBOLS:
        expected = OLDER
    if glibc >= (2, 39) and python in ("3.11", "3.12", "3.13") and not missing:
        expected = NEWER
    assert packages.choose(System(LINUX, glibc, missing), python) == expected


@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_no_lock_for_another_c_library(python):
    assert packages.choose(System(LINUX, None, ()), python) is None


def test_a_mac_takes_the_newer_lock_whatever_its_c_library():
    mac = System(MACOS, None, ())
    assert [packages.choose(mac, f"3.{minor}") for minor in (10, 11, 12, 13, 14)] == [
        None,
        NEWER,
        NEWER,
        NEWER,
        None,
    ]


@pytest.mark.parametrize("platform", ["Linux aarch64", "Darwin x86_64", "Windows AMD64"])
def test_no_lock_for_another_platform(platform):
    assert packages.choose(System(platform, (2, 41), ()), "3.13") is None


def test_all_obstacles_are_told():
    told = packages.obstacles(NEWER, System(LINUX, (2, 36), NEW_SYMBOLS), "3.10")
    assert told == [
        "it is for Python 3.13, 3.12, 3.11, not 3.10",
        "it needs glibc 2.39, not 2.36",
        "the system's libstdc++ lacks GLIBCXX_3.4.32, CXXABI_1.3.15",
    ]
    assert packages.obstacles(OLDER, System(LINUX, (2, 36), NEW_SYMBOLS), "3.11") == []


def test_this_machine_has_what_the_installed_libraries_need():
    """They are loaded in these tests; so the lock they are of has to fit."""
    python = "{}.{}".format(*sys.version_info[:2])
    name = packages.installed().lock
    (lock,) = (lock for lock in packages.LOCKS if lock.name == name)
    assert packages.obstacles(lock, packages.read_system(), python) == []


def test_a_library_that_nobody_has_lacks_all(monkeypatch):
    def absent(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(packages.ctypes, "CDLL", absent)
    assert set(packages.read_system().libstdcxx_missing) == set(ALL_SYMBOLS)


@pytest.mark.parametrize("answer", [None, "", "musl 1.2.5", "glibc", ValueError("not known")])
def test_a_system_without_glibc_says_so(answer, monkeypatch):
    def confstr(name):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(packages.os, "confstr", confstr)
    assert packages.read_system().glibc is None


def test_an_environment_says_which_lock_it_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    record = tmp_path / packages.RECORDS / NEWER.name
    record.parent.mkdir()
    record.write_bytes(b"what was installed\n")
    found = packages.installed()
    assert found.lock == NEWER.name
    assert found.sha256 == hashlib.sha256(b"what was installed\n").hexdigest()
    assert found.python == "{}.{}".format(*sys.version_info[:2])


def test_an_environment_made_by_hand_goes_by_its_versions(tmp_path, monkeypatch):
    """Another version of any library is another environment."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    folder = tmp_path / "something-1.dist-info"
    folder.mkdir()

    def installed(version):
        text = f"Metadata-Version: 2.1\nName: something\nVersion: {version}\n"
        (folder / "METADATA").write_text(text)
        return packages.installed()

    first, same, other = installed("1"), installed("1"), installed("2")
    assert first.lock is None
    assert first == same
    assert first.sha256 != other.sha256


def test_an_unfinished_package_does_not_hinder(tmp_path, monkeypatch):
    (tmp_path / "nameless-1.dist-info").mkdir()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert packages.installed().lock is None


def test_the_image_holds_the_newest():
    image = packages.of_image()
    assert (image.python, image.lock) == ("3.13", NEWER.name)
    assert image.sha256 == hashlib.sha256(NEWER.file.read_bytes()).hexdigest()


def pins(file, python):
    """Version by name, of the lines of a file that count for a Python on Linux."""
    environment = {
        "python_full_version": f"{python}.1",
        "python_version": python,
        "sys_platform": "linux",
        "platform_system": "Linux",
    }
    return {
        name: version
        for name, version, marker in packages.pins(file.read_text())
        if not marker or Marker(marker).evaluate(environment)
    }


@pytest.mark.parametrize("file", [packages.TESTS, packages.FOLDER / "installer.txt"])
@pytest.mark.parametrize(
    ("lock", "python"),
    [(lock, python) for lock in packages.LOCKS for python in lock.pythons],
    ids=lambda value: getattr(value, "name", value),
)
def test_what_is_installed_beside_a_lock_has_its_versions(file, lock, python):
    """Else one installation would undo another."""
    locked, beside = pins(lock.file, python), pins(file, python)
    assert beside
    assert {name: locked.get(name, version) for name, version in beside.items()} == beside


def test_both_locks_are_of_the_same_libraries():
    """The older one may lack what the newer versions ask for, but nothing of what we import."""
    newer, older = (pins(lock.file, "3.11") for lock in (NEWER, OLDER))
    named = re.findall(r"^[a-z][\w-]*", (packages.FOLDER / "project.in").read_text(), re.MULTILINE)
    assert "tensorflow" in named
    assert set(named) <= newer.keys() & older.keys()
