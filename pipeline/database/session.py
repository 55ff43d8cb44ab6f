"""A connection to a database, with its faults in words."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from components.messages import shown
from pipeline.database import passwords
from pipeline.database.address import Address
from pipeline.errors import StoreError, StoreUnreachableError

if TYPE_CHECKING:
    from pg8000 import exceptions, native

# An answer that takes longer comes from no server in the same network. ML Metadata waits minutes.
_PATIENCE_SECONDS = 10.0
# Seen by administrators in pg_stat_activity.
_APPLICATION = "image-pipeline"
# The server ends the session of a machine that is gone within two minutes, not hours; and it ends
# none because nothing is asked while a node works.
_SETTINGS = (
    "SET tcp_keepalives_idle = 60",
    "SET tcp_keepalives_interval = 15",
    "SET tcp_keepalives_count = 4",
    "SET lock_timeout = '8s'",
)
# Known from PostgreSQL 14 on.
_IDLE_LIMIT = "idle_session_timeout"
_NO_PASSWORD = "28P01"
_REFUSED = "28000"
_NO_DATABASE = "3D000"
_NO_PERMISSION = "42501"
# Classes of SQLSTATE: connections, resources, and interventions of an administrator.
_PASSING_CLASSES = ("08", "53", "57", "58")
# Deadlocks, and locks that others hold.
_BUSY_CLASSES = ("40", "55")
# What the driver raises where something else than a PostgreSQL server answers it.
_NO_PROTOCOL = (KeyError, ValueError, struct.error)


class Session:
    """A session of a database; it ends with the block.

    Raises:
      StoreError: where the server refuses it, or has no such database.
      StoreUnreachableError: where no server answers.
    """

    def __init__(self, address: Address):
        # Only those who use a database pay for it.
        from pg8000 import exceptions, native

        self.address = address
        self._errors = (exceptions.Error, OSError)
        password = passwords.find(address)
        try:
            self._connection: native.Connection = native.Connection(
                address.user,
                host=address.host,
                port=address.port,
                database=address.database,
                # Without one, a server that asks for none is content all the same.
                password=password or "",
                timeout=_PATIENCE_SECONDS,
                application_name=_APPLICATION,
            )
        except self._errors as error:
            raise _in_words(address, error, password is not None) from error
        except _NO_PROTOCOL as error:
            raise StoreUnreachableError(
                f"the {address.shown} cannot be reached (another program answers there); expected "
                "a PostgreSQL server. Start it, or correct metadata.uri, and try again."
            ) from error
        try:
            self._set_up()
        except BaseException:
            self.__exit__()
            raise

    def _set_up(self) -> None:
        for setting in _SETTINGS:
            self.query(setting)
        if self.query("SELECT 1 FROM pg_settings WHERE name = :name", name=_IDLE_LIMIT):
            self.query(f"SET {_IDLE_LIMIT} = 0")

    def query(self, statement: str, **values: str | int | None) -> list[list[Any]]:
        """The rows that a statement returns.

        Args:
          statement: SQL, with `:name` for values.
          values: Values by name.

        Raises:
          StoreError: where the server refuses it.
          StoreUnreachableError: where the session or the server is gone.
        """
        try:
            return list(self._connection.run(statement, **values) or ())
        except self._errors as error:
            raise _in_words(self.address, error, has_password=True) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Makes the statements of the block one transaction."""
        self.query("BEGIN")
        try:
            yield
        except BaseException:
            with contextlib.suppress(StoreError, StoreUnreachableError):
                self.query("ROLLBACK")
            raise
        self.query("COMMIT")

    def __enter__(self) -> Self:
        """The session."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the session, and with it all its locks."""
        with contextlib.suppress(*self._errors):
            self._connection.close()


def _in_words(
    address: Address, error: exceptions.Error | OSError, has_password: bool
) -> StoreError | StoreUnreachableError:
    told = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    code, message = str(told.get("C", "")), shown(str(told.get("M") or _cause(error)))
    if not code or code[:2] in _PASSING_CLASSES:
        return StoreUnreachableError(
            f"the {address.shown} cannot be reached ({message}); expected a PostgreSQL server that "
            "answers. Start it, or correct metadata.uri, and try again."
        )
    if code[:2] in _BUSY_CLASSES:
        return StoreUnreachableError(
            f"the {address.shown} is in use by others ({message}); expected what is needed to be "
            "free within seconds. Try again."
        )
    if code == _NO_PASSWORD and not has_password:
        return StoreError(
            f"the {address.shown} asks for a password of {address.user}, and there is none: "
            f"{passwords.missing(address)}."
        )
    if code == _NO_PASSWORD:
        return StoreError(
            f"the {address.shown} refuses the password of {address.user}, or there is no such "
            "role; expected the right one in PGPASSWORD or, if that is not set, in the file of "
            "PGPASSFILE or ~/.pgpass. Correct it there, or correct the role in metadata.uri."
        )
    if code == _REFUSED:
        return StoreError(
            f"the {address.shown} refuses {address.user} ({message}); expected a role that may log "
            "in without TLS, which ML Metadata does not speak. Ask the administrator of the server."
        )
    if code == _NO_DATABASE:
        return StoreError(
            f"the server at {address.host}:{address.port} has no database {address.database}; "
            "expected one, which may be empty. Create it with: createdb --host "
            f"{address.host} --port {address.port} --owner {address.user} {address.database}"
        )
    if code == _NO_PERMISSION:
        return StoreError(
            f"{address.user} lacks a permission in the {address.shown} ({message}); expected a "
            f"role that owns its tables. Create the database with --owner {address.user}, or ask "
            "its administrator."
        )
    return StoreError(
        f"the {address.shown} cannot be used ({message}); expected a database for ML Metadata. "
        "Choose another with metadata.uri."
    )


def _cause(error: BaseException) -> str:
    cause = error.__cause__ or error
    return str(getattr(cause, "strerror", None) or cause)
