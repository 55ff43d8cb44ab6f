"""The errors of nodes from which the record of a run takes more than their message.

They are apart from the nodes, so that whoever catches them need not import TFX or TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence


class DataGateStop(RuntimeError):
    """The data is not fit for training; each line of the message is a finding."""


class ConfigurationFailure(RuntimeError):
    """A node failed, and with the same configuration it may fail again.

    Attributes:
      changes: Changes of the configuration, as `key=value`, that may help. Empty if none is known.
    """

    def __init__(self, message: str, changes: Sequence[str]):
        """Creates the error from its message and the changes that may help."""
        super().__init__(message)
        self.changes = tuple(changes)
