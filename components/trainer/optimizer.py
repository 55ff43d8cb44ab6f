"""The optimizer: Muon, extended to the kernels of convolutions."""

from __future__ import annotations

import math
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="image_classifier")
class ConvolutionMuon(keras.optimizers.Muon):
    """Keras's Muon, which there takes matrices alone, for convolution kernels as well.

    Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) replaces the momentum of a
    matrix by the nearest orthogonal matrix. A kernel [height, width, inputs, outputs] counts as a
    matrix of height * width * inputs rows, as in the author's own training of CIFAR-10. All else
    (biases, normalisation, the head) takes AdamW's step, as Muon prescribes.
    """

    def _should_use_adamw(self, variable: Any) -> bool:
        # The first convolution has fewer rows than columns on grayscale images: there is nothing
        # to make orthogonal.
        return len(variable.shape) != 4 or _rows(variable) < variable.shape[-1]

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
        """Orthogonalises a kernel as a matrix.

        In bfloat16, as in the author's implementation, where the kernel is large enough for its
        matrix products to cost.
        """
        matrix = keras.ops.cast(keras.ops.reshape(x, (-1, x.shape[-1])), "bfloat16")
        nearest = super().zeropower_via_newtonschulz5(matrix, steps)
        return keras.ops.cast(keras.ops.reshape(nearest, x.shape), x.dtype)

    def lr_adjust(self, x: Any) -> Any:
        """Scales an update to the size of AdamW's (Liu et al. 2025, arXiv:2502.16982)."""
        return x * (math.sqrt(max(_rows(x), x.shape[-1])) * self.rms_rate)


def _rows(kernel: Any) -> int:
    return math.prod(kernel.shape[:-1])
