"""Which paths are refused: exactly those that the libraries cannot use."""

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

# All characters of Linux file names, and bytes that are not UTF-8. Special ones are frequent.
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
    """Returns the message of a refusal, or None if the path is accepted."""
    try:
        check(*arguments)
    except PathError as error:
        return str(error)
    return None


@given(NAMES)
def test_an_output_folder_is_accepted_or_refused_in_a_printable_line(name):
    path = Path("/absent") / name
    message = refused(paths.output_folder, path)
    unprintable = [each for each in name if unicodedata.category(each) in ("Cc", "Zl", "Zp", "Cs")]
    assert (message is not None) == (bool(unprintable) or any(each in "*?[\\" for each in name))
    if message is not None:
        assert message.isprintable() and message.encode()
        assert "--output-dir" in message and "expected" in message


@given(NAMES, NAMES)
def test_an_accepted_path_matches_no_other_folder_as_a_pattern(name, neighbour):
    """Neither in Python and TensorFlow, which follow fnmatch, nor in Beam."""
    path = f"/absent/{name}"
    if refused(paths.output_folder, Path(path)) is None:
        assert not glob.has_magic(path)
        assert fnmatch.fnmatchcase(f"/absent/{neighbour}", path) == (neighbour == name)
        pattern = FileSystem.translate_pattern(f"{path}/*")
        assert bool(re.match(pattern, f"/absent/{neighbour}/file")) == (neighbour == name)


@given(NAMES)
def test_any_other_path_is_refused_only_if_it_cannot_be_printed(name):
    bad = any(unicodedata.category(each) in ("Cc", "Zl", "Zp", "Cs") for each in name)
    assert (refused(paths.resolved, Path("/absent") / name, "--data") is not None) == bad


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("exp[1]", "contains ["),
        ("exp?*", "contains ?, *"),
        ("a\\b", "contains \\"),
        ("a\nb\tc", "contains a line break, a tab"),
        ("a\udcffb", "contains the byte 0xff, which is not UTF-8"),
        ("é" * 128, f"a name of 256 bytes, {'é' * 20}...; expected at most 255"),
    ],
)
def test_a_refusal_names_what_is_wrong(name, fragment):
    assert fragment in refused(paths.output_folder, Path(name))


def test_the_folder_around_a_relative_path_counts(tmp_path, monkeypatch):
    folder = tmp_path / "run [final]"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert "run [final]" in refused(paths.output_folder, Path("outputs"))


def test_the_target_of_a_link_counts(tmp_path):
    target = tmp_path / "exp[1]"
    target.mkdir()
    (tmp_path / "plain").symlink_to(target)
    assert "contains [" in refused(paths.output_folder, tmp_path / "plain")
    (tmp_path / "way[in]").symlink_to(tmp_path)
    assert refused(paths.output_folder, tmp_path / "way[in]" / "out") is None


def test_circular_links_are_refused(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    assert "circular" in refused(paths.output_folder, tmp_path / "loop" / "out")


@pytest.mark.parametrize("more", [0, 1])
def test_a_path_may_be_as_long_as_sqlite_allows(more):
    path = Path("/" + "/".join(["d" * 99] * 4) + "d" * more)
    assert len(os.fsencode(path)) == paths.MOST_OUTPUT_BYTES + more
    message = refused(paths.output_folder, path)
    assert message is None if not more else "has 401 bytes; expected at most 400" in message


@pytest.mark.parametrize("address", ["s3:/bucket/flowers", "S3://bucket/flowers", "gs://bucket"])
def test_an_address_is_refused_with_what_the_option_takes(address):
    data = refused(lambda: paths.resolved(Path(address), "--data", or_bucket=True))
    assert f"--data is an address ({address.partition(':')[0]}:...)" in data
    assert "a path on this machine, or s3://BUCKET/FOLDER in this spelling" in data
    output = refused(paths.output_folder, Path(address))
    assert "expected a path on this machine. Name a folder or a file of this machine." in output
    assert "data" not in output and "BUCKET" not in output


def test_the_home_folder_of_an_unknown_user_is_refused(monkeypatch):
    with pytest.raises(PathError, match="--data ~nobody-of-this-name/x starts with"):
        paths.resolved(Path("~nobody-of-this-name/x"), "--data")
    with pytest.raises(PathError, match="--output-dir ~nobody-of-this-name starts with"):
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
def test_a_command_line_is_refused_exactly_if_it_is_not_utf8(argument):
    text = os.fsdecode(argument)
    message = refused(paths.refuse_undecoded, text, "the command line")
    try:
        text.encode()
    except UnicodeEncodeError:
        assert message is not None
        assert message.isprintable()
        assert message.encode()
    else:
        assert message is None


@pytest.mark.parametrize("address", ["https://host:8080/a@b", "https://[::1]:8080/a@b"])
def test_an_at_in_the_path_of_an_address_is_no_secret(address):
    paths.refuse_secrets(address, "--option")
    with pytest.raises(PathError, match=r"--option https://\*\*\*@b has a"):
        paths.refuse_secrets(address.replace("//", "//user:hunter2@"), "--option")
