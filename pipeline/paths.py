"""Which paths are refused, and why. Needs the standard library alone.

Most libraries below take a path for what it is. Some do not, and cannot be told otherwise:

- TensorFlow's reader of weights and Beam's file sinks look files up by patterns, without a way to
  quote `*`, `?`, `[` and a backslash. Below `exp[1]` they read, and delete, what lies in `exp1`.
- SQLite, which ML Metadata keeps its records in, opens no path of more than 504 bytes.

Control characters and line breaks would tear apart the lines of logs, messages and units; names
that are not UTF-8 fit into no message, page or record. Everything else works.
"""

from __future__ import annotations

import errno
import os
import pathlib
import re
import stat
import unicodedata

from pipeline.errors import PathError

# Such as gs://: as a path, it has lost a slash.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_PATTERN = frozenset("*?[\\")
# Controls, and the separators of lines and of paragraphs.
_LINES = ("Cc", "Zl", "Zp")
# What Python makes of a byte that is not UTF-8.
_UNDECODED = "Cs"
_NAMES = {"\n": "a line break", "\r": "a carriage return", "\t": "a tab"}
# Of a single name, on every file system that Linux has.
_MOST_NAME_BYTES = 255
# What is left of SQLite's 504 beside the longest name of a pipeline, the scratch folder of `verify`
# and the name of the file.
MOST_OUTPUT_BYTES = 400


def expanded(path: pathlib.Path, origin: str) -> pathlib.Path:
    """Returns a path with the home folder in the place of `~`, which a shell may have left.

    Args:
      path: as it was given.
      origin: the option or variable that gave it.

    Raises:
      PathError: where there is no such home folder.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise PathError(
            f"{origin} {_shown(str(path))} begins with the home folder of a user whom this machine "
            "does not know; expected a path. Write it out in full."
        ) from error


def in_home(folder: str, variable: str) -> pathlib.Path:
    """Returns a folder in the user's home, unless an environment variable names another.

    Args:
      folder: path below the home folder, such as `.cache`.
      variable: name of the environment variable.

    Raises:
      PathError: where the variable names a folder that cannot be used.
    """
    return resolved(pathlib.Path(os.environ.get(variable) or f"~/{folder}"), variable)


def output_folder(path: pathlib.Path) -> pathlib.Path:
    """Returns an output folder, which TensorFlow, Beam and SQLite can work in, as it was given.

    Raises:
      PathError: where they cannot.
    """
    path = expanded(path, "--output-dir")
    place = resolved(path, "--output-dir")
    refuse_patterns(str(place), "--output-dir")
    size = len(os.fsencode(place))
    if size > MOST_OUTPUT_BYTES:
        raise PathError(
            f"--output-dir {_shown(str(place))} has {size} bytes; expected {MOST_OUTPUT_BYTES} at "
            "most, since SQLite opens no longer paths. Choose a folder with a shorter path."
        )
    return path


def resolved(path: pathlib.Path, origin: str) -> pathlib.Path:
    """Returns a full path without symbolic links, which can be told of and recorded.

    Args:
      path: as it was given.
      origin: the option or variable that gave it.

    Raises:
      PathError: where it is an address, its links lead in a circle, it begins with a home folder
        that does not exist, or it cannot be told of.
    """
    refuse_untold(str(path), origin)
    if _ADDRESS.match(str(path)):
        raise PathError(
            f"{origin} {path} is an address; expected a path on this machine. Copy what it names, "
            "or mount it; of a folder that is called so, give the full path."
        )
    # Not `Path.resolve`: of links that lead in a circle, it raises up to Python 3.12 alone.
    place = pathlib.Path(os.path.realpath(expanded(path, origin)))
    if _leads_in_a_circle(place):
        raise PathError(
            f"{origin} {path}: its symbolic links lead in a circle; expected a folder or a file. "
            "Remove the link, or name another."
        )
    # The folder that a relative path counts from, or that a link leads to, has a name too.
    refuse_untold(str(place), origin)
    return place


def refuse_endless(path: pathlib.Path) -> None:
    """Refuses what is no file that ends, such as a pipe or a device, which a reader waits for.

    Raises:
      PathError: says what was expected.
      OSError: where nothing can be learnt of it.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise PathError(
            f"{path} is a pipe or a device; expected a regular file. Copy its content to one."
        )


def refuse_untold(path: str, origin: str) -> None:
    """Refuses a path that fits into no line or into no name.

    Raises:
      PathError: names the characters.
    """
    bad = [each for each in path if unicodedata.category(each) in (*_LINES, _UNDECODED)]
    if bad:
        raise PathError(
            f"{origin} {_shown(path)} holds {_named(bad)}; expected a path of UTF-8 text without "
            "control characters and line breaks. Rename the folder or file, or name another."
        )
    longest = max(path.split("/"), key=lambda name: len(os.fsencode(name)))
    if len(os.fsencode(longest)) > _MOST_NAME_BYTES:
        raise PathError(
            f"{origin} {longest[:20]}... holds a name of {len(os.fsencode(longest))} bytes; "
            f"expected {_MOST_NAME_BYTES} at most. Choose a shorter name."
        )


def refuse_undecoded(text: str, origin: str) -> None:
    """Refuses a text that is not UTF-8: no record can hold it.

    Raises:
      PathError: names the bytes.
    """
    bad = [each for each in text if unicodedata.category(each) == _UNDECODED]
    if bad:
        raise PathError(
            f"{origin} {_shown(text)} holds {_named(bad)}; expected UTF-8 text. Rename the folder "
            "or file, or name another."
        )


def refuse_patterns(path: str, origin: str) -> None:
    """Refuses a path that TensorFlow and Beam would take for a pattern.

    Raises:
      PathError: names the characters.
    """
    bad = [each for each in path if each in _PATTERN]
    if bad:
        raise PathError(
            f"{origin} {_shown(path)} holds {_named(bad)}; expected a path without * ? [ and \\, "
            "which TensorFlow and Beam take for patterns that match other folders. Rename the "
            "folder, or choose another."
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
    """The text in one line of printable characters."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
