"""The first convolution, which whitens patches of the images and is not trained."""

from __future__ import annotations

import keras
import numpy as np

from components.trainer.model import FIRST_CONVOLUTION

# Patches that the statistics are taken from, about: a bound on the time and memory that they take.
_PATCHES = 2**20
# Added to each variance, so that a direction in which nothing varies is not blown up. Pixels are
# in [0, 1].
_LEAST_VARIANCE = 1e-2


def images_needed(image_shape: tuple[int, int, int]) -> int:
    """How many images the statistics are taken from.

    Args:
      image_shape: height, width and channels.
    """
    return max(_PATCHES // (image_shape[0] * image_shape[1]), 1)


def begin(network: keras.Model, images: np.ndarray, seed: int) -> None:
    """Sets the filters of the first convolution to whiten patches of the images.

    As in Keller Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv:2404.00498: what the
    filters answer is independent of each other and of like variance, which the layers after it
    learn from sooner. Each direction comes with both signs, since a maximum is taken next, those of
    the largest variance first; filters that are left over mix them at random.

    Args:
      network: from `model.build_network`; changed in place.
      images: float32 [N, height, width, channels] in [0, 1], about `images_needed`.
      seed: of the mixtures.
    """
    layer = network.get_layer(FIRST_CONVOLUTION)
    directions = _whitening_directions(images, layer.kernel_size)
    layer.kernel.assign(_extended(directions, layer.filters, seed))


def _whitening_directions(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Eigenvectors of the covariance of patches, scaled to unit variance, each with both signs.

    Args:
      images: float32 [N, height, width, channels].
      size: height and width of a patch, both odd.

    Returns:
      float32 [height, width, channels, 2 * height * width * channels], of a patch.
    """
    height, width, channels = *size, images.shape[3]
    # The convolution sees zeros around an image, too.
    padded = np.pad(images, ((0, 0), (height // 2,) * 2, (width // 2,) * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=(1, 2))
    patches = np.moveaxis(windows, 3, -1).reshape(-1, height * width * channels)
    variances, vectors = np.linalg.eigh(np.cov(patches, rowvar=False, bias=True, dtype=np.float64))
    scaled = (vectors / np.sqrt(variances + _LEAST_VARIANCE))[:, ::-1]
    both = np.stack([scaled, -scaled], axis=2)
    return both.reshape(height, width, channels, -1).astype(np.float32)


def _extended(directions: np.ndarray, count: int, seed: int) -> np.ndarray:
    """As many filters as asked for: the first directions, or all of them and mixtures."""
    given = directions.shape[-1]
    mixing = np.random.default_rng(seed).normal(size=(given, max(count - given, 0)))
    mixed = directions @ (mixing / np.sqrt(given)).astype(np.float32)
    return np.concatenate([directions, mixed], axis=-1)[..., :count]
