"""The component of the final node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tfx.dsl.components.base import base_component, base_node, executor_spec
from tfx.types import Channel, component_spec

from components import slices
from components.kubeflow.artifacts import Page, Record
from components.kubeflow.placeholders import RUN_ID
from pipeline.nodes import REVIEW
from review.cluster import executor
from review.cluster.compiled import CompiledRun

_PARAMETERS = {
    **dict.fromkeys(("compiled", "slices", "serving", "run", "location", "data_digest"), str),
    "seed": int,
}


class Review(base_component.BaseComponent):
    """Writes the review page and the receipt of a run, after all other nodes."""

    # Each graph has its own, by its nodes.
    SPEC_CLASS = component_spec.ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        nodes: Iterable[base_node.BaseNode],
        compiled: CompiledRun,
        slicings: Iterable[slices.Slicing],
        serving: str,
        location: str,
        data_digest: str,
        seed: int,
    ):
        """Constructs the component.

        Args:
          nodes: All other nodes of the graph. The node takes all that they made: a cluster gives
            it no other way to know.
          compiled: What is known when the graph is compiled.
          slicings: Columns that divide the test images into slices, with their gates.
          serving: Folder of the served versions.
          location: Where the data is.
          data_digest: Digest of the data.
          seed: Random seed.
        """
        made = {
            executor.input_name(node.id, key): channel
            for node in nodes
            for key, channel in node.outputs.items()
        }
        specification = _specification(made)
        super().__init__(
            spec=specification(
                **made,
                compiled=compiled.model_dump_json(),
                slices=slices.slicings_to_json(slicings),
                serving=serving,
                run=RUN_ID,
                location=location,
                data_digest=data_digest,
                seed=seed,
                page=Channel(type=Page),
                receipt=Channel(type=Record),
            )
        )
        self.with_id(REVIEW)


def _specification(made: dict[str, Channel]) -> Any:
    """The specification of a node that takes these artifacts."""
    parts = {
        "PARAMETERS": {
            name: component_spec.ExecutionParameter(type=kind) for name, kind in _PARAMETERS.items()
        },
        "INPUTS": {
            name: component_spec.ChannelParameter(type=channel.type)
            for name, channel in made.items()
        },
        "OUTPUTS": {
            "page": component_spec.ChannelParameter(type=Page),
            "receipt": component_spec.ChannelParameter(type=Record),
        },
    }
    return type("ReviewSpec", (component_spec.ComponentSpec,), parts)
