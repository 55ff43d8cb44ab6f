"""Reads photographs and IDX files as questions for a model: images of the size that it takes."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from components.example_gen import idx
from pipeline.errors import DataError

# Mean brightness, of 255, from which a border counts as bright. Training images have a black one.
_BRIGHT_BORDER = 127
_BATCH_SIZE = 1000

Shape = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Question:
    """An image to classify.

    Attributes:
      name: Name of the file, with the position of the image in an IDX file.
      pixels: The image, uint8 [height, width, channels], in the model's size.
      notes: What was done to the image.
    """

    name: str
    pixels: np.ndarray
    notes: tuple[str, ...]


def read_questions(file: pathlib.Path, shape: Shape) -> Iterator[Question]:
    """Reads the images of a file, fitted to the shape.

    Args:
      file: PNG, JPEG or IDX file.
      shape: Height, width and channels that the model takes.

    Raises:
      DataError: The file is not an image, or too narrow for the shape.
    """
    if "ubyte" in file.name or ".idx" in file.name:
        yield from _idx_questions(file, shape)
    else:
        yield _photo(file, shape)


def _idx_questions(file: pathlib.Path, shape: Shape) -> Iterator[Question]:
    try:
        reader = idx.image_reader(str(file), shape)
        position = 0
        for images in reader.batches(_BATCH_SIZE):
            for image in images:
                yield Question(f"{file}[{position}]", image.reshape(shape), ())
                position += 1
    except idx.IdxError as error:
        raise DataError(str(error)) from error


def _photo(file: pathlib.Path, shape: Shape) -> Question:
    height, width, channels = shape
    image = _opened(file, channels)
    _check_proportions(file, image, width, height)
    notes = []
    if _has_bright_border(image):
        image = ImageOps.invert(image)
        notes.append("inverted, as its border is bright")
    if image.width * height != image.height * width:
        notes.append(f"padded from {image.width}x{image.height}")
    fitted = ImageOps.pad(image, (width, height), Image.Resampling.BOX, color=0)
    return Question(str(file), np.asarray(fitted, np.uint8).reshape(shape), tuple(notes))


def _opened(file: pathlib.Path, channels: int) -> Image.Image:
    try:
        with Image.open(file) as opened:
            image = _flattened(_in_bytes(ImageOps.exif_transpose(opened)))
            return image.convert("L" if channels == 1 else "RGB")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{file} cannot be read as an image ({error}); expected a PNG, JPEG or IDX file."
        ) from error


def _check_proportions(file: pathlib.Path, image: Image.Image, width: int, height: int) -> None:
    if min(image.size) * min(width / image.width, height / image.height) <= 0.5:
        raise DataError(
            f"{file} is {image.width}x{image.height}; expected an image that keeps a row of pixels "
            f"when it is scaled to {width}x{height}. Crop the image closer to square."
        )


def _in_bytes(image: Image.Image) -> Image.Image:
    """Reduces sixteen bits per pixel to eight; Pillow would turn every value above 255 white."""
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _flattened(image: Image.Image) -> Image.Image:
    """Turns transparency into black, the background of the training images."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image
    opaque = Image.new("RGBA", image.size, (0, 0, 0, 255))
    opaque.alpha_composite(image.convert("RGBA"))
    return opaque


def _has_bright_border(image: Image.Image) -> bool:
    pixels = np.asarray(image.convert("L"))
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return float(border.mean()) > _BRIGHT_BORDER
