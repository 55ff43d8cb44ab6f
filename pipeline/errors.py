"""Errors that the commands print as one line, without a traceback.

    PipelineError              base class
    +- UsageError              exit code 2: the caller can fix it
    |  +- ConfigurationError   unknown profile, key or value
    |  +- PathError            path that the libraries cannot use
    |  +- DataError            missing or unreadable data
    |  +- OutputError          output folder without write permission
    |  +- UnknownRunError      unknown run or served model
    |  +- UnsoundVersionError  served version that fails its check
    |  +- ServedModelError     served model that a new model cannot be compared with
    |  +- StoreError           metadata store that is damaged, inaccessible or of another version
    +- LockHeldError           exit code 4: another run of the same pipeline is in progress
    +- LockLostError           exit code 1: the run no longer holds its lock
    +- CodeChangedError        exit code 1: the code of the project changed during the run
    +- StoreLockedError        exit code 1: another process has locked the metadata store
    |  +- StoreUnreachableError  the database of the metadata does not answer
    +- UnreachableError        exit code 1: a bucket does not answer
    +- StorageError            exit code 1: the outcome of a run cannot be recorded
    +- BaselineError           exit code 1: TFX would use a baseline that is not the served model
    +- VerificationError       exit code 1: a run could not be repeated for `verify`

Each message says what was found, what was expected and how to fix it, in one line. Messages go to
terminals, logs, receipts and chats, so the secrets of addresses in them are hidden.
"""

from __future__ import annotations

import enum

from components.redaction import redacted


class ExitCode(enum.IntEnum):
    """Exit codes of the commands."""

    PUSHED = 0
    FAILED = 1
    BAD_INPUT = 2
    REFUSED = 3
    HELD = 4
    DIFFERENT = 5
    INTERRUPTED = 130
    """Interrupted by Ctrl-C; shells use the same code."""


class PipelineError(Exception):
    """An error that is printed as one line, without a traceback."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str):
        """Takes a message and hides the secrets of addresses in it."""
        super().__init__(redacted(message))


class UsageError(PipelineError):
    """Bad input or configuration."""

    exit_code = ExitCode.BAD_INPUT


class ConfigurationError(UsageError):
    """An unknown profile, key or value."""


class PathError(UsageError):
    """A path that the libraries cannot use, or that cannot be printed."""


class DataError(UsageError):
    """Missing or unreadable data."""


class OutputError(UsageError):
    """An output folder without write permission."""


class UnknownRunError(UsageError):
    """An unknown run or served model."""


class UnsoundVersionError(UsageError):
    """A served version that fails its check."""


class ServedModelError(UsageError):
    """A served model that a new one cannot be compared with."""


class StoreError(UsageError):
    """A metadata store that is damaged, inaccessible or of another version."""


class LockHeldError(PipelineError):
    """Another run of the same pipeline holds the lock."""

    exit_code = ExitCode.HELD


class StoreLockedError(PipelineError):
    """Another process has locked the metadata store; a later try may succeed."""


class StoreUnreachableError(StoreLockedError):
    """The database of the metadata does not answer; a later try may succeed."""


class LockLostError(PipelineError):
    """The run no longer holds its lock: its file is gone, or the session of its database."""


class CodeChangedError(PipelineError):
    """The code of the project changed during the run; a later try may succeed."""


class UnreachableError(PipelineError):
    """A bucket that does not answer; a later try may succeed."""


class StorageError(PipelineError):
    """The outcome of a run cannot be recorded."""


class BaselineError(PipelineError):
    """TFX would compare a new model with a baseline that is not the served model."""


class VerificationError(PipelineError):
    """A run could not be repeated to verify it."""
