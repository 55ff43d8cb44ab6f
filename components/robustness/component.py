"""Corruption: writes corrupted copies of the test images."""

from __future__ import annotations

from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import Channel, component_spec, standard_artifacts

from components.robustness import executor


class CorruptionSpec(component_spec.ComponentSpec):
    """Inputs, parameter and output of Corruption."""

    PARAMETERS = {"seed": component_spec.ExecutionParameter(type=int)}
    INPUTS = {
        "clean_examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class Corruption(base_component.BaseComponent):
    """Writes a copy of each test example for each corruption and strength.

    TFMA slices them by their features `corruption` and `strength`.
    """

    SPEC_CLASS = CorruptionSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, clean_examples: Any, schema: Any, seed: int):
        """Constructs the component.

        Args:
          clean_examples: examples with the split `test`.
          schema: the shape of the images.
          seed: random seed of noise, directions and places.
        """
        spec = CorruptionSpec(
            clean_examples=clean_examples,
            schema=schema,
            seed=seed,
            examples=Channel(type=standard_artifacts.Examples),
        )
        super().__init__(spec=spec)
