"""The name of the user, whatever the environment says."""

import os
import pwd

import pytest

from pipeline import machine


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
