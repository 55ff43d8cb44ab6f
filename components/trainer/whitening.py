"""Whitening: sets the filters of the frozen convolution before the first stage."""

from __future__ import annotations

import keras
import numpy as np

from components.trainer.model import WHITENING

# Approximate number of patches for the statistics; it limits time and memory.
_PATCHES = 2**20
# Added to each variance, so that directions without variance are not amplified. Pixels are in
# [0, 1].
_LEAST_VARIANCE = 1e-2


def images_needed(image_shape: tuple[int, int, int]) -> int:
    """Returns the number of images for the statistics.

    Args:
      image_shape: Height, width and channels.
    """
    return max(_PATCHES // (image_shape[0] * image_shape[1]), 1)


def begin(network: keras.Model, images: np.ndarray) -> None:
    """Sets the filters of the frozen convolution to whiten patches of the images.

    This follows Keller Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv:2404.00498:
    the outputs of the filters are uncorrelated and have similar variance, so that the next layers
    learn faster. The directions with the largest variance come first. Each direction is used with
    both signs, since ReLU follows.

    Args:
      network: Network from `model.build_network`; changed in place.
      images: About `images_needed` images, float32 [N, height, width, channels] in [0, 1].
    """
    layer = network.get_layer(WHITENING)
    directions = _whitening_directions(images, layer.kernel_size)
    layer.kernel.assign(directions[..., : layer.filters])


def _whitening_directions(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns the eigenvectors of the covariance of patches, with unit variance and both signs.

    Args:
      images: Images, float32 [N, height, width, channels].
      size: Height and width of a patch, both odd.

    Returns:
      Directions, float32 [height, width, channels, 2 * height * width * channels] of a patch.
    """
    height, width, channels = *size, images.shape[3]
    # Pad with zeros, like the convolution.
    padded = np.pad(images, ((0, 0), (height // 2,) * 2, (width // 2,) * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=(1, 2))
    patches = np.moveaxis(windows, 3, -1).reshape(-1, height * width * channels)
    variances, vectors = np.linalg.eigh(np.cov(patches, rowvar=False, bias=True, dtype=np.float64))
    scaled = (vectors / np.sqrt(variances + _LEAST_VARIANCE))[:, ::-1]
    both = np.stack([scaled, -scaled], axis=2)
    return both.reshape(height, width, channels, -1).astype(np.float32)
