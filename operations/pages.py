"""Makes the pages of the review: of a run, of all runs of a pipeline, and of two runs.

Needs neither TensorFlow nor TFX.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import webbrowser
from typing import Any

from cli.render import runs as terminal
from components import features
from pipeline.errors import OutputError, UsageError
from pipeline.locations import CHARTS_FILE, REVIEW_PAGE, Locations, write_whole
from pipeline.nodes import expected_nodes
from pipeline.records import history, metadata
from review import artifacts, collect, figures, index, origin, page, versus
from review.artifacts import FinishedRun
from review.summary import Summary, stored_summary, write_summary


def main(run: str, output_dir: pathlib.Path, open_page: bool) -> None:
    """Makes the page of a run from what is stored, and says where it is.

    Args:
      run: its id, how the id begins, or `latest`.
      output_dir: of all pipelines.
      open_page: whether to show it in the browser.

    Raises:
      UnknownRunError: where no run, or more than one, fits.
      UsageError: where the run is still at work.
      OutputError: where the page cannot be written.
    """
    receipt = history.find(output_dir, run)
    if receipt["status"] == history.RUNNING:
        raise UsageError(
            f"run {receipt['run_id']} is still at work; expected one that has ended, which makes "
            "its page by itself. `runs show` tells where its log is."
        )
    locations = Locations(output_dir.resolve() / receipt["pipeline"])
    try:
        path = _write_again(locations, receipt)
    except OSError as error:
        raise _unwritten(locations.runs / receipt["run_id"] / REVIEW_PAGE, error) from error
    print(f"Review    {path}")
    print(f"All runs  {locations.index}")
    if open_page:
        webbrowser.open(path.as_uri())


def _write_again(locations: Locations, receipt: dict[str, Any]) -> pathlib.Path:
    stored = _stored(locations, receipt)
    if stored:
        return _write_pages(locations, stored, history.receipts_of(locations))
    return write(locations, receipt)


def write(locations: Locations, receipt: dict[str, Any]) -> pathlib.Path:
    """Collects the review of a run and writes it, its page, and the index of all runs.

    Args:
      locations: of the pipeline.
      receipt: of the run.

    Returns:
      The page.
    """
    run, receipts = _finished(locations, receipt), history.receipts_of(locations)
    found = collect.collect(receipt, run.nodes, receipts, locations.runs)
    folder = locations.runs / receipt["run_id"]
    write_summary(folder, found)
    _keep_predictions(run, folder)
    return _write_pages(locations, found, receipts)


def compare(first: str, second: str, output_dir: pathlib.Path, as_json: bool) -> None:
    """Compares two runs on the terminal and on a page.

    Args:
      first: the run that counts as the baseline; an id, how it begins, or `latest`.
      second: the one that counts as the candidate.
      output_dir: of all pipelines.
      as_json: whether to print one JSON document instead of a table.

    Raises:
      UnknownRunError: where no run, or more than one, fits.
      OutputError: where the page cannot be written; the comparison is printed all the same.
    """
    receipts = [metadata.find_receipt(output_dir, run) for run in (first, second)]
    places = [Locations(output_dir.resolve() / receipt["pipeline"]) for receipt in receipts]
    found = versus.compare(*map(_finished, places, receipts))
    path = places[1].comparisons / f"{receipts[0]['run_id']}-{receipts[1]['run_id']}.html"
    try:
        path.parent.mkdir(exist_ok=True)
        write_whole(path, page.render_comparison(found))
    except OSError as error:
        terminal.print_comparison(found, None, as_json)
        raise _unwritten(path, error) from error
    terminal.print_comparison(found, path, as_json)


def _unwritten(path: pathlib.Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} was not written ({error.strerror}); expected leave and room to write in "
        f"{path.parent}. Mend that, and ask again."
    )


def _finished(locations: Locations, receipt: dict[str, Any]) -> FinishedRun:
    """What is left of a run."""
    nodes = {}
    if locations.metadata.exists():
        store = metadata.open_store(locations.metadata)
        nodes = metadata.read_nodes(store, receipt["run_id"], _node_ids(receipt))
    return FinishedRun(receipt, nodes)


def _node_ids(receipt: dict[str, Any]) -> list[str]:
    # The receipt of a run that was killed names no nodes.
    config = receipt["config"]
    enabled = [config.get(part, {}).get("enabled", False) for part in ("tuner", "robustness")]
    return list(receipt["nodes"] or expected_nodes(*enabled))


def _stored(locations: Locations, receipt: dict[str, Any]) -> Summary | None:
    """The summary that was made at the end of a run; None where there is none to rely on."""
    # A run without a duration was cut off.
    if receipt["seconds"] is None:
        return None
    return stored_summary(locations.runs / receipt["run_id"])


def _write_pages(
    locations: Locations, found: Summary, receipts: list[dict[str, Any]]
) -> pathlib.Path:
    folder = locations.runs / found.run.id
    path = folder / REVIEW_PAGE
    charts = page.charts_of(found)
    write_whole(path, page.render(found, charts))
    specifications = {name: figures.specification_of(chart) for name, chart in charts.items()}
    write_whole(folder / CHARTS_FILE, json.dumps(specifications))
    reviewed = {made.parent.name for made in locations.runs.glob(f"*/{REVIEW_PAGE}")}
    write_whole(
        locations.index,
        index.render_index(found.run.pipeline, origin.history(receipts), reviewed),
    )
    return path


def _keep_predictions(run: FinishedRun, folder: pathlib.Path) -> None:
    """Puts the answers beside the page, so that a copy of the folder is enough to work on them."""
    try:
        source = run.path(artifacts.ANSWERS, features.PREDICTIONS_FILE)
    except artifacts.AbsentError:
        return
    if source.exists():
        _copy(source, folder / features.PREDICTIONS_FILE)


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    target.unlink(missing_ok=True)
    try:
        # No second copy where the file system can do without.
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
