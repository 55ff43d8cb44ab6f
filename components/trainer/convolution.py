"""Convolution whose kernel learns fast from small maps on a CPU."""

from __future__ import annotations

from typing import Any

import keras

# Maximum number of positions of a map for matrix products. On larger maps, they take longer than
# oneDNN's own gradient of a kernel.
_MOST_POSITIONS = 64


@keras.saving.register_keras_serializable(package="image_classifier")
class SmallMapConvolution(keras.layers.Conv2D):
    """Keras's convolution, with the gradient of the kernel as matrix products on small maps.

    On maps of up to 8x8 positions, oneDNN computes this gradient in bfloat16 at a twentieth of the
    speed of the convolution itself. It is a sum of outer products: for each place in the kernel,
    inputs shifted by that place times gradients of the outputs. So it takes one matrix product for
    each place, over the positions where both lie inside the map.

    Results equal those of the parent class, apart from rounding in the gradient. Outside training,
    in float32, where oneDNN is as fast, with another backend than TensorFlow, and for any
    convolution but one without bias, with stride 1, padding `same` and a kernel of odd sides, the
    layer uses the code of the parent class.

    Input and output: float32 or bfloat16 [N, height, width, channels].
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Convolves the inputs."""
        if not (training and self._is_small(inputs.shape)):
            return super().call(inputs)
        # Import TensorFlow only here: the network also trains with other backends.
        import tensorflow as tf

        return _convolved(inputs, tf.cast(tf.convert_to_tensor(self.kernel), inputs.dtype))

    def _is_small(self, shape: tuple[Any, ...]) -> bool:
        return (
            keras.backend.backend() == "tensorflow"
            and self.compute_dtype == "bfloat16"
            and None not in shape[1:3]
            and shape[1] * shape[2] <= _MOST_POSITIONS
            and not self.use_bias
            and self.activation is keras.activations.linear
            and self.padding == "same"
            and self.data_format == "channels_last"
            and (self.strides, self.dilation_rate, self.groups) == ((1, 1), (1, 1), 1)
            and all(side % 2 for side in self.kernel_size)
        )


def _convolved(images: Any, kernel: Any) -> Any:
    import tensorflow as tf

    @tf.custom_gradient
    def convolve(images: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            of_images = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(images),
                filter=kernel,
                out_backprop=upstream,
                strides=[1, 1, 1, 1],
                padding="SAME",
            )
            return of_images, _kernel_gradient(images, upstream, kernel.shape)

        return tf.nn.conv2d(images, kernel, strides=1, padding="SAME"), gradients

    return convolve(images, kernel)


def _kernel_gradient(images: Any, upstream: Any, kernel_shape: tuple[int, ...]) -> Any:
    """Returns the gradient of a kernel.

    Args:
      images: Inputs of the convolution, [N, height, width, inputs].
      upstream: Gradients of its outputs, [N, height, width, outputs].
      kernel_shape: Height, width, inputs and outputs.
    """
    import tensorflow as tf

    height, width, inputs, outputs = kernel_shape
    products = [
        tf.matmul(
            tf.reshape(_inside(images, down, right), (-1, inputs)),
            tf.reshape(_inside(upstream, -down, -right), (-1, outputs)),
            transpose_a=True,
        )
        for down in range(-(height // 2), height // 2 + 1)
        for right in range(-(width // 2), width // 2 + 1)
    ]
    return tf.reshape(tf.stack(products), kernel_shape)


def _inside(maps: Any, down: int, right: int) -> Any:
    """What remains of maps that are read some rows further down and columns further right."""
    rows, columns = maps.shape[1:3]
    bottom, end = max(rows + min(down, 0), 0), max(columns + min(right, 0), 0)
    return maps[:, max(down, 0) : bottom, max(right, 0) : end]
