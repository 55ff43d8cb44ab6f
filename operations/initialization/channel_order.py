"""Tells whether pixels that are read channels last were written red, then green, then blue."""

from __future__ import annotations

import numpy as np

# Values three places apart differ more than neighbours: in natural images, by the square root of 3.
# Images that are read as they were written get rougher as planes, if they are not gray.
_CLEARLY = 0.75
_SMALLEST_SIDE = 4


def roughness(image: np.ndarray) -> np.ndarray | None:
    """How much neighbouring pixels differ, as the image is read and as it would be with planes.

    Args:
      image: uint8 [height, width, channels].

    Returns:
      Mean absolute difference, float64 [2, 2]: read as it is, and as planes; of neighbours in a
      row, and in a column. None for an image that says nothing: one channel, gray or tiny.
    """
    height, width, channels = image.shape
    is_gray = bool((image == image[..., :1]).all())
    if channels != 3 or is_gray or min(height, width) < _SMALLEST_SIDE:
        return None
    planes = image.reshape(channels, height, width).transpose(1, 2, 0)
    return np.array([_differences(image), _differences(planes)])


def _differences(image: np.ndarray) -> list[float]:
    signed = image.astype(np.int16)
    return [float(np.abs(np.diff(signed, axis=axis)).mean()) for axis in (1, 0)]


def are_planes(measured: np.ndarray) -> bool:
    """Whether images are clearly smoother as planes: less rough in rows and in columns.

    Args:
      measured: `roughness` of each image, float64 [N, 2, 2].
    """
    as_read, as_planes = measured.sum(axis=0)
    smoother = as_planes.sum() < _CLEARLY * as_read.sum()
    return bool(smoother and (as_planes < as_read).all())
