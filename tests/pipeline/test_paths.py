"""Which paths are refused: those that libraries take for others, and no more than those."""

import fnmatch
import glob
import os
import re
import unicodedata
from pathlib import Path

import pytest
from apache_beam.io.filesystem import FileSystem
from hypothesis import given
from hypothesis import strategies as st

from pipeline import paths
from pipeline.errors import PathError

# All that Linux allows in a name, with bytes that are not UTF-8; those that matter come often.
SPECIAL = "*?[]\\!{}$`'\"&;|<>()~#%@,:= \n\t\r\x01\x7f\x85\u2028\u0308\u05d0\u202e-.\udcff😀"
NAMES = st.text(
    st.one_of(
        st.sampled_from(SPECIAL),
        st.characters(min_codepoint=1, exclude_characters="/", exclude_categories=["Cs"]),
    ),
    min_size=1,
    max_size=20,
).filter(lambda name: name not in (".", ".."))


def refused(check, *arguments):
    """The message of a refusal; None where there is none."""
    try:
        check(*arguments)
    except PathError as error:
        return str(error)
    return None


@given(NAMES)
def test_an_output_folder_is_let_in_or_refused_in_a_line_that_names_the_characters(name):
    path = Path("/absent") / name
    told = refused(paths.output_folder, path)
    untold = [each for each in name if unicodedata.category(each) in ("Cc", "Zl", "Zp", "Cs")]
    assert (told is not None) == (bool(untold) or any(each in "*?[\\" for each in name))
    if told is not None:
        assert told.isprintable() and told.encode()
        assert "--output-dir" in told and "expected" in told


@given(NAMES, NAMES)
def test_what_is_let_in_matches_no_neighbour(name, neighbour):
    """Neither for Python and TensorFlow, which follow fnmatch, nor for Beam."""
    path = f"/absent/{name}"
    if refused(paths.output_folder, Path(path)) is None:
        assert not glob.has_magic(path)
        assert fnmatch.fnmatchcase(f"/absent/{neighbour}", path) == (neighbour == name)
        pattern = FileSystem.translate_pattern(f"{path}/*")
        assert bool(re.match(pattern, f"/absent/{neighbour}/file")) == (neighbour == name)


@given(NAMES)
def test_any_other_path_is_refused_for_what_cannot_be_told_alone(name):
    bad = any(unicodedata.category(each) in ("Cc", "Zl", "Zp", "Cs") for each in name)
    assert (refused(paths.resolved, Path("/absent") / name, "--data") is not None) == bad


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("exp[1]", "holds ["),
        ("exp?*", "holds ?, *"),
        ("a\\b", "holds \\"),
        ("a\nb\tc", "holds a line break, a tab"),
        ("a\udcffb", "holds the byte 0xff, which is not UTF-8"),
        ("é" * 128, "a name of 256 bytes; expected 255"),
    ],
)
def test_a_refusal_names_what_is_wrong(name, fragment):
    assert fragment in refused(paths.output_folder, Path(name))


def test_the_folder_around_a_relative_path_counts(tmp_path, monkeypatch):
    folder = tmp_path / "run [final]"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert "run [final]" in refused(paths.output_folder, Path("outputs"))


def test_what_a_link_leads_to_counts(tmp_path):
    target = tmp_path / "exp[1]"
    target.mkdir()
    (tmp_path / "plain").symlink_to(target)
    assert "holds [" in refused(paths.output_folder, tmp_path / "plain")
    (tmp_path / "way[in]").symlink_to(tmp_path)
    assert refused(paths.output_folder, tmp_path / "way[in]" / "out") is None


def test_links_in_a_circle_are_refused(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    assert "circle" in refused(paths.output_folder, tmp_path / "loop" / "out")


@pytest.mark.parametrize("more", [0, 1])
def test_a_path_is_as_long_as_sqlite_takes(more):
    path = Path("/" + "/".join(["d" * 99] * 4) + "d" * more)
    assert len(os.fsencode(path)) == paths.MOST_OUTPUT_BYTES + more
    told = refused(paths.output_folder, path)
    assert told is None if not more else "has 401 bytes; expected 400" in told


def test_a_home_folder_that_is_not_there_is_refused_in_words(monkeypatch):
    with pytest.raises(PathError, match="--data ~nobody-of-this-name/x begins with"):
        paths.resolved(Path("~nobody-of-this-name/x"), "--data")
    with pytest.raises(PathError, match="--output-dir ~nobody-of-this-name begins with"):
        paths.output_folder(Path("~nobody-of-this-name"))
    monkeypatch.setenv("XDG_CACHE_HOME", "~nobody-of-this-name")
    with pytest.raises(PathError, match="XDG_CACHE_HOME ~nobody"):
        paths.in_home(".cache", "XDG_CACHE_HOME")


@pytest.mark.parametrize(
    ("variable", "expected"),
    [(None, "/home/x/.cache"), ("", "/home/x/.cache"), ("/c", "/c"), ("~/c", "/home/x/c")],
)
def test_a_variable_wins_over_the_home_folder(monkeypatch, variable, expected):
    monkeypatch.setenv("HOME", "/home/x")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if variable is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", variable)
    assert paths.in_home(".cache", "XDG_CACHE_HOME") == Path(expected)


@given(st.binary(max_size=20))
def test_a_command_line_is_refused_exactly_where_it_is_not_utf8(argument):
    text = os.fsdecode(argument)
    told = refused(paths.refuse_undecoded, text, "the command line")
    try:
        text.encode()
    except UnicodeEncodeError:
        assert told is not None
        assert told.isprintable()
        assert told.encode()
    else:
        assert told is None
