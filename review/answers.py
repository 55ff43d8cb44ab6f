"""Answers of the new and the served model to the test images, read from a run's predictions."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components import features
from review.artifacts import ANSWERS, AbsentError, FinishedRun, read


@dataclasses.dataclass(frozen=True)
class Answers:
    """Answers of one model.

    Attributes:
      probabilities: float64 [N, classes].
    """

    probabilities: np.ndarray

    @functools.cached_property
    def choice(self) -> np.ndarray:
        """Class with the greatest probability, int64 [N]."""
        choice: np.ndarray = self.probabilities.argmax(axis=1)
        return choice

    @functools.cached_property
    def confidence(self) -> np.ndarray:
        """Probability of the first choice, float64 [N]."""
        confidence: np.ndarray = self.probabilities.max(axis=1)
        return confidence


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The test split with the answers of the new and of the served model.

    Attributes:
      class_names: Names of the classes, in label order.
      ids: Example ids.
      labels: int64 [N].
      images: uint8 [N, height, width, channels].
      candidate: Answers of the new model.
      baseline: Answers of the served model; None where none was served.
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
        right: np.ndarray = self.candidate.choice == self.labels
        return right

    def confusion(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of images by label and by the new model's first choice."""
        classes = len(self.class_names)
        cells = self.labels * classes + self.candidate.choice
        counts = np.bincount(cells, minlength=classes * classes)
        return tuple(map(tuple, counts.reshape(classes, classes).tolist()))


def read_predictions(run: FinishedRun) -> Predictions:
    """Reads the predictions of a run, and checks them against the counts of its receipt.

    Raises:
      AbsentError: where there are none, or where they are not those that were evaluated.
    """
    predictions = read(run.path(ANSWERS, features.PREDICTIONS_FILE), _parse)
    counted = run.evaluation.confusion
    if predictions.confusion() != counted:
        raise AbsentError(
            "The predictions are not those that were evaluated: their confusion matrix differs "
            f"from that of the receipt ({_hits(predictions.confusion())} right answers here, "
            f"{_hits(counted)} there). A new run with --no-cache makes both again."
        )
    return predictions


def read_answers(path: pathlib.Path) -> tuple[np.ndarray, Answers]:
    """Reads the new model's answers to the test images, without the images.

    Args:
      path: File that Predictions wrote.

    Returns:
      Labels, int64 [N], and the answers.

    Raises:
      ValueError: where values are missing or out of range.
    """
    table = pq.read_table(path, columns=[features.LABEL, features.CANDIDATE])
    return _answered(table, len(_described(table).class_names))


def _hits(confusion: tuple[tuple[int, ...], ...]) -> int:
    return sum(row[number] for number, row in enumerate(confusion))


def _parse(content: bytes) -> Predictions:
    table = pq.read_table(pa.BufferReader(content))
    described = _described(table)
    names = described.class_names
    labels, candidate = _answered(table, len(names))
    pixels = b"".join(table.column(features.IMAGE).to_pylist())
    shape = (table.num_rows, *described.image_shape)
    return Predictions(
        class_names=names,
        ids=table.column(features.EXAMPLE_ID).to_pylist(),
        labels=labels,
        images=np.frombuffer(pixels, np.uint8).reshape(shape),
        candidate=candidate,
        baseline=_answers(table.column(features.BASELINE), len(names)),
    )


class _Description(NamedTuple):
    class_names: list[str]
    image_shape: list[int]


def _described(table: pa.Table) -> _Description:
    texts = table.schema.metadata
    keys = (features.CLASS_NAMES, features.IMAGE_SHAPE)
    return _Description(*(json.loads(texts[key.encode()]) for key in keys))


def _answered(table: pa.Table, classes: int) -> tuple[np.ndarray, Answers]:
    candidate = _answers(table.column(features.CANDIDATE), classes)
    if candidate is None:
        raise ValueError("the new model's answers are missing")
    return _labels(table.column(features.LABEL), classes), candidate


def _labels(column: pa.ChunkedArray, classes: int) -> np.ndarray:
    labels: np.ndarray = column.to_numpy()
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
