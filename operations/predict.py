"""Classifies files with the pushed model."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.console import Console
from rich.text import Text

from components import features
from components.example_gen import idx
from components.pusher import versions
from pipeline import paths
from pipeline.errors import DataError, UnknownRunError
from pipeline.locations import Locations
from pipeline.records import metadata

_CHOICES = 3
# Below this the first choice is marked: on the reference data most errors lie there.
_LOW_CONFIDENCE = 0.6
# Mean brightness, of 255, from which a border counts as bright. Training images have a black one.
_BRIGHT_BORDER = 127
_BATCH = 1000


@dataclasses.dataclass(frozen=True)
class Question:
    """An image to classify.

    Attributes:
      name: of the file, and of the position in an IDX file.
      pixels: uint8 [height, width, channels], of the size that the model takes.
      notes: what was done to the image.
    """

    name: str
    pixels: np.ndarray
    notes: tuple[str, ...]


def main(
    files: list[pathlib.Path], name: str | None, output_dir: pathlib.Path, as_json: bool
) -> None:
    """Classifies all files and prints the answers.

    Raises:
      UnknownRunError: where no model has been pushed.
      DataError: where a file is no image.
    """
    export = _newest_export(output_dir, name)
    for file in files:
        if not paths.resolved(file, "predict").is_file():
            raise DataError(f"{file} is no file; expected a PNG, JPEG or IDX file.")
    described = json.loads((export / features.EXPORT_DESCRIPTION_FILE).read_text("utf-8"))
    shape = tuple(described["image_shape"])
    questions = [question for file in files for question in _questions(file, shape)]
    answers = _Model(export, described["class_names"]).answer(questions)
    if as_json:
        print(json.dumps({"model": str(export), "answers": answers}, indent=1))
        return
    console = Console()
    console.print(Text(f"Model {export}"), soft_wrap=True)
    for answer in answers:
        console.print(Text(_line(answer)), soft_wrap=True)


def _newest_export(output_dir: pathlib.Path, name: str | None) -> pathlib.Path:
    roots = [root for root in sorted(output_dir.glob("*")) if name in (None, root.name)]
    served = {
        root.name: Locations(root).serving / str(version)
        for root in roots
        for version in versions.served_versions(Locations(root).serving)[-1:]
    }
    if not served:
        where = f"{output_dir / name}" if name else f"{output_dir}"
        raise UnknownRunError(
            f"no model has been pushed below {where}; expected a served version. "
            "Push one with: python3 pipeline_runner.py run"
        )
    # Versions of two pipelines are no more comparable than the clocks that they are named by.
    pushed = {
        receipt["pipeline"]: receipt["sequence"]
        for receipt in metadata.read_receipts(output_dir)
        if receipt["pushed_version"] is not None
    }
    newest = max(served, key=lambda name: (pushed.get(name, 0), int(served[name].name)))
    return served[newest].resolve()


class _Model:
    """A served model, loaded."""

    def __init__(self, export: pathlib.Path, class_names: list[str]):
        # Here and not above: a file that is no image should not wait for TensorFlow.
        import tensorflow as tf

        loaded = tf.saved_model.load(str(export))
        self._loaded = loaded  # The signatures hold their variables by weak references.
        self._predict = loaded.signatures[features.PREDICT_PIXELS]
        self._constant = tf.constant
        self._names = class_names

    def answer(self, questions: list[Question]) -> list[dict[str, Any]]:
        """The first choices for each question, with their probabilities."""
        answers: list[dict[str, Any]] = []
        for start in range(0, len(questions), _BATCH):
            batch = questions[start : start + _BATCH]
            pixels = self._constant(np.stack([question.pixels for question in batch]))
            rows = self._predict(pixels=pixels)[features.PROBABILITIES].numpy()
            pairs = zip(batch, rows, strict=True)
            answers += [self._answer(question, row) for question, row in pairs]
        return answers

    def _answer(self, question: Question, row: np.ndarray) -> dict[str, Any]:
        best = np.argsort(-row)[:_CHOICES]
        choices = [
            {"class_name": self._names[number], "probability": float(row[number])}
            for number in best
        ]
        low = choices[0]["probability"] < _LOW_CONFIDENCE
        return {
            "file": question.name,
            "choices": choices,
            "low_confidence": low,
            "notes": list(question.notes),
        }


def _line(answer: dict[str, Any]) -> str:
    choices = ", ".join(f"{c['class_name']} {c['probability']:.3f}" for c in answer["choices"])
    notes = ["low confidence"] if answer["low_confidence"] else []
    notes += answer["notes"]
    return f"{answer['file']}: {choices}" + (f"  ({'; '.join(notes)})" if notes else "")


def _questions(file: pathlib.Path, shape: tuple[int, int, int]) -> Iterator[Question]:
    if "ubyte" in file.name or ".idx" in file.name:
        yield from _idx_questions(file, shape)
    else:
        yield _photo(file, shape)


def _idx_questions(file: pathlib.Path, shape: tuple[int, int, int]) -> Iterator[Question]:
    try:
        reader = idx.image_reader(str(file), shape)
        position = 0
        for images in reader.batches(_BATCH):
            for image in images:
                yield Question(f"{file}[{position}]", image.reshape(shape), ())
                position += 1
    except idx.IdxError as error:
        raise DataError(str(error)) from error


def _photo(file: pathlib.Path, shape: tuple[int, int, int]) -> Question:
    height, width, channels = shape
    try:
        with Image.open(file) as opened:
            image = _flattened(_in_bytes(ImageOps.exif_transpose(opened)))
            image = image.convert("L" if channels == 1 else "RGB")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{file} cannot be read as an image ({error}); expected a PNG, JPEG or IDX file."
        ) from error
    if min(image.size) * min(width / image.width, height / image.height) <= 0.5:
        raise DataError(
            f"{file} is {image.width}x{image.height}; expected an image of which a row of pixels "
            f"is left at {width}x{height}. Cut it to what it shows."
        )
    notes = []
    if _has_bright_border(image):
        image = ImageOps.invert(image)
        notes.append("inverted, as its border is bright")
    if image.width * height != image.height * width:
        notes.append(f"padded from {image.width}x{image.height}")
    fitted = ImageOps.pad(image, (width, height), Image.Resampling.BOX, color=0)
    return Question(str(file), np.asarray(fitted, np.uint8).reshape(shape), tuple(notes))


def _in_bytes(image: Image.Image) -> Image.Image:
    """Sixteen bits a pixel become eight; Pillow would turn all above 255 into white."""
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _flattened(image: Image.Image) -> Image.Image:
    """What is transparent becomes black, the background of the training images."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image
    opaque = Image.new("RGBA", image.size, (0, 0, 0, 255))
    opaque.alpha_composite(image.convert("RGBA"))
    return opaque


def _has_bright_border(image: Image.Image) -> bool:
    pixels = np.asarray(image.convert("L"))
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return float(border.mean()) > _BRIGHT_BORDER
