"""Collects the summary that the page shows from what a finished run left on disk."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping

from pipeline.records.executions import NodeExecution
from pipeline.records.receipt import Receipt
from review import (
    album,
    answers,
    artifacts,
    classification,
    comparison,
    data_report,
    gate_table,
    learning,
    origin,
    reliability,
    robustness,
    slices,
    verdict,
)
from review.artifacts import FinishedRun, Gaps
from review.summary import Summary

# More of them show no trend more clearly.
_PAST_RUNS = 100


def collect(
    receipt: Receipt,
    nodes: Mapping[str, NodeExecution],
    receipts: Iterable[Receipt],
    runs_folder: pathlib.Path,
) -> Summary:
    """Collects the review of a run. What is missing is None, and `missing` says why.

    Args:
      receipt: Receipt of the run, after its end.
      nodes: Executions in ML Metadata, by the name of the node; empty where it has none.
      receipts: Receipts of other runs, of any pipeline and in any order; earlier runs of this
        pipeline are the history.
      runs_folder: Folder of the pipeline's runs; their reviews describe earlier data.
    """
    run, gaps = FinishedRun(receipt, nodes), Gaps()
    earlier = _earlier(receipt, receipts)
    shown = gaps.fill("sheet", lambda: album.Album(answers.read_predictions(run)))

    def images() -> album.Album:
        # What needs the answers to each image is missing for the same reason as they are.
        if shown is None:
            raise artifacts.AbsentError(gaps.reasons["sheet"])
        return shown

    compared = gaps.fill("comparison", lambda: comparison.with_served(run, images()))
    judged = gaps.fill("gates", lambda: gate_table.gates(run, compared))
    return Summary(
        run=origin.run_of(receipt),
        class_names=gaps.fill("class_names", lambda: artifacts.class_names(run)) or [],
        verdict=verdict.verdict(receipt, judged, compared),
        gates=judged,
        comparison=compared,
        report=gaps.fill("report", lambda: classification.report(run)),
        slices=gaps.fill("slices", lambda: slices.slices(run)),
        confusion=gaps.fill("confusion", lambda: classification.confusion(run, shown)),
        calibration=gaps.fill(
            "calibration", lambda: reliability.calibration(run, images().predictions)
        ),
        robustness=gaps.fill("robustness", lambda: robustness.robustness(run, gaps)),
        data=gaps.fill("data", lambda: data_report.data(run, earlier, runs_folder, gaps)),
        suspects=gaps.fill("suspects", lambda: data_report.suspects(run, images(), gaps)),
        training=gaps.fill("training", lambda: learning.training(run, gaps)),
        inside=gaps.fill("inside", lambda: learning.inside(run, images(), gaps)),
        history=origin.history([*earlier, receipt][-_PAST_RUNS:]),
        lineage=origin.lineage(receipt),
        # Last, when every section has put its images into the album.
        sheet=(sheet := gaps.fill("sheet", shown.sheet) if shown else None),
        images=shown.records() if shown and sheet else [],
        missing=gaps.reasons,
    )


def _earlier(receipt: Receipt, receipts: Iterable[Receipt]) -> list[Receipt]:
    """Receipts of earlier runs of the same pipeline, oldest first."""
    earlier = [
        other
        for other in receipts
        if other.pipeline == receipt.pipeline and other.sequence < receipt.sequence
    ]
    return sorted(earlier, key=lambda other: other.sequence)
