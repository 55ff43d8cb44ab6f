"""The test images that the page shows: each once, in one sheet."""

from __future__ import annotations

import base64
import io
from typing import Literal

import numpy as np
from PIL import Image

from review.answers import Answers, Predictions
from review.summary import Choice, Gallery, ImageRecord, Sheet, has_many

# Longest side of an image on the page. It is a multiple of the blocks of JPEG, so that images of
# this size do not run into their neighbours.
_LONGEST_SIDE = 80
_COLUMNS = 32
# More images and bytes than a page of ten classes and small images needs. With many classes, names
# and numbers need the room.
_MOST_IMAGES, _MOST_IMAGES_OF_MANY_CLASSES = 2_700, 1_000
_MOST_BYTES, _MOST_BYTES_OF_MANY_CLASSES = 1_000_000, 400_000
# What an image needs in the sheet, by the number of its values: photographs become small as JPEG.
_BYTES_PER_VALUE = 0.12
_CHOICES = 3
# Enough to tell answers apart, with a third of the digits.
_DECIMALS = 6
# From the best to one that is still good enough to recognise an image.
_QUALITIES = (90, 80, 70, 60, 50, 40, 30, 20, 10)
# PNG makes images smaller than their pixels, but seldom to less than this share of them.
_LEAST_PNG_SHARE = 0.25


class Album:
    """Collects images for galleries; an image in several galleries is kept once.

    Attributes:
      predictions: The test split with the answers to it.
    """

    def __init__(self, predictions: Predictions):
        self.predictions = predictions
        many = has_many(predictions.class_names)
        self._most_bytes = _MOST_BYTES_OF_MANY_CLASSES if many else _MOST_BYTES
        height, width, channels = predictions.image_shape
        height, width = _fitting(height, width)
        bytes_each = height * width * channels * _BYTES_PER_VALUE
        self._most_images = min(
            _MOST_IMAGES_OF_MANY_CLASSES if many else _MOST_IMAGES,
            int(self._most_bytes / bytes_each),
        )
        self._positions: dict[int, int] = {}

    @property
    def room(self) -> int:
        """Number of further images that the page has room for."""
        return max(0, self._most_images - len(self._positions))

    def gallery(self, members: np.ndarray, shown: int) -> Gallery:
        """A gallery that shows the first of its members.

        Args:
          members: Places in the test split, int [count], in the order of the gallery.
          shown: Maximum number of images that are shown.
        """
        images = [
            self._positions.setdefault(place, len(self._positions))
            for place in members[:shown].tolist()
        ]
        return Gallery(count=len(members), images=images)

    def sheet(self) -> Sheet | None:
        """Sheet of all collected images; None where there are none.

        Raises:
          AbsentError: where the file with the images is gone or damaged.
        """
        if not self._positions:
            return None
        images = self.predictions.images(list(self._positions))
        return image_sheet(images, _COLUMNS, self._most_bytes)

    def records(self) -> list[ImageRecord]:
        """Descriptions of the images, in the order of the sheet."""
        return [self._record(place) for place in self._positions]

    def _record(self, place: int) -> ImageRecord:
        found = self.predictions
        baseline = self._choices(found.baseline, place)[0] if found.baseline else None
        return ImageRecord(
            example_id=found.ids[place],
            label=found.class_names[found.labels[place]],
            choices=self._choices(found.candidate, place),
            baseline=baseline,
        )

    def _choices(self, answers: Answers, place: int) -> list[Choice]:
        probabilities, names = answers.probabilities[place], self.predictions.class_names
        best = np.argsort(-probabilities, kind="stable")[:_CHOICES]
        return [
            Choice(name=names[number], probability=rounded(probabilities[number]))
            for number in best
        ]


def rounded(probability: float) -> float:
    """A probability, rounded to as many digits as the page needs."""
    return round(float(probability), _DECIMALS)


def image_sheet(images: np.ndarray, columns: int, most_bytes: int) -> Sheet:
    """Puts images side by side, row by row; the rest of the last row is black.

    Large images are made smaller. The sheet is lossless where that fits into the given size, else
    JPEG in the best quality that fits.

    Args:
      images: uint8 [N, height, width, channels], at least one; 1 or 3 channels.
      columns: Maximum number of images in a row.
      most_bytes: Size that the sheet may have.
    """
    images = _shrunk(images)
    count, height, width, channels = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    places = np.zeros((rows * columns, height, width, channels), np.uint8)
    places[:count] = images
    grid = places.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    pixels = grid.reshape(rows * height, columns * width, channels)
    kind, content = _encoded(_picture(pixels), pixels.size, most_bytes)
    return Sheet(
        format=kind,
        content=base64.b64encode(content).decode(),
        height=height,
        width=width,
        columns=columns,
        count=count,
    )


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _fitting(height: int, width: int) -> tuple[int, int]:
    """Height and width of an image on the page."""
    share = min(1.0, _LONGEST_SIDE / max(height, width))
    return max(1, round(share * height)), max(1, round(share * width))


def _shrunk(images: np.ndarray) -> np.ndarray:
    count, height, width, channels = images.shape
    fitting = _fitting(height, width)
    if fitting == (height, width):
        return images
    small = [_picture(image).resize(fitting[::-1], Image.Resampling.HAMMING) for image in images]
    return np.stack([np.asarray(each) for each in small]).reshape(count, *fitting, channels)


def _encoded(
    picture: Image.Image, values: int, most_bytes: int
) -> tuple[Literal["png", "jpeg"], bytes]:
    if _LEAST_PNG_SHARE * values <= most_bytes:
        content = _saved(picture, "PNG", optimize=True)
        if len(content) <= most_bytes:
            return "png", content
    for quality in _QUALITIES:
        content = _saved(picture, "JPEG", quality=quality, optimize=True)
        if len(content) <= most_bytes:
            break
    return "jpeg", content


def _saved(picture: Image.Image, kind: str, **options: int) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()
