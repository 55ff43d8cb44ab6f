"""Adds the results of a run to its receipt: what nodes made, and how far its scores are right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from components import features
from pipeline.nodes import PREDICTIONS
from pipeline.records import results
from pipeline.records.executions import NodeExecution
from pipeline.records.receipt import Receipt


def with_results(
    run: Receipt, nodes: Mapping[str, NodeExecution], task: results.Task
) -> Iterator[Receipt]:
    """Adds what the run made and measured, as far as it got.

    Yields:
      The receipt after each addition, so that an error in one loses none before it.
    """
    for added in results.results(run, nodes, task):
        yield (run := added)
    yield _with_calibration(run, nodes)


def _with_calibration(run: Receipt, nodes: Mapping[str, NodeExecution]) -> Receipt:
    """The receipt with the calibration errors of the test split; call it last."""
    folder = results.output_folder(nodes, PREDICTIONS, "predictions")
    if folder is None:
        return run
    # Here and not above: they import SciPy and pyarrow.
    from review import reliability
    from review.answers import read_answers

    labels, answers = read_answers(folder / features.PREDICTIONS_FILE)
    return run.changed(calibration=reliability.with_errors(run.calibration, answers, labels))
