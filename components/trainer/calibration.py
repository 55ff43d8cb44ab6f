"""Calibration: makes the probabilities of a trained network mean what they say."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import scipy.optimize
import scipy.special

from components import features

# The temperature is looked for between a quarter and four. Where every validation image is right,
# the cross-entropy has no minimum: without a bound, answers would become as sure as can be.
_LARGEST_LOG_TEMPERATURE = math.log(4)
_BINS = 15
# A probability too small for float64.
_LEAST = np.finfo(np.float64).tiny
# A probability lower than what label smoothing alone gives every class becomes this much of itself:
# nothing is answered to be impossible, and the order of the classes stays.
_FLOOR = features.SMOOTHING_FLOOR


@keras.saving.register_keras_serializable(package="image_classifier")
class CalibratedSoftmax(keras.layers.Layer):
    """Softmax of logits that are divided by a temperature, with label smoothing taken back.

    A network that is trained on labels of which the share s was spread over all K classes (Szegedy
    et al. 2016, arXiv:1512.00567) learns to answer (1 - s) p + s / K in place of p. A temperature
    alone (Guo et al. 2017, arXiv:1706.04599) cannot take that back: what makes the sure answers
    right makes those between two classes too sure. So s / K is taken off, and what is left brought
    to a sum of 1.

    The temperature is a weight that no training changes, 1 at first. Neither of the two ever
    changes which class comes first.

    Input and output: float32 [N, classes].
    """

    def __init__(self, label_smoothing: float = 0.0, **arguments: Any):
        """Takes the share of each label that was spread over all classes."""
        super().__init__(**arguments)
        self.label_smoothing = label_smoothing

    def build(self, input_shape: Any) -> None:
        """Creates the temperature."""
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
        """What the layer is made anew from."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def fit_temperature(logits: np.ndarray, labels: np.ndarray, label_smoothing: float) -> float:
    """The temperature with the least cross-entropy.

    Args:
      logits: float32 [N, classes], of images that were not trained on.
      labels: int [N].
      label_smoothing: as for `CalibratedSoftmax`, whose answers are judged.
    """

    def cross_entropy(log_temperature: float) -> float:
        softened = scipy.special.softmax(scores / math.exp(log_temperature), axis=1)
        left = np.maximum(softened - spread, 0) + _FLOOR * softened
        own = left[np.arange(len(labels)), labels] / left.sum(axis=1)
        return -float(np.log(np.maximum(own, _LEAST)).mean())

    scores, spread = logits.astype(np.float64), label_smoothing / logits.shape[1]
    bounds = (-_LARGEST_LOG_TEMPERATURE, _LARGEST_LOG_TEMPERATURE)
    found = scipy.optimize.minimize_scalar(cross_entropy, bounds=bounds, method="bounded")
    return math.exp(found.x)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean distance between confidence and accuracy of the first choice, in 15 equal bins.

    As in Guo et al. 2017; the review measures the test split in the same way.

    Args:
      probabilities: float [N, classes].
      labels: int [N].
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    # A bin holds its lower bound, and the last also its upper one.
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    distances = np.bincount(bins, weights=right - confidence, minlength=_BINS)
    return float(np.abs(distances).sum() / len(labels))
