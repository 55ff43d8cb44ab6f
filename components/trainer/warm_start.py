"""Warm start: begins a training with the weights of an earlier model."""

from __future__ import annotations

import os
import tempfile

import keras
import numpy as np
from tfx.dsl.io import fileio
from tfx.utils import io_utils

from components import examples, features
from components.failures import ConfigurationFailure
from components.trainer import seen_images

# The shapes of the weights of each layer, by its name.
_Shapes = dict[str, list[tuple[int, ...]]]


class WarmStartError(ConfigurationFailure):
    """A training cannot begin at the earlier model; another try would fail again."""

    def __init__(self, message: str):
        """Creates the error from its message."""
        super().__init__(message, ["training.warm_start=false"])


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
        raise WarmStartError(
            f"{_difference(ours, theirs)}. Use the training.widths and training.whitening of the "
            "served model, or set training.warm_start=false. A model with whitening that an "
            "earlier version of the pipeline trained fits no network of this one."
        )
    for name in ours:
        network.get_layer(name).set_weights(earlier.get_layer(name).get_weights())


def seen_with(model_uri: str, test: examples.Split, own: seen_images.Seen) -> seen_images.Seen:
    """The images that a model has seen that begins at another one and is trained on some more.

    Args:
      model_uri: Folder of the model artifact at which it begins.
      test: Test split of the run.
      own: Images that the run itself trains and validates on.

    Raises:
      WarmStartError: If the earlier model has seen images of the test split, so that its accuracy
        on them would mean nothing, or was trained on images that validate now, so that epoch and
        temperature would be chosen on images that it knows. Those that the run itself also trains
        on do not count: DataGate judges them. Also if neither can be told.
    """
    earlier = seen_images.of_model(model_uri)
    if earlier is None:
        raise WarmStartError(
            f"{model_uri} does not say which images the served model was trained and validated on, "
            f"and how they were prepared; expected that in {features.SEEN_IMAGES_FILE}, since they "
            "may be test images now. Set training.warm_start=false."
        )
    if earlier.prepared != own.prepared:
        raise WarmStartError(
            "the images of the served model were prepared otherwise than those of this run, so it "
            "cannot be told whether it has seen test images; expected the same images.fit and "
            "images.background, the same form of data, and versions of this project and of Pillow "
            "that make the same pixels. Set training.warm_start=false until a new model is served."
        )
    tested = seen_images.hashes(test)
    leaked = np.setdiff1d(np.intersect1d(tested, earlier.all), own.all)
    if len(leaked):
        raise WarmStartError(
            f"the served model was trained on {len(leaked):,} of the {len(tested):,} test images, "
            "which were in another split then; expected none, or the accuracy would mean nothing. "
            "Set training.warm_start=false."
        )
    known = np.setdiff1d(np.intersect1d(own.validated, earlier.trained), own.trained)
    if len(known):
        raise WarmStartError(
            f"the served model was trained on {len(known):,} of the {len(own.validated):,} "
            "validation images; expected none, or the best epoch and the temperature would be "
            "chosen on images that it knows. Use the seed and split.validation of the served "
            "model; as a share, such as 0.1, split.validation moves no image into the validation "
            "split when others leave. Or set training.warm_start=false."
        )
    return own.after(earlier)


def _load(path: str) -> keras.Model:
    # Keras reads only local files.
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, features.KERAS_MODEL_FILE)
        io_utils.copy_file(path, local)
        return keras.models.load_model(local, compile=False)


def _difference(ours: _Shapes, theirs: _Shapes) -> str:
    names = list({**ours, **theirs})
    for name in names:
        if name not in theirs:
            return f"the served model has no layer {name}; expected one"
        if name not in ours:
            return f"the served model has a layer {name}; expected none"
    name = next(name for name in names if ours[name] != theirs[name])
    return (
        f"layer {name} of the served model has weights with the shapes {theirs[name]}; expected "
        f"{ours[name]}"
    )


def _shapes(network: keras.Model) -> _Shapes:
    return {
        layer.name: [tuple(weight.shape) for weight in layer.weights]
        for layer in network.layers
        if layer.weights
    }
