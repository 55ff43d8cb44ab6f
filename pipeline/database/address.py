"""The address of a database: `postgresql://USER@HOST:5432/DATABASE`.

This module uses only the standard library and Python 3.8 syntax, since the doctor uses it too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FORM = "postgresql://USER@HOST:5432/DATABASE"
_PASSWORD_FIX = "put the password into the environment variable PGPASSWORD, or into ~/.pgpass"
_DEFAULT_PORT = 5432
_HIGHEST_PORT = 65_535
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_ADDRESS = re.compile(
    rf"postgresql://(?P<user>{_NAME})@(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])"
    rf"(?::(?P<port>[0-9]{{1,5}}))?/(?P<database>{_NAME})"
)


class AddressError(ValueError):
    """An address that cannot be used; the message never holds the address itself."""


@dataclass(frozen=True)
class Address:
    """Where a database is. Its password is never part of it.

    Attributes:
      user: Name of the role.
      host: Name or address of the server, without brackets.
      port: Port of the server.
      database: Name of the database.
    """

    user: str
    host: str
    port: int
    database: str

    @property
    def uri(self) -> str:
        """The address, with the port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"postgresql://{self.user}@{host}:{self.port}/{self.database}"

    @property
    def is_of_this_machine(self) -> bool:
        """Whether the host is a name by which each machine calls itself."""
        return self.host.lower() in ("localhost", "::1") or self.host.startswith("127.")

    @property
    def shown(self) -> str:
        """The address for people, in a form that no log hides."""
        return f"database {self.database} at {self.host}:{self.port}"


def parse(uri: str) -> Address:
    """Read an address.

    Raises:
      AddressError: If it has a password, or another form.
    """
    login, at, _ = uri.rpartition("@")
    if at and ":" in login.partition("://")[2]:
        raise AddressError(
            f"found an address with a password, which every receipt would show; expected {FORM}. "
            f"Leave it out here, and {_PASSWORD_FIX}"
        )
    matched = _ADDRESS.fullmatch(uri)
    port = int(matched["port"] or _DEFAULT_PORT) if matched else 0
    if not matched or not 0 < port <= _HIGHEST_PORT:
        raise AddressError(
            f"found an address of another form; expected {FORM}, with names of letters, digits, "
            "dots, hyphens and underscores; only the port may be left out"
        )
    return Address(matched["user"], matched["host"].strip("[]"), port, matched["database"])
