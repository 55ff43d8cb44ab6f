"""Warm start: begins a training with the weights of an earlier model."""

from __future__ import annotations

import os
import tempfile

import keras
from tfx.dsl.io import fileio
from tfx.utils import io_utils

from components import features


class WarmStartError(RuntimeError):
    """The earlier model has no weights for this network; another try would fail again.

    Attributes:
      changes: Changes of the configuration, as `key=value`, that help.
    """

    changes = ["training.warm_start=false"]


def begin_at(network: keras.Model, model_uri: str) -> None:
    """Copies the weights of a model artifact into a network, layer by layer.

    Args:
      network: Network from `model.build_network`; changed in place.
      model_uri: Folder of the model artifact.

    Raises:
      WarmStartError: If the artifact has no Keras model, or one with other shapes.
    """
    path = os.path.join(model_uri, features.KERAS_MODEL_FILE)
    if not fileio.exists(path):
        raise WarmStartError(
            f"{path} does not exist; expected the Keras weights of the served model, but only its "
            "export is known. Set training.warm_start=false."
        )
    earlier = _load(path).get_layer("network")
    ours, theirs = _shapes(network), _shapes(earlier)
    if ours != theirs:
        name = next(name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))
        raise WarmStartError(
            f"layer {name} of the served model has weights with the shapes {theirs.get(name)}; "
            f"expected {ours.get(name)}. Use the training.widths of the served model, or set "
            "training.warm_start=false."
        )
    for name in ours:
        network.get_layer(name).set_weights(earlier.get_layer(name).get_weights())


def _load(path: str) -> keras.Model:
    # Keras reads only local files.
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
