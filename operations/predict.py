"""Classifies images with the newest served model."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import os
import pathlib
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from components import features
from components.images import Fit, Preparation
from components.messages import shown, told
from components.pusher.served import ServedModel, UnreadableModelError, read_version
from components.reading_report import Border
from operations import lost
from operations.questions import Form, Ignored, Invert, Question, Refused, read_all
from pipeline.errors import UnknownRunError, UnsoundVersionError, UsageError
from pipeline.locations import Locations
from pipeline.records import history
from pipeline.streams import output_to_log

_CHOICES = 3
# On the reference data, most errors have a first choice below this.
_LOW_CONFIDENCE = 0.6
# Maximum number of images, and of their bytes, that are asked about at a time.
_BATCH_SIZE, _BATCH_BYTES = 1000, 2**26
# By name: TensorFlow, which has the second, is imported late.
_OUT_OF_MEMORY = ("MemoryError", "ResourceExhaustedError")


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
      refused: The files that could not be classified.
    """

    model: str
    pipeline: str
    version: int
    answers: tuple[Answer, ...]
    refused: tuple[Refused, ...]


def predict(
    files: Sequence[pathlib.Path],
    pipeline: str | None,
    output_dir: pathlib.Path,
    invert: Invert,
    report: Callable[[int], None],
) -> Classified:
    """Classifies all images of the files.

    Args:
      files: Image files, IDX files, and folders of images.
      pipeline: Name of the pipeline; None takes the one that pushed last, a sample only without
        another.
      output_dir: Folder of all pipelines.
      invert: When images are inverted.
      report: Called with the number of images so far, after each batch.

    Raises:
      UnknownRunError: No model has been pushed.
      UnsoundVersionError: The served model is damaged.
    """
    name, version = served_model(output_dir, pipeline)
    locations = Locations(output_dir / name)
    model = _sound_model(locations, version)
    form = Form(*_training_images(model, locations), invert)
    refused: list[Refused] = []
    questions = _good(read_all(files, form), refused)
    answers = tuple(_answers(model, locations, questions, report))
    return Classified(str(model.export), name, version, answers, tuple(refused))


def _sound_model(locations: Locations, version: int) -> ServedModel:
    try:
        return read_version(locations.serving.resolve(), version)
    except UnreadableModelError as error:
        raise UnsoundVersionError(
            f"served version {version} is damaged: {error}; expected the files that were "
            f"published. Serve another one with: {locations.command('rollback')}"
        ) from error


def _training_images(model: ServedModel, locations: Locations) -> tuple[Preparation, Border]:
    """Reads from an export how its training images were prepared, and how their borders are."""
    with _faults_told(model.export, locations):
        content = (model.export / features.EXPORT_DESCRIPTION_FILE).read_bytes()
    try:
        described = json.loads(content)
        height, width, channels = model.image_shape
        fit, background, border = (described[key] for key in ("fit", "background", "border"))
        if border not in typing.get_args(Border) or background not in range(256):
            raise ValueError
        return Preparation(height, width, channels, Fit(fit), background), border
    except (KeyError, ValueError, TypeError) as error:
        raise UnsoundVersionError(
            f"served version {model.version} does not say how its images were prepared; expected "
            f"fit, background and border in {features.EXPORT_DESCRIPTION_FILE}. Train "
            f"{locations.root.name} again as its last run did, or serve another version with: "
            f"{locations.command('rollback')}"
        ) from error


def _good(
    read: Iterable[Question | Refused | Ignored], refused: list[Refused]
) -> Iterator[Question]:
    """Passes the questions on, collects what was refused, and says what was ignored."""
    for each in read:
        match each:
            case Refused():
                refused.append(each)
            case Ignored():
                print(f"{shown(each.folder)}: ignored {each.kinds}", file=sys.stderr)
            case Question():
                yield each


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
        raise lost.nothing_served(output_dir, pipeline)
    # The clock named the versions, and it may have been wrong: the order of the runs comes first.
    # A model of the sample knows nothing of real images: it is asked where there is no other.
    pushed = {
        receipt.pipeline: (not receipt.data.is_sample, receipt.sequence)
        for receipt in history.read_receipts(output_dir)
        if receipt.pushed_version is not None
    }

    def how_new(name: str) -> tuple[tuple[bool, int], int]:
        return pushed.get(name, (True, 0)), served.get(name, 0)

    newest = max(served, key=how_new)
    if pipeline is None:
        _refuse_lost(output_dir, [name for name in pushed if how_new(name) > how_new(newest)])
    return newest, served[newest]


def _refuse_lost(output_dir: pathlib.Path, names: Iterable[str]) -> None:
    """Refuses to ask another pipeline where the one that is meant has lost its served versions."""
    for name in names:
        if missed := lost.loss(Locations(output_dir / name)):
            raise UnknownRunError(
                f"{lost.in_words(missed)} To ask another pipeline, name it with --pipeline."
            )


def _answers(
    model: ServedModel,
    locations: Locations,
    questions: Iterator[Question],
    report: Callable[[int], None],
) -> Iterator[Answer]:
    size = max(1, min(_BATCH_SIZE, _BATCH_BYTES // math.prod(model.image_shape)))
    ask: Callable[[np.ndarray], np.ndarray] | None = None
    count = 0
    while batch := list(itertools.islice(questions, size)):
        # Loaded here: files that are no images should not wait for TensorFlow.
        ask = ask or _load(model.export, locations)
        rows = ask(np.stack([question.pixels for question in batch]))
        for question, row in zip(batch, rows, strict=True):
            yield _answer(question, row, model.class_names)
        count += len(batch)
        report(count)


@contextlib.contextmanager
def _faults_told(export: pathlib.Path, locations: Locations) -> Iterator[None]:
    """Tells in words of what the system and TensorFlow find, in whichever of their errors.

    A version may be withdrawn while TensorFlow starts, and one that was put there by hand has no
    digests by which its damage would have been found.

    Raises:
      UsageError: If the memory does not suffice.
      UnsoundVersionError: If anything else is wrong.
    """
    try:
        yield
    except Exception as error:
        if type(error).__name__ in _OUT_OF_MEMORY:
            raise UsageError(
                f"there is too little memory to predict with {export}; expected enough for "
                "TensorFlow and the model. Close other programs, or predict on another machine."
            ) from error
        raise UnsoundVersionError(
            f"{export} cannot predict ({told(error)}); expected a complete model of this "
            "project. If the version was withdrawn meanwhile, predict again; else serve another "
            f"one with: {locations.command('rollback')}"
        ) from error


def _load(export: pathlib.Path, locations: Locations) -> Callable[[np.ndarray], np.ndarray]:
    # TensorFlow reports on drivers and kernels, which would pass for faults of the images.
    with output_to_log(pathlib.Path(os.devnull), verbose=False):
        import tensorflow as tf

        with _faults_told(export, locations):
            loaded = tf.saved_model.load(str(export))

    def ask(pixels: np.ndarray) -> np.ndarray:
        with (
            output_to_log(pathlib.Path(os.devnull), verbose=False),
            _faults_told(export, locations),
        ):
            # By way of `loaded`: the signature holds the model's variables by weak references.
            answer = loaded.signatures[features.PREDICT_PIXELS](pixels=tf.constant(pixels))
            rows: np.ndarray = answer[features.PROBABILITIES].numpy()
        return rows

    return ask


def _answer(question: Question, row: np.ndarray, class_names: Sequence[str]) -> Answer:
    best = np.argsort(-row)[:_CHOICES]
    choices = tuple(Choice(class_names[number], float(row[number])) for number in best)
    low = choices[0].probability < _LOW_CONFIDENCE
    return Answer(question.name, choices, low, question.notes)
