"""Begins a training at the weights of an earlier model."""

from __future__ import annotations

import os
import tempfile

import keras
from tfx.dsl.io import fileio
from tfx.utils import io_utils

from components import features


class WarmStartError(RuntimeError):
    """The earlier model has no weights that this network could begin with, and will have none.

    Attributes:
      changes: of the configuration, `key=value` each, with which a run may end otherwise.
    """

    changes = ["training.warm_start=false"]


def begin_at(network: keras.Model, model_uri: str) -> None:
    """Copies the weights of a model artifact into a network, layer by layer.

    Args:
      network: from `model.build_network`; changed in place.
      model_uri: folder of the model artifact.

    Raises:
      WarmStartError: where the artifact holds no Keras model, or one of another shape.
    """
    path = os.path.join(model_uri, features.KERAS_MODEL_FILE)
    if not fileio.exists(path):
        raise WarmStartError(
            f"{path} is not there: of the served model only the export is known, expected its "
            "Keras weights. Train without training.warm_start."
        )
    earlier = _load(path).get_layer("network")
    ours, theirs = _shapes(network), _shapes(earlier)
    if ours != theirs:
        name = next(name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))
        raise WarmStartError(
            f"layer {name} of the served model has weights of the shapes {theirs.get(name)}; "
            f"expected {ours.get(name)}. Set the training.widths of the served model, or train "
            "without training.warm_start."
        )
    for name in ours:
        network.get_layer(name).set_weights(earlier.get_layer(name).get_weights())


def _load(path: str) -> keras.Model:
    # Keras reads local files alone.
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, features.KERAS_MODEL_FILE)
        io_utils.copy_file(path, local)
        return keras.models.load_model(local, compile=False)


def _shapes(network: keras.Model) -> dict[str, list[tuple[int, ...]]]:
    return {
        layer.name: [tuple(weight.shape) for weight in layer.weights]
        for layer in network.layers
        if layer.weights
    }
