"""The test images that the page shows: each once, in one sheet."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from review.answers import Answers, Predictions
from review.summary import Choice, Gallery, ImageRecord, Sheet

_COLUMNS = 32
_CHOICES = 3
# Enough to tell answers apart, with a third of the digits.
_DECIMALS = 6


class Album:
    """Collects images for galleries; an image in several galleries is kept once.

    Attributes:
      predictions: The test split with the answers to it.
    """

    def __init__(self, predictions: Predictions):
        self.predictions = predictions
        self._positions: dict[int, int] = {}

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
        """Sheet of all collected images; None where there are none."""
        if not self._positions:
            return None
        return image_sheet(self.predictions.images[list(self._positions)], _COLUMNS)

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


def image_sheet(images: np.ndarray, columns: int) -> Sheet:
    """Puts images side by side, row by row; the rest of the last row is black.

    Args:
      images: uint8 [N, height, width, channels], at least one; 1 or 3 channels.
      columns: Maximum number of images in a row.
    """
    count, height, width, channels = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    places = np.zeros((rows * columns, height, width, channels), np.uint8)
    places[:count] = images
    grid = places.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    pixels = grid.reshape(rows * height, columns * width, channels)
    content = io.BytesIO()
    picture = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    picture.save(content, "PNG", optimize=True)
    png = base64.b64encode(content.getvalue()).decode()
    return Sheet(png=png, height=height, width=width, columns=columns, count=count)
