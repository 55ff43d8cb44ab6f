"""Checks of paths. This module uses only the standard library.

Some libraries cannot handle every valid path:

- TensorFlow's reader of weights and Beam's file sinks interpret paths as patterns and cannot escape
  `*`, `?`, `[` and a backslash. If the output folder is `exp[1]`, they read and delete the files
  of `exp1`.
- SQLite, which ML Metadata uses, opens no path that is longer than 504 bytes.

Control characters and line breaks would break the lines of logs, messages and systemd units. Names
that are not UTF-8 cannot be written to messages, pages and records. All other paths are accepted.
"""

from __future__ import annotations

import errno
import os
import pathlib
import re
import stat
import unicodedata

from components.redaction import redacted
from pipeline.errors import PathError

# An address such as gs://bucket; a `Path` has dropped one of its two slashes.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_PATTERN = frozenset("*?[\\")
# Unicode categories: control characters, line separators and paragraph separators.
_LINES = ("Cc", "Zl", "Zp")
# Unicode category of the surrogates that stand for bytes which are not UTF-8.
_UNDECODED = "Cs"
_NAMES = {"\n": "a line break", "\r": "a carriage return", "\t": "a tab"}
# Longest file name on Linux file systems.
_MOST_NAME_BYTES = 255
# SQLite allows 504 bytes. The rest is for the longest pipeline name, the scratch folder of `verify`
# and the file name.
MOST_OUTPUT_BYTES = 400


def expanded(path: pathlib.Path, origin: str) -> pathlib.Path:
    """Returns a path with `~` replaced by the home folder; a shell may not have replaced it.

    Args:
      path: Path as the user wrote it.
      origin: Name of the option or variable with the path.

    Raises:
      PathError: If there is no such home folder.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise PathError(
            f"{origin} {_shown(str(path))} starts with the home folder of an unknown user; "
            "expected an existing user. Write the full path."
        ) from error


def in_home(folder: str, variable: str) -> pathlib.Path:
    """Returns the folder that an environment variable names, else one in the user's home folder.

    Args:
      folder: Path below the home folder, such as `.cache`.
      variable: Name of the environment variable.

    Raises:
      PathError: If the folder cannot be used.
    """
    return resolved(pathlib.Path(os.environ.get(variable) or f"~/{folder}"), variable)


def output_folder(path: pathlib.Path) -> pathlib.Path:
    """Returns an output folder, with only `~` replaced, after checking it.

    Raises:
      PathError: If TensorFlow, Beam or SQLite cannot work in the folder.
    """
    path = expanded(path, "--output-dir")
    place = resolved(path, "--output-dir")
    refuse_patterns(str(place), "--output-dir")
    size = len(os.fsencode(place))
    if size > MOST_OUTPUT_BYTES:
        raise PathError(
            f"--output-dir {_shown(str(place))} has {size} bytes; expected at most "
            f"{MOST_OUTPUT_BYTES}, a limit of SQLite. Choose a folder with a shorter path."
        )
    return path


def resolved(path: pathlib.Path, origin: str, *, or_bucket: bool = False) -> pathlib.Path:
    """Returns an absolute path without symbolic links that can be printed and recorded.

    Args:
      path: Path as the user wrote it.
      origin: Name of the option or variable with the path.
      or_bucket: Whether the option also takes the address of a folder in a bucket.

    Raises:
      PathError: If the path is an address, has circular links, starts with an unknown home folder
        or cannot be printed.
    """
    refuse_untold(str(path), origin)
    refuse_address(str(path), origin, or_bucket=or_bucket)
    # Not `Path.resolve`: it reports circular links only up to Python 3.12.
    place = pathlib.Path(os.path.realpath(expanded(path, origin)))
    if _leads_in_a_circle(place):
        raise PathError(
            f"{origin} {path} has circular symbolic links; expected a folder or a file. Remove the "
            "link, or choose another path."
        )
    # Check again: the working folder or the target of a link may add unprintable names.
    refuse_untold(str(place), origin)
    return place


def refuse_address(path: str, origin: str, *, or_bucket: bool = False) -> None:
    """Refuses an address such as `gs://bucket/folder`, also with one slash.

    Args:
      path: Path as the user wrote it.
      origin: Name of the option, variable or key with the path.
      or_bucket: Whether it also takes the address of a folder in a bucket.

    Raises:
      PathError: If the path is an address.
    """
    if _ADDRESS.match(path):
        raise _no_path(path.partition(":")[0], origin, or_bucket)


def refuse_endless(path: pathlib.Path) -> None:
    """Refuses a pipe or a device: reading it might never end.

    Raises:
      PathError: If the path is neither a regular file nor a folder.
      OSError: If the path cannot be examined.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise PathError(
            f"{path} is a pipe or a device; expected a regular file. Copy its content to a file."
        )


def refuse_untold(path: str, origin: str) -> None:
    """Refuses a path that cannot be printed in one line, or with a name that is too long.

    Raises:
      PathError: If the path has such characters or such a name.
    """
    bad = [each for each in path if unicodedata.category(each) in (*_LINES, _UNDECODED)]
    if bad:
        raise PathError(
            f"{origin} {_shown(path)} contains {_named(bad)}; expected UTF-8 text without control "
            "characters and line breaks. Rename the folder or file, or choose another."
        )
    longest = max(path.split("/"), key=lambda name: len(os.fsencode(name)))
    if len(os.fsencode(longest)) > _MOST_NAME_BYTES:
        raise PathError(
            f"{origin} has a name of {len(os.fsencode(longest))} bytes, {longest[:20]}...; "
            f"expected at most {_MOST_NAME_BYTES}. Choose a shorter name."
        )


def refuse_undecoded(text: str, origin: str) -> None:
    """Refuses a text that is not UTF-8: it cannot be recorded.

    Args:
      text: Argument of the command line, or value of a variable of the environment.
      origin: Name of the variable, or words for the command line.

    Raises:
      PathError: If the text has such bytes.
    """
    bad = [each for each in text if unicodedata.category(each) == _UNDECODED]
    if bad:
        raise PathError(
            f"{origin} {_shown(text)} contains {_named(bad)}; expected UTF-8 text. "
            "Rename the folder or file, or choose another."
        )


def refuse_secrets(address: str, origin: str) -> None:
    """Refuses an address with a password or a query: files and messages would repeat it.

    Raises:
      PathError: If the address has a password or a query.
    """
    if redacted(address) != address:
        raise PathError(
            f"{origin} {address} has a password or a query; expected an address without them, "
            "since whoever reads the file or the message with the address could use them. Leave "
            "them out, and give access to the place itself."
        )


def refuse_patterns(path: str, origin: str) -> None:
    """Refuses a path that TensorFlow and Beam would interpret as a pattern.

    Raises:
      PathError: If the path has such characters.
    """
    bad = [each for each in path if each in _PATTERN]
    if bad:
        raise PathError(
            f"{origin} {_shown(path)} contains {_named(bad)}; expected a path without * ? [ and "
            "\\, which TensorFlow and Beam interpret as patterns that match other folders. Rename "
            "the folder, or choose another."
        )


def _no_path(scheme: str, origin: str, or_bucket: bool) -> PathError:
    """The refusal of an address; its slashes are not shown, since a `Path` has dropped some."""
    if or_bucket:
        wanted = ", or s3://BUCKET/FOLDER in this spelling. Correct it, or copy or mount the data."
    else:
        wanted = ". Name a folder or a file of this machine."
    return PathError(
        f"{origin} is an address ({scheme}:...); expected a path on this machine{wanted} If a "
        "folder really has this name, write its full path."
    )


def _leads_in_a_circle(path: pathlib.Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def _named(characters: list[str]) -> str:
    return ", ".join(_name(each) for each in dict.fromkeys(characters))


def _name(character: str) -> str:
    if unicodedata.category(character) == _UNDECODED:
        return f"the byte {ord(character) & 0xFF:#04x}, which is not UTF-8"
    return _NAMES.get(character, _shown(character))


def _shown(text: str) -> str:
    """Returns the text in one line of printable characters."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
