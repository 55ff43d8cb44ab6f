"""Small copies of images, which stand for them in the search for similar ones.

A copy is an average over areas and channels. The mean of squares of averages is at most the mean of
the squares averaged, so the root mean square difference of two copies is never larger than that of
their images, but for rounding: what is similar at full size is similar as a copy.
"""

from __future__ import annotations

import math

import numpy as np

Shape = tuple[int, int, int]

# Maximum height and width of a copy, and the root of its maximum number of values.
_SIDE = 28
# Copies are rounded to whole numbers, each by at most a half.
_ROUNDING = 1.0


def is_whole(shape: Shape) -> bool:
    """Whether images of this height, width and channels are small enough to be their own copies."""
    return math.prod(shape) <= _SIDE**2


def size(shape: Shape) -> int:
    """Number of values in a copy."""
    return math.prod(shape) if is_whole(shape) else math.prod(_reduced(shape))


def slack(shape: Shape) -> float:
    """How much larger than the difference of two images that of their copies can be."""
    return 0.0 if is_whole(shape) else _ROUNDING


def made(images: np.ndarray, shape: Shape) -> np.ndarray:
    """Makes the copies.

    Args:
      images: uint8 [N, bytes per image].
      shape: Height, width and channels of an image.

    Returns:
      uint8 [N, `size(shape)`].
    """
    if is_whole(shape):
        return images
    height, width, channels = shape
    rows, columns = _reduced(shape)
    # The channels of a pixel lie side by side, so one product averages them and the width.
    across = np.repeat(_area_weights(width, columns) / channels, channels, axis=1)
    narrow = images.reshape(-1, width * channels).astype(np.float32) @ across.T
    averages = _area_weights(height, rows) @ narrow.reshape(-1, height, columns)
    return np.rint(averages).astype(np.uint8).reshape(len(images), size(shape))


def _reduced(shape: Shape) -> tuple[int, int]:
    height, width, _ = shape
    return min(height, _SIDE), min(width, _SIDE)


def _area_weights(pixels: int, areas: int) -> np.ndarray:
    """The share of each pixel in the average of each area, float32 [areas, pixels].

    Areas are equally long. A pixel at the border of two areas counts in each by its part there.
    """
    borders = np.arange(areas + 1)[:, None] * pixels / areas
    first, last = borders[:-1], borders[1:]
    position = np.arange(pixels)
    covered = np.minimum(last, position + 1) - np.maximum(first, position)
    return (covered.clip(min=0) * areas / pixels).astype(np.float32)
