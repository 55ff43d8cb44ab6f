"""Classifies images with the newest served model."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from components import features
from operations.questions import Question, read_questions
from pipeline import paths
from pipeline.errors import DataError, UnknownRunError
from pipeline.locations import Locations
from pipeline.records import history
from pipeline.streams import output_to_log

_CHOICES = 3
# On the reference data, most errors have a first choice below this.
_LOW_CONFIDENCE = 0.6
_BATCH_SIZE = 1000


@dataclasses.dataclass(frozen=True)
class Choice:
    """A class that an image may belong to.

    Attributes:
      class_name: Name of the class.
      probability: Probability by the model.
    """

    class_name: str
    probability: float


@dataclasses.dataclass(frozen=True)
class Answer:
    """The model's answer for one image.

    Attributes:
      file: Name of the file, with the position of the image in an IDX file.
      choices: The most probable classes, best first.
      low_confidence: Whether the first choice is improbable.
      notes: What was done to the image.
    """

    file: str
    choices: tuple[Choice, ...]
    low_confidence: bool
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Classified:
    """Answers for all images.

    Attributes:
      model: Folder of the served version that answered.
      pipeline: Name of its pipeline.
      version: Number of the version.
      answers: An answer for each image, in the order of the files.
    """

    model: str
    pipeline: str
    version: int
    answers: tuple[Answer, ...]


def predict(
    files: Sequence[pathlib.Path], pipeline: str | None, output_dir: pathlib.Path
) -> Classified:
    """Classifies all images of the files.

    Args:
      files: PNG, JPEG or IDX files.
      pipeline: Name of the pipeline; None takes the one that pushed last, a sample only without
        another.
      output_dir: Folder of all pipelines.

    Raises:
      UnknownRunError: No model has been pushed.
      DataError: A file is not an image.
      PathError: A file has a name that fits into no message.
    """
    name, version = served_model(output_dir, pipeline)
    for file in files:
        if not paths.resolved(file, "predict").is_file():
            raise DataError(f"{file} is not a file; expected a PNG, JPEG or IDX file.")
    export = (Locations(output_dir / name).serving / str(version)).resolve()
    described = json.loads((export / features.EXPORT_DESCRIPTION_FILE).read_text("utf-8"))
    height, width, channels = described["image_shape"]
    shape = (height, width, channels)
    questions = [question for file in files for question in read_questions(file, shape)]
    # TensorFlow reports on drivers and kernels, which would pass for faults of the images.
    with output_to_log(pathlib.Path(os.devnull), verbose=False):
        answers = tuple(_answers(export, described["class_names"], questions))
    return Classified(str(export), name, version, answers)


def served_model(output_dir: pathlib.Path, pipeline: str | None) -> tuple[str, int]:
    """Finds the pipeline to ask, by name, and the version that it serves.

    Args:
      output_dir: Folder of all pipelines.
      pipeline: Name of the pipeline; None takes the one that pushed last, a sample only without
        another.

    Raises:
      UnknownRunError: No model has been pushed.
    """
    served = history.served(output_dir)
    if pipeline is not None:
        served = {name: version for name, version in served.items() if name == pipeline}
    if not served:
        where = output_dir if pipeline is None else output_dir / pipeline
        raise UnknownRunError(
            f"no model has been pushed below {where}; expected a served version. "
            "Push one with: python3 pipeline_runner.py run"
        )
    # The clock named the versions, and it may have been wrong: the order of the runs comes first.
    # A model of the sample knows nothing of real images: it is asked where there is no other.
    pushed = {
        receipt.pipeline: (not receipt.data.is_sample, receipt.sequence)
        for receipt in history.read_receipts(output_dir)
        if receipt.pushed_version is not None
    }
    newest = max(served, key=lambda name: (pushed.get(name, (True, 0)), served[name]))
    return newest, served[newest]


def _answers(
    export: pathlib.Path, class_names: Sequence[str], questions: Sequence[Question]
) -> Iterator[Answer]:
    # Imported here: a file that is not an image should not wait for TensorFlow.
    import tensorflow as tf

    # Kept in a variable: the signature holds the model's variables by weak references.
    loaded = tf.saved_model.load(str(export))
    predict_pixels = loaded.signatures[features.PREDICT_PIXELS]
    for start in range(0, len(questions), _BATCH_SIZE):
        batch = questions[start : start + _BATCH_SIZE]
        pixels = tf.constant(np.stack([question.pixels for question in batch]))
        rows = predict_pixels(pixels=pixels)[features.PROBABILITIES].numpy()
        for question, row in zip(batch, rows, strict=True):
            yield _answer(question, row, class_names)


def _answer(question: Question, row: np.ndarray, class_names: Sequence[str]) -> Answer:
    best = np.argsort(-row)[:_CHOICES]
    choices = tuple(Choice(class_names[number], float(row[number])) for number in best)
    low = choices[0].probability < _LOW_CONFIDENCE
    return Answer(question.name, choices, low, question.notes)
