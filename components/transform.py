"""Transform: the preprocessing of images, for both training and serving."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from tfx.components.transform import component, labels
from tfx.components.transform import executor as transform_executor
from tfx.components.util import value_utils
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio

from components import features, image_schema


def preprocessing_fn(
    inputs: Mapping[str, tf.Tensor], image_shape: tuple[int, int, int]
) -> dict[str, tf.Tensor]:
    """Decodes raw image bytes and scales them.

    Args:
      inputs: Raw features; `image` is string [N, 1], the raw bytes of each image.
      image_shape: Height, width and channels.

    Returns:
      Feature `image`, float32 [N, height, width, channels] in [0, 1].
    """
    raw = tf.reshape(inputs[features.IMAGE], [-1])
    # Not -1 for the number: TensorFlow could not compute it for an empty batch.
    pixels = tf.reshape(tf.io.decode_raw(raw, tf.uint8), [tf.shape(raw)[0], *image_shape])
    return {features.IMAGE: scaled(pixels)}


def scaled(pixels: tf.Tensor) -> tf.Tensor:
    """Scales pixels to what the network gets.

    The export also calls it for pixels that never were bytes. So all preprocessing of pixels
    belongs here, and none into `preprocessing_fn`.

    Args:
      pixels: uint8 [N, height, width, channels].

    Returns:
      float32 in the same shape, in [0, 1].
    """
    # Multiply instead of dividing: in graphs, TensorFlow turns a division by a constant into this
    # multiplication. With a division, eager results would differ from the export in the last bit.
    return tf.cast(pixels, tf.float32) * (1 / 255)


class _Executor(transform_executor.Executor):
    """Passes the image shape of the schema artifact to `preprocessing_fn`."""

    def _GetPreprocessingFn(
        self, inputs: Mapping[str, Any], unused_outputs: Mapping[str, Any]
    ) -> Callable[..., Any]:
        path = value_utils.GetSoleValue(inputs, labels.SCHEMA_PATH_LABEL)
        with fileio.open(path, "r") as file:
            schema = image_schema.parse_schema(file.read(), path)
        return functools.partial(preprocessing_fn, image_shape=schema.shape)


class ImageTransform(component.Transform):
    """TFX's Transform without analysis and materialized examples.

    The preprocessing needs no analysis of the data. Decoding is part of the graph, which Trainer
    and the export apply.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(_Executor)

    def __init__(self, examples: Any, schema: Any):
        """Constructs the component from the channels of the examples and their schema."""
        super().__init__(
            examples=examples,
            schema=schema,
            preprocessing_fn=f"{__name__}.{preprocessing_fn.__name__}",
            materialize=False,
            disable_analyzer_cache=True,
            disable_statistics=True,
        )
