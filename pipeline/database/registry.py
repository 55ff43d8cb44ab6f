"""The pipelines of a database: the folder and the lock of each.

A pipeline has one folder, since ML Metadata holds full paths: from the cache of another folder, a
run would take files that are not there. The lock is an advisory lock of a session, so that it ends
with the session, whatever becomes of the process or its machine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import socket
from typing import Self

from components.messages import shown
from pipeline import lock
from pipeline.database import binding
from pipeline.database.address import Address
from pipeline.database.session import Session
from pipeline.errors import LockHeldError, LockLostError, StoreError, StoreUnreachableError
from pipeline.locations import Locations
from pipeline.lock import Holder

_TABLE = "image_pipelines"
_MAKE_TABLE = f"""
CREATE TABLE IF NOT EXISTS {_TABLE} (
  name text PRIMARY KEY,
  root text NOT NULL,
  root_id text NOT NULL,
  host text NOT NULL,
  session integer,
  holder text
)"""
# The two halves of the number of a lock are shown as two numbers.
_OF_LOCK = """
locktype = 'advisory' AND granted AND objsubid = 1
AND CAST(classid AS bigint) = :high AND CAST(objid AS bigint) = :low
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_WORD = 2**32


class Registry:
    """A pipeline in a database, seen from a session; it ends with the block.

    Raises:
      StoreError: where the server refuses the session.
      StoreUnreachableError: where no server answers.
    """

    def __init__(self, address: Address, locations: Locations):
        self._session = Session(address)
        self._address = address
        self._locations = locations
        self._root = str(locations.root.resolve())
        self._name = locations.root.name
        self._key = _key(f"image-pipeline:{self._name}")

    def __enter__(self) -> Self:
        """The pipeline."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the session, and with it the lock."""
        self._session.__exit__()

    def check(self) -> None:
        """Refuses early, before work that only the holder of the lock needs to do.

        Raises:
          StoreError: where the pipeline has another folder.
          LockHeldError: where another session holds its lock.
        """
        self._check_root(binding.read(self._locations))
        if (found := self.holder()) is not None:
            raise LockHeldError(lock.refusal(self._name, found))

    def holder(self) -> Holder | None:
        """Who holds the lock; None where nobody does."""
        found = self._session.query(f"SELECT pid FROM pg_locks WHERE {_OF_LOCK}", **self._halves)
        if not found:
            return None
        row = self._row("session, holder")
        signed = row is not None and row[0] == found[0][0] and row[1]
        return lock.parse_holder(str(row[1])) if row and signed else Holder()

    def take(self, purpose: str) -> Lease:
        """Takes the lock, and gives the name of the pipeline to its folder if it is free.

        Args:
          purpose: What is done under the lock, for whoever finds it taken.

        Raises:
          LockHeldError: where another session holds it.
          StoreError: where the pipeline has another folder or another database.
          OutputError: where the folder cannot take a note of the database.
        """
        taken = self._session.query("SELECT pg_try_advisory_lock(:key)", key=self._key)
        if not taken[0][0]:
            raise LockHeldError(lock.refusal(self._name, self.holder() or Holder()))
        # A run on another machine may have chosen another database since the first check.
        binding.check(self._locations, self._address)
        self._claim()
        lease = Lease(self, lock.signature(purpose))
        lease.sign()
        return lease

    @property
    def shown(self) -> str:
        """The pipeline and its database in words."""
        return f"the pipeline {self._name} in the {self._address.shown}"

    def is_held(self) -> bool:
        """Whether this session holds the lock.

        Raises:
          StoreUnreachableError: where the session is gone.
        """
        return bool(
            self._session.query(
                f"SELECT 1 FROM pg_locks WHERE pid = pg_backend_pid() AND {_OF_LOCK}",
                **self._halves,
            )
        )

    def sign(self, holder: Holder) -> None:
        """Notes who holds the lock."""
        self._session.query(
            f"UPDATE {_TABLE} SET session = pg_backend_pid(), holder = :holder WHERE name = :name",
            holder=json.dumps(dataclasses.asdict(holder)),
            name=self._name,
        )

    @property
    def _halves(self) -> dict[str, int]:
        high, low = divmod(self._key % _WORD**2, _WORD)
        return {"high": high, "low": low}

    def _row(self, columns: str) -> list[object] | None:
        if not self._session.query("SELECT 1 WHERE to_regclass(:table) IS NOT NULL", table=_TABLE):
            return None
        rows = self._session.query(
            f"SELECT {columns} FROM {_TABLE} WHERE name = :name", name=self._name
        )
        return rows[0] if rows else None

    def _claim(self) -> None:
        """Gives the name to the folder; only the holder of the lock may call it.

        The note in the folder comes first: a folder without its id would be refused for ever.
        """
        bound = binding.read(self._locations)
        if self._check_root(bound):
            return
        if bound is None:
            bound = binding.write(self._locations, self._address)
        with self._session.transaction():
            # Two pipelines may come first at the same time.
            self._session.query("SELECT pg_advisory_xact_lock(:key)", key=_key(_TABLE))
            self._session.query(_MAKE_TABLE)
            self._session.query(
                f"INSERT INTO {_TABLE} (name, root, root_id, host) VALUES (:n, :r, :i, :h)",
                n=self._name,
                r=self._root,
                i=bound.root_id,
                h=socket.gethostname(),
            )

    def _check_root(self, bound: binding.Binding | None) -> bool:
        """Whether the name is taken by this folder; False where it is free.

        Raises:
          StoreError: where another folder has it, or this may be another database than the one of
            the folder.
        """
        row = self._row("root, root_id, host")
        if row is None:
            self._check_server(bound)
            return False
        root, root_id, host = map(str, row)
        if root == self._root and bound is not None and bound.root_id == root_id:
            return True
        other = root if root != self._root else "another folder of the same path"
        raise StoreError(
            f"{self.shown} belongs to {other}, on {host}, and this command would use {self._root} "
            f"on {socket.gethostname()}; expected one folder, which all machines see under the "
            "same path. Use it, or give this pipeline another name (--set name=NAME) or another "
            "database. Nothing was changed."
        )

    def _check_server(self, bound: binding.Binding | None) -> None:
        """Refuses a database of this machine if that of another one has the pipeline.

        Each of them would lock its own, and both push into the same folder.
        """
        here = socket.gethostname()
        if (
            bound is None
            or bound.host in (None, here)
            or bound.address != self._address
            or not self._address.is_of_this_machine
        ):
            return
        raise StoreError(
            f"{self._locations.database} was written on {shown(str(bound.host))}, where "
            f"{self._address.host} is another machine than on {here}; expected a host that is the "
            f"same server on all machines. Fix: write its name into {self._locations.database}, "
            "and into metadata.uri. Nothing was changed."
        )


class Lease:
    """The lock of a pipeline, as long as its session lives."""

    def __init__(self, registry: Registry, signature: Holder):
        self._registry = registry
        self._signature = signature

    def sign(self, run_id: str | None = None) -> None:
        """Notes who holds the lock, and which run is at work."""
        self._registry.sign(dataclasses.replace(self._signature, run=run_id))

    def check(self) -> None:
        """Asks, in the session of the lock, whether it is still held.

        Raises:
          LockLostError: where it is not, or nobody can tell.
        """
        try:
            if self._registry.is_held():
                return
            cause = None
        except (StoreError, StoreUnreachableError) as error:
            cause = error
        raise LockLostError(
            f"the lock of {self._registry.shown} was lost: its session was cut, or the server was "
            "restarted. Another command may be at work by now; expected to hold the lock until "
            "the end. Nothing was published. Once the database answers and no other command is at "
            f"work, {lock.GO_ON}"
        ) from cause


def _key(name: str) -> int:
    """The number of a lock, of 64 bits with a sign."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
