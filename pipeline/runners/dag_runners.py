"""TFX's local runners, with run ids and contexts chosen by this project."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from tfx.dsl.compiler import constants
from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner, PipelineNodeAsDoFn
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.orchestration.portable.beam_executor_operator import BeamExecutorOperator
from tfx.proto.orchestration import executable_spec_pb2, pipeline_pb2, placeholder_pb2

from pipeline.nodes import PUSHER
from pipeline.runners import inputs
from pipeline.runners.engine import default_engine

BEAM = "beam"

# Exceptions by node id. Beam passes exceptions on as text; this keeps the originals.
_raised: dict[str, Exception] = {}


def run(
    runner: str,
    pipeline: object,
    run_id: str,
    node_arguments: Sequence[str],
    check: Callable[[], None],
) -> None:
    """Runs the graph.

    Args:
      runner: `local` or `beam`.
      pipeline: TFX pipeline.
      run_id: Id of the run in ML Metadata.
      node_arguments: Arguments for the Beam pipelines of the nodes. They take the place of those in
        the graph, which are part of the cache key, and no result depends on them.
      check: Raises an error if the code is no longer that of the graph.

    Raises:
      Exception: If a node fails; this is the node's own exception.
    """
    _raised.clear()
    chosen = _Beam(run_id) if runner == BEAM else _Local(run_id)
    try:
        with nodes_on(node_arguments), _checking(check):
            chosen.run(pipeline)
    except Exception as error:
        raise next(iter(_raised.values()), error) from error


def _prepare(pipeline: pipeline_pb2.Pipeline, run_id: str) -> None:
    # Both runners set an id from the current time, unless the parameter already has a value.
    runtime_parameter_utils.substitute_runtime_parameter(
        pipeline, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
    )
    inputs.narrow(pipeline, run_id)


@contextlib.contextmanager
def nodes_on(arguments: Sequence[str]) -> Iterator[None]:
    """Has the executors of all nodes get these arguments for Beam, in place of the graph's."""

    class Operator(BeamExecutorOperator):
        def __init__(self, *specification: object, **options: object):
            super().__init__(*specification, **options)
            self.beam_pipeline_args = [_literal(argument) for argument in arguments]

    # TFX's launcher takes other operators, but its runners hand none on.
    operators = launcher.DEFAULT_EXECUTOR_OPERATORS
    before = operators[executable_spec_pb2.BeamExecutableSpec]
    operators[executable_spec_pb2.BeamExecutableSpec] = Operator
    try:
        yield
    finally:
        operators[executable_spec_pb2.BeamExecutableSpec] = before


@contextlib.contextmanager
def _checking(check: Callable[[], None]) -> Iterator[None]:
    """Has each executor run between two checks.

    The cache would keep what other code made under the fingerprints that are in the graph. A node
    that fails leaves nothing there.
    """
    operators = launcher.DEFAULT_EXECUTOR_OPERATORS
    before = dict(operators)
    for specification, operator in before.items():
        operators[specification] = functools.partial(_checked, operator, check)
    try:
        yield
    finally:
        operators.update(before)


def _checked(make: Callable[..., Any], check: Callable[[], None], **arguments: object) -> Any:
    """Makes an operator that checks before and after it runs an executor."""
    operator = make(**arguments)
    run_executor = operator.run_executor

    def checked(execution: Any) -> Any:
        check()
        try:
            return run_executor(execution)
        finally:
            # What Pusher has published is of the code that was checked before.
            if execution.pipeline_node.node_info.id != PUSHER:
                check()

    operator.run_executor = checked
    return operator


def _literal(text: str) -> placeholder_pb2.PlaceholderExpression:
    """A text as the graph has its arguments: with nothing in it to be replaced."""
    return placeholder_pb2.PlaceholderExpression(value={"string_value": text})


class _Local(LocalDagRunner):
    def __init__(self, run_id: str):
        super().__init__()
        self._run_id = run_id

    def run_with_ir(self, pipeline: pipeline_pb2.Pipeline, run_options: object = None) -> None:
        _prepare(pipeline, self._run_id)
        super().run_with_ir(pipeline, run_options)


class _Node(PipelineNodeAsDoFn):
    def _run_node(self) -> None:
        try:
            super()._run_node()
        except Exception as error:
            _raised[self._node_id] = error
            raise


class _Beam(BeamDagRunner):
    _PIPELINE_NODE_DO_FN_CLS = _Node

    def __new__(cls, run_id: str) -> Self:
        return super().__new__(cls)  # type: ignore[no-any-return]

    def __init__(self, run_id: str):
        self._run_id = run_id

    def run_with_ir(self, pipeline: pipeline_pb2.Pipeline, run_options: object = None) -> None:
        _prepare(pipeline, self._run_id)
        with default_engine():
            super().run_with_ir(pipeline, run_options)
