"""Exports a trained model for serving: one SavedModel with three endpoints."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tfx.dsl.io import fileio

from components import features
from components.image_schema import ImageSchema
from components.images import Preparation
from components.reading_report import Border
from components.trainer import batches, decoding
from components.transform import scaled

# Number of images on which Transform's graph and `scaled` are compared: few, since some are large.
_PROBES = 2


class PreprocessingError(ValueError):
    """Transform's graph and the export would prepare images differently."""


def export_model(
    model: keras.Model,
    transform: tft.TFTransformOutput,
    schema: ImageSchema,
    preparation: Preparation,
    border: Border,
    folder: str,
) -> None:
    """Writes the SavedModel.

    Every endpoint preprocesses its images as Transform's graph does, and returns `probabilities`
    (float32 [N, classes]), `class_id` (int64 [N]) and `class_name` (string [N]).

    Args:
      model: Trained classifier.
      transform: Output of Transform; its graph becomes part of the export.
      schema: Shape of the images and class names.
      preparation: How image files become images of that shape, as for the training data.
      border: Border of the training images.
      folder: Folder for the SavedModel.
    """
    classify = _classifier(model, schema)
    # Do not track the model: the archive finds the variables of its endpoints itself, and would
    # save those of a tracked model twice. Only lookup tables need tracking; Transform has none.
    archive = keras.export.ExportArchive()
    archive.add_endpoint(
        features.SERVING_DEFAULT,
        _serving_default(classify, transform, schema),
        input_signature=[tf.TensorSpec([None], tf.string, name="examples")],
    )
    archive.add_endpoint(
        features.PREDICT_PIXELS,
        _predict_pixels(classify, schema),
        input_signature=[tf.TensorSpec(None, tf.uint8, name="pixels")],
    )
    archive.add_endpoint(
        features.PREDICT_IMAGE_BYTES,
        _predict_image_bytes(classify, preparation),
        input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")],
    )
    archive.write_out(folder, verbose=False)
    _describe(schema, preparation, border, folder)


def _describe(schema: ImageSchema, preparation: Preparation, border: Border, folder: str) -> None:
    """Writes a description of the inputs and outputs, for users who have only the export.

    `assets.extra` is the folder of a SavedModel for files that its graph does not read.
    """
    described = {
        "image_shape": schema.shape,
        "class_names": schema.class_names,
        "fit": preparation.fit,
        "background": preparation.background,
        "border": border,
    }
    path = os.path.join(folder, features.EXPORT_DESCRIPTION_FILE)
    fileio.makedirs(os.path.dirname(path))
    with fileio.open(path, "w") as file:
        file.write(json.dumps(described))


def check_preprocessing(transform: tft.TFTransformOutput, schema: ImageSchema) -> None:
    """Compares Transform's graph with `scaled`, which stands in for it where there are pixels.

    Args:
      transform: Output of Transform.
      schema: Shape of the images.

    Raises:
      PreprocessingError: One bit differs: the endpoints of an export would disagree.
    """
    count = max(_PROBES, math.ceil(256 / schema.bytes_per_image))
    values = np.resize(np.arange(256, dtype=np.uint8), count * schema.bytes_per_image)
    np.random.default_rng(0).shuffle(values)
    pixels = values.reshape(count, *schema.shape)
    expected = batches.prepared_images(pixels, transform)
    if not np.array_equal(scaled(tf.constant(pixels)).numpy(), expected):
        raise PreprocessingError(
            "Transform's graph prepares pixels in another way than `scaled` of "
            "components/transform.py; expected the same bits, because the endpoints for pixels and "
            "for image files call `scaled`. Move all preprocessing from `preprocessing_fn` into "
            "`scaled`."
        )


def _classifier(model: keras.Model, schema: ImageSchema) -> Callable[[tf.Tensor], dict]:
    names = tf.constant(schema.class_names)

    def classify(images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies preprocessed images."""
        count = tf.shape(images)[0]
        probabilities = model(_filled(images), training=False)[:count]
        class_id = tf.argmax(probabilities, axis=-1)
        return {
            features.PROBABILITIES: probabilities,
            features.CLASS_ID: class_id,
            features.CLASS_NAME: tf.gather(names, class_id),
        }

    # All endpoints call this function, so that the network is saved once.
    return _traced(classify, tf.TensorSpec([None, *schema.shape], tf.float32))


def _traced(function: Callable, argument: tf.TensorSpec) -> Callable:
    """Traces a part of the endpoints now, since the archive would trace it twice for each."""
    return tf.function(function, autograph=False).get_concrete_function(argument)


def _filled(images: tf.Tensor) -> tf.Tensor:
    """Puts one black image into an empty batch, on which TensorFlow's layers fail."""
    is_empty = tf.equal(tf.shape(images)[0], 0)
    return tf.cond(is_empty, lambda: tf.zeros([1, *images.shape[1:]]), lambda: images)


def _serving_default(
    classify: Callable, transform: tft.TFTransformOutput, schema: ImageSchema
) -> Callable:
    spec = {features.IMAGE: tf.io.FixedLenFeature([], tf.string)}
    layer = transform.transform_features_layer()

    # AutoGraph would spend seconds on rewriting the code of TFT, without any effect.
    @tf.autograph.experimental.do_not_convert
    def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies serialized tf.train.Examples; it reads only the image of each."""
        raw = _checked_bytes(tf.io.parse_example(examples, spec)[features.IMAGE], schema)
        return classify(layer({features.IMAGE: tf.expand_dims(raw, 1)})[features.IMAGE])

    return serving_default


def _predict_pixels(classify: Callable, schema: ImageSchema) -> Callable:
    def predict_pixels(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies uint8 [N, height, width] (grayscale) or [N, height, width, channels]."""
        return classify(scaled(_checked(pixels, schema)))

    return predict_pixels


def _predict_image_bytes(classify: Callable, preparation: Preparation) -> Callable:
    def prepared(image_bytes: tf.Tensor) -> tf.Tensor:
        """Decodes files and scales their pixels."""
        return scaled(decoding.decode(image_bytes, preparation))

    traced = _traced(prepared, tf.TensorSpec([None], tf.string))

    @tf.autograph.experimental.do_not_convert
    def predict_image_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies PNG and JPEG files of any size; a file that it refuses fails the request."""
        return classify(traced(image_bytes))

    return predict_image_bytes


def _checked_bytes(raw: tf.Tensor, schema: ImageSchema) -> tf.Tensor:
    """Checks the sizes, which Transform's graph would refuse without a reason."""
    sizes = tf.strings.length(raw)
    message = (
        f"an example has an image of another size; expected {schema.bytes_per_image} bytes, the "
        f"raw pixels of {' x '.join(map(str, schema.shape))}. Send each image as its own example, "
        "not as an image file. Sizes:"
    )
    same = tf.debugging.Assert(
        tf.reduce_all(tf.equal(sizes, schema.bytes_per_image)), [message, sizes]
    )
    with tf.control_dependencies([same]):
        return tf.identity(raw)


def _checked(pixels: tf.Tensor, schema: ImageSchema) -> tf.Tensor:
    """Checks the shape: pixels of a wrong shape would otherwise be split into wrong images."""
    expected = tf.constant(schema.shape)
    given = tf.shape(pixels)[1:]
    if schema.channels == 1:
        given = tf.cond(
            tf.equal(tf.size(given), 2), lambda: tf.concat([given, [1]], 0), lambda: given
        )
    message = f"pixels must have the shape [N, {', '.join(map(str, schema.shape))}]"
    same_rank = tf.debugging.Assert(tf.equal(tf.size(given), 3), [message, given])
    with tf.control_dependencies([same_rank]):
        same = tf.debugging.Assert(tf.reduce_all(tf.equal(given, expected)), [message, given])
    with tf.control_dependencies([same]):
        # Not -1 for the number: TensorFlow could not compute it for an empty batch.
        return tf.reshape(pixels, [tf.shape(pixels)[0], *schema.shape])
