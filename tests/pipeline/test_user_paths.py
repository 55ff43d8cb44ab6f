"""Paths as users give them: home folders that are not there, names that are not UTF-8."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from pipeline.user_paths import check_utf8, expanded, in_home


def is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.binary(min_size=1, max_size=20))
def test_exactly_the_names_that_are_not_utf8_are_refused(name):
    path = Path(os.fsdecode(name.replace(b"\0", b"")))
    if is_utf8(os.fsencode(path)):
        check_utf8(path, "--data")
        return
    with pytest.raises(ConfigurationError, match=r"(?s)^--data: .*not UTF-8 \(bytes \\x") as raised:
        check_utf8(path, "--data")
    assert str(raised.value).encode(), "the message itself can be written anywhere"


def test_a_home_folder_that_is_not_there_is_refused_in_words(monkeypatch):
    with pytest.raises(ConfigurationError, match="--data: ~nobody-of-this-name/x begins with"):
        expanded("~nobody-of-this-name/x", "--data")
    monkeypatch.setenv("XDG_CACHE_HOME", "~nobody-of-this-name")
    with pytest.raises(ConfigurationError, match="XDG_CACHE_HOME: "):
        in_home(".cache", "XDG_CACHE_HOME")


def test_a_cache_that_tfx_could_not_name_is_refused(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", os.fsdecode(b"/cache-\xe9"))
    with pytest.raises(ConfigurationError, match=r"XDG_CACHE_HOME: /cache-\\xe9 is not UTF-8"):
        in_home(".cache", "XDG_CACHE_HOME")


@pytest.mark.parametrize(
    ("variable", "expected"),
    [(None, "/home/x/.cache"), ("", "/home/x/.cache"), ("/c", "/c"), ("~/c", "/home/x/c")],
)
def test_a_variable_wins_over_the_home_folder(monkeypatch, variable, expected):
    monkeypatch.setenv("HOME", "/home/x")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if variable is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", variable)
    assert in_home(".cache", "XDG_CACHE_HOME") == Path(expected)
