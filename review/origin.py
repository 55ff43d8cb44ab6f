"""Which run it is, where it comes from, how to repeat it, and the runs before it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence

from pydantic import JsonValue

from pipeline.records.receipt import Environment, Receipt
from review import classification
from review.summary import Failure, Lineage, Node, PastRun, Run

NOT_KNOWN = "not known"
# A parameter without a value, as `Lineage.parameters` has it.
_NO_VALUE = "null"
# Keys of the configuration whose values are tables. A name in them is no key of its own.
TABLES = frozenset({"training.class_weights", "gates.slices"})


def run_of(receipt: Receipt) -> Run:
    """Describes the run of a receipt."""
    failure = receipt.failure
    return Run(
        id=receipt.run_id,
        pipeline=receipt.pipeline,
        profile=receipt.profile,
        began=receipt.began.isoformat(),
        seconds=receipt.seconds,
        status=receipt.status,
        verdict=receipt.verdict,
        command=receipt.command,
        data=receipt.data.description,
        is_sample=receipt.data.is_sample,
        pushed_version=receipt.pushed_version,
        failure=Failure(node=failure.node, message=failure.message) if failure else None,
        nodes=[
            Node(name=name, status=node.status, seconds=node.seconds)
            for name, node in receipt.nodes.items()
        ],
    )


def lineage(receipt: Receipt) -> Lineage:
    """Describes where the model of a run comes from."""
    return Lineage(
        data=receipt.data.sha256,
        revision=receipt.code.revision,
        dirty=receipt.code.dirty,
        lock=receipt.environment.lock,
        lock_sha256=receipt.environment.lock_sha256,
        seed=receipt.seed,
        precision=receipt.precision,
        machine=_machine(receipt.environment),
        versions=receipt.environment.versions,
        parameters=_parameters(receipt),
        digests=receipt.digests,
        model_digest=receipt.model_digest,
        commands=_commands(receipt),
        warm_start_from=receipt.warm_start_from and receipt.warm_start_from.digest,
    )


def _machine(environment: Environment) -> dict[str, str]:
    facts = {name: str(value) for name, value in environment.machine}
    features = ", ".join(environment.cpu_features)
    return {
        **facts,
        "threads": str(environment.threads),
        "cpu_features": features,
        "oneDNN": "used" if environment.onednn else "not used",
    }


def _parameters(receipt: Receipt) -> dict[str, str]:
    """The parameters that the run trained with, by dotted key."""
    tuned = (receipt.hyperparameters or {}).items()
    used = dict(_flat(receipt.config, ""))
    used |= {f"training.{key}": json.dumps(value) for key, value in tuned}
    if used.get("training.minutes", _NO_VALUE) != _NO_VALUE:
        used["training.epochs"] = str(receipt.settled_epochs or NOT_KNOWN)
    return used


def _flat(values: dict[str, JsonValue], prefix: str) -> Iterator[tuple[str, str]]:
    """Every value by its dotted key, written as `run --set` takes it."""
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key not in TABLES:
            yield from _flat(value, f"{key}.")
        else:
            yield key, value if isinstance(value, str) else json.dumps(value)


def _commands(receipt: Receipt) -> list[str]:
    revision = receipt.code.revision
    checkout = [f"git checkout {revision}"] if revision else []
    return [*checkout, "make setup", _settled(_with_values(receipt), receipt)]


def _with_values(receipt: Receipt) -> str:
    """The command with the values of its configuration file, which may change or be lost."""
    words = shlex.split(receipt.command)
    kept, had_file, skips = [], False, False
    for word in words:
        option, _, value = word.partition("=")
        if skips:
            skips = False
        elif option in ("--config", "--set"):
            had_file |= option == "--config"
            skips = not value
        else:
            kept.append(word)
    if not had_file:
        return receipt.command
    asked = receipt.request
    if asked.profile and not _has(kept, "--profile"):
        kept += ["--profile", asked.profile]
    # A file gives the seed beside its assignments.
    if asked.seed is not None and not _has(kept, "--seed"):
        kept += ["--seed", str(asked.seed)]
    for assignment in asked.assignments:
        kept += ["--set", assignment]
    return shlex.join(kept)


def _settled(command: str, receipt: Receipt) -> str:
    """The command with what it may have left to the machine: the data, spans, number of epochs."""
    data = receipt.data
    added = [] if _has(shlex.split(command), "--data") else ["--data", data.name]
    # The last assignment of a key counts.
    for assignment in (*data.span_assignments, *receipt.settled_assignments):
        added += ["--set", assignment]
    return f"{command} {shlex.join(added)}" if added else command


def _has(words: Sequence[str], option: str) -> bool:
    return any(word.partition("=")[0] == option for word in words)


def history(receipts: Iterable[Receipt]) -> list[PastRun]:
    """Describes past runs, in their order."""
    return [
        PastRun(
            id=receipt.run_id,
            began=receipt.began.isoformat(),
            status=receipt.status,
            verdict=receipt.verdict,
            accuracy=classification.accuracy(receipt),
            seconds=receipt.seconds,
            pushed_version=receipt.pushed_version,
        )
        for receipt in receipts
    ]
