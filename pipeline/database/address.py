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
_HOST = re.compile(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]")
_HOST_PART = re.compile(r"\[[^]]*\]|[^:]*")
# What begins an address of another kind; no password is part of it.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_BEGINNING = "postgresql://"
_CHARACTERS = "letters, digits, dots, hyphens and underscores"


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
      AddressError: If it has a password, or a part of it is wrong.
    """
    login, at, _ = uri.rpartition("@")
    if at and ":" in login.partition("://")[2]:
        raise AddressError(
            f"found an address with a password, which every receipt would show; expected {FORM}. "
            f"Leave it out here, and {_PASSWORD_FIX}"
        )
    user, _, place = _without_scheme(uri).rpartition("@")
    if not user:
        raise _wrong("without a user", "Write USER@ before the host")
    server, _, database = place.partition("/")
    if not database:
        raise _wrong("without a database", "Write /DATABASE at its end")
    for part, name in (("user", user), ("database", database)):
        if not re.fullmatch(_NAME, name):
            raise _wrong(
                f"whose {part} is not a valid name",
                f"Use {_CHARACTERS}, and neither a dot nor a hyphen first",
            )
    host, port = _host_and_port(server)
    return Address(user, host, port, database)


def _without_scheme(uri: str) -> str:
    """What follows `postgresql://`."""
    scheme, separator, rest = uri.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        raise _wrong(f"without {_BEGINNING} at its beginning", "Write it there")
    if scheme + separator != _BEGINNING:
        raise _wrong(f"that begins with {scheme}://", f"Write {_BEGINNING}")
    if "?" in rest or "#" in rest:
        raise _wrong("with a query or a fragment (? or #)", "Leave it out: there are no options")
    return rest


def _host_and_port(server: str) -> tuple[str, int]:
    """The host, without brackets, and the port."""
    matched = _HOST_PART.match(server)
    host = matched[0] if matched else ""
    colon, port = server[len(host) :][:1], server[len(host) + 1 :]
    if not host:
        raise _wrong("without a host", "Write the name of the server after @")
    if not _HOST.fullmatch(host) or colon not in ("", ":") or ":" in port:
        raise _wrong(
            "whose host is not a valid name",
            f"Use {_CHARACTERS}, or an IPv6 address in brackets",
        )
    if not colon:
        return host.strip("[]"), _DEFAULT_PORT
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) <= _HIGHEST_PORT:
        raise _wrong(
            f"whose port is no number from 1 to {_HIGHEST_PORT}",
            f"Correct it, or leave it out for {_DEFAULT_PORT}",
        )
    return host.strip("[]"), int(port)


def _wrong(what: str, fix: str) -> AddressError:
    """An error that names a part of an address, and does not show it: it may be a password."""
    return AddressError(f"found an address {what}; expected {FORM}. {fix}")
