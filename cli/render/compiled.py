"""Prints what `compile` compiled."""

from __future__ import annotations

import dataclasses
import json

from cli.render.tables import make_console, plain_table
from operations.compile import Compiled


def print_compiled(compiled: Compiled, as_json: bool) -> None:
    """Prints what was compiled and how to submit it, for people or as JSON."""
    if as_json:
        print(json.dumps(dataclasses.asdict(compiled), indent=1))
        return
    console = make_console()
    table = plain_table("node", "cpu", "memory", right=("cpu", "memory"))
    for node, resources in compiled.nodes.items():
        table.add_row(node, resources.cpu, resources.memory)
    console.print(table)
    for line in _lines(compiled):
        console.print(line, soft_wrap=True, markup=False)


def _lines(compiled: Compiled) -> list[str]:
    parameters = dataclasses.asdict(compiled.parameters)
    return [
        f"\nPipeline    {compiled.pipeline}, profile {compiled.profile}, "
        f"trained in {compiled.precision}",
        f"Image       {compiled.image}",
        f"Schema      {compiled.schema}",
        *(f"Parameter   {name} = {value}" for name, value in parameters.items()),
        f"File        {compiled.file}",
        f"Submit with {compiled.submit}",
    ]
