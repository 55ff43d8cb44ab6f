"""Runs one node of a graph as TFX's local runner does."""

from __future__ import annotations

from tfx.dsl.compiler import constants
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.portable import runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2


class SingleNodeRunner(LocalDagRunner):
    """Runs the node alone; what it takes in are the artifacts of nodes that ran before it."""

    def __init__(self, node: str, run_id: str):
        """Takes the id of the node, and of the run to which those before it belong."""
        super().__init__()
        self._node = node
        self._run_id = run_id

    def run_with_ir(
        self, pipeline: pipeline_pb2.Pipeline, run_options: pipeline_pb2.RunOptions | None = None
    ) -> None:
        """Has TFX pass over all other nodes."""
        for each in pipeline.nodes:
            if each.pipeline_node.node_info.id != self._node:
                each.pipeline_node.execution_options.skip.SetInParent()
        # The runner would name the run by the time; a parameter that is set stays set.
        runtime_parameter_utils.substitute_runtime_parameter(
            pipeline, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: self._run_id}
        )
        super().run_with_ir(pipeline, run_options)
