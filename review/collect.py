"""From what a finished run left on disk to the summary that the page shows."""

from __future__ import annotations

import pathlib
from typing import Any

from pipeline.records import metadata
from review import (
    album,
    answers,
    artifacts,
    classification,
    comparison,
    dataset,
    gate_table,
    learning,
    origin,
    reliability,
    robustness,
    verdict,
)
from review.artifacts import FinishedRun, Gaps
from review.summary import Summary

# Nobody sees a trend in more of them.
_PAST_RUNS = 100


def collect(
    receipt: dict[str, Any],
    nodes: dict[str, metadata.NodeRecord],
    receipts: list[dict[str, Any]],
    runs_folder: pathlib.Path,
) -> Summary:
    """Collects the review of a run. What cannot be had is None, and `missing` says why.

    Args:
      receipt: of the run, as it stands after its end.
      nodes: what ML Metadata has of its nodes, by name; empty where it has nothing.
      receipts: of other runs, of any pipeline and in any order; those of this pipeline before this
        run are its history.
      runs_folder: of the pipeline; the reviews in the folders of its runs tell of earlier data.
    """
    run, gaps = FinishedRun(receipt, nodes), Gaps()
    earlier = _earlier(receipt, receipts)
    shown = gaps.fill("sheet", lambda: album.Album(answers.read_predictions(run)))

    def images() -> album.Album:
        # What has no meaning without the answers to each image is missing for the same reason.
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
        confusion=gaps.fill("confusion", lambda: classification.confusion(run, shown)),
        calibration=gaps.fill(
            "calibration", lambda: reliability.calibration(receipt, images().predictions)
        ),
        robustness=gaps.fill("robustness", lambda: robustness.robustness(run, gaps)),
        data=gaps.fill("data", lambda: dataset.data(run, earlier, runs_folder)),
        suspects=gaps.fill("suspects", lambda: dataset.suspects(run, images(), gaps)),
        training=gaps.fill("training", lambda: learning.training(run, gaps)),
        inside=gaps.fill("inside", lambda: learning.inside(run, images(), gaps)),
        history=origin.history([*earlier, receipt][-_PAST_RUNS:]),
        lineage=origin.lineage(receipt),
        # Last, when every section has put its images into the album.
        sheet=shown.sheet() if shown else None,
        images=shown.records() if shown else [],
        missing=gaps.reasons,
    )


def _earlier(receipt: dict[str, Any], receipts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Receipts of the runs of the same pipeline before this one, oldest first."""
    found = [
        other
        for other in receipts
        if other["pipeline"] == receipt["pipeline"] and other["sequence"] < receipt["sequence"]
    ]
    return metadata.in_order(found)
