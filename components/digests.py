"""Digests of arrays, and of the weights of a Keras file. Needs neither TensorFlow nor Keras."""

from __future__ import annotations

import hashlib
import pathlib
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from components import features

_WEIGHTS = "model.weights.h5"


def parts_digest(parts: Iterable[bytes]) -> str:
    """SHA-256 over parts and their lengths, hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def arrays_digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over arrays by name, in the order of their names."""

    def parts() -> Iterator[bytes]:
        for name in sorted(arrays):
            array = arrays[name]
            yield f"{name} {array.dtype} {array.shape}".encode()
            yield array.tobytes()

    return parts_digest(parts())


def weights_digest(folder: pathlib.Path) -> str:
    """SHA-256 over all weights of the Keras file in `folder`, in the order of their names."""
    # Here and not above: few commands need it.
    import h5py

    with (
        zipfile.ZipFile(folder / features.KERAS_MODEL_FILE) as archive,
        archive.open(_WEIGHTS) as file,
    ):
        found: dict[str, np.ndarray] = {}

        def note(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                found[name] = item[()]

        h5py.File(file, "r").visititems(note)
    return arrays_digest(found)
