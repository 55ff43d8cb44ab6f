"""The optimizers: Muon, extended to the kernels of convolutions, and Adam."""

from __future__ import annotations

import math
from typing import Any

import keras

from components.trainer.settings import Settings


def build_optimizer(settings: Settings) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a training."""
    averaging = {"use_ema": settings.ema_momentum > 0, "ema_momentum": settings.ema_momentum}
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "adam":
        # Without weight decay, this is Adam.
        return keras.optimizers.AdamW(rate, weight_decay=decay, **averaging)
    return ConvolutionMuon(rate, weight_decay=decay, adam_weight_decay=decay, **averaging)


@keras.saving.register_keras_serializable(package="image_classifier")
class ConvolutionMuon(keras.optimizers.Muon):
    """Muon for convolution kernels; Keras's Muon handles only matrices.

    Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) replaces the momentum of a
    matrix by the nearest orthogonal matrix. A kernel [height, width, inputs, outputs] is treated as
    a matrix with height * width * inputs rows, as in the author's training on CIFAR-10. All other
    weights (biases, normalisation, the head) use AdamW, as in the original Muon.
    """

    def _should_use_adamw(self, variable: Any) -> bool:
        # A kernel that sees one channel may have fewer rows than columns: then there is nothing to
        # orthogonalise.
        return len(variable.shape) != 4 or _rows(variable) < variable.shape[-1]

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
        """Orthogonalises a kernel as a matrix.

        It computes in bfloat16, as in the author's implementation, to speed up the matrix products.
        """
        matrix = keras.ops.cast(keras.ops.reshape(x, (-1, x.shape[-1])), "bfloat16")
        nearest = super().zeropower_via_newtonschulz5(matrix, steps)
        return keras.ops.cast(keras.ops.reshape(nearest, x.shape), x.dtype)

    def lr_adjust(self, x: Any) -> Any:
        """Scales an update to the size of AdamW's (Liu et al. 2025, arXiv:2502.16982)."""
        return x * (math.sqrt(max(_rows(x), x.shape[-1])) * self.rms_rate)


def _rows(kernel: Any) -> int:
    return math.prod(kernel.shape[:-1])
