"""Exports a trained model for serving: one SavedModel with three endpoints."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tfx.dsl.io import fileio

from components import features
from components.image_schema import ImageSchema


def export_model(
    model: keras.Model, transform: tft.TFTransformOutput, schema: ImageSchema, folder: str
) -> None:
    """Writes the SavedModel.

    Every endpoint preprocesses its images with Transform's graph, and returns `probabilities`
    (float32 [N, classes]), `class_id` (int64 [N]) and `class_name` (string [N]).

    Args:
      model: Trained classifier.
      transform: Output of Transform; its graph becomes part of the export.
      schema: Shape of the images and class names.
      folder: Folder for the SavedModel.
    """
    layer = transform.transform_features_layer()
    classify = _classifier(model, layer, schema.class_names)
    # Do not track the model: the archive finds the variables of its endpoints itself, and would
    # save those of a tracked model twice. Only lookup tables need tracking; Transform has none.
    archive = keras.export.ExportArchive()
    archive.add_endpoint(
        features.SERVING_DEFAULT,
        _serving_default(classify),
        input_signature=[tf.TensorSpec([None], tf.string, name="examples")],
    )
    archive.add_endpoint(
        features.PREDICT_PIXELS,
        _predict_pixels(classify, schema),
        input_signature=[tf.TensorSpec(None, tf.uint8, name="pixels")],
    )
    archive.add_endpoint(
        features.PREDICT_IMAGE_BYTES,
        _predict_image_bytes(classify, schema),
        input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")],
    )
    archive.write_out(folder, verbose=False)
    _describe(schema, folder)


def _describe(schema: ImageSchema, folder: str) -> None:
    """Writes a description of the inputs and outputs, for users who have only the export.

    `assets.extra` is the folder of a SavedModel for files that its graph does not read.
    """
    described = {"image_shape": schema.shape, "class_names": schema.class_names}
    path = os.path.join(folder, features.EXPORT_DESCRIPTION_FILE)
    fileio.makedirs(os.path.dirname(path))
    with fileio.open(path, "w") as file:
        file.write(json.dumps(described))


def _classifier(model, layer, class_names: tuple[str, ...]) -> Callable[[tf.Tensor], dict]:
    names = tf.constant(class_names)

    # All endpoints call this function, so that the network is traced and saved once. AutoGraph
    # would spend seconds on rewriting the code of TFT, without any effect.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    @tf.autograph.experimental.do_not_convert
    def classify(raw: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies raw images, string [N]."""
        images = layer({features.IMAGE: tf.reshape(raw, [-1, 1])})[features.IMAGE]
        probabilities = model(images, training=False)
        class_id = tf.argmax(probabilities, axis=-1)
        return {
            features.PROBABILITIES: probabilities,
            features.CLASS_ID: class_id,
            features.CLASS_NAME: tf.gather(names, class_id),
        }

    return classify


def _serving_default(classify: Callable) -> Callable:
    spec = {features.IMAGE: tf.io.FixedLenFeature([], tf.string)}

    def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies serialized tf.train.Examples; it reads only the image of each."""
        return classify(tf.io.parse_example(examples, spec)[features.IMAGE])

    return serving_default


def _predict_pixels(classify: Callable, schema: ImageSchema) -> Callable:
    def predict_pixels(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies uint8 [N, height, width] (grayscale) or [N, height, width, channels]."""
        return classify(_raw_bytes(_checked(pixels, schema), schema))

    return predict_pixels


def _predict_image_bytes(classify: Callable, schema: ImageSchema) -> Callable:
    def decode(image_bytes: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_image(image_bytes, channels=schema.channels, expand_animations=False)
        image.set_shape([None, None, schema.channels])
        return tf.cast(tf.clip_by_value(tf.round(_fitted(image, schema)), 0, 255), tf.uint8)

    def predict_image_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies PNG, JPEG, BMP or GIF files (their first frame) of any size."""
        signature = tf.TensorSpec(schema.shape, tf.uint8)
        pixels = tf.map_fn(decode, image_bytes, fn_output_signature=signature)
        return classify(_raw_bytes(pixels, schema))

    return predict_image_bytes


def _fitted(image: tf.Tensor, schema: ImageSchema) -> tf.Tensor:
    """Resizes an image with its aspect ratio, and pads it with black, as in the training images.

    An image of the right size stays unchanged. The sizes are computed with integers: the float32
    division of `tf.image.resize_with_pad` may scale a side of 84 pixels to 27 instead of 28.
    """
    given = tf.cast(tf.shape(image)[:2], tf.int64)
    target = tf.constant([schema.height, schema.width], tf.int64)
    # The limiting side gets its target size, the other follows; each has at least one pixel.
    size = tf.maximum(tf.minimum(target, given * target[::-1] // given[::-1]), 1)
    resized = tf.image.resize(image, tf.cast(size, tf.int32), antialias=True)
    top, left = tf.unstack(tf.cast((target - size) // 2, tf.int32))
    return tf.image.pad_to_bounding_box(resized, top, left, schema.height, schema.width)


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
        return tf.reshape(pixels, [-1, *schema.shape])


def _raw_bytes(pixels: tf.Tensor, schema: ImageSchema) -> tf.Tensor:
    """Packs uint8 [N, height, width, channels] into string [N], the input of Transform's graph.

    TensorFlow has no operation that converts numbers to bytes. So this function looks up each value
    in a table of all 256 bytes, and joins them.
    """
    table = tf.constant([bytes([value]) for value in range(256)])
    values = tf.gather(table, tf.cast(pixels, tf.int32))
    return tf.strings.reduce_join(tf.reshape(values, [-1, schema.bytes_per_image]), axis=1)
