"""Which images a model has been trained or validated on, so that it is never tested on them."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable

import numpy as np
from tfx.dsl.io import fileio

from components import examples, features
from components.arrays import write_arrays

_HASHES = "hashes"
_HASH_BYTES = 8


def hashes(splits: Iterable[examples.Split]) -> np.ndarray:
    """The first 8 bytes of the SHA-256 of the pixels of each image, sorted, uint64 [N].

    Of pixels and not of ids: an image may get another name, and another split with it.
    """
    found = bytearray()
    for split in splits:
        for image in split.images:
            found += hashlib.sha256(image.tobytes()).digest()[:_HASH_BYTES]
    return np.unique(np.frombuffer(bytes(found), np.uint64))


def of_model(model_uri: str) -> np.ndarray | None:
    """The hashes of the images that a model has seen; None where that is not known."""
    path = os.path.join(model_uri, features.SEEN_IMAGES_FILE)
    if not fileio.exists(path):
        return None
    with fileio.open(path, "rb") as file, np.load(io.BytesIO(file.read())) as arrays:
        return arrays[_HASHES]


def write(model_uri: str, seen: np.ndarray) -> None:
    """Writes into a model artifact which images the model has seen."""
    write_arrays(os.path.join(model_uri, features.SEEN_IMAGES_FILE), **{_HASHES: seen})
