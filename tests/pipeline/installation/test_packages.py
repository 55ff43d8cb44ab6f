"""The choice between the lock files, and the record of an environment."""

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
def test_the_newer_lock_file_if_it_fits_else_the_older_one(python, glibc, missing):
    expected = None
    if glibc >= (2, 28) and python == "3.11" and missing != ALL_SYMBOLS:
        expected = OLDER
    if glibc >= (2, 39) and python in ("3.11", "3.12", "3.13") and not missing:
        expected = NEWER
    assert packages.choose(System(LINUX, glibc, missing), python) == expected


def test_a_mac_takes_the_newer_lock_whatever_its_c_library():
    chosen = [packages.choose(System(MACOS, None, ()), f"3.{minor}") for minor in range(10, 15)]
    assert chosen == [None, NEWER, NEWER, NEWER, None]


@pytest.mark.parametrize("python", ["3.11", "3.13"])
@pytest.mark.parametrize(
    ("platform", "glibc"),
    [
        (LINUX, None),
        ("Linux aarch64", (2, 41)),
        ("Darwin x86_64", (2, 41)),
        ("Windows AMD64", (2, 41)),
    ],
)
def test_no_lock_for_another_platform_or_c_library(platform, glibc, python):
    assert packages.choose(System(platform, glibc, ()), python) is None


def test_all_obstacles_are_listed():
    reasons = packages.obstacles(NEWER, System(LINUX, (2, 36), NEW_SYMBOLS), "3.10")
    assert reasons == [
        "it is for Python 3.13, 3.12, 3.11, not 3.10",
        "it needs glibc 2.39, not 2.36",
        "the libstdc++ of this Python lacks GLIBCXX_3.4.32, CXXABI_1.3.15",
    ]
    assert packages.obstacles(OLDER, System(LINUX, (2, 36), NEW_SYMBOLS), "3.11") == []


def test_this_machine_has_what_the_installed_libraries_need():
    """These tests load the libraries, so their lock file has to fit."""
    python = "{}.{}".format(*sys.version_info[:2])
    name = packages.installed().lock
    (lock,) = (lock for lock in packages.LOCKS if lock.name == name)
    assert packages.obstacles(lock, packages.read_system(), python) == []


def test_a_system_without_libstdcxx_lacks_all_symbols(monkeypatch):
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
    libraries = packages.installed()
    assert libraries.lock == NEWER.name
    assert libraries.sha256 == hashlib.sha256(b"what was installed\n").hexdigest()
    assert libraries.python == "{}.{}".format(*sys.version_info[:2])


def test_an_environment_made_by_hand_is_identified_by_its_versions(tmp_path, monkeypatch):
    """Another version of any library makes another environment."""
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


def test_what_setuptools_brings_along_is_not_installed(tmp_path, monkeypatch):
    """It appends its own folder of packages to the path, once something imports it."""
    vendored = tmp_path / "setuptools" / "_vendor"
    for place, version in ((tmp_path, "10.2.0"), (vendored, "8.7.1")):
        folder = place / f"importlib_metadata-{version}.dist-info"
        folder.mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: importlib_metadata\nVersion: {version}\n"
        (folder / "METADATA").write_text(text)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    before = packages.installed()
    sys.path.append(str(vendored))
    assert packages.installed() == before
    # As a folder that someone adds: what Python imports, the first, counts.
    sys.path.append(str(vendored.rename(tmp_path / "more")))
    found = packages.distributions()
    assert {name: each.version for name, each in found.items()} == {"importlib-metadata": "10.2.0"}


def test_an_unfinished_package_is_ignored(tmp_path, monkeypatch):
    (tmp_path / "nameless-1.dist-info").mkdir()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert packages.installed().lock is None


def test_the_image_holds_the_newest():
    image = packages.of_image()
    assert (image.python, image.lock) == ("3.13", NEWER.name)
    assert image.sha256 == hashlib.sha256(NEWER.file.read_bytes()).hexdigest()


def pins(file, python):
    """Returns versions by name, from the lines of a file that apply to a Python on Linux."""
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
def test_additional_packages_have_the_versions_of_the_lock_file(file, lock, python):
    """Otherwise one installation would undo another."""
    locked, beside = pins(lock.file, python), pins(file, python)
    assert beside
    assert {name: locked.get(name, version) for name, version in beside.items()} == beside


def test_both_lock_files_have_the_same_libraries():
    """The older one may lack dependencies of newer versions, but no library that we import."""
    newer, older = (pins(lock.file, "3.11") for lock in (NEWER, OLDER))
    named = re.findall(r"^[a-z][\w-]*", (packages.FOLDER / "project.in").read_text(), re.MULTILINE)
    assert "tensorflow" in named
    assert set(named) <= newer.keys() & older.keys()
