"""The index over the runs of a pipeline: one HTML file that leads to the page of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from review import figures, summary
from review.page import draw, fill, locate


def render_index(pipeline: str, runs: Sequence[summary.PastRun], with_page: Collection[str]) -> str:
    """The page that lists the runs, newest first, as HTML.

    It belongs beside the folder `runs`, below which it looks for the page of each run.

    Args:
      pipeline: name of the pipeline.
      runs: of the pipeline, oldest first.
      with_page: ids of the runs that have a page.
    """
    located = locate({"runs": [run.model_dump(mode="json") for run in runs]})
    has_chart = any(run.accuracy for run in runs)
    return fill(
        "index.html",
        pipeline=pipeline,
        runs=located["runs"][::-1],
        with_page=with_page,
        chart=draw(figures.accuracy_history(runs)) if has_chart else None,
        sheets={},
    )
