"""Where a cluster finds the addresses to notify."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class NotifySecret:
    """A key of a Kubernetes secret that holds the addresses to notify.

    Attributes:
      name: Name of the secret.
      key: Key in the secret.
    """

    name: str
    key: str
