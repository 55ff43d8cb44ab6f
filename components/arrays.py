"""Writes NumPy arrays into artifacts."""

from __future__ import annotations

import io

import numpy as np
from tfx.dsl.io import fileio


def write_arrays(path: str, **arrays: np.ndarray) -> None:
    """Writes arrays as a compressed `.npz` by name; equal arrays give equal bytes."""
    content = io.BytesIO()
    # NumPy's type hints mistake the arrays for its own flag argument.
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    with fileio.open(path, "wb") as file:
        file.write(content.getvalue())
