"""Which run it is, where it comes from, how to make it again, and the runs before it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from pipeline.datasets import spans
from review import classification
from review.summary import Failure, Lineage, Node, PastRun, Run

# As the receipt calls the data of the built-in, drawn sample.
_SAMPLE = "sample"


def run_of(receipt: dict[str, Any]) -> Run:
    """Which run a receipt is of."""
    failure = receipt["failure"]
    return Run(
        id=receipt["run_id"],
        pipeline=receipt["pipeline"],
        profile=receipt["config"]["profile"],
        began=receipt["began"],
        seconds=receipt["seconds"],
        status=receipt["status"],
        verdict=receipt["verdict"],
        command=receipt["command"],
        data=data_name(receipt),
        is_sample=is_sample(receipt),
        pushed_version=receipt["pushed_version"],
        failure=Failure(node=failure["node"], message=failure["message"]) if failure else None,
        nodes=[
            Node(name=name, status=node["status"], seconds=node["seconds"])
            for name, node in receipt["nodes"].items()
        ],
    )


def data_name(receipt: dict[str, Any]) -> str:
    """What a person calls the data of a run: the folder and, where there are any, its spans."""
    data = receipt["data"]
    if not data["spans"]:
        return data["name"]
    return f"{data['name']} ({spans.describe(data['spans'], data['reference_span'])})"


def is_sample(receipt: dict[str, Any]) -> bool:
    """Whether a run took the built-in, drawn sample."""
    return receipt["data"]["name"] == _SAMPLE


def lineage(receipt: dict[str, Any]) -> Lineage:
    """Where the model comes from."""
    machine = {**receipt["machine"], "threads": receipt["threads"]}
    machine["cpu_features"] = ", ".join(receipt["cpu_features"])
    return Lineage(
        data=receipt["data"]["sha256"],
        revision=receipt["code"]["revision"],
        dirty=receipt["code"]["dirty"],
        lock=receipt["lock"],
        lock_sha256=receipt["lock_sha256"],
        seed=receipt["seed"],
        precision=receipt["precision"],
        machine={name: str(value) for name, value in machine.items()},
        versions=receipt["versions"],
        parameters=dict(_flat(receipt["config"], "")),
        digests=receipt["digests"],
        model_digest=receipt["model_digest"],
        commands=_commands(receipt),
    )


def _flat(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Every value by its dotted key, written as `run --set` takes it."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def _commands(receipt: dict[str, Any]) -> list[str]:
    revision = receipt["code"]["revision"]
    checkout = [f"git checkout {revision}"] if revision else []
    return [*checkout, "make setup", _with_data(receipt["command"], receipt["data"])]


def _with_data(command: str, data: dict[str, Any]) -> str:
    """The command with its data named, which it may have left to the machine to find."""
    named = any(part.partition("=")[0] == "--data" for part in shlex.split(command))
    added = [] if named else ["--data", data["name"]]
    if data["spans"]:
        # What is set last counts.
        for assignment in spans.assignments(data["spans"], data["reference_span"]):
            added += ["--set", assignment]
    return f"{command} {shlex.join(added)}" if added else command


def history(receipts: list[dict[str, Any]]) -> list[PastRun]:
    """What there is to say of these runs, in their order."""
    return [
        PastRun(
            id=receipt["run_id"],
            began=receipt["began"],
            status=receipt["status"],
            verdict=receipt["verdict"],
            accuracy=classification.accuracy(receipt),
            seconds=receipt["seconds"],
            pushed_version=receipt["pushed_version"],
        )
        for receipt in receipts
    ]
