"""What the command lines share: how they begin, tell of bad input and end. Needs Typer alone.

The exit code says what a command did. Where its output cannot be written, a command that only
answers has failed; one that `acts` has not. A reader that closes a pipe has read enough.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from components import environment
from pipeline import paths, streams
from pipeline.errors import ConfigurationError, PipelineError, UsageError

_OUTPUT_LOST = 1

_acting = False


class Command(TyperCommand):
    """A command line of one command, which tells of bad values as of all other bad input."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Reads the options.

        Raises:
          ConfigurationError: where one does not take the value that it is given.
        """
        with _told_in_words():
            return super().make_context(*arguments, **options)


class Commands(TyperGroup):
    """A command line of several commands, which tells of bad values as of all other bad input."""

    def invoke(self, ctx: Any) -> Any:
        """Reads the options of a command, and runs it.

        Raises:
          ConfigurationError: where one does not take the value that it is given.
        """
        with _told_in_words():
            return super().invoke(ctx)


def start(app: typer.Typer) -> None:
    """Runs a command line; tells errors that have words for themselves in words."""
    streams.enter_utf8()
    output = streams.prepare()
    environment.enter()
    code = _run(app)
    sys.stdout.flush()
    # A reader that closed the pipe, such as `head`, has read enough.
    if output.failure and not isinstance(output.failure, BrokenPipeError):
        code = _tell_lost_output(output.failure, code)
    sys.exit(code)


def acts() -> None:
    """Says that the exit code is about what the command does, not about what it prints.

    Raises:
      PathError: where the command line cannot be recorded, since it is not UTF-8.
    """
    global _acting
    _acting = True
    for argument in sys.argv:
        paths.refuse_undecoded(argument, "the command line")


def option_path(origin: str) -> Callable[[Path | None], Path | None]:
    """A callback for an option that takes a path: replaces `~`, which a shell may have left."""

    def callback(value: Path | None) -> Path | None:
        return value and paths.expanded(value, origin)

    return callback


def _run(app: typer.Typer) -> int:
    try:
        _check_working_folder()
        app()
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except PermissionError as error:
        # Any command may meet a file or folder of somebody else.
        print(
            f"error: {error.filename or 'a file'} cannot be used ({error.strerror}); expected "
            "permission for it. Give it to this user, or name another folder.",
            file=sys.stderr,
        )
        return UsageError.exit_code
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0


def _check_working_folder() -> None:
    """Refuses a working folder that was removed: no path can be told from there.

    Raises:
      ConfigurationError: where it was.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise ConfigurationError(
            f"the working folder cannot be used ({error.strerror}); expected one that exists. "
            "Change to another folder first."
        ) from error


def _tell_lost_output(failure: OSError, code: int) -> int:
    """Says that the output is not complete; returns the exit code."""
    lost = f"the output cannot be written ({failure.strerror})"
    if _acting:
        print(f"{lost}; what the command did stands.", file=sys.stderr)
        return code
    print(
        f"error: {lost}; expected a terminal, a pipe or a file with room. Send it elsewhere.",
        file=sys.stderr,
    )
    return code or _OUTPUT_LOST


@contextlib.contextmanager
def _told_in_words() -> Iterator[None]:
    """Turns what Typer says of a value that an option does not take into the words of the project.

    Raises:
      ConfigurationError: in the place of Typer's own error.
    """
    try:
        yield
    except typer.BadParameter as error:
        import pydantic

        from pipeline.config import found_and_expected

        parameter, cause = error.param, error.__cause__
        # Of what is missing, Typer tells.
        if parameter is None or not isinstance(cause, pydantic.ValidationError):
            raise
        option, value = parameter.opts[0], parameter.metavar or "VALUE"
        raise ConfigurationError(
            f"{option}: {found_and_expected(cause)} Set it with {option} {value}."
        ) from error
