"""Corruptions of images, each in three strengths.

The method is that of Hendrycks & Dietterich 2019, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations", arXiv:1903.12261: fixed corruptions of the test images at rising
strengths, which no model is trained on. Noise, blur, brightness and contrast are theirs; rotation
and shift are what they perturb images with; occlusion is the rectangle of DeVries & Taylor 2017,
arXiv:1708.04552. The amounts are chosen here for small images: strength 1 is mild, and people still
recognise what strength 3 shows.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
from scipy import ndimage

STRENGTHS = (1, 2, 3)

_WHITE = 255
_GREY = 128


@dataclasses.dataclass(frozen=True)
class Definition:
    """A corruption.

    Attributes:
      apply: function of an image (float32 [height, width, channels], 0 to 255), an amount, a
        random generator, and the brightness of what moves in from outside; returns the corrupted
        image, neither rounded nor clipped.
      amounts: one for each of `STRENGTHS`.
      words: description with a placeholder for the amount.
    """

    apply: Callable[[np.ndarray, float, np.random.Generator, int | None], np.ndarray]
    amounts: tuple[float, float, float]
    words: str


def corrupt(
    images: np.ndarray,
    ids: Iterable[bytes],
    corruption: str,
    strength: int,
    seed: int,
    background: int | None,
) -> np.ndarray:
    """Corrupts images. The result for an image depends only on the image, its id and the seed.

    Args:
      images: uint8 [N, height, width, channels].
      ids: ids of the examples, N of them.
      corruption: a name of `CORRUPTIONS`.
      strength: one of `STRENGTHS`.
      seed: random seed.
      background: brightness of what moves in from outside, 0 to 255; None for a mirror image, as
        photographs have no background.

    Returns:
      uint8 of the same shape.
    """
    chosen = CORRUPTIONS[corruption]
    amount = chosen.amounts[strength - 1]
    corrupted = []
    for image, name in zip(images, ids, strict=True):
        random = _generator(seed, corruption, strength, name)
        corrupted.append(chosen.apply(image.astype(np.float32), amount, random, background))
    return np.clip(np.rint(np.stack(corrupted)), 0, _WHITE).astype(np.uint8)


def amounts() -> dict[tuple[str, int], str]:
    """The amount in words, by corruption and strength, in the order of both."""
    return {
        (name, strength): definition.words.format(amount)
        for name, definition in CORRUPTIONS.items()
        for strength, amount in zip(STRENGTHS, definition.amounts, strict=True)
    }


def _generator(seed: int, corruption: str, strength: int, name: bytes) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}:{corruption}:{strength}:".encode() + name).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def _noise(
    image: np.ndarray, deviation: float, random: np.random.Generator, background: int | None
) -> np.ndarray:
    return image + deviation * random.standard_normal(image.shape, np.float32)


def _blur(
    image: np.ndarray, share: float, random: np.random.Generator, background: int | None
) -> np.ndarray:
    height, width, _ = image.shape
    return ndimage.gaussian_filter(image, (share * height, share * width, 0), mode="nearest")


def _brightness(
    image: np.ndarray, added: float, random: np.random.Generator, background: int | None
) -> np.ndarray:
    return image + added


def _contrast(
    image: np.ndarray, left: float, random: np.random.Generator, background: int | None
) -> np.ndarray:
    mean = image.mean(axis=(0, 1))
    return mean + left * (image - mean)


def _rotation(
    image: np.ndarray, degrees: float, random: np.random.Generator, background: int | None
) -> np.ndarray:
    angle = degrees * random.choice((-1, 1))
    mode, value = _outside(background)
    return ndimage.rotate(image, angle, reshape=False, order=1, mode=mode, cval=value)


def _shift(
    image: np.ndarray, share: float, random: np.random.Generator, background: int | None
) -> np.ndarray:
    height, width, _ = image.shape
    down, right = share * random.choice((-1, 1), 2)
    mode, value = _outside(background)
    moved = (down * height, right * width, 0)
    return ndimage.shift(image, moved, order=1, mode=mode, cval=value)


def _outside(background: int | None) -> tuple[Literal["constant", "reflect"], int]:
    """What scipy takes for pixels from outside of an image: a mode, and a value for `constant`."""
    return ("reflect", 0) if background is None else ("constant", background)


def _occlusion(
    image: np.ndarray, share: float, random: np.random.Generator, background: int | None
) -> np.ndarray:
    size = np.array(image.shape[:2])
    # Rounded up, so that a small image loses at least one pixel.
    sides = np.ceil(share * size).astype(int)
    top, left = random.integers(0, size - sides, endpoint=True)
    occluded = image.copy()
    # Grey is visible on a black background and on a white one.
    occluded[top : top + sides[0], left : left + sides[1]] = _GREY
    return occluded


CORRUPTIONS = {
    "noise": Definition(_noise, (20, 40, 70), "standard deviation {:g} of 255"),
    "blur": Definition(_blur, (0.02, 0.04, 0.06), "standard deviation {:.0%} of the size"),
    "brightness": Definition(_brightness, (25, 50, 100), "{:g} of 255 brighter"),
    "contrast": Definition(_contrast, (0.7, 0.45, 0.2), "{:.0%} of the contrast left"),
    "rotation": Definition(_rotation, (10, 20, 35), "{:g} degrees, either way"),
    "shift": Definition(_shift, (0.04, 0.08, 0.15), "{:.0%} of height and of width, either way"),
    "occlusion": Definition(
        _occlusion, (0.2, 0.35, 0.5), "a grey rectangle of {:.0%} of height and width"
    ),
}
