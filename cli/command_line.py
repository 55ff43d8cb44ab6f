"""Start, error reporting and end of every command line. Needs no library but Typer.

If the output cannot be written, a command that only prints information fails. A command that
`acts` keeps its exit code, since its work is done. It is no error if a reader such as `head` closes
the pipe.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from components import environment
from components.messages import escaped_lines, shown
from components.redaction import redacted
from pipeline import paths, streams
from pipeline.errors import ConfigurationError, ExitCode, PipelineError, UsageError

_PROJECT = Path(__file__).resolve().parents[1]

_OUTPUT_LOST = 1
# What the machine lacks, or its disk: no command can do anything about it, and none is wrong.
_OF_THE_MACHINE = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.EROFS,
    errno.ESTALE,
    errno.EMFILE,
    errno.ENFILE,
)

_acting = False


class Command(TyperCommand):
    """A single command; it reports bad option values like all other bad input."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parses the options.

        Raises:
          ConfigurationError: If an option has a bad value.
        """
        with _bad_values_reported():
            return super().make_context(*arguments, **options)


class Commands(TyperGroup):
    """A group of commands; it reports bad option values like all other bad input."""

    def invoke(self, ctx: Any) -> Any:
        """Parses the options of a command, and runs it.

        Raises:
          ConfigurationError: If an option has a bad value.
        """
        with _bad_values_reported():
            return super().invoke(ctx)


def start(app: typer.Typer) -> None:
    """Runs a command line and exits; prints a `PipelineError` as one line."""
    streams.enter_utf8()
    output = streams.prepare()
    environment.enter()
    code = _run(app)
    sys.stdout.flush()
    # A reader that closes the pipe, such as `head`, has read enough.
    if output.failure and not isinstance(output.failure, BrokenPipeError):
        code = _report_lost_output(output.failure, code)
    sys.exit(code)


def acts() -> None:
    """Declares that the exit code reports what the command does, not whether it could print.

    Raises:
      PathError: If the command line cannot be recorded, since it is not UTF-8.
    """
    global _acting
    _acting = True
    for argument in sys.argv:
        paths.refuse_undecoded(argument, "the command line")


def paragraphs(text: str) -> str:
    """A text whose paragraphs are a line each, which the terminal wraps at its own width."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)


def option_path(origin: str) -> Callable[[Path | None], Path | None]:
    """Returns a callback for a path option that replaces `~`, if the shell did not."""

    def callback(value: Path | None) -> Path | None:
        return value and paths.expanded(value, origin)

    return callback


def _run(app: typer.Typer) -> int:
    try:
        _check_working_folder()
        app()
    except PipelineError as error:
        print(f"error: {escaped_lines(str(error))}", file=sys.stderr)
        return error.exit_code
    except PermissionError as error:
        # Any command may encounter a file or folder of another user.
        print(
            f"error: no permission for {_place(error)} ({_reason(error)}); expected read and write "
            "permission. Change its permissions, or choose another folder.",
            file=sys.stderr,
        )
        return UsageError.exit_code
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            raise
        print(
            f"error: {_place(error)} cannot be read or written ({_reason(error)}); expected a disk "
            "that works and has room. Free some room or check the disk, then give the command "
            "again.",
            file=sys.stderr,
        )
        return ExitCode.FAILED
    except ModuleNotFoundError as error:
        if not _is_of_a_library(error):
            raise
        print(
            f"error: the environment lacks {shown(str(error.name))}; expected all libraries of "
            "this version of the project. Install them with: make setup",
            file=sys.stderr,
        )
        return ExitCode.FAILED
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0


def _is_of_a_library(error: ModuleNotFoundError) -> bool:
    """Whether a module is missing that this project does not have itself."""
    package = (error.name or "").partition(".")[0]
    return bool(package) and not (_PROJECT / package).exists()


def _place(error: OSError) -> str:
    return shown(os.fsdecode(error.filename)) if error.filename else "a file"


def _reason(error: OSError) -> str:
    return shown(error.strerror or str(error))


def _check_working_folder() -> None:
    """Refuses a working folder that was removed: relative paths have no meaning there.

    Raises:
      ConfigurationError: If the working folder was removed.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise ConfigurationError(
            f"the working folder cannot be used ({error.strerror}); expected an existing folder. "
            "Change to another folder first."
        ) from error


def _report_lost_output(failure: OSError, code: int) -> int:
    """Prints that the output is incomplete; returns the exit code."""
    lost = f"the output cannot be written ({failure.strerror})"
    if _acting:
        print(f"{lost}; the exit code still reports the command itself.", file=sys.stderr)
        return code
    print(
        f"error: {lost}; expected a terminal, a pipe or a file on a disk with space. Send the "
        "output elsewhere.",
        file=sys.stderr,
    )
    return code or _OUTPUT_LOST


@contextlib.contextmanager
def _bad_values_reported() -> Iterator[None]:
    """Replaces Typer's error about a bad option value by an error of this project.

    Raises:
      ConfigurationError: If an option has a bad value.
    """
    try:
        yield
    except TyperException as error:
        # It repeats what it does not know, such as an argument too many.
        error.message = redacted(error.message)
        if isinstance(error, typer.BadParameter):
            _report_bad_value(error)
        raise


def _report_bad_value(error: typer.BadParameter) -> None:
    import pydantic

    from pipeline.config import found_and_expected

    parameter, cause = error.param, error.__cause__
    # Typer reports missing values itself.
    if parameter is not None and isinstance(cause, pydantic.ValidationError):
        option, value = parameter.opts[0], parameter.metavar or "VALUE"
        raise ConfigurationError(
            f"{option}: {found_and_expected(cause)} Set it with {option} {value}."
        ) from error
