"""The password of a database, where PostgreSQL's own programs look for it.

ML Metadata finds it in the same places by itself, through libpq. So no configuration, message or
log ever holds it: TFX and ML Metadata log all that they are told about a connection.
"""

from __future__ import annotations

import os
import pathlib
import re
import stat

from pipeline.database.address import Address
from pipeline.errors import StoreError

_VARIABLE, _FILE_VARIABLE = "PGPASSWORD", "PGPASSFILE"
# Five fields; a colon or a backslash within one has a backslash before it.
_LINE = re.compile(":".join([r"((?:\\.|[^:\\])*)"] * 5))
_ESCAPED = re.compile(r"\\(.)")
_SPECIAL = re.compile(r"[:\\]")


def find(address: Address) -> str | None:
    """The password for a database; None where there is none.

    The variable PGPASSWORD comes first, then the first fitting line `host:port:database:user:
    password` of the file that PGPASSFILE names, which is ~/.pgpass if it is not set.

    Raises:
      StoreError: If the file cannot be read, or others may read it: libpq would ignore it.
    """
    if password := os.environ.get(_VARIABLE):
        return password
    path = _file()
    try:
        lines = _lines(path)
    except FileNotFoundError as error:
        if not os.environ.get(_FILE_VARIABLE):
            return None
        raise _unread(path, error.strerror) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _unread(path, getattr(error, "strerror", "it is not UTF-8 text")) from error
    wanted = (address.host, str(address.port), address.database, address.user)
    for line in lines:
        if fields := _fields(line):
            *place, password = fields
            if all(field in ("*", value) for field, value in zip(place, wanted, strict=True)):
                return password
    return None


def missing(address: Address) -> str:
    """Where `find` looked in vain, and how to put a password there, for a message."""
    path, line = _file(), _place(address)
    lack = f"no line of {path} is for {line}" if path.exists() else f"there is no file {path}"
    return (
        f"{_VARIABLE} is not set, and {lack}; expected a password in one of them. Fix: put it into "
        f"the environment variable {_VARIABLE}, or the line {line}:PASSWORD into {path}, which "
        "only this user may read (chmod 600)"
    )


def name_file() -> None:
    """Names the file to libpq, which takes the home of the user for that of HOME."""
    if not os.environ.get(_FILE_VARIABLE) and os.access(_at_home(), os.R_OK):
        os.environ[_FILE_VARIABLE] = str(_at_home())


def _file() -> pathlib.Path:
    return pathlib.Path(os.environ.get(_FILE_VARIABLE) or _at_home())


def _place(address: Address) -> str:
    """The first four fields of a line for a database."""
    fields = (address.host, str(address.port), address.database, address.user)
    return ":".join(_SPECIAL.sub(r"\\\g<0>", field) for field in fields)


def _at_home() -> pathlib.Path:
    return pathlib.Path.home() / ".pgpass"


def _lines(path: pathlib.Path) -> list[str]:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise _unread(path, "it is no regular file")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise StoreError(
            f"{path} may be read by other users; expected a password file of this user alone, or "
            f"PostgreSQL ignores it. Fix: chmod 600 {path}"
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _fields(line: str) -> list[str]:
    """The five fields of a line; none where it has fewer."""
    matched = _LINE.match(line)
    return [_ESCAPED.sub(r"\1", field) for field in matched.groups()] if matched else []


def _unread(path: pathlib.Path, why: str | None) -> StoreError:
    return StoreError(
        f"the password file {path} cannot be read ({why}); expected lines of the form "
        f"host:port:database:user:password. Correct {_FILE_VARIABLE}, or set {_VARIABLE}."
    )
