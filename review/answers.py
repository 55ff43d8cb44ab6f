"""What the models answered to the test images, read from the predictions of a run."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components import features
from pipeline.nodes import EVALUATOR
from review.artifacts import ANSWERS, AbsentError, FinishedRun, read


@dataclasses.dataclass(frozen=True)
class Answers:
    """What one model answers.

    Attributes:
      probabilities: float64 [N, classes].
    """

    probabilities: np.ndarray

    @functools.cached_property
    def choice(self) -> np.ndarray:
        """The class of the greatest probability, int64 [N]."""
        return self.probabilities.argmax(axis=1)

    @functools.cached_property
    def confidence(self) -> np.ndarray:
        """The probability of the first choice, float64 [N]."""
        return self.probabilities.max(axis=1)


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The test split with the answers of the new and of the served model.

    Attributes:
      class_names: in label order.
      ids: example ids.
      labels: int64 [N].
      images: uint8 [N, height, width, channels].
      candidate: of the new model.
      baseline: of the served model; None where there was none.
    """

    class_names: list[str]
    ids: list[str]
    labels: np.ndarray
    images: np.ndarray
    candidate: Answers
    baseline: Answers | None

    @functools.cached_property
    def right(self) -> np.ndarray:
        """Whether the new model's first choice is the label, bool [N]."""
        return self.candidate.choice == self.labels

    def confusion(self) -> list[list[int]]:
        """Numbers of images by label and by the new model's first choice."""
        classes = len(self.class_names)
        cells = self.labels * classes + self.candidate.choice
        counts = np.bincount(cells, minlength=classes * classes)
        return counts.reshape(classes, classes).tolist()


def read_predictions(run: FinishedRun) -> Predictions:
    """The predictions of a run, held to what its receipt counted.

    Raises:
      AbsentError: where there are none, or where they are not those that were evaluated.
    """
    found = read(run.path(ANSWERS, features.PREDICTIONS_FILE), _parse)
    counted = run.receipt["confusion"]
    if not counted:
        raise AbsentError(run.why_not_in_receipt(EVALUATOR))
    if found.confusion() != counted:
        raise AbsentError(
            "The predictions are not those that were evaluated: their confusion matrix differs "
            f"from that of the receipt ({_hits(found.confusion())} right answers here, "
            f"{_hits(counted)} there). A new run with --no-cache makes both anew."
        )
    return found


def read_answers(path: pathlib.Path) -> tuple[np.ndarray, Answers]:
    """What the new model answers to the test images, without these.

    Args:
      path: of the file that Predictions wrote.

    Returns:
      Labels, int64 [N], and the answers.

    Raises:
      ValueError: where values are missing or out of range.
    """
    table = pq.read_table(path, columns=[features.LABEL, features.CANDIDATE])
    return _answered(table, len(_described(table)[features.CLASS_NAMES]))


def _hits(confusion: list[list[int]]) -> int:
    return sum(row[number] for number, row in enumerate(confusion))


def _parse(content: bytes) -> Predictions:
    table = pq.read_table(pa.BufferReader(content))
    described = _described(table)
    names = described[features.CLASS_NAMES]
    labels, candidate = _answered(table, len(names))
    pixels = b"".join(table.column(features.IMAGE).to_pylist())
    shape = (table.num_rows, *described[features.IMAGE_SHAPE])
    return Predictions(
        class_names=names,
        ids=table.column(features.EXAMPLE_ID).to_pylist(),
        labels=labels,
        images=np.frombuffer(pixels, np.uint8).reshape(shape),
        candidate=candidate,
        baseline=_answers(table.column(features.BASELINE), len(names)),
    )


def _described(table: pa.Table) -> dict[str, Any]:
    return {key.decode(): json.loads(text) for key, text in table.schema.metadata.items()}


def _answered(table: pa.Table, classes: int) -> tuple[np.ndarray, Answers]:
    candidate = _answers(table.column(features.CANDIDATE), classes)
    if candidate is None:
        raise ValueError("the new model's answers are missing")
    return _labels(table.column(features.LABEL), classes), candidate


def _labels(column: pa.ChunkedArray, classes: int) -> np.ndarray:
    labels = column.to_numpy()
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"expected labels from 0 to {classes - 1}")
    return labels


def _answers(column: pa.ChunkedArray, classes: int) -> Answers | None:
    if column.null_count:
        return None
    values = column.combine_chunks().flatten().to_numpy().astype(np.float64)
    probabilities = values.reshape(len(column), classes)
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("expected probabilities from 0 to 1")
    return Answers(probabilities)
