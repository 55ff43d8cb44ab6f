"""What the models answered to the test images, read from the predictions of a run."""

from __future__ import annotations

import dataclasses
import functools
import json

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


def _hits(confusion: list[list[int]]) -> int:
    return sum(row[number] for number, row in enumerate(confusion))


def _parse(content: bytes) -> Predictions:
    table = pq.read_table(pa.BufferReader(content))
    described = {key.decode(): json.loads(text) for key, text in table.schema.metadata.items()}
    names = described[features.CLASS_NAMES]
    pixels = b"".join(table.column(features.IMAGE).to_pylist())
    shape = (table.num_rows, *described[features.IMAGE_SHAPE])
    candidate = _answers(table.column(features.CANDIDATE), len(names))
    if candidate is None:
        raise ValueError("the new model's answers are missing")
    return Predictions(
        class_names=names,
        ids=table.column(features.EXAMPLE_ID).to_pylist(),
        labels=_labels(table.column(features.LABEL), len(names)),
        images=np.frombuffer(pixels, np.uint8).reshape(shape),
        candidate=candidate,
        baseline=_answers(table.column(features.BASELINE), len(names)),
    )


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
