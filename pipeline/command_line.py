"""What the command lines share: how they tell of bad input. Needs Typer alone."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from pipeline.errors import ConfigurationError, PipelineError


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
    try:
        app()
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


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
