"""ExampleGen for labelled images."""

from __future__ import annotations

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import Channel, component_spec, standard_artifacts

from components.example_gen import executor
from components.example_gen.request import Request, to_json


class ImageExampleGenSpec(component_spec.ComponentSpec):
    """Parameters and output of ImageExampleGen."""

    PARAMETERS = {
        "request": component_spec.ExecutionParameter(type=str),
        # Separate parameters, because each run of a compiled graph sets them.
        "location": component_spec.ExecutionParameter(type=str),
        "data_digest": component_spec.ExecutionParameter(type=str),
        "seed": component_spec.ExecutionParameter(type=int),
    }
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class ImageExampleGen(base_beam_component.BaseBeamComponent):
    """Reads labelled images of any form, and divides them into splits.

    TFX's FileBasedExampleGen takes a fingerprint of sizes and dates of a few files by pattern. Here
    the digest of the content is a parameter, so that changed data never hits the cache.
    """

    SPEC_CLASS = ImageExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(self, request: Request, location: str, data_digest: str, seed: int):
        """Constructs the component.

        Args:
          request: what to read, and how.
          location: folder or file of the data.
          data_digest: `collection.digest` of the data.
          seed: random seed of the validation split.
        """
        spec = ImageExampleGenSpec(
            request=to_json(request),
            location=location,
            data_digest=data_digest,
            seed=seed,
            examples=Channel(type=standard_artifacts.Examples),
        )
        super().__init__(spec=spec)
