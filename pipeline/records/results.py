"""Adds what a run made and measured to its receipt, from the artifacts of its nodes."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from components import features, quality_gates, reading_report, training_report
from components.digests import weights_digest
from components.pusher import versions
from components.slices import Slicing
from pipeline.nodes import (
    BLESSING,
    EVALUATOR,
    EXAMPLE_GEN,
    PUSHER,
    ROBUSTNESS_EVALUATOR,
    TRAINER,
)
from pipeline.records import digests, evaluation
from pipeline.records.executions import NodeExecution
from pipeline.records.outcomes import Status, Verdict
from pipeline.records.receipt import Calibration, NodeRecord, Reading, Receipt, Skipped, WarmStart

# Number of images left out that the receipt names; the log names more of them.
_RECORDED_SKIPPED = 100
# Nodes and outputs that have nothing to compare.
_WITHOUT_DIGEST = ("Resolver", "evaluation", "blessing", "model_blessing", "pushed_model")

Executions = Mapping[str, NodeExecution]


@dataclasses.dataclass(frozen=True)
class Task:
    """What a run was asked to learn and to measure, and where its models are served.

    Attributes:
      class_names: Names of the classes, in label order.
      slicings: Columns that divide the test images into slices.
      serving: Folder of the served versions.
    """

    class_names: tuple[str, ...]
    slicings: Sequence[Slicing]
    serving: pathlib.Path


def completed(run: Receipt, nodes: Executions) -> Receipt:
    """The receipt of a run whose nodes all ended well."""
    version = pushed_version(nodes)
    return run.changed(
        nodes=records(nodes),
        status=Status.COMPLETED,
        verdict=Verdict.PUSHED if version else Verdict.REFUSED,
        pushed_version=version,
    )


def records(nodes: Executions) -> dict[str, NodeRecord]:
    """How each node ended, by its name."""
    return {name: node.record for name, node in nodes.items()}


def pushed_version(nodes: Executions) -> int | None:
    """The version that Pusher published; None where it published none."""
    pushed = nodes[PUSHER].output("pushed_model")
    if pushed is None or not pushed.properties.get("pushed"):
        return None
    return int(pushed.properties["pushed_version"])


def served_version(serving: pathlib.Path) -> int | None:
    """The newest version in a folder of served versions; None where there is none."""
    return max(versions.served_versions(serving), default=None)


def results(run: Receipt, nodes: Executions, task: Task) -> Iterator[Receipt]:
    """Adds what the run made and measured, as far as it got.

    The calibration errors come from the answers to each image: `review.measuring` adds them.

    Yields:
      The receipt after each addition, so that an error in one loses none before it.
    """
    # First what the verdict rests on.
    yield (run := _with_gates(run, nodes))
    yield (run := _with_evaluation(run, nodes, task))
    yield (run := _with_robustness(run, nodes, task))
    yield (run := _with_reading(run, nodes))
    yield (run := _with_training(run, nodes, task))
    yield _with_artifacts(run, nodes)


def _with_artifacts(run: Receipt, nodes: Executions) -> Receipt:
    """The receipt with digests of the artifacts; those of evaluations come with their figures."""
    found: dict[str, str] = {}
    for name, node in nodes.items():
        # The resolver's output belongs to another run; the verdict covers push and blessing.
        known = node.ended_well and name not in _WITHOUT_DIGEST
        for key in sorted(node.outputs) if known else []:
            folder = pathlib.Path(node.outputs[key][0].uri)
            if folder.is_dir() and key not in _WITHOUT_DIGEST:
                found[f"{name}.{key}"] = digests.artifact_digest(key, folder)
    # In the order of the nodes: those that `run` has are of the evaluations at the end.
    run = run.changed(digests={**found, **run.digests})
    model = output_folder(nodes, TRAINER, "model")
    if model is None:
        return run
    return run.changed(
        model_digest=weights_digest(model),
        export_digest=versions.content_digest(model / features.EXPORT_FOLDER),
    )


def _with_reading(run: Receipt, nodes: Executions) -> Receipt:
    """The receipt with what ExampleGen reports."""
    folder = output_folder(nodes, EXAMPLE_GEN, "examples")
    if folder is None:
        return run
    report = reading_report.parse((folder / features.READING_REPORT_FILE).read_text("utf-8"))
    return run.changed(
        reading=Reading(
            form=report.form,
            summary=report.summary,
            fit=report.fit,
            background=report.background,
            border=report.border,
            border_brightness=report.border_brightness,
            skipped=tuple(
                Skipped(name=file.name, reason=file.reason)
                for file in report.skipped[:_RECORDED_SKIPPED]
            ),
            skipped_count=report.skipped_count,
        )
    )


def _with_training(run: Receipt, nodes: Executions, task: Task) -> Receipt:
    """The receipt with calibration, warm start and tuned values, as the training reports them."""
    folder = output_folder(nodes, TRAINER, "model_run")
    if folder is None:
        return run
    report = training_report.parse((folder / features.TRAINING_REPORT_FILE).read_text("utf-8"))
    return run.changed(
        calibration=Calibration(
            temperature=report.calibration.temperature,
            label_smoothing=report.calibration.label_smoothing,
        ),
        hyperparameters=report.hyperparameters,
        warm_start_from=_warm_start(report.warm_start_from, task),
        settled_epochs=report.settled_epochs,
    )


def _warm_start(uri: str | None, task: Task) -> WarmStart | None:
    if uri is None:
        return None
    model = pathlib.Path(uri)
    export_digest = versions.content_digest(model / features.EXPORT_FOLDER)
    same = [
        version
        for version in versions.served_versions(task.serving)
        if versions.content_digest(task.serving / str(version)) == export_digest
    ]
    return WarmStart(digest=weights_digest(model), version=max(same, default=None))


def _with_gates(run: Receipt, nodes: Executions) -> Receipt:
    """The receipt with how each gate was judged: Pusher went by that."""
    folder = output_folder(nodes, BLESSING, "blessing")
    if folder is None:
        return run
    text = (folder / features.GATES_FILE).read_text(encoding="utf-8")
    return run.changed(gates=tuple(quality_gates.judged_from_json(text)))


def _with_evaluation(run: Receipt, nodes: Executions, task: Task) -> Receipt:
    folder = output_folder(nodes, EVALUATOR, "evaluation")
    if folder is None:
        return run
    measured = evaluation.read_evaluation(str(folder), task.class_names, task.slicings)
    digest = digests.figures_digest(measured.model_dump(mode="json"))
    named = {**run.digests, f"{EVALUATOR}.evaluation": digest}
    return run.changed(evaluation=measured, digests=named)


def _with_robustness(run: Receipt, nodes: Executions, task: Task) -> Receipt:
    """The receipt with what was measured on corrupted images, if anything."""
    folder = output_folder(nodes, ROBUSTNESS_EVALUATOR, "evaluation")
    if folder is None:
        return run
    # Here and not above: it imports SciPy.
    from components.robustness import corruptions

    names = task.class_names
    scores = tuple(evaluation.read_robustness(str(folder), names, corruptions.amounts()))
    digest = digests.figures_digest([each.model_dump(mode="json") for each in scores])
    named = {**run.digests, f"{ROBUSTNESS_EVALUATOR}.evaluation": digest}
    return run.changed(robustness=scores, digests=named)


def output_folder(nodes: Executions, name: str, key: str) -> pathlib.Path | None:
    """Folder of an output of a node that ended well; None where there is none."""
    node = nodes.get(name)
    artifact = node.output(key) if node and node.ended_well else None
    return pathlib.Path(artifact.uri) if artifact else None
