"""Compiles the graph to a file for Kubeflow Pipelines or Vertex AI."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from components.disk import write_whole
from operations.compile_request import Prepared, Request, prepare
from operations.targets import Target
from pipeline.errors import OutputError
from pipeline.installation import packages
from pipeline.records import provenance
from pipeline.runners.resources import Resources
from pipeline.streams import output_to_log
from review.cluster.compiled import CompiledRun

if TYPE_CHECKING:
    from tfx.dsl.components.base import base_node
    from tfx.orchestration import pipeline as tfx_pipeline


@dataclasses.dataclass(frozen=True)
class Parameters:
    """Default values of what each run of the compiled graph can set.

    Attributes:
      data_location: Path or URI of the data, as the nodes see it.
      data_digest: Digest of the data.
      seed: Random seed.
    """

    data_location: str
    data_digest: str
    seed: int


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A graph that was compiled.

    Attributes:
      file: The file that was written.
      target: What will run the file.
      pipeline: Name of the pipeline.
      profile: Name of the profile.
      image: Image of all containers.
      pipeline_root: URI below which the cluster keeps the artifacts.
      serving_dir: Folder of the served versions, as the nodes see it.
      schema: Path or URI of the schema, as the nodes see it.
      precision: Precision of the training.
      parameters: Default values of the parameters of each run.
      nodes: Resources by node.
      submit: Command that submits the file.
    """

    file: str
    target: Target
    pipeline: str
    profile: str
    image: str
    pipeline_root: str
    serving_dir: str
    schema: str
    precision: str
    parameters: Parameters
    nodes: dict[str, Resources]
    submit: str


def compile_graph(request: Request, notify: Callable[[str], None]) -> Compiled:
    """Compiles the graph, and writes the file whole or not at all.

    Args:
      request: What the caller asks for.
      notify: Shows a line about what takes time.

    Raises:
      UsageError: The request is not sound; nothing was written.
    """
    prepared = prepare(request, notify)
    notify("Loading TFX and Kubeflow's compiler, about ten seconds ...")
    with output_to_log(pathlib.Path(os.devnull), verbose=False):
        text = _compiled(request, prepared)
    try:
        write_whole(request.output, text)
    except OSError as error:
        raise OutputError(
            f"{request.output} cannot be written ({error.strerror}); expected a file in a folder "
            "that is there and can be written to. Name another with -o."
        ) from error
    return _described(request, prepared)


def _compiled(request: Request, prepared: Prepared) -> str:
    # Imported here: a refusal should not wait for TFX.
    from components.kubeflow.component import Notification
    from pipeline.runners import kubeflow

    graph = create_pipeline(request, prepared)
    secret = prepared.notify_secret
    notification = Notification(prepared.name, prepared.run_url) if secret else None
    job = kubeflow.translate(graph, request.image, prepared.resources, notification)
    job.check_size(len(prepared.schema.class_names))
    if request.target == Target.VERTEX:
        return job.for_vertex()
    return job.for_kubeflow(prepared.volumes, secret)


def create_pipeline(request: Request, prepared: Prepared) -> tfx_pipeline.Pipeline:
    """The graph for a cluster: that of one machine, and the node that writes the review.

    Args:
      request: What the caller asks for.
      prepared: The same, checked.
    """
    from pipeline import dag
    from pipeline.runners import engine
    from review.cluster.component import Review

    def final_node(nodes: list[base_node.BaseNode]) -> base_node.BaseNode:
        return Review(
            nodes=nodes,
            compiled=_compiled_run(request, prepared),
            slicings=prepared.config.gates.slicings(),
            serving=prepared.locations.serving,
            location=prepared.data.location,
            data_digest=prepared.data.digest,
            seed=prepared.config.seed,
        )

    return dag.create_pipeline(
        prepared.name,
        prepared.config,
        prepared.data,
        prepared.schema,
        prepared.locations,
        prepared.precision,
        # Nothing is known of the cluster's arithmetic either.
        None,
        # The nodes run in the image, whatever compiles the graph.
        packages.of_image(),
        list(engine.node_arguments(prepared.config.beam)),
        is_served=request.expect_served,
        enable_cache=request.use_cache,
        final_node=final_node,
    )


def _compiled_run(request: Request, prepared: Prepared) -> CompiledRun:
    code = provenance.code()
    return CompiledRun(
        pipeline=prepared.name,
        profile=request.profile,
        assignments=request.assignments,
        config=prepared.config.model_dump(mode="json"),
        precision=prepared.precision,
        schema_sha256=prepared.data.schema_sha256,
        parts=tuple((part.name, part.use) for part in prepared.data.request.parts),
        revision=code.revision,
        dirty=code.dirty,
    )


def _described(request: Request, prepared: Prepared) -> Compiled:
    return Compiled(
        file=str(request.output),
        target=request.target,
        pipeline=prepared.name,
        profile=prepared.config.profile,
        image=request.image,
        pipeline_root=prepared.locations.artifacts,
        serving_dir=prepared.locations.serving,
        schema=prepared.config.schema_file,
        precision=prepared.precision,
        parameters=Parameters(
            data_location=prepared.data.location,
            data_digest=prepared.data.digest,
            seed=prepared.config.seed,
        ),
        nodes=prepared.resources,
        submit=_submit_command(request, prepared),
    )


def _submit_command(request: Request, prepared: Prepared) -> str:
    places = (str(request.output), prepared.name, prepared.locations.artifacts)
    file, name, root = map(_literal, places)
    if request.target == Target.VERTEX:
        code = (
            "from google.cloud import aiplatform; aiplatform.PipelineJob("
            f"display_name={name}, template_path={file}).submit()"
        )
    else:
        code = (
            "import kfp; kfp.Client().create_run_from_pipeline_package("
            f"{file}, pipeline_root={root}, experiment_name={name})"
        )
    return f".venv/bin/python -c {shlex.quote(code)}"


def _literal(text: str) -> str:
    """A Python literal in double quotes, which the shell's single quotes need not escape."""
    # Python would read JSON's escape of an emoji as two characters.
    return json.dumps(text, ensure_ascii=False)
