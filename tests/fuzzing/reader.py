"""What a reader of untrusted files promises, and how it is checked.

A reader answers, or refuses with an error of the project that says what was found, what was
expected and how to fix it.
"""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Callable

from components.messages import escaped_lines

_MOST_CHARACTERS = 4_000


class Violation(Exception):
    """A reader broke its promise; the message says how."""


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader of untrusted files.

    Attributes:
      make: Writes sound files into an empty folder.
      ask: Reads the files in a folder; returns True where it refused some of them by itself.
      refusals: Errors that it may raise.
      fixed: Files that are never damaged, by the beginnings of their relative paths.
      warm_up: Imports large libraries, and loads what it asks, from sound files; called in the
        process that asks, ahead of its limits. None for a reader that the fast tests ask, too.
    """

    make: Callable[[pathlib.Path], object]
    ask: Callable[[pathlib.Path], object]
    refusals: tuple[type[Exception], ...] = ()
    fixed: tuple[str, ...] = ()
    warm_up: Callable[[pathlib.Path], object] | None = None


def check(reader: Reader, folder: pathlib.Path) -> bool:
    """Asks a reader.

    Returns:
      Whether it refused something, with an error or a warning.

    Raises:
      Violation: It refused, or warned, in a way that people should not see.
    """
    heard = _Heard()
    logging.getLogger().addHandler(heard)
    try:
        refused = reader.ask(folder) is True
    except reader.refusals as error:
        check_message(str(error), three_parts=True)
        refused = True
    finally:
        logging.getLogger().removeHandler(heard)
    for message in heard.messages:
        check_message(message, three_parts=False)
    return refused or bool(heard.messages)


def check_message(message: str, three_parts: bool) -> None:
    """Checks what people would see.

    Raises:
      Violation: It lacks a part, is too long, or could command a terminal.
    """
    if len(message) > _MOST_CHARACTERS:
        raise Violation(f"a message of {len(message)} characters: {message[:200]!r}")
    if escaped_lines(message) != message:
        raise Violation(f"a message with control characters: {message[:500]!r}")
    if three_parts and "expected" not in message:
        raise Violation(f"a message that does not say what was expected: {message!r}")


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(("pipeline", "operations", "review", "components")):
            self.messages.append(record.getMessage())
