"""Where TFX looks for the inputs of a node: in contexts that hold nothing else."""

from __future__ import annotations

from tfx.dsl.compiler import constants
from tfx.proto.orchestration import pipeline_pb2

from pipeline.contexts import BASELINE_OF_RUN, NODE_OF_RUN, name_of


def narrow(pipeline: pipeline_pb2.Pipeline, run_id: str) -> None:
    """Gives each node of a run a context of its own, and has its consumers look there.

    The compiler has them look for what is in the contexts of the pipeline, of the run and of the
    node, and TFX reads all three from ML Metadata, input by input. What no node of the run
    makes is looked for in all runs; here that is the model to compare with, which
    `pipeline.records.baseline` puts into another context.

    Args:
      pipeline: Compiled graph that has the id of the run.
      run_id: Id of the run.
    """
    name = pipeline.pipeline_info.id
    for entry in pipeline.nodes:
        node = entry.pipeline_node
        own = name_of(name, run_id, node.node_info.id)
        _describe(node.contexts.contexts.add(), NODE_OF_RUN, own)
        for specification in node.inputs.inputs.values():
            for channel in specification.channels:
                _narrow_channel(channel, name, run_id)


def _narrow_channel(channel: pipeline_pb2.InputSpec.Channel, pipeline: str, run_id: str) -> None:
    producer = channel.producer_node_query.id
    kinds = {query.type.name for query in channel.context_queries}
    if producer and constants.PIPELINE_RUN_CONTEXT_TYPE_NAME in kinds:
        kind, name = NODE_OF_RUN, name_of(pipeline, run_id, producer)
    elif kinds == {constants.PIPELINE_CONTEXT_TYPE_NAME}:
        kind, name = BASELINE_OF_RUN, name_of(pipeline, run_id)
    else:
        return
    del channel.context_queries[:]
    _describe(channel.context_queries.add(), kind, name)


def _describe(
    context: pipeline_pb2.ContextSpec | pipeline_pb2.InputSpec.Channel.ContextQuery,
    kind: str,
    name: str,
) -> None:
    context.type.name = kind
    context.name.field_value.string_value = name
