"""Prints what `clean` frees and what stays."""

from __future__ import annotations

import dataclasses
import json

from rich import filesize
from rich.table import Table

from cli.render.tables import make_console, plain_table
from operations.clean import Cleaned, CleanedPipeline


def print_cleaned(cleaned: Cleaned, as_json: bool) -> None:
    """Prints the figures of each pipeline and their sum, for people or as JSON."""
    if as_json:
        print(json.dumps(dataclasses.asdict(cleaned), indent=1))
        return
    console = make_console()
    for each in cleaned.pipelines:
        outdated, staying = len(each.outdated_runs), len(each.staying_runs)
        line = f"{each.pipeline}: {outdated} of {outdated + staying} runs are outdated"
        console.print(line, markup=False)
        console.print(_table(each))
    console.print(_total(cleaned))


def _table(cleaned: CleanedPipeline) -> Table:
    table = plain_table("", "", "size", right=("size",), no_wrap=True)
    table.show_header = False
    for label, sizes in (("frees", cleaned.frees), ("keeps", cleaned.keeps)):
        for kind, size in sizes.items():
            table.add_row(f"  {label}", kind, filesize.decimal(size))
    return table


def _total(cleaned: Cleaned) -> str:
    size = filesize.decimal(cleaned.freed_bytes)
    if cleaned.applied:
        return f"Freed {size}."
    if cleaned.freed_bytes:
        return f"Would free {size}; nothing was deleted. Delete it with --apply."
    return "There is nothing to free."
