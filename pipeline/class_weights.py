"""Checks the weights of the classes against the schema, before anything starts."""

from __future__ import annotations

from collections.abc import Sequence

from components.messages import listed
from pipeline.config import ClassWeights, nearest
from pipeline.errors import ConfigurationError


def check(weights: ClassWeights, class_names: Sequence[str]) -> None:
    """Checks that each weight is that of a class.

    Args:
      weights: The value of the configuration.
      class_names: Class names in label order.

    Raises:
      ConfigurationError: If a name is that of no class.
    """
    unknown = [] if isinstance(weights, str) else [n for n in weights if n not in class_names]
    if unknown:
        raise ConfigurationError(
            f"training.class_weights: found a weight for {unknown[0]!r}, which is no class of the "
            f"schema{nearest(unknown[0], class_names)}; expected names of its classes: "
            f"{listed(class_names)}. Correct the name, or take it out."
        )
