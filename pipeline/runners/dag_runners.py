"""TFX's local runners, told which run they run."""

from __future__ import annotations

from tfx.dsl.compiler import constants
from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner, PipelineNodeAsDoFn
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.portable import runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from pipeline.runners.engine import default_engine

BEAM = "beam"

# What a node raised, by its id. Beam hands an exception on as text; this keeps the thing itself.
_raised: dict[str, Exception] = {}


def run(runner: str, pipeline: object, run_id: str) -> None:
    """Runs the graph to its end.

    Args:
      runner: `local` or `beam`.
      pipeline: a TFX pipeline.
      run_id: under which ML Metadata files the run.

    Raises:
      Exception: whatever a node raised.
    """
    _raised.clear()
    chosen = _Beam(run_id) if runner == BEAM else _Local(run_id)
    try:
        chosen.run(pipeline)
    except Exception as error:
        raise next(iter(_raised.values()), error) from error


def _name_run(pipeline: pipeline_pb2.Pipeline, run_id: str) -> None:
    # Both runners would name the run by the time; a parameter that is set stays set.
    runtime_parameter_utils.substitute_runtime_parameter(
        pipeline, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
    )


class _Local(LocalDagRunner):
    def __init__(self, run_id: str):
        super().__init__()
        self._run_id = run_id

    def run_with_ir(self, pipeline, run_options=None) -> None:
        _name_run(pipeline, self._run_id)
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

    def __new__(cls, run_id: str):
        return super().__new__(cls)

    def __init__(self, run_id: str):
        self._run_id = run_id

    def run_with_ir(self, pipeline, run_options=None) -> None:
        _name_run(pipeline, self._run_id)
        with default_engine():
            super().run_with_ir(pipeline, run_options)
