"""Runs a run again, from its receipt, and holds what came out against what it says."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from cli.render.progress import Progress
from operations import receipts, resume
from operations import run as running
from operations.notifications.notifying import Notifier
from pipeline.errors import ConfigurationError, VerificationError
from pipeline.lock import exclusive
from pipeline.nodes import CODE_FINGERPRINT
from pipeline.records import metadata

IDENTICAL, DIFFERENT = 0, 5
# Both in the output folder: on the disk that has room for a run.
_LOCK, _SCRATCH = ".verify.lock", ".verify-"
# What a result depends on, as the receipt has it, and how a person calls it.
_DEPENDS_ON = {
    "seed": "seed",
    "precision": "precision",
    "hyperparameters": "hyperparameters that the Tuner chose",
    "lock": "lock",
    "lock_sha256": "content of the lock",
    "versions": "installed versions",
    "cpu_features": "features of the processor",
    "threads": "threads",
    "onednn": "oneDNN",
}
# Of these, what the fingerprint of a node covers beside its code and the version of Python.
_ALSO_IN_FINGERPRINTS = ("lock_sha256", "threads", "cpu_features", "onednn")


def main(run: str, output_dir: pathlib.Path, as_json: bool, progress: Progress) -> int:
    """Verifies a run and prints what was found.

    Args:
      run: its id, how the id begins, or `latest`.
      output_dir: of all pipelines.
      as_json: whether to print one JSON document.
      progress: shows how the second run goes.

    Returns:
      The exit code: 0 where all artifacts are identical, 5 where one differs.

    Raises:
      UnknownRunError: where no run, or more than one, fits.
      ConfigurationError: where the run cannot be verified.
      VerificationError: where it could not be run again.
      LockHeldError: where another verification is at work in the same output folder.
    """
    receipt = metadata.find_receipt(output_dir, run)
    _check_verifiable(receipt, output_dir)
    with _scratch(output_dir) as scratch:
        again = _run_again(receipt, scratch, progress)
    found = compare(receipt, again)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        _print(found)
    return IDENTICAL if found["identical"] else DIFFERENT


def _check_verifiable(receipt: dict[str, Any], output_dir: pathlib.Path) -> None:
    if receipt["status"] != receipts.COMPLETED:
        raise ConfigurationError(
            f"run {receipt['run_id']} is {receipt['status']}; expected a complete one. Go on "
            f"first, with: {receipts.command_to_go_on(receipt, output_dir)}"
        )
    if receipt["warm_start_from"]:
        raise ConfigurationError(
            f"run {receipt['run_id']} began at the weights of another model; expected one that "
            "began at its own. What such a run makes cannot be made again from its receipt alone."
        )


@contextlib.contextmanager
def _scratch(output_dir: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder for the second run; one that a killed verification left goes with it."""
    with exclusive(running.writable(output_dir) / _LOCK, "verify"):
        # Of whoever is still at work, the lock would be held.
        for left in output_dir.glob(f"{_SCRATCH}*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=output_dir) as scratch:
            yield pathlib.Path(scratch)


def _run_again(
    receipt: dict[str, Any], scratch: pathlib.Path, progress: Progress
) -> dict[str, Any]:
    # In the scratch folder nothing is served: there is no line of models to leave.
    asked = resume.request_again(receipt, scratch, verbose=False)
    request = dataclasses.replace(asked, new_line=False)
    # Nobody is told: what it pushes is served to no one.
    again = running.run(request, progress, Notifier([], None))
    if again["status"] != receipts.COMPLETED:
        failure = again["failure"] or {"message": again["status"]}
        raise VerificationError(
            f"run {receipt['run_id']} cannot be run again: {failure['message']}. Expected the same "
            "data, code and libraries as then; the receipt names them."
        )
    return again


def compare(receipt: dict[str, Any], again: dict[str, Any]) -> dict[str, Any]:
    """Holds the digests of two runs against each other.

    Args:
      receipt: of the run that is verified.
      again: of the run that repeats it.

    Returns:
      `run_id`; `identical`; `artifacts`: by name, in the order of the graph, whether it is the
      same; `first_difference`: the first that is not, or None; `reasons`: what else differs
      between the runs; where the digests differ, it may come from that.
    """
    same = {
        name: receipt["digests"].get(name) == again["digests"].get(name)
        for name in _in_order(receipt, again)
    }
    return {
        "run_id": receipt["run_id"],
        "identical": all(same.values()),
        "first_difference": next((name for name, equal in same.items() if not equal), None),
        "artifacts": same,
        "reasons": _reasons(receipt, again),
    }


def _in_order(receipt: dict[str, Any], again: dict[str, Any]) -> list[str]:
    # Other code, or another configuration, may have other nodes.
    nodes = [*receipt["nodes"], *again["nodes"]]
    names = {*receipt["digests"], *again["digests"]}
    return sorted(names, key=lambda name: (nodes.index(name.partition(".")[0]), name))


def _reasons(receipt: dict[str, Any], again: dict[str, Any]) -> list[str]:
    return [
        *_data_reasons(receipt["data"]["sha256"], again["data"]["sha256"]),
        *_schema_reasons(receipt["data"], again["data"]),
        *_code_reasons(receipt, again),
        *_configuration_reasons(receipt["config"], again["config"]),
        *(
            f"{words}: {_told(receipt[key], again[key])}"
            for key, words in _DEPENDS_ON.items()
            if receipt[key] != again[key]
        ),
    ]


def _data_reasons(before: dict[str, str], now: dict[str, str]) -> list[str]:
    return [
        f"data: {name} holds something else than then"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def _schema_reasons(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    differs = before["schema_sha256"] != now["schema_sha256"]
    return ["schema: the file holds something else than then"] if differs else []


def _code_reasons(receipt: dict[str, Any], again: dict[str, Any]) -> list[str]:
    before, now = receipt["code"], again["code"]
    files = _file_reasons(before, now)
    if not files and before["sha256"] == now["sha256"]:
        return []
    told = f"code: revision {before['revision']} then, {now['revision']} now"
    dirty = [when for when, code in (("then", before), ("now", now)) if code["dirty"]]
    revision = f"{told}; with uncommitted changes {' and '.join(dirty)}" if dirty else told
    return [*files, *_first_node_concerned(receipt, again), revision]


def _file_reasons(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    then, today = before["files"], now["files"]
    return [
        f"code: {path} {_become_of(path, then, today)}"
        for path in sorted({*then, *today})
        if then.get(path) != today.get(path)
    ]


def _become_of(path: str, then: dict[str, str], today: dict[str, str]) -> str:
    if path not in today:
        return "is there no more"
    return "holds something else than then" if path in then else "was not there then"


def _first_node_concerned(receipt: dict[str, Any], again: dict[str, Any]) -> list[str]:
    """The first node that runs other code than then, where its fingerprint can only tell that."""
    if any(receipt[key] != again[key] for key in _ALSO_IN_FINGERPRINTS):
        return []
    if _python(receipt) != _python(again):
        return []
    then, today = (
        {name: node.get(CODE_FINGERPRINT) for name, node in each["nodes"].items()}
        for each in (receipt, again)
    )
    other = [name for name in today if then.get(name) and then[name] != today[name]]
    return [f"code: {name} is the first node that runs other code" for name in other[:1]]


def _python(receipt: dict[str, Any]) -> list[str]:
    """The minor version of Python, in parts."""
    return receipt["versions"]["python"].split(".")[:2]


def _configuration_reasons(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    # What a schema and a choice of spans come to, their digests tell.
    then, today = (
        {key: value for key, value in config.items() if key not in ("schema_file", "spans")}
        for config in (before, now)
    )
    return [] if then == today else [f"configuration: {_told(then, today)}"]


def _told(before: Any, now: Any) -> str:
    """Both values; of those that have parts, the parts that differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return "; ".join(f"{key}: {_told(before.get(key), now.get(key))}" for key in keys)
    return f"{json.dumps(before)} then, {json.dumps(now)} now"


def _print(found: dict[str, Any]) -> None:
    console = Console(emoji=False)
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("artifact")
    table.add_column("")
    for name, same in found["artifacts"].items():
        table.add_row(name, "identical" if same else "[bold red]differs[/]")
    console.print(table)
    if found["identical"]:
        console.print(f"\n[bold green]Run {found['run_id']} is reproduced, to the bit.[/]")
        if found["reasons"]:
            console.print("What differs between the runs changed nothing:")
            _print_lines(console, found["reasons"])
        return
    console.print(
        f"\n[bold red]Run {found['run_id']} is not reproduced: {found['first_difference']} is the "
        "first artifact that differs.[/]"
    )
    unknown = "nothing that the receipts know of differs: that would be a fault of the pipeline"
    _print_lines(console, found["reasons"] or [unknown])


def _print_lines(console: Console, reasons: list[str]) -> None:
    for reason in reasons:
        console.print(f"  {reason}", soft_wrap=True, highlight=False, markup=False)
