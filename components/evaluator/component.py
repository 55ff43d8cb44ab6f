"""TFX's Evaluator, whose counts must be those of the answers."""

from __future__ import annotations

from tfx.components.evaluator.component import Evaluator
from tfx.dsl.components.base import executor_spec

from components.evaluator import executor


class AnswersEvaluator(Evaluator):
    """Measures answers that Predictions wrote down, so that each model is asked once."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
