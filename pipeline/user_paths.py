"""Paths as a user gives them. Needs the standard library alone."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.errors import ConfigurationError


def expanded(path: str | Path, origin: str) -> Path:
    """The path with `~` replaced by the home folder.

    Args:
      path: as the user gave it.
      origin: option or variable that it comes from.

    Raises:
      ConfigurationError: where there is no such home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigurationError(
            f"{origin}: {path} begins with a home folder that this machine does not know; expected "
            "a path. Write it out in full."
        ) from error


def in_home(folder: str, variable: str) -> Path:
    """A folder in the user's home, unless an environment variable names another.

    Args:
      folder: path below the home folder, such as `.cache`.
      variable: name of the environment variable.

    Raises:
      ConfigurationError: where the variable names a home folder that does not exist, or where the
        folder is not UTF-8.
    """
    path = expanded(os.environ.get(variable) or f"~/{folder}", variable)
    check_utf8(path, variable)
    return path


def check_utf8(text: str | Path, origin: str) -> None:
    """Refuses a name that TFX, ML Metadata and JSON cannot hold.

    Args:
      text: a path, or a command line.
      origin: what it is, told to the user.

    Raises:
      ConfigurationError: where it holds bytes that are not UTF-8.
    """
    name = str(text)
    # Python stands in such bytes with lone surrogates, U+DC80 to U+DCFF.
    bad = sorted({f"\\x{ord(letter) - 0xDC00:02x}" for letter in name if _is_byte(letter)})
    if bad:
        shown = "".join(f"\\x{ord(c) - 0xDC00:02x}" if _is_byte(c) else c for c in name)
        raise ConfigurationError(
            f"{origin}: {shown} is not UTF-8 (bytes {', '.join(bad)}); expected a name in UTF-8, "
            "since ML Metadata and receipts hold nothing else. Rename it."
        )


def _is_byte(letter: str) -> bool:
    return "\udc80" <= letter <= "\udcff"
