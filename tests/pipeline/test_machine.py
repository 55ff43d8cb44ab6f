"""What is recorded of user and code, whatever the environment says."""

import os
import platform
import pwd

import pytest

from pipeline import machine
from pipeline.installation import packages


@pytest.fixture
def nameless(monkeypatch):
    """A user whom the system knows by number alone, as a container may start one."""

    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)


def test_a_user_without_a_name_goes_by_its_number(nameless):
    assert machine.user() == f"user {os.getuid()}"


def test_the_name_of_a_user_can_be_written_anywhere(nameless, monkeypatch):
    monkeypatch.setenv("LOGNAME", os.fsdecode(b"ren\xe9"))
    assert machine.user() == r"ren\udce9"


def test_the_revision_is_that_of_the_checkout_also_in_a_hook_of_another(monkeypatch, tmp_path):
    usual = machine.code()
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert machine.code() == usual


def test_the_versions_name_python_and_glibc(monkeypatch):
    found = machine.versions()
    assert found["python"] == platform.python_version()
    assert found["glibc"] == packages.dotted(packages.read_system().glibc)
    monkeypatch.setattr(packages, "glibc", lambda: None)
    assert "glibc" not in machine.versions()
