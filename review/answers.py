"""Answers of the new and the served model to the test images, read from a run's predictions."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components import features
from components.messages import AGAIN_WITHOUT_CACHE
from review.artifacts import ANSWERS, AbsentError, FinishedRun, read_path

# Images that are in memory at once while the file is searched for some of them.
_BATCH = 1_000


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
      image_shape: Height, width and channels of an image.
      candidate: Answers of the new model.
      baseline: Answers of the served model; None where none was served, and where some are not
        finite.
      baseline_faults: Number of images to which the served model answers with values that are not
        finite.
      path: File with all of this, and with the images.
    """

    class_names: list[str]
    ids: list[str]
    labels: np.ndarray
    image_shape: tuple[int, ...]
    candidate: Answers
    baseline: Answers | None
    baseline_faults: int
    path: pathlib.Path

    @functools.cached_property
    def right(self) -> np.ndarray:
        """Whether the new model's first choice is the label, bool [N]."""
        right: np.ndarray = self.candidate.choice == self.labels
        return right

    def images(self, places: Sequence[int]) -> np.ndarray:
        """Reads some of the images; all of them may be larger than the memory.

        Args:
          places: Places in the test split, in any order.

        Returns:
          uint8 [len(places), height, width, channels].

        Raises:
          AbsentError: where the file is gone or damaged.
        """
        return read_path(self.path, lambda _: self._images(np.asarray(places, np.int64)))

    def _images(self, places: np.ndarray) -> np.ndarray:
        wanted = np.unique(places)
        found = np.empty((len(wanted), *self.image_shape), np.uint8)
        begin = 0
        for batch in self._batches():
            first, last = np.searchsorted(wanted, [begin, begin + len(batch)])
            for number in range(first, last):
                pixels = batch[int(wanted[number]) - begin].as_buffer()
                found[number] = np.frombuffer(pixels, np.uint8).reshape(self.image_shape)
            begin += len(batch)
        return found[np.searchsorted(wanted, places)]

    def images_digest(self) -> str:
        """SHA-256 of all images, in their order.

        Raises:
          AbsentError: where the file is gone or damaged.
        """
        return read_path(self.path, lambda _: self._digest())

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for batch in self._batches():
            for image in batch:
                digest.update(image.as_buffer())
        return digest.hexdigest()

    def _batches(self) -> Iterator[pa.Array]:
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(_BATCH, columns=[features.IMAGE]):
                yield batch.column(0)

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
    predictions = read_path(run.path(ANSWERS, features.PREDICTIONS_FILE), _parse)
    counted = run.evaluation.confusion
    if predictions.confusion() != counted:
        raise AbsentError(
            "The predictions are not those that were evaluated: their confusion matrix differs "
            f"from that of the receipt ({_hits(predictions.confusion())} right answers here, "
            f"{_hits(counted)} there). {AGAIN_WITHOUT_CACHE}"
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


def _parse(path: pathlib.Path) -> Predictions:
    # Everything but the images.
    columns = [features.EXAMPLE_ID, features.LABEL, features.CANDIDATE, features.BASELINE]
    table = pq.read_table(path, columns=columns)
    described = _described(table)
    names = described.class_names
    labels, candidate = _answered(table, len(names))
    # Predictions refuses a new model with such answers, but the served one is what it is.
    served = _values(table.column(features.BASELINE), len(names))
    faults = 0 if served is None else int((~np.isfinite(served).all(axis=1)).sum())
    return Predictions(
        class_names=names,
        ids=_ids(table.column(features.EXAMPLE_ID)),
        labels=labels,
        image_shape=tuple(described.image_shape),
        candidate=candidate,
        baseline=None if served is None or faults else _answers(served),
        baseline_faults=faults,
        path=path,
    )


class _Description(NamedTuple):
    class_names: list[str]
    image_shape: list[int]


def _described(table: pa.Table) -> _Description:
    texts = table.schema.metadata
    keys = (features.CLASS_NAMES, features.IMAGE_SHAPE)
    return _Description(*(json.loads(texts[key.encode()]) for key in keys))


def _answered(table: pa.Table, classes: int) -> tuple[np.ndarray, Answers]:
    candidate = _values(table.column(features.CANDIDATE), classes)
    if candidate is None:
        raise ValueError("the new model's answers are missing")
    return _labels(table.column(features.LABEL), classes), _answers(candidate)


def _ids(column: pa.ChunkedArray) -> list[str]:
    ids: list[str] = column.to_pylist()
    if not all(isinstance(example_id, str) for example_id in ids):
        raise ValueError("expected a text as the id of each example")
    return ids


def _labels(column: pa.ChunkedArray, classes: int) -> np.ndarray:
    labels: np.ndarray = column.to_numpy()
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"expected labels from 0 to {classes - 1}")
    return labels


def _values(column: pa.ChunkedArray, classes: int) -> np.ndarray | None:
    """What a model answers, float64 [N, classes]; None where there is none."""
    if column.null_count:
        return None
    values = column.combine_chunks().flatten().to_numpy().astype(np.float64)
    answers: np.ndarray = values.reshape(len(column), classes)
    return answers


def _answers(values: np.ndarray) -> Answers:
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("expected probabilities from 0 to 1")
    return Answers(values)
