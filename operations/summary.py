"""Prints runs: their list, and one of them whole."""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from operations.receipts import COMPLETED, INTERRUPTED, PUSHED, REFUSED, STOPPED
from pipeline import config
from pipeline.locations import LOG_FILE

_STYLES = {PUSHED: "bold green", REFUSED: "bold yellow", STOPPED: "bold red"}


def print_receipt(receipt: dict[str, Any], output_dir: pathlib.Path, as_json: bool) -> None:
    """Prints one run: verdict, gates, classes and nodes; or its receipt as JSON."""
    if as_json:
        print(json.dumps(receipt, indent=1))
        return
    console = _console()
    _print_verdict(console, receipt)
    if receipt["per_class"]:
        console.print(_class_table(receipt))
    console.print(_node_table(receipt))
    _print_places(console, receipt, output_dir)


def print_runs(receipts: list[dict[str, Any]], as_json: bool) -> None:
    """Prints the list of runs, newest first."""
    if as_json:
        print(json.dumps(receipts[::-1], indent=1))
        return
    if not receipts:
        print("No runs yet. Start one with: python pipeline_runner.py run")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("run", "pipeline", "status", "verdict", "accuracy", "time", "version"):
        right = heading in ("accuracy", "time")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for receipt in reversed(receipts):
        table.add_row(*_run_row(receipt))
    _console().print(table)


def print_keys(as_json: bool) -> None:
    """Prints every key that `run --set` takes, with its default and what it is."""
    defaults = config.load("default").model_dump(mode="json")
    found = {key: (_value(defaults, key), text) for key, text in config.known_keys().items()}
    if as_json:
        values = {key: {"default": value, "about": text} for key, (value, text) in found.items()}
        print(json.dumps(values, indent=1))
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("key", "default", "about"):
        table.add_column(heading)
    for key, (value, text) in found.items():
        table.add_row(key, json.dumps(value), text)
    _console().print(table)


def _console() -> Console:
    # Where no terminal sets the width, lines are as long as they are: programs cut them themselves.
    return Console() if sys.stdout.isatty() else Console(width=200)


def _value(values: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def _print_verdict(console: Console, receipt: dict[str, Any]) -> None:
    console.print(f"\n[bold]{escape(_headline(receipt))}[/]", style=_STYLES.get(receipt["verdict"]))
    if receipt["test_accuracy"] is not None:
        name, scores = min(receipt["per_class"].items(), key=lambda item: item[1]["recall"])
        console.print(
            f"Test accuracy {receipt['test_accuracy']:.4f} on {receipt['test_count']:,} images; "
            f"weakest class {escape(name)}, recall {scores['recall']:.3f}"
        )
    for gate in receipt["gates"]:
        if not gate["passed"]:
            console.print(
                f"  refused: {gate['metric']}, {escape(gate['slice'])}: {gate['value']:.4f}, "
                f"expected at least {gate['threshold']:.4f}"
            )
    if receipt["failure"]:
        for line in receipt["failure"]["message"].splitlines():
            console.print(f"  {escape(line)}", soft_wrap=True, highlight=False)


def _headline(receipt: dict[str, Any]) -> str:
    verdict = receipt["verdict"]
    if verdict == PUSHED:
        return (
            f"Pushed: version {receipt['pushed_version']}, all {len(receipt['gates'])} gates passed"
        )
    if verdict == REFUSED:
        failed = sum(not gate["passed"] for gate in receipt["gates"])
        return f"Refused by {failed} of {len(receipt['gates'])} gates, nothing pushed"
    if verdict == STOPPED:
        return "Stopped by DataGate before training, nothing pushed"
    if receipt["status"] == INTERRUPTED:
        return "Interrupted, nothing pushed"
    return f"Failed in {receipt['failure']['node'] or 'the run itself'}, nothing pushed"


def _class_table(receipt: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("class")
    for heading in ("precision", "recall", "f1", "support"):
        table.add_column(heading, justify="right")
    averages = {"macro average": receipt["macro_avg"], "weighted average": receipt["weighted_avg"]}
    for name, scores in {**receipt["per_class"], **averages}.items():
        values = [f"{scores[key]:.3f}" for key in ("precision", "recall", "f1")]
        table.add_row(escape(name), *values, str(scores["support"]))
    return table


def _node_table(receipt: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("node")
    table.add_column("status")
    table.add_column("seconds", justify="right")
    for name, node in receipt["nodes"].items():
        table.add_row(name, node["status"], f"{node['seconds']:.1f}")
    return table


def _print_places(console: Console, receipt: dict[str, Any], output_dir: pathlib.Path) -> None:
    root = output_dir / receipt["pipeline"]
    folder = root / "runs" / receipt["run_id"]
    lines = [f"Results   {folder}"]
    if receipt["verdict"] == PUSHED:
        lines.append(f"Served    {root / 'serving' / str(receipt['pushed_version'])}")
    if receipt["status"] != COMPLETED:
        lines.append(f"Log       {folder / LOG_FILE}")
        lines.append(f"Go on     {receipt['command']} (what is complete is not run again)")
    console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)


def _run_row(receipt: dict[str, Any]) -> list[str]:
    accuracy, seconds = receipt["test_accuracy"], receipt["seconds"]
    verdict = receipt["verdict"]
    style = _STYLES.get(verdict, "dim").removeprefix("bold ")
    return [
        receipt["run_id"],
        escape(receipt["pipeline"]),
        receipt["status"],
        f"[{style}]{verdict}[/]",
        "" if accuracy is None else f"{accuracy:.4f}",
        "" if seconds is None else f"{seconds:.0f} s",
        str(receipt["pushed_version"] or ""),
    ]
