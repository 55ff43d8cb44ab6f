"""The lock of the run, which Pusher checks immediately before it publishes.

The run holds the lock of its database in a session of its own process. A parameter of a node cannot
carry a session, so the run leaves the check here, where Pusher finds it: both local runners run it
in the process of the run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Check = Callable[[], None]

_checks: list[Check] = []


class UnguardedError(RuntimeError):
    """Pusher has to check a lock, and runs in a process that does not hold it."""


@contextlib.contextmanager
def guarded(check: Check) -> Iterator[None]:
    """Leaves the check of a lock to the Pusher that runs in the block.

    Args:
      check: Raises an error if the lock is no longer held.
    """
    _checks.append(check)
    try:
        yield
    finally:
        _checks.remove(check)


def check() -> None:
    """Checks the lock of the run.

    Raises:
      UnguardedError: If this process holds none.
      Exception: Whatever the check of the lock raises if it is no longer held.
    """
    if not _checks:
        raise UnguardedError(
            "the lock of the pipeline is not held by this process; expected Pusher in the process "
            "of the run. Nothing was pushed. Use --runner local or beam."
        )
    _checks[-1]()
