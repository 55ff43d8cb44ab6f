"""Which images a model has been trained and validated on.

So it is never tested on them, and what it was trained on never validates what begins at it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
from collections.abc import Mapping

import numpy as np
from tfx.dsl.io import fileio

from components import examples, features
from components.arrays import write_arrays

_TRAINED, _VALIDATED, _PREPARED = "trained", "validated", "prepared"
_HASH_BYTES = 8


def hashes(split: examples.Split) -> np.ndarray:
    """The first 8 bytes of the SHA-256 of the pixels of each image, sorted, uint64 [N].

    Of pixels and not of ids: an image may get another name, and another split with it.
    """
    found = bytearray()
    for image in split.images:
        found += hashlib.sha256(image.tobytes()).digest()[:_HASH_BYTES]
    return np.unique(np.frombuffer(bytes(found), np.uint64))


@dataclasses.dataclass(frozen=True)
class Seen:
    """The images that a model has seen, as `hashes`.

    Attributes:
      trained: those that it was trained on.
      validated: those that its epoch and its temperature were chosen by.
      prepared: what made pixels of their files, as `preparation_digest`; empty if they came as
        pixels. Only hashes of equal preparations tell whether two images are the same.
    """

    trained: np.ndarray
    validated: np.ndarray
    prepared: str

    @property
    def all(self) -> np.ndarray:
        """Both, sorted, uint64 [N]."""
        return np.union1d(self.trained, self.validated)

    def after(self, earlier: Seen) -> Seen:
        """What a model has seen that began at another one and was trained on these images."""
        return Seen(
            np.union1d(earlier.trained, self.trained),
            np.union1d(earlier.validated, self.validated),
            self.prepared,
        )


def in_run(splits: Mapping[str, examples.Split], prepared: str) -> Seen:
    """What a model sees that is trained and validated on the splits of a run.

    Args:
      splits: Splits `train` and `val`.
      prepared: What made pixels of their files, as in `Seen`.
    """
    trained, validated = splits[features.TRAIN_SPLIT], splits[features.VALIDATION_SPLIT]
    return Seen(hashes(trained), hashes(validated), prepared)


def of_model(model_uri: str) -> Seen | None:
    """The images that a model has seen; None where that is not known."""
    path = os.path.join(model_uri, features.SEEN_IMAGES_FILE)
    if not fileio.exists(path):
        return None
    with fileio.open(path, "rb") as file, np.load(io.BytesIO(file.read())) as arrays:
        # Earlier versions did not keep all of them.
        known = {_TRAINED, _VALIDATED, _PREPARED} <= set(arrays.files)
        if not known:
            return None
        return Seen(arrays[_TRAINED], arrays[_VALIDATED], str(arrays[_PREPARED]))


def write(model_uri: str, seen: Seen) -> None:
    """Writes into a model artifact which images the model has seen."""
    arrays = {
        _TRAINED: seen.trained,
        _VALIDATED: seen.validated,
        _PREPARED: np.array(seen.prepared),
    }
    write_arrays(os.path.join(model_uri, features.SEEN_IMAGES_FILE), **arrays)
