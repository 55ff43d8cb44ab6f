"""Tables and the console that they go to."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.messages import escaped_lines

# Width where no terminal sets one: programs cut lines themselves.
_UNLIMITED = 200


class _Console(Console):
    """A console that no text can command: what receipts and reviews hold is escaped."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Returns a text as it is printed, without control characters."""
        return super().render_str(escaped_lines(text), **options)


def make_console() -> Console:
    """A console as wide as the terminal, or wide enough for whole lines where there is none."""
    # No emoji: a colon in a path or in the name of a class begins none. No highlighting of numbers
    # and paths: it takes minutes for a line of some ten thousand characters.
    width = None if sys.stdout.isatty() else _UNLIMITED
    return _Console(width=width, emoji=False, highlight=False)


def plain_table(
    *columns: str, right: tuple[str, ...] = (), no_wrap: bool = False, fold: bool = False
) -> Table:
    """A table without lines around its cells.

    Args:
      columns: Headings.
      right: Headings of the columns that are aligned to the right.
      no_wrap: Whether each cell stays on one line.
      fold: Whether long words are broken instead of cut.
    """
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in columns:
        table.add_column(
            heading,
            justify="right" if heading in right else "left",
            no_wrap=no_wrap,
            overflow="fold" if fold else "ellipsis",
        )
    return table
