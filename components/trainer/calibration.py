"""Calibration: makes the probabilities of a trained network match its accuracy."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import scipy.optimize
import scipy.special

from components import features

# The temperature is between a quarter and four. It needs bounds: if every validation image is
# classified correctly, the cross-entropy has no minimum.
_LARGEST_LOG_TEMPERATURE = math.log(4)
# Temperatures that the search compares before it looks between two of them.
_COMPARED = 65
# Lower bound of probabilities, so that their logarithm exists.
_LEAST = np.finfo(np.float64).tiny
# Label smoothing gives every class a small probability. A lower probability is multiplied by this
# factor: so no probability becomes 0, and the order of the classes stays.
_FLOOR = features.SMOOTHING_FLOOR


@keras.saving.register_keras_serializable(package="image_classifier")
class CalibratedSoftmax(keras.layers.Layer):
    """Softmax with a temperature, which also reverses the effect of label smoothing.

    Label smoothing spreads a share s of each label over all K classes (Szegedy et al. 2016,
    arXiv:1512.00567). The network then learns (1 - s) p + s / K instead of the probability p. A
    temperature alone (Guo et al. 2017, arXiv:1706.04599) cannot reverse this: the temperature that
    corrects confident predictions makes predictions between two classes overconfident. So this
    layer subtracts s / K and scales the rest to a sum of 1.

    The temperature is a non-trainable weight, initially 1. Neither step changes which class has the
    highest probability.

    Input and output: float32 [N, classes].
    """

    def __init__(self, label_smoothing: float = 0.0, **arguments: Any):
        """Creates the layer for a network that was trained with this label smoothing."""
        super().__init__(**arguments)
        self.label_smoothing = label_smoothing

    def build(self, input_shape: Any) -> None:
        """Creates the weight for the temperature."""
        self.temperature = self.add_weight(
            name="temperature", shape=(), initializer="ones", trainable=False
        )

    def call(self, logits: Any) -> Any:
        """Returns probabilities."""
        probabilities = keras.ops.softmax(logits / self.temperature)
        if not self.label_smoothing:
            return probabilities
        spread = self.label_smoothing / logits.shape[-1]
        left = keras.ops.relu(probabilities - spread) + _FLOOR * probabilities
        return left / keras.ops.sum(left, axis=-1, keepdims=True)

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration to recreate the layer from."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def fit_temperature(logits: np.ndarray, labels: np.ndarray, label_smoothing: float) -> float:
    """Returns the temperature with the lowest cross-entropy.

    With label smoothing, the cross-entropy may have several local minima. So the search first
    compares temperatures over the whole range, and then looks around the best of them.

    Args:
      logits: Logits of images that the network was not trained on, float32 [N, classes].
      labels: Labels of these images, int [N].
      label_smoothing: Label smoothing of `CalibratedSoftmax`.
    """

    def cross_entropy(log_temperature: float) -> float:
        softened = scipy.special.softmax(scores / math.exp(log_temperature), axis=1)
        left = np.maximum(softened - spread, 0) + _FLOOR * softened
        own = left[np.arange(len(labels)), labels] / left.sum(axis=1)
        return -float(np.log(np.maximum(own, _LEAST)).mean())

    scores, spread = logits.astype(np.float64), label_smoothing / logits.shape[1]
    compared = np.linspace(-_LARGEST_LOG_TEMPERATURE, _LARGEST_LOG_TEMPERATURE, _COMPARED)
    values = [cross_entropy(each) for each in compared]
    best = int(np.argmin(values))
    bounds = (compared[max(best - 1, 0)], compared[min(best + 1, _COMPARED - 1)])
    minimum = scipy.optimize.minimize_scalar(cross_entropy, bounds=bounds, method="bounded")
    return math.exp(minimum.x if minimum.fun < values[best] else compared[best])
