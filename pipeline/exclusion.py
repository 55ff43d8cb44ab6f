"""One command at a time per pipeline: the lock of its folder, and that of its database if any.

The lock of the folder keeps out others on this machine. The lock of the database also keeps out
other machines, where the file system may have no locks that reach them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pipeline import lock
from pipeline.database import binding
from pipeline.database.address import Address
from pipeline.database.registry import Lease, Registry
from pipeline.errors import LockLostError
from pipeline.locations import Locations
from pipeline.lock import Holder


class Held:
    """The locks of a pipeline, as long as they are held."""

    def __init__(self, file: lock.Held, lease: Lease | None):
        self._file = file
        self._lease = lease

    def note_run(self, run_id: str) -> None:
        """Notes which run is at work, so that no other run is taken for it."""
        self._file.note_run(run_id)
        if self._lease:
            self._lease.sign(run_id)

    def check(self) -> None:
        """Asks whether the locks are still held.

        Raises:
          LockLostError: where one of them is not.
        """
        if self._file.is_lost:
            raise LockLostError(
                f"the lock file {self._file.path} was removed or replaced: another command may be "
                "at work by now; expected it to stay until the end. Nothing was published. Once no "
                f"other command is at work, {lock.GO_ON}"
            )
        if self._lease:
            self._lease.check()

    def is_lost(self) -> bool:
        """Whether another command may be at work."""
        try:
            self.check()
        except LockLostError:
            return True
        return False


@contextlib.contextmanager
def exclusive(locations: Locations, purpose: str, address: Address | None = None) -> Iterator[Held]:
    """Holds the lock of a pipeline; it ends with the process.

    Args:
      locations: Places of the pipeline.
      purpose: What is done under the lock, for whoever finds it taken.
      address: Database that the pipeline shall use from now on; None leaves the one it uses.

    Raises:
      LockHeldError: where another process or machine holds it.
      OutputError: where its file can be neither made nor opened, or the system has no locks.
      StoreError: where the database refuses the pipeline.
      StoreUnreachableError: where the database does not answer.
    """
    with lock.exclusive(locations.lock, purpose) as file:
        address = address or _bound(locations)
        if address is None:
            yield Held(file, None)
            return
        with Registry(address, locations) as registry:
            yield Held(file, registry.take(purpose))


def check_free(locations: Locations, address: Address | None) -> None:
    """Refuses early, before work that only the holder of the lock needs to do.

    Args:
      locations: Places of the pipeline.
      address: Database of its metadata; None for a file.

    Raises:
      LockHeldError: where another process or machine holds the lock.
      StoreError: where the metadata is elsewhere, or the database belongs to another folder.
      StoreUnreachableError: where the database does not answer.
    """
    lock.check_free(locations.lock)
    binding.check(locations, address)
    if address is not None:
        with Registry(address, locations) as registry:
            registry.check()


def holder(locations: Locations) -> Holder | None:
    """Who holds the lock of a pipeline; None where nobody does.

    Raises:
      OutputError: where its file cannot be opened, or the system has no locks.
      StoreError: where the database refuses to answer.
      StoreUnreachableError: where the database does not answer.
    """
    if (found := lock.holder(locations.lock)) is not None:
        return found
    address = _bound(locations)
    if address is None:
        return None
    with Registry(address, locations) as registry:
        return registry.holder()


def _bound(locations: Locations) -> Address | None:
    bound = binding.read(locations)
    return bound.address if bound else None
