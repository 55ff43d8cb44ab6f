"""Calibration: makes the probabilities of a trained network mean what they say."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import scipy.optimize
import scipy.special

# The temperature is looked for between a quarter and four. Where every validation image is right,
# the cross-entropy has no minimum: without a bound, answers would become as sure as can be.
_LARGEST_LOG_TEMPERATURE = math.log(4)
_BINS = 15


@keras.saving.register_keras_serializable(package="image_classifier")
class CalibratedSoftmax(keras.layers.Layer):
    """Softmax of logits that are divided by a temperature (Guo et al. 2017, arXiv:1706.04599).

    The temperature is a weight that no training changes, 1 at first. It changes how sure the
    answers are, never which class comes first.

    Input and output: float32 [N, classes].
    """

    def build(self, input_shape: Any) -> None:
        """Creates the temperature."""
        self.temperature = self.add_weight(
            name="temperature", shape=(), initializer="ones", trainable=False
        )

    def call(self, logits: Any) -> Any:
        """Returns probabilities."""
        return keras.ops.softmax(logits / self.temperature)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the least cross-entropy.

    Args:
      logits: float32 [N, classes], of images that were not trained on.
      labels: int [N].
    """

    def cross_entropy(log_temperature: float) -> float:
        scaled = scipy.special.log_softmax(scores / math.exp(log_temperature), axis=1)
        return -float(scaled[np.arange(len(labels)), labels].mean())

    scores = logits.astype(np.float64)
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
