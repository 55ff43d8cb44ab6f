"""Checks of a metadata store in a database before ML Metadata opens it, as `stores` does for files.

ML Metadata says of a server only that there is no connection, and tries a schema of another version
with the statements of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pipeline.database.address import Address
from pipeline.database.session import Session
from pipeline.errors import StoreError
from pipeline.records.stores import STORE_VERSION

# Of the lock under which the tables are made; ML Metadata fails if two make them at the same time.
_MAKING_TABLES = 7_238_516_001
_OF_ITS_OWN = ("artifact", "execution", "context", "type")


def check(address: Address) -> None:
    """Refuses a store that cannot be used; an empty database can.

    Raises:
      StoreError: where the server refuses it, or it is of another version or another program.
      StoreUnreachableError: where no server answers.
    """
    with Session(address) as session:
        _check(session)


@contextlib.contextmanager
def ready(address: Address) -> Iterator[None]:
    """Checks a store; while its tables are still to be made, nobody else makes them in the block.

    Raises:
      StoreError: where the server refuses it, or it is of another version or another program.
      StoreUnreachableError: where no server answers.
    """
    with Session(address) as session:
        if not _has_table(session, "mlmdenv"):
            session.query("SELECT pg_advisory_lock(:key)", key=_MAKING_TABLES)
        _check(session)
        yield


def raise_execution_number(address: Address, least: int) -> int:
    """Gives the next execution a number above `least`; returns the highest number until now.

    Raises:
      StoreError: where the server refuses that.
      StoreUnreachableError: where no server answers.
    """
    with Session(address) as session, session.transaction():
        # Other pipelines take numbers from the same sequence: none may do so in between.
        session.query("LOCK TABLE execution IN SHARE ROW EXCLUSIVE MODE")
        ((last, is_called),) = session.query("SELECT last_value, is_called FROM execution_id_seq")
        if last < least:
            session.query("SELECT setval('execution_id_seq', :least)", least=least)
        return int(last) if is_called else 0


def _check(session: Session) -> None:
    shown, user = session.address.shown, session.address.user
    if session.query("SELECT pg_is_in_recovery()")[0][0]:
        raise StoreError(
            f"the {shown} is a copy that only reads; expected the server that takes writes. "
            "Correct metadata.uri."
        )
    if not _has_table(session, "mlmdenv"):
        if any(_has_table(session, name) for name in _OF_ITS_OWN):
            raise StoreError(
                f"the {shown} has tables of another program with the names of ML Metadata's; "
                "expected an empty database, or one of ML Metadata. Choose another with "
                "metadata.uri."
            )
        if not session.query("SELECT has_schema_privilege(current_schema(), 'CREATE')")[0][0]:
            raise StoreError(
                f"{user} may make no tables in the {shown}; expected the owner of the database. "
                f"Create it with --owner {user}, or ask its administrator."
            )
        return
    if not session.query("SELECT has_table_privilege('mlmdenv', 'INSERT')")[0][0]:
        raise StoreError(
            f"{user} may not write to the tables of ML Metadata in the {shown}; expected the role "
            "that made them. Correct metadata.uri, or ask the administrator of the database."
        )
    versions = [row[0] for row in session.query("SELECT schema_version FROM mlmdenv")]
    if versions != [STORE_VERSION]:
        told = ", ".join(map(str, versions)) or "none"
        raise StoreError(
            f"the {shown} has version {told} of ML Metadata's schema; expected version "
            f"{STORE_VERSION}, the one of the installed ML Metadata. Use the version of the "
            "project that fits, or an empty database with metadata.uri."
        )


def _has_table(session: Session, name: str) -> bool:
    return bool(session.query("SELECT to_regclass(:name) IS NOT NULL", name=name)[0][0])
