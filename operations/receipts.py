"""Builds the receipt: the record of a run (`pipeline/records/receipt.schema.json` is its form)."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import pathlib
import shlex
import socket
from typing import TYPE_CHECKING, Any

from components import features, quality_gates
from components.pusher import versions
from pipeline import machine
from pipeline.datasets import data as data_sets
from pipeline.installation import packages
from pipeline.locations import DEFAULT_OUTPUT_DIR
from pipeline.nodes import (
    BLESSING,
    CODE_FINGERPRINT,
    DATA_GATE,
    EVALUATOR,
    PREDICTIONS,
    PUSHER,
    ROBUSTNESS_EVALUATOR,
    TRAINER,
)
from pipeline.records import digests, metadata

if TYPE_CHECKING:
    from operations.run import Prepared, Request

COMPLETED, FAILED, INTERRUPTED = "completed", "failed", "interrupted"
PUSHED, REFUSED, STOPPED, NONE = "pushed", "refused", "stopped", "none"

# By which a scheduler knows the run that it started.
ATTEMPT_VARIABLE = "IMAGE_PIPELINE_ATTEMPT"

_EXPORT_FOLDER = "Format-Serving"
# Nodes and outputs of which nothing is to be compared.
_WITHOUT_DIGEST = ("Resolver", "evaluation", "blessing", "model_blessing", "pushed_model")
# In which the system, and SQLite, say that a disk is full.
_NO_ROOM = ("No space left on device", "Disk quota exceeded", "disk is full")


def begun(
    run_id: str,
    sequence: int,
    began: datetime.datetime,
    prepared: Prepared,
    request: Request,
    input_digest: str,
) -> dict[str, Any]:
    """The receipt of a run that has begun; until its end it counts as interrupted."""
    libraries = packages.installed()
    return {
        "schema_version": metadata.SCHEMA_VERSION,
        "run_id": run_id,
        "sequence": sequence,
        "pipeline": prepared.name,
        "command": request.command,
        "request": _asked(request, prepared.config.schema_file),
        "attempt": os.environ.get(ATTEMPT_VARIABLE),
        "input_digest": input_digest,
        "host": socket.gethostname(),
        "user": machine.user(),
        "began": began.isoformat(timespec="seconds"),
        "seconds": None,
        "status": INTERRUPTED,
        "verdict": NONE,
        "failure": None,
        "runner": {"dag": None, "node": None},
        "gates": [],
        "nodes": {},
        "data": _data(prepared.data),
        "lock": libraries.lock,
        "lock_sha256": libraries.sha256,
        "config": prepared.config.model_dump(mode="json"),
        "seed": prepared.config.seed,
        **machine.arithmetic(),
        "precision": prepared.precision,
        "warm_start_from": None,
        "hyperparameters": None,
        "versions": machine.versions(),
        "machine": machine.machine(),
        "test_accuracy": None,
        "test_count": None,
        "cross_entropy": None,
        "top_2_accuracy": None,
        "confusion": [],
        "per_class": {},
        "macro_avg": {},
        "weighted_avg": {},
        "calibration": {
            "temperature": None,
            "label_smoothing": None,
            "ece_before": None,
            "ece_after": None,
        },
        "robustness": None,
        "model_digest": None,
        "export_digest": None,
        "digests": {},
        "pushed_version": None,
        "served_before": _served(prepared),
        "served_version": None,
        # Last, for it names each file.
        "code": {
            **machine.code(),
            "sha256": machine.source_digest(),
            "files": machine.source_files(),
        },
    }


def _data(data: data_sets.DataSet) -> dict[str, Any]:
    window = data.window
    return {
        "name": data.name,
        "sha256": data.sha256s,
        "schema_sha256": data.schema_sha256,
        "spans": [span.number for span in window.train] if window else [],
        "reference_span": window.reference.number if window else None,
    }


def _asked(request: Request, schema_file: str) -> dict[str, Any]:
    """What `resume` starts the run again with; relative paths would only fit the same folder."""
    key = "schema_file="
    folder = request.data not in (data_sets.AUTO, data_sets.SAMPLE)
    return {
        "profile": request.profile,
        "data": str(pathlib.Path(request.data).absolute()) if folder else request.data,
        "runner": request.runner,
        "assignments": [
            key + schema_file if each.startswith(key) else each for each in request.assignments
        ],
        "seed": request.seed,
        "new_line": request.new_line,
    }


def end(
    receipt: dict[str, Any],
    nodes: dict[str, metadata.NodeRecord],
    error: BaseException | None,
) -> None:
    """Enters how each node and the run as a whole ended.

    A run counts as completed only where ML Metadata says of each node that it ended well: an
    error that a runner swallowed is an error all the same.
    """
    receipt["nodes"] = _nodes(nodes)
    receipt["failure"] = None
    ill = [name for name, node in nodes.items() if not node.ended_well]
    if isinstance(error, KeyboardInterrupt):
        _interrupt(receipt)
    elif error or ill or not nodes:
        ran = any(node.status != metadata.NOT_RUN for node in nodes.values())
        fail(receipt, error, _failed_node(nodes) if ran else None)
    else:
        receipt["status"] = COMPLETED
        receipt["verdict"] = PUSHED if _pushed_version(nodes) else REFUSED
        receipt["pushed_version"] = _pushed_version(nodes)


def fail(receipt: dict[str, Any], error: BaseException | None, node: str | None = None) -> None:
    """Enters a failure: of a node, or of the run outside of its nodes."""
    message = _told(error) if error else "the node did not end well; the log says more"
    if any(words in message for words in _NO_ROOM):
        message += ". The disk is full: free some room for the results, then go on"
    receipt["status"] = FAILED
    # Stopped is what the gate decides; where it breaks, nothing was decided.
    stopped = type(error).__name__ == "DataGateStop"
    receipt["verdict"] = STOPPED if stopped else NONE
    # Known to errors alone that the same run would only repeat.
    changes = getattr(error, "changes", [])
    receipt["failure"] = _failure(DATA_GATE if stopped else node, message, changes)


def fail_to_conclude(
    receipt: dict[str, Any], error: BaseException | None, concluding: BaseException
) -> None:
    """Enters that what a run came to cannot be read; what failed before that stands first.

    Args:
      receipt: of the run, after `end`.
      error: that of the run itself, if any.
      concluding: that of reading what the run came to.
    """
    if isinstance(concluding, KeyboardInterrupt):
        _interrupt(receipt)
    elif error is None:
        fail(receipt, concluding)
    else:
        told = f". Besides, its results cannot be read: {_told(concluding)}"
        receipt["failure"]["message"] += told


def tell_published(receipt: dict[str, Any]) -> None:
    """Enters into the failure of a run, if any, that a version was published by then."""
    version = receipt["served_version"]
    if receipt["failure"] and version not in (None, receipt["served_before"]):
        published = f". Version {version} was published by then, and is served"
        receipt["failure"]["message"] += published


def end_unfinished(receipt: dict[str, Any], nodes: dict[str, metadata.NodeRecord]) -> None:
    """Enters what is known of a run that ended without saying how.

    It was killed, or could not write its receipt: from outside, these look the same. So it counts
    as failed where a node did, and else as interrupted. What it measured is not known; `resume`
    takes what is complete from the cache and measures again.

    Args:
      receipt: of the run, as it was when the run began.
      nodes: what ML Metadata has of the run; empty where it cannot be asked.
    """
    receipt["nodes"] = _nodes(nodes)
    if PUSHER in nodes and nodes[PUSHER].ended_well:
        receipt["pushed_version"] = _pushed_version(nodes)
    ran = any(node.status != metadata.NOT_RUN for node in nodes.values())
    node = _failed_node(nodes) if ran else None
    if node and nodes[node].status == metadata.FAILED:
        receipt["status"] = FAILED
        message = "the node failed, and the run ended without its receipt; the log says more"
    elif ran and node is None:
        message = "every node is complete, but the run ended without its receipt"
    else:
        message = "the run was cut off: it ended without its receipt"
    receipt["failure"] = _failure(node, message, [])


def _interrupt(receipt: dict[str, Any]) -> None:
    receipt["status"] = INTERRUPTED
    receipt["verdict"] = NONE
    receipt["failure"] = _failure(None, "the run was interrupted", [])


def _nodes(nodes: dict[str, metadata.NodeRecord]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "status": node.status,
            "seconds": round(node.seconds, 3),
            "cached": node.status == metadata.CACHED,
            CODE_FINGERPRINT: node.code_fingerprint,
        }
        for name, node in nodes.items()
    }


def _failure(node: str | None, message: str, changes: list[str]) -> dict[str, Any]:
    return {"node": node, "message": message, "changes": changes}


def add_artifacts(receipt: dict[str, Any], nodes: dict[str, metadata.NodeRecord]) -> None:
    """Enters the digest of what each artifact holds, and that of the model's weights apart.

    Those of evaluations come with their figures.
    """
    for name, node in nodes.items():
        # The resolver's is another run's; of a push and a blessing the verdict tells.
        known = node.ended_well and name not in _WITHOUT_DIGEST
        for key in sorted(node.outputs) if known else []:
            folder = pathlib.Path(node.outputs[key][0].uri)
            if folder.is_dir() and key not in _WITHOUT_DIGEST:
                receipt["digests"][f"{name}.{key}"] = digests.artifact_digest(key, folder)
    model = nodes[TRAINER].output("model")
    if model and nodes[TRAINER].ended_well:
        folder = pathlib.Path(model.uri)
        receipt["model_digest"] = digests.model_digest(folder)
        receipt["export_digest"] = versions.content_digest(folder / _EXPORT_FOLDER)


def add_served(receipt: dict[str, Any], prepared: Prepared) -> None:
    """Enters which version is served now that the run has ended."""
    receipt["served_version"] = _served(prepared)


def _served(prepared: Prepared) -> int | None:
    return max(versions.served_versions(prepared.locations.serving), default=None)


def add_training(
    receipt: dict[str, Any], nodes: dict[str, metadata.NodeRecord], prepared: Prepared
) -> None:
    """Enters what the training says: its calibration, at which model it began, what was tuned."""
    artifact = nodes[TRAINER].output("model_run")
    if artifact is None or not nodes[TRAINER].ended_well:
        return
    path = pathlib.Path(artifact.uri) / features.TRAINING_REPORT_FILE
    report = json.loads(path.read_text(encoding="utf-8"))
    for name in ("temperature", "label_smoothing"):
        receipt["calibration"][name] = report["calibration"][name]
    receipt["hyperparameters"] = report["hyperparameters"]
    receipt["warm_start_from"] = _base_model(report["warm_start_from"], prepared)


def _base_model(uri: str | None, prepared: Prepared) -> dict[str, Any] | None:
    """The model at which a training began, and the version under which it is served."""
    if uri is None:
        return None
    export_digest = versions.content_digest(pathlib.Path(uri) / _EXPORT_FOLDER)
    serving = prepared.locations.serving
    same = [
        version
        for version in versions.served_versions(serving)
        if versions.content_digest(serving / str(version)) == export_digest
    ]
    digest = digests.model_digest(pathlib.Path(uri))
    return {"digest": digest, "version": max(same, default=None)}


def add_evaluation(
    receipt: dict[str, Any], nodes: dict[str, metadata.NodeRecord], prepared: Prepared
) -> None:
    """Enters what was measured on the test split, where it came to that."""
    artifact = nodes[EVALUATOR].output("evaluation")
    if artifact is None or not nodes[EVALUATOR].ended_well:
        return
    # Here and not above: it imports TensorFlow.
    from pipeline.records.evaluation import read_evaluation

    found = read_evaluation(artifact.uri, prepared.schema.class_names)
    receipt["test_accuracy"] = found.accuracy
    receipt["cross_entropy"] = found.cross_entropy
    receipt["top_2_accuracy"] = found.top_2_accuracy
    receipt["test_count"] = found.count
    receipt["confusion"] = found.confusion
    receipt["per_class"] = found.per_class
    receipt["macro_avg"] = found.macro_avg
    receipt["weighted_avg"] = found.weighted_avg
    receipt["digests"]["Evaluator.evaluation"] = digests.figures_digest(dataclasses.asdict(found))


def add_gates(receipt: dict[str, Any], nodes: dict[str, metadata.NodeRecord]) -> None:
    """Enters how each gate was judged, where it came to that: what Pusher went by."""
    artifact = nodes[BLESSING].output("blessing")
    if artifact is None or not nodes[BLESSING].ended_well:
        return
    path = pathlib.Path(artifact.uri) / features.GATES_FILE
    judged = quality_gates.judged_from_json(path.read_text(encoding="utf-8"))
    receipt["gates"] = [dataclasses.asdict(gate) for gate in judged]


def add_calibration(receipt: dict[str, Any], nodes: dict[str, metadata.NodeRecord]) -> None:
    """Enters the calibration errors of the test split, once `add_training` is through."""
    artifact = nodes[PREDICTIONS].output("predictions")
    if artifact is None or not nodes[PREDICTIONS].ended_well:
        return
    # Here and not above: they import SciPy and pyarrow.
    from review import reliability
    from review.answers import read_answers

    labels, answers = read_answers(pathlib.Path(artifact.uri) / features.PREDICTIONS_FILE)
    known = receipt["calibration"]
    known |= reliability.errors(answers, labels, known["temperature"], known["label_smoothing"])


def add_robustness(
    receipt: dict[str, Any], nodes: dict[str, metadata.NodeRecord], prepared: Prepared
) -> None:
    """Enters what was measured on corrupted images, where it was asked for and came to that."""
    node = nodes.get(ROBUSTNESS_EVALUATOR)
    artifact = node.output("evaluation") if node and node.ended_well else None
    if artifact is None:
        return
    # Here and not above: they import TensorFlow and SciPy.
    from components.robustness import corruptions
    from pipeline.records.robustness_evaluation import read_robustness

    found = read_robustness(
        artifact.uri,
        prepared.schema.class_names,
        corruptions.amounts(),
    )
    receipt["robustness"] = {
        "clean": {"accuracy": receipt["test_accuracy"], "count": receipt["test_count"]},
        "scores": [dataclasses.asdict(scores) for scores in found],
    }
    digest = digests.figures_digest(receipt["robustness"])
    receipt["digests"][f"{ROBUSTNESS_EVALUATOR}.evaluation"] = digest


def command_to_go_on(receipt: dict[str, Any], output_dir: pathlib.Path) -> str:
    """What continues a run that did not come to its end, or runs it changed where it has to be."""
    changed = metadata.changed_command(receipt)
    if changed:
        return changed
    command = ["python3", "pipeline_runner.py", "resume", receipt["run_id"]]
    if output_dir != DEFAULT_OUTPUT_DIR:
        command += ["--output-dir", str(output_dir)]
    return shlex.join(command)


def _failed_node(nodes: dict[str, metadata.NodeRecord]) -> str | None:
    failed = [name for name, node in nodes.items() if node.status == metadata.FAILED]
    left = [name for name, node in nodes.items() if not node.ended_well]
    return next(iter(failed + left), None)


def _pushed_version(nodes: dict[str, metadata.NodeRecord]) -> int | None:
    pushed = nodes[PUSHER].output("pushed_model")
    if pushed is None or not pushed.properties.get("pushed"):
        return None
    return int(pushed.properties["pushed_version"])


def _told(error: BaseException) -> str:
    """The message of an error; of one that Beam handed on as a traceback, its last line."""
    message = str(error) or type(error).__name__
    if "Traceback (most recent call last)" not in message:
        return message
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1].partition(" [while running")[0]
