"""Weights of the classes in the loss, for classes with uneven numbers of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

NONE = "none"
# Nothing, the same for each class as a whole, or weights by class name.
ClassWeights = Literal["none", "balanced"] | Mapping[str, float]


def by_label(
    setting: ClassWeights, labels: np.ndarray, class_names: Sequence[str]
) -> np.ndarray | None:
    """Returns the weight of an image of each class in a split; its mean over the split is 1.

    So only the ratios of the weights matter, and the learning rate keeps its meaning. Balanced
    weights are those of scikit-learn's `compute_class_weight` (King and Zeng 2001, Logistic
    regression in rare events data): N / (classes x images of the class). They depend on the split:
    even classes get even weights.

    Args:
      setting: The setting; classes that a table does not name have 1.
      labels: Labels of the split, int64 [N].
      class_names: Class names in label order.

    Returns:
      float32 [classes]; None if all images count alike.
    """
    if setting == NONE:
        return None
    counts = np.bincount(labels, minlength=len(class_names))
    if isinstance(setting, str):
        raw = 1 / np.maximum(counts, 1)
    else:
        raw = np.array([setting.get(name, 1.0) for name in class_names])
    weights = raw * len(labels) / (raw @ counts)
    # No image has these.
    weights[counts == 0] = 1.0
    return weights.astype(np.float32)
