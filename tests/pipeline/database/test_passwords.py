"""Where the password of a database comes from: the same places as for PostgreSQL's programs."""

import dataclasses
import os
import re

import pytest

from pipeline.database import passwords
from pipeline.database.address import Address
from pipeline.errors import StoreError
from pipeline.store_connection import connection

ADDRESS = Address("ada", "db.example.org", 5432, "ml")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home without a password."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.delenv("PGPASSFILE", raising=False)
    return tmp_path


def write(path, text):
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def test_there_may_be_none():
    assert passwords.find(ADDRESS) is None


def test_the_variable_comes_before_the_file(home, monkeypatch):
    write(home / ".pgpass", "*:*:*:*:of the file\n")
    assert passwords.find(ADDRESS) == "of the file"
    monkeypatch.setenv("PGPASSWORD", "of the variable")
    assert passwords.find(ADDRESS) == "of the variable"


def test_a_file_of_another_name_comes_before_the_one_at_home(home, monkeypatch):
    write(home / ".pgpass", "*:*:*:*:at home\n")
    monkeypatch.setenv("PGPASSFILE", str(write(home / "other", "*:*:*:*:elsewhere\n")))
    assert passwords.find(ADDRESS) == "elsewhere"


@pytest.mark.parametrize(
    ("line", "password"),
    [
        ("db.example.org:5432:ml:ada:right", "right"),
        ("*:*:ml:*:right", "right"),
        ("db.example.org:5433:ml:ada:wrong", None),
        ("other:5432:ml:ada:wrong", None),
        ("db.example.org:5432:ml:bob:wrong", None),
        ("# *:*:*:*:wrong", None),
        ("*:*:*:wrong", None),
        (r"*:*:*:*:a\:b\\c", r"a:b\c"),
        ("*:*:*:*:pass word\u00e9", "pass word\u00e9"),
        ("*:*:*:bob:wrong\n\n*:*:*:ada:right\n*:*:*:*:too late", "right"),
    ],
)
def test_the_first_line_that_fits_counts(home, line, password):
    write(home / ".pgpass", f"{line}\n")
    assert passwords.find(ADDRESS) == password


@pytest.mark.parametrize("host", ["db.example.org", "::1"])
def test_the_line_that_is_proposed_is_found(home, monkeypatch, host):
    address = dataclasses.replace(ADDRESS, host=host)
    path = write(home / "named", "*:*:*:bob:wrong\n")
    monkeypatch.setenv("PGPASSFILE", str(path))
    told = passwords.missing(address)
    assert f"no line of {path} is for " in told
    assert "wrong" not in told
    line = re.search(r"the line (\S+):PASSWORD into", told)[1]
    write(path, f"{line}:right\n")
    assert passwords.find(address) == "right"


def test_ml_metadata_reads_the_same_file(home, monkeypatch):
    """Its client takes the home of the user from the system, whatever HOME says."""
    monkeypatch.setenv("PGPASSFILE", "")
    connection(ADDRESS)
    assert os.environ["PGPASSFILE"] == ""
    path = write(home / ".pgpass", "*:*:*:*:at home\n")
    connection(ADDRESS)
    assert os.environ["PGPASSFILE"] == str(path)
    monkeypatch.setenv("PGPASSFILE", "of the user")
    connection(ADDRESS)
    assert os.environ["PGPASSFILE"] == "of the user"


def test_a_file_that_others_may_read_is_refused(home):
    path = write(home / ".pgpass", "*:*:*:*:secret\n")
    path.chmod(0o640)
    with pytest.raises(StoreError, match=f"chmod 600 {re.escape(str(path))}") as caught:
        passwords.find(ADDRESS)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe*:*:*:*:secret"])
def test_a_named_file_that_cannot_be_read_is_told(home, monkeypatch, content):
    path = home / "named"
    if content:
        write(path, "").write_bytes(content)
    monkeypatch.setenv("PGPASSFILE", str(path))
    with pytest.raises(StoreError, match="PGPASSFILE") as caught:
        passwords.find(ADDRESS)
    assert "secret" not in str(caught.value)


def test_a_pipe_is_not_waited_for(home, monkeypatch):
    os.mkfifo(home / "pipe", 0o600)
    monkeypatch.setenv("PGPASSFILE", str(home / "pipe"))
    with pytest.raises(StoreError, match="no regular file"):
        passwords.find(ADDRESS)
