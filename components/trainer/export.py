"""Exports a trained model for serving: one SavedModel with three endpoints."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tfx.dsl.io import fileio

from components import features
from components.image_schema import ImageSchema
from components.images import Preparation
from components.reading_report import Border
from components.trainer import decoding


def export_model(
    model: keras.Model,
    transform: tft.TFTransformOutput,
    schema: ImageSchema,
    preparation: Preparation,
    border: Border,
    folder: str,
) -> None:
    """Writes the SavedModel.

    Every endpoint preprocesses its images with Transform's graph, and returns `probabilities`
    (float32 [N, classes]), `class_id` (int64 [N]) and `class_name` (string [N]).

    Args:
      model: Trained classifier.
      transform: Output of Transform; its graph becomes part of the export.
      schema: Shape of the images and class names.
      preparation: How image files become images of that shape, as for the training data.
      border: Border of the training images.
      folder: Folder for the SavedModel.
    """
    layer = transform.transform_features_layer()
    classify = _classifier(model, layer, schema)
    # Do not track the model: the archive finds the variables of its endpoints itself, and would
    # save those of a tracked model twice. Only lookup tables need tracking; Transform has none.
    archive = keras.export.ExportArchive()
    archive.add_endpoint(
        features.SERVING_DEFAULT,
        _serving_default(classify, schema),
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


def _classifier(model, layer, schema: ImageSchema) -> Callable[[tf.Tensor], dict]:
    names = tf.constant(schema.class_names)

    # All endpoints call this function, so that the network is traced and saved once. AutoGraph
    # would spend seconds on rewriting the code of TFT, without any effect.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    @tf.autograph.experimental.do_not_convert
    def classify(raw: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies raw images, string [N]."""
        count = tf.shape(raw)[0]
        filled = _filled(raw, count, schema.bytes_per_image)
        images = layer({features.IMAGE: tf.reshape(filled, [-1, 1])})[features.IMAGE]
        probabilities = model(images, training=False)[:count]
        class_id = tf.argmax(probabilities, axis=-1)
        return {
            features.PROBABILITIES: probabilities,
            features.CLASS_ID: class_id,
            features.CLASS_NAME: tf.gather(names, class_id),
        }

    return classify


def _filled(raw: tf.Tensor, count: tf.Tensor, size: int) -> tf.Tensor:
    """Puts one black image into an empty batch, on which TensorFlow's layers fail."""
    black = tf.strings.reduce_join(tf.fill([size], b"\0"))
    return tf.concat([raw, tf.repeat(black, tf.cast(tf.equal(count, 0), tf.int32))], axis=0)


def _serving_default(classify: Callable, schema: ImageSchema) -> Callable:
    spec = {features.IMAGE: tf.io.FixedLenFeature([], tf.string)}

    def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies serialized tf.train.Examples; it reads only the image of each."""
        raw = tf.io.parse_example(examples, spec)[features.IMAGE]
        return classify(_checked_bytes(raw, schema))

    return serving_default


def _predict_pixels(classify: Callable, schema: ImageSchema) -> Callable:
    def predict_pixels(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies uint8 [N, height, width] (grayscale) or [N, height, width, channels]."""
        return classify(_raw_bytes(_checked(pixels, schema)))

    return predict_pixels


def _predict_image_bytes(classify: Callable, preparation: Preparation) -> Callable:
    @tf.autograph.experimental.do_not_convert
    def predict_image_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies PNG and JPEG files of any size; a file that it refuses fails the request."""
        pixels = tf.map_fn(
            lambda file: decoding.decode(file[0], file[1], preparation),
            (image_bytes, tf.range(tf.size(image_bytes))),
            fn_output_signature=tf.TensorSpec(preparation.shape, tf.uint8),
        )
        return classify(_raw_bytes(pixels))

    return predict_image_bytes


def _checked_bytes(raw: tf.Tensor, schema: ImageSchema) -> tf.Tensor:
    """Checks the sizes: Transform's graph would make two images of one with twice the bytes."""
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


def _raw_bytes(pixels: tf.Tensor) -> tf.Tensor:
    """Packs uint8 [N, height, width, channels] into string [N], the input of Transform's graph.

    TensorFlow has no operation that converts numbers to bytes. So this function looks up each value
    in a table of all 256 bytes, and joins them.
    """
    table = tf.constant([bytes([value]) for value in range(256)])
    values = tf.gather(table, tf.cast(pixels, tf.int32))
    # Joined over one axis: over several of them at a time, TensorFlow mixes up the order.
    rows = tf.reshape(values, [tf.shape(pixels)[0], math.prod(pixels.shape[1:])])
    return tf.strings.reduce_join(rows, axis=1)
