"""Writes NumPy arrays into artifacts."""

from __future__ import annotations

import io

import numpy as np
from tfx.dsl.io import fileio


def write_arrays(path: str, **arrays: np.ndarray) -> None:
    """Writes arrays as a compressed `.npz`, each under its name; equal arrays make equal bytes."""
    content = io.BytesIO()
    # A first argument of NumPy's own is a flag, which its types take the arrays for.
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    with fileio.open(path, "wb") as file:
        file.write(content.getvalue())
