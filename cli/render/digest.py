"""Prints the digest of a data set."""

from __future__ import annotations

import dataclasses
import json

from rich.markup import escape

from cli.render.tables import make_console, plain_table
from components import features
from components.messages import shown
from operations.digest import DataDigest


def print_digest(found: DataDigest, as_json: bool) -> None:
    """Prints a digest with the classes behind it, for people or as JSON."""
    if as_json:
        print(json.dumps(dataclasses.asdict(found), indent=1))
        return
    console = make_console()
    table = plain_table("class", *features.SPLITS, right=features.SPLITS, fold=True)
    for each in found.classes:
        counts = (f"{count:,}" for count in (each.train, each.val, each.test))
        table.add_row(escape(shown(each.name)), *counts)
    console.print(table)
    ignored = (f"Ignored {line}" for line in found.ignored)
    data = f"\nData    {shown(found.data)}: {found.summary}"
    doubts = (f"Warning {line}" for line in found.doubts)
    for line in (data, *ignored, *doubts, f"Digest  {found.digest}"):
        console.print(line, soft_wrap=True, markup=False)
