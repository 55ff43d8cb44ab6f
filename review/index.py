"""The index of a pipeline's runs: one HTML file with links to the page of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from review import figures, summary
from review.page import draw, fill, locate


def render_index(pipeline: str, runs: Sequence[summary.PastRun], with_page: Collection[str]) -> str:
    """Renders the page that lists the runs, newest first, as HTML.

    It belongs beside the folder `runs`: its links lead to the pages in there.

    Args:
      pipeline: Name of the pipeline.
      runs: Runs of the pipeline, oldest first.
      with_page: Ids of the runs that have a page.
    """
    has_chart = any(run.accuracy for run in runs)
    return fill(
        "index.html",
        pipeline=pipeline,
        runs=locate([run.model_dump(mode="json") for run in runs], "runs"),
        with_page=with_page,
        chart=draw(figures.accuracy_history(runs)) if has_chart else None,
        sheets={},
    )
