"""Corruption: the test images once more, corrupted."""

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
    """Makes of each test example one under each corruption and strength.

    They have the features `corruption` and `strength`, by which TFMA slices.
    """

    SPEC_CLASS = CorruptionSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, clean_examples: Any, schema: Any, seed: int):
        """Constructs the component.

        Args:
          clean_examples: of which the split `test` is corrupted.
          schema: the shape of the images.
          seed: another seed draws other noise, directions and places.
        """
        spec = CorruptionSpec(
            clean_examples=clean_examples,
            schema=schema,
            seed=seed,
            examples=Channel(type=standard_artifacts.Examples),
        )
        super().__init__(spec=spec)
