"""The three endpoints of an exported model, which strangers send requests to.

    python -m tests.fuzzing.endpoints FOLDER

exports a small model into a folder. It is a process of its own: TensorFlow must not be at work in
the process that starts others for the fuzzing.
"""

from __future__ import annotations

import functools
import json
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

from components import features
from components.image_schema import ImageSchema
from components.images import Fit, ImageError, Preparation, prepare
from tests import image_files
from tests.fuzzing.reader import Violation

_SCHEMA = ImageSchema(8, 8, 1, ("Shirt", "Boot", "Bag"))
_PREPARATION = Preparation(*_SCHEMA.shape, Fit.PAD, 0)
# What the few pixels that differ from Pillow's by one or two change in a probability.
_TOLERANCE = 0.02
_EXPORT = "export"
_ENDPOINTS = (features.SERVING_DEFAULT, features.PREDICT_PIXELS, features.PREDICT_IMAGE_BYTES)
# A server refuses larger messages.
_MOST_VALUES = 2**24
_LOADED: dict[bytes, Any] = {}


def requests(folder: pathlib.Path) -> None:
    """Writes an export, and requests to each of its endpoints."""
    subprocess.run([sys.executable, "-m", __name__, str(folder / _EXPORT)], check=True)
    for endpoint in _ENDPOINTS:
        (folder / endpoint).mkdir()
    (folder / features.SERVING_DEFAULT / "one").write_bytes(_example(bytes(64)))
    (folder / features.SERVING_DEFAULT / "two").write_bytes(_example(bytes(range(64))))
    pixels = {"shape": [2, 8, 8, 1], "value": 7}
    (folder / features.PREDICT_PIXELS / "pixels.json").write_text(json.dumps(pixels))
    images = folder / features.PREDICT_IMAGE_BYTES
    for kind in ("PNG", "JPEG"):
        (images / kind).write_bytes(image_files.saved(image_files.PICTURE, kind))
    for depth, colour in image_files.PNG_KINDS:
        before = (image_files.palette(depth),) if colour == 3 else ()
        values = image_files.png_values(depth, colour)
        content = image_files.png(values, depth, colour, before=before)
        (images / f"PNG-{depth}-{colour}").write_bytes(content)
    upright = image_files.saved(image_files.PICTURE, "JPEG", exif=image_files.turned(1))
    (images / "upright").write_bytes(upright)


def _example(pixels: bytes) -> bytes:
    """A serialized tf.train.Example with an image of 64 bytes, without TensorFlow."""
    wrapped = pixels
    # Value of a bytes list, bytes list of a feature, value and key of an entry, entry, features.
    for field in (1, 1, 2):
        wrapped = bytes([field << 3 | 2, len(wrapped)]) + wrapped
    entry = b"\x0a\x05image" + wrapped
    entries = bytes([0x0A, len(entry)]) + entry
    return bytes([0x0A, len(entries)]) + entries


def ask(folder: pathlib.Path) -> bool:
    """Sends all requests, one image or array at a time; an endpoint answers or refuses."""
    refused = False
    for endpoint in _ENDPOINTS:
        for path in sorted((folder / endpoint).iterdir()):
            refused |= not _answers(_model(folder), endpoint, path.read_bytes())
    return refused


def _pixels(content: bytes) -> np.ndarray | None:
    """An array as a client could send it; None where no client can make it."""
    try:
        document = json.loads(content)
        shape = tuple(map(int, document["shape"]))
        if np.prod(shape, dtype=float) > _MOST_VALUES:
            return None
        return np.full(shape, document["value"], np.uint8)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


# Of a case, most requests are the sound ones, whose answer is known.
@functools.lru_cache(100)
def _answers(model, endpoint: str, content: bytes) -> bool:
    """Whether an endpoint answers a request, or no client could send it.

    Raises:
      Violation: With something that is no answer.
    """
    import tensorflow as tf

    request = _pixels(content) if endpoint == features.PREDICT_PIXELS else [content]
    if request is None:
        return True
    signature = model.signatures[endpoint]
    ((name, spec),) = signature.structured_input_signature[1].items()
    try:
        answer = signature(**{name: tf.constant(request, spec.dtype)})
    # The second: TensorFlow's message quotes the request, and its Python cannot decode that.
    except (tf.errors.InvalidArgumentError, UnicodeDecodeError):
        return False
    probabilities = answer[features.PROBABILITIES].numpy()
    if probabilities.shape != (len(request), len(_SCHEMA.class_names)):
        raise Violation(f"{endpoint} answers {len(request)} images with {probabilities.shape}")
    if not np.isfinite(probabilities).all() or not np.allclose(probabilities.sum(axis=1), 1):
        raise Violation(f"{endpoint} answers with {probabilities[:3]}")
    if endpoint == features.PREDICT_IMAGE_BYTES:
        _check_as_elsewhere(model, content, probabilities)
    return True


def _check_as_elsewhere(model, content: bytes, probabilities: np.ndarray) -> None:
    """Compares the answer for an image file with that for the pixels of `components.images`.

    Raises:
      Violation: It is another one, or training and `predict` refuse the file.
    """
    import tensorflow as tf

    try:
        pixels = prepare(content, _PREPARATION).pixels
    except ImageError as error:
        raise Violation(f"an answer for a file that is refused elsewhere: {error}") from error
    answer = model.signatures[features.PREDICT_PIXELS](pixels=tf.constant(pixels[np.newaxis]))
    expected = answer[features.PROBABILITIES].numpy()
    if np.abs(probabilities - expected).max() > _TOLERANCE:
        raise Violation(f"{probabilities} for a file, and {expected} for its pixels")


def _model(folder: pathlib.Path):
    """The model, loaded once: all cases have the same."""
    import tensorflow as tf
    from tensorflow.python.framework import error_interpolation

    # Servers have none of this: it searches messages, which quote the request, in quadratic time.
    error_interpolation.parse_message = lambda message: (message, [], [])
    graph = (folder / _EXPORT / "saved_model.pb").read_bytes()
    if graph not in _LOADED:
        _LOADED[graph] = tf.saved_model.load(str(folder / _EXPORT))
    return _LOADED[graph]


def export(folder: str) -> None:
    """Exports a small model of random weights."""
    import keras
    import tensorflow as tf
    import tensorflow_transform as tft
    from tensorflow_transform import impl_helper

    from components import transform
    from components.trainer import export as exporting

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.layers.Input(_SCHEMA.shape),
            keras.layers.Flatten(),
            keras.layers.Dense(len(_SCHEMA.class_names), activation="softmax"),
        ]
    )
    with tempfile.TemporaryDirectory() as graph:
        impl_helper.analyze_in_place(
            functools.partial(transform.preprocessing_fn, image_shape=_SCHEMA.shape),
            force_tf_compat_v1=False,
            feature_specs={features.IMAGE: tf.io.FixedLenFeature([1], tf.string)},
            type_specs={features.IMAGE: tf.TensorSpec([None, 1], tf.string)},
            transform_output_path=graph,
        )
        output = tft.TFTransformOutput(graph)
        exporting.export_model(model, output, _SCHEMA, _PREPARATION, "dark", folder)


if __name__ == "__main__":
    from components import environment

    environment.enter(log_level="2")
    export(sys.argv[1])
