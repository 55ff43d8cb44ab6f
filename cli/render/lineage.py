"""Prints where a model comes from, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pydantic
from pydantic import JsonValue
from rich.markup import escape
from rich.table import Table

from cli.render.tables import make_console, plain_table
from components.pusher.rollbacks import Rollback
from components.quality_gates import JudgedGate
from operations.lineage import Artifact, Lineage
from pipeline.records.receipt import Receipt
from review.worst import positions

# Fields of the receipt, by their place in the JSON document.
_RUN = ("run_id", "command", "host", "user", "began", "seconds", "status", "verdict")
_ORIGIN = (
    "model_digest",
    "data",
    "code",
    "environment",
    "config",
    "hyperparameters",
    "settled_epochs",
    "warm_start_from",
    "gates",
)
_METRICS = ("evaluation", "calibration", "robustness")
_SHOWN_DIGEST = 16
_LINEAGE = pydantic.TypeAdapter(Lineage)

Lines = list[tuple[str, str]]


def print_lineage(found: Lineage, as_json: bool) -> None:
    """Prints the lineage of a model, as text or as JSON."""
    if as_json:
        print(json.dumps(_document(found), indent=1))
        return
    lines = [*_version_lines(found), *_run_lines(found)]
    if found.run:
        lines += _origin_lines(found, found.run)
    width = max(len(label) for label, _ in lines) + 2
    text = "\n".join(f"{label:<{width}}{value}" for label, value in lines)
    console = make_console()
    console.print(text, soft_wrap=True, markup=False)
    if found.run and found.run.gates:
        console.print(_gate_table(found.run.gates))
    if found.run and found.run.nodes:
        console.print(_artifact_table(found.run, found.artifacts))


def _document(found: Lineage) -> dict[str, JsonValue]:
    values = _LINEAGE.dump_python(found, mode="json")
    run, artifacts = values.pop("run"), values.pop("artifacts")
    if run is None:
        nothing = dict.fromkeys(("run", *_ORIGIN, "config_changes", "metrics", "nodes"))
        return {**values, "served": found.is_served, **nothing}
    return {
        **values,
        "served": found.is_served,
        "run": {key: run[key] for key in _RUN},
        **{key: run[key] for key in _ORIGIN},
        "metrics": {key: run[key] for key in _METRICS},
        "nodes": {
            name: {**node, "artifacts": artifacts[name]} for name, node in run["nodes"].items()
        },
    }


def _version_lines(found: Lineage) -> Lines:
    lines = [("Pipeline", found.pipeline)]
    if found.version:
        standing = (
            "served now" if found.is_served else f"version {found.served_version} is served now"
        )
        lines.append(("Version", f"{found.version}, {standing}"))
        lines.append(("Folder", f"{found.path}, {found.content}"))
    else:
        lines.append(("Version", "never pushed"))
    lines.append(("Export", found.export_digest or "not known"))
    return [*lines, *(("Rollback", _described(done)) for done in found.rollbacks)]


def _described(done: Rollback) -> str:
    return (
        f"{done.time} by {done.user}: from {done.rolled_back_from} back to "
        f"{done.rolled_back_to}, served again as {done.new_version}"
    )


def _run_lines(found: Lineage) -> Lines:
    lines = [
        ("Trained by", found.trained_by or "no known run"),
        ("Pushed by", found.pushed_by or "no known run"),
    ]
    if found.reused_by:
        lines.append(("Reused by", ", ".join(found.reused_by)))
    return lines


def _origin_lines(found: Lineage, run: Receipt) -> Lines:
    data, code, environment = run.data, run.code, run.environment
    dirty = ", with changes that were not committed" if code.dirty else ""
    glibc = environment.versions.get("glibc")
    system = f", on glibc {glibc}" if glibc else ""
    lines = [
        ("Run", f"{run.run_id}, {run.verdict}: {run.command}"),
        ("Data", data.name),
        *((f"  {name}", digest) for name, digest in data.sha256.items()),
        *([("  spans", ", ".join(map(str, data.spans)))] if data.spans else []),
        ("Code", f"{code.revision or 'unknown revision'}{dirty}"),
        ("Lock", f"{environment.lock_name}, {environment.lock_sha256}"),
        ("Python", f"{environment.versions['python']}{system}"),
        ("Profile", run.profile),
    ]
    for key, change in found.config_changes.items():
        value, default = json.dumps(change.value), json.dumps(change.default)
        lines.append((f"  {key}", f"{value} instead of {default}"))
    if run.evaluation:
        accuracy, count = run.evaluation.accuracy, run.evaluation.count
        lines.append(("Accuracy", f"{accuracy:.4f} on {count:,} test images"))
    return lines


def _gate_table(gates: Sequence[JudgedGate]) -> Table:
    table = plain_table("gate", "slice", "value", "threshold", "", right=("value", "threshold"))
    for gate in (gates[number] for number in positions(gates)):
        outcome = "passed" if gate.passed else "refused"
        table.add_row(gate.metric, escape(gate.slice), gate.measured, gate.expected, outcome)
    return table


def _artifact_table(run: Receipt, artifacts: Mapping[str, Mapping[str, Artifact]]) -> Table:
    table = plain_table("node", "status", "output", "sha256", "where", fold=True)
    for name, node in run.nodes.items():
        rows = [
            (output, (artifact.digest or "")[:_SHOWN_DIGEST], _place(artifact))
            for output, artifact in artifacts[name].items()
        ]
        for row in rows or [("", "", "")]:
            table.add_row(name, node.status, *map(escape, row))
    return table


def _place(artifact: Artifact) -> str:
    path = artifact.path or "not known to ML Metadata"
    return path if artifact.there or not artifact.path else f"removed: {path}"
