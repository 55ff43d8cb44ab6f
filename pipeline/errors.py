"""What a run can refuse before it starts.

    PipelineError              anything that is told in words, without a traceback
    +- UsageError              exit code 2: the caller can mend it
    |  +- ConfigurationError   an unknown profile, key or value
    |  +- PathError            a path that libraries would take for another
    |  +- DataError            data that cannot be had or cannot be read
    |  +- OutputError          an output folder that cannot be written to
    |  +- UnknownRunError      a run or a served model that does not exist
    |  +- UnsoundVersionError  a served version that fails its check
    |  +- ServedModelError     a served model that a run cannot be compared with
    |  +- StoreError           a metadata store that is damaged, of another version or inaccessible
    +- LockHeldError           exit code 4: another run of the same pipeline is at work
    +- StoreLockedError        exit code 1: another process has locked the metadata store
    +- StorageError            exit code 1: the outcome of a run cannot be recorded
    +- BaselineError           exit code 1: another model would be compared with than the served one
    +- VerificationError       exit code 1: a run could not be run again to be verified

Each message says what was found, what was expected and how to mend it, in one line.
"""

from __future__ import annotations


class PipelineError(Exception):
    """An error that is told in words."""

    exit_code = 1


class UsageError(PipelineError):
    """Bad input or configuration."""

    exit_code = 2


class ConfigurationError(UsageError):
    """An unknown profile, key or value."""


class PathError(UsageError):
    """A path that libraries would take for another, or that fits into no message."""


class DataError(UsageError):
    """Data that cannot be had, or that cannot be read."""


class OutputError(UsageError):
    """An output folder that cannot be written to."""


class UnknownRunError(UsageError):
    """A run or a served model that does not exist."""


class UnsoundVersionError(UsageError):
    """A served version that fails its check."""


class ServedModelError(UsageError):
    """A served model that a new one cannot be compared with."""


class StoreError(UsageError):
    """A metadata store that is damaged, of another version, or not accessible."""


class LockHeldError(PipelineError):
    """Another run of the same pipeline holds the lock."""

    exit_code = 4


class StoreLockedError(PipelineError):
    """Another process has locked the metadata store; later it may be free."""


class StorageError(PipelineError):
    """The outcome of a run cannot be recorded."""


class BaselineError(PipelineError):
    """ML Metadata would have a new model compared with another one than is served."""


class VerificationError(PipelineError):
    """A run could not be run again to be verified."""
