"""Tables of results, for the terminal and for Markdown."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table as RichTable

# Of lines that no terminal limits.
_WIDTH = 200


@dataclasses.dataclass(frozen=True)
class Table:
    """Headings and rows of text; all columns but the first hold numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def show(self) -> None:
        """Prints it for a person."""
        table = RichTable(box=None, padding=(0, 2, 0, 0))
        for number, heading in enumerate(self.headings):
            table.add_column(escape(heading), justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*map(escape, row))
        console = Console(width=None if sys.stdout.isatty() else _WIDTH)
        # On a narrow terminal headings may wrap, but no number is cut short.
        least = Measurement.get(console, console.options.update(width=_WIDTH), table).minimum
        console.width = max(console.width, least)
        console.print(table)

    def markdown(self) -> str:
        """The same as a Markdown table."""
        lines = [self.headings, ["---"] * len(self.headings), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
