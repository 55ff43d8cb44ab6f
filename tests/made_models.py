"""Keras files that hold weights and no network."""

import io
import zipfile

import h5py

from components import features


def write_keras(folder, **weights):
    """Writes weights by name as the Keras file of a folder."""
    content = io.BytesIO()
    with h5py.File(content, "w") as stored:
        for name, values in weights.items():
            stored[name] = values
    with zipfile.ZipFile(folder / features.KERAS_MODEL_FILE, "w") as archive:
        archive.writestr("model.weights.h5", content.getvalue())
