"""The convolutions of a network alone, by oneDNN's own operations."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from benchmarks.pace import Pace

_WARM_UP_STEPS = 2


@dataclasses.dataclass(frozen=True)
class Convolution:
    """The form of a convolution.

    Attributes:
      image_shape: height, width and channels of its input.
      kernel_shape: height, width, input channels and filters.
      strides: down and across.
      padding: `SAME` or `VALID`.
      learns_kernel: whether training needs the gradient of its kernel.
      learns_input: whether training needs the gradient of its input, for a convolution before it
        that learns.
    """

    image_shape: tuple[int, int, int]
    kernel_shape: tuple[int, int, int, int]
    strides: tuple[int, int]
    padding: str
    learns_kernel: bool
    learns_input: bool


def of_network(network: keras.Model) -> list[Convolution]:
    """The convolutions of a network, from the pixels to the head."""
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    return [
        Convolution(
            image_shape=tuple(layer.input.shape[1:]),
            kernel_shape=tuple(layer.kernel.shape),
            strides=layer.strides,
            padding=layer.padding.upper(),
            learns_kernel=layer.trainable,
            learns_input=any(earlier.trainable for earlier in layers[:number]),
        )
        for number, layer in enumerate(layers)
    ]


def measure(
    convolutions: Sequence[Convolution], batch_size: int, precision: str, images: int
) -> Pace:
    """Times all convolutions, forward and backward, and nothing else.

    Args:
      convolutions: from `of_network`.
      batch_size: images per step.
      precision: `float32` or `bfloat16`, of inputs, kernels and gradients alike.
      images: about how many to take, warm-up apart.
    """
    operands = [_random_operands(each, batch_size, precision) for each in convolutions]
    step = tf.function(lambda *tensors: training_step(convolutions, tensors), jit_compile=False)
    for _ in range(_WARM_UP_STEPS):
        step(*operands)
    steps = math.ceil(images / batch_size)
    started = time.perf_counter()
    for _ in range(steps):
        step(*operands)
    return Pace(steps * batch_size, time.perf_counter() - started)


def training_step(
    convolutions: Sequence[Convolution], operands: Sequence[Sequence[tf.Tensor]]
) -> list[tf.Tensor]:
    """Forward from the pixels, then backward from the head, each after the other as in training.

    Args:
      convolutions: what is computed.
      operands: for each of them its input [N, ...], its kernel, and the gradient of its output.

    Returns:
      The outputs, then from the last convolution to the first the gradients of the kernel and of
      the input, where they are needed.
    """
    results: list[tf.Tensor] = []
    last: list[tf.Tensor] = []
    pairs = list(zip(convolutions, operands, strict=True))
    passes = [(_forward, pairs), (_backward, pairs[::-1])]
    for compute, (convolution, tensors) in ((f, pair) for f, order in passes for pair in order):
        with tf.control_dependencies(last):
            last = compute(convolution, *tensors)
        results += last
    return results


def _forward(
    convolution: Convolution, images: tf.Tensor, kernel: tf.Tensor, _: tf.Tensor
) -> list[tf.Tensor]:
    return [tf.nn.conv2d(images, kernel, convolution.strides, convolution.padding)]


def _backward(
    convolution: Convolution, images: tf.Tensor, kernel: tf.Tensor, gradient: tf.Tensor
) -> list[tf.Tensor]:
    form: dict[str, Any] = {
        "out_backprop": gradient,
        "strides": [1, *convolution.strides, 1],
        "padding": convolution.padding,
    }
    found = []
    if convolution.learns_kernel:
        sizes = kernel.shape
        found.append(tf.raw_ops.Conv2DBackpropFilter(input=images, filter_sizes=sizes, **form))
    if convolution.learns_input:
        sizes = images.shape
        found.append(tf.raw_ops.Conv2DBackpropInput(input_sizes=sizes, filter=kernel, **form))
    return found


def _random_operands(
    convolution: Convolution, batch_size: int, precision: str
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    images = _random((batch_size, *convolution.image_shape), precision)
    kernel = _random(convolution.kernel_shape, precision)
    (output,) = _forward(convolution, images, kernel, images)
    return images, kernel, _random(output.shape, precision)


def _random(shape: Sequence[int], precision: str) -> tf.Tensor:
    return tf.cast(tf.random.normal(shape), precision)
