"""Writes the pages of the review: of a run, of all runs of a pipeline, and of two runs.

Needs neither TensorFlow nor TFX.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import pathlib
import shutil

from components import features
from components.disk import write_whole
from pipeline.errors import OutputError, UsageError
from pipeline.locations import CHARTS_FILE, REVIEW_PAGE, Locations
from pipeline.nodes import expected_nodes
from pipeline.records import history, metadata
from pipeline.records.outcomes import Status
from pipeline.records.receipt import Receipt
from review import artifacts, collect, figures, index, origin, page, versus
from review.artifacts import FinishedRun
from review.summary import REVIEW_FILE, RunComparison, Summary, stored_summary, write_summary


@dataclasses.dataclass(frozen=True)
class Pages:
    """Pages that were written.

    Attributes:
      page: Page of the run.
      index: Page that lists all runs of the pipeline.
      lost: Nodes whose results are gone, because of which the page stayed as it was; empty where it
        was written.
    """

    page: pathlib.Path
    index: pathlib.Path
    lost: tuple[str, ...] = ()


def review(run: str, output_dir: pathlib.Path) -> Pages:
    """Writes the page of a run from what is stored, and the index of all runs.

    A page that is there stays as it is if it can only be made again with less on it: where the
    summary of the run cannot be read, and artifacts are gone.

    Args:
      run: Id of the run, its beginning, or `latest`.
      output_dir: Output folder of all pipelines.

    Raises:
      UnknownRunError: where no run, or more than one, fits.
      UsageError: where the run is still at work.
      OutputError: where the page cannot be written.
    """
    receipt = history.find(output_dir, run)
    if receipt.status == Status.RUNNING:
        raise UsageError(
            f"run {receipt.run_id} is still at work; expected one that has ended, which makes its "
            "page by itself. `runs show` says where its log is."
        )
    locations = _locations(output_dir, receipt.pipeline)
    try:
        return _write_again(locations, receipt)
    except OSError as error:
        raise _unwritten(_failed(error, locations, receipt.run_id), error) from error


def _write_again(locations: Locations, receipt: Receipt) -> Pages:
    # The summary of a run that was cut off is that of an earlier state.
    was_cut_off, folder = receipt.seconds is None, locations.runs / receipt.run_id
    stored = None if was_cut_off else stored_summary(folder)
    receipts = history.receipts_of(locations)
    if stored:
        return _write_pages(locations, stored, receipts)
    run = _finished(locations, receipt)
    lost = run.lost() if (folder / REVIEW_PAGE).is_file() else []
    if lost:
        _write_index(locations, receipt.pipeline, receipts)
        return Pages(folder / REVIEW_PAGE, locations.index, tuple(lost))
    return _write_new(locations, run, receipts)


def write(locations: Locations, receipt: Receipt, receipts: list[Receipt]) -> Pages:
    """Collects the review of a run; writes it, its page and the index of all runs.

    Args:
      locations: Folders of the pipeline.
      receipt: Receipt of the run.
      receipts: Receipts of all runs of the pipeline, oldest first.

    Raises:
      OSError: where a file cannot be written.
    """
    return _write_new(locations, _finished(locations, receipt), receipts)


def _write_new(locations: Locations, run: FinishedRun, receipts: list[Receipt]) -> Pages:
    summary = collect.collect(run.receipt, run.nodes, receipts, locations.runs)
    folder = locations.runs / run.receipt.run_id
    write_summary(folder, summary)
    _keep_predictions(run, folder)
    return _write_pages(locations, summary, receipts)


def compare(first: str, second: str, output_dir: pathlib.Path) -> RunComparison:
    """Compares two runs.

    Args:
      first: The baseline: id of the run, its beginning, or `latest`.
      second: The candidate, in the same form.
      output_dir: Output folder of all pipelines.

    Raises:
      UnknownRunError: where no run, or more than one, fits.
    """
    receipts = [history.find(output_dir, run) for run in (first, second)]
    return versus.compare(
        *(_finished(_locations(output_dir, receipt.pipeline), receipt) for receipt in receipts)
    )


def write_comparison(comparison: RunComparison, output_dir: pathlib.Path) -> pathlib.Path:
    """Writes the page of a comparison; returns its path.

    Raises:
      OutputError: where the page cannot be written.
    """
    folder = _locations(output_dir, comparison.second.pipeline).comparisons
    path = folder / f"{comparison.first.id}-{comparison.second.id}.html"
    try:
        folder.mkdir(exist_ok=True)
        write_whole(path, page.render_comparison(comparison))
    except OSError as error:
        raise _unwritten(path, error) from error
    return path


def _locations(output_dir: pathlib.Path, pipeline: str) -> Locations:
    return Locations(output_dir.resolve() / pipeline)


def _failed(error: OSError, locations: Locations, run_id: str) -> pathlib.Path:
    """The file of a review that an error names; its page where it names none of them."""
    folder = locations.runs / run_id
    names = (CHARTS_FILE, REVIEW_FILE, features.PREDICTIONS_FILE)
    written = (locations.index, *(folder / name for name in names))
    failed = (path for path in written if str(path) == error.filename)
    return next(failed, folder / REVIEW_PAGE)


def _unwritten(path: pathlib.Path, error: OSError) -> OutputError:
    if error.errno == errno.ENOMEM:
        return OutputError(f"{path} was not written: {error.strerror}")
    return OutputError(
        f"{path} was not written ({error.strerror}); expected permission and room to write in "
        f"{path.parent}. Fix that and try again."
    )


def _finished(locations: Locations, receipt: Receipt) -> FinishedRun:
    """A run with its nodes, as far as ML Metadata has them."""
    store = metadata.find_store(locations)
    if store is None:
        return FinishedRun(receipt, {})
    nodes = metadata.read_nodes(store, receipt.pipeline, receipt.run_id, _node_ids(receipt))
    return FinishedRun(receipt, nodes)


def _node_ids(receipt: Receipt) -> list[str]:
    # The receipt of a run that was killed names no nodes.
    expected = expected_nodes(receipt.asks_for("tuner"), receipt.asks_for("robustness"))
    return list(receipt.nodes or expected)


def _write_pages(locations: Locations, summary: Summary, receipts: list[Receipt]) -> Pages:
    folder = locations.runs / summary.run.id
    charts = page.charts_of(summary)
    write_whole(folder / REVIEW_PAGE, page.render(summary, charts))
    specifications = {name: figures.specification_of(chart) for name, chart in charts.items()}
    write_whole(folder / CHARTS_FILE, json.dumps(specifications))
    _write_index(locations, summary.run.pipeline, receipts)
    return Pages(folder / REVIEW_PAGE, locations.index)


def _write_index(locations: Locations, pipeline: str, receipts: list[Receipt]) -> None:
    reviewed = {path.parent.name for path in locations.runs.glob(f"*/{REVIEW_PAGE}")}
    text = index.render_index(pipeline, origin.history(receipts), reviewed)
    write_whole(locations.index, text)


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
        # A link saves a second copy where the file system allows one.
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
