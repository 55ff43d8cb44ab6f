"""Evaluator: the candidate against its gates and against the model now served."""

from __future__ import annotations

from tfx.components.evaluator import component
from tfx.dsl.components.base import executor_spec

from components.evaluator import executor


class ClassEvaluator(component.Evaluator):
    """TFX's Evaluator with the executor of this package."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
