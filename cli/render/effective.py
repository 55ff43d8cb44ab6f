"""Prints the effective values of a configuration."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.markup import escape

from cli.render.tables import make_console, plain_table
from operations.effective import Value


def print_effective(values: Sequence[Value], as_json: bool) -> None:
    """Prints every value and where it comes from, as a table or as JSON."""
    if as_json:
        found = {each.key: {"value": each.value, "from": each.origin} for each in values}
        print(json.dumps(found, indent=1))
        return
    table = plain_table("key", "value", "from", fold=True)
    for each in values:
        value = json.dumps(each.value, ensure_ascii=False)
        table.add_row(each.key, escape(value), escape(each.origin))
    make_console().print(table)
