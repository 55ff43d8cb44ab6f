"""Prints whether a run was reproduced."""

from __future__ import annotations

import json
from collections.abc import Iterable

from rich.console import Console

from cli.render.tables import make_console, plain_table
from operations.verify import Verification

_UNEXPLAINED = "nothing that the receipts know of differs: that would be a fault of the pipeline"


def print_verification(verification: Verification, as_json: bool) -> None:
    """Prints what a verification found, as text or as JSON."""
    if as_json:
        print(json.dumps(_document(verification), indent=1))
        return
    console = make_console()
    table = plain_table("artifact", "")
    for name, same in verification.artifacts.items():
        table.add_row(name, "identical" if same else "[bold red]differs[/]")
    console.print(table)
    if not verification.identical:
        console.print(
            f"\n[bold red]Run {verification.run_id} is not reproduced: "
            f"{verification.first_difference} is the first artifact that differs.[/]"
        )
        _print_indented(console, verification.reasons or (_UNEXPLAINED,))
        return
    console.print(f"\n[bold green]Run {verification.run_id} is reproduced, to the bit.[/]")
    if verification.reasons:
        console.print("What differs between the runs changed nothing:")
        _print_indented(console, verification.reasons)


def _document(verification: Verification) -> dict[str, object]:
    return {
        "run_id": verification.run_id,
        "identical": verification.identical,
        "first_difference": verification.first_difference,
        "artifacts": verification.artifacts,
        "reasons": verification.reasons,
    }


def _print_indented(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(f"  {line}", soft_wrap=True, markup=False)
