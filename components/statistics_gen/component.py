"""StatisticsGen for images: TFX's own, on an executor that works shard by shard."""

from __future__ import annotations

from typing import Any

from tfx.components.statistics_gen import component
from tfx.dsl.components.base import executor_spec

from components.statistics_gen import executor


class ImageStatisticsGen(component.StatisticsGen):
    """Statistics of each split: what TFX's component computes, in a fraction of the time."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(self, examples: Any, schema: Any):
        """Constructs the component from the channels of the examples and their schema."""
        super().__init__(examples=examples, schema=schema)
