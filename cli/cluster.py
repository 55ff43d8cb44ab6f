"""The command for clusters: compile."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import command_line
from cli.options import AsJson, Assignments, Seed
from operations.targets import Target


def add_commands(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command(
        name="compile",
        epilog=command_line.paragraphs(_COMPILE_EXAMPLES),
        rich_help_panel="Clusters",
    )(compile_graph)


_COMPILE_EXAMPLES = """Examples:

`compile -o fashion.yaml --image registry.example.org/image-pipeline:1.0
--pipeline-root s3://artifacts/fashion --data /mnt/fashion/data --data-digest 4f0c...
--serving-dir /mnt/fashion/serving --volume fashion=/mnt/fashion`

`compile --target vertex -o fashion.json ... --resources Trainer=8,16Gi --set training.epochs=30`

The file is for one profile. Each run of it can override data_location, data_digest and seed; their
defaults are the values given here. docs/kubeflow.md explains every step."""


def compile_graph(
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="File to write.",
            callback=command_line.option_path("--output"),
        ),
    ],
    image: Annotated[
        str, typer.Option(help="Container image of all nodes, built from the Containerfile.")
    ],
    pipeline_root: Annotated[str, typer.Option(help="Root URI of the artifacts.")],
    data: Annotated[str, typer.Option(help="Folder of the IDX files inside the containers.")],
    serving_dir: Annotated[
        str, typer.Option(help="Folder of the served versions inside the containers.")
    ],
    data_digest: Annotated[
        str | None,
        typer.Option(help="Digest of the data; by default computed from --data on this machine."),
    ] = None,
    target: Annotated[Target, typer.Option(help="Target platform.")] = Target.KUBEFLOW,
    profile: Annotated[str, typer.Option(help="Profile: smoke, default or best.")] = "default",
    assignments: Assignments = None,
    seed: Seed = None,
    volumes: Annotated[
        list[str] | None,
        typer.Option("--volume", metavar="CLAIM=PATH", help="Volume claim to mount; repeatable."),
    ] = None,
    cpu: Annotated[str, typer.Option(help="CPU limit of a node.")] = "4",
    memory: Annotated[str, typer.Option(help="Memory limit of a node.")] = "8Gi",
    resources: Annotated[
        list[str] | None,
        typer.Option(metavar="NODE=CPU,MEMORY", help="Limits of one node; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compile the pipeline for Kubeflow Pipelines or Vertex AI."""
    from cli.render import compiled
    from operations.compile import compile_graph
    from operations.compile_request import Request

    command_line.acts()
    request = Request(
        target=target,
        output=output,
        image=image,
        pipeline_root=pipeline_root,
        data=data,
        data_digest=data_digest,
        serving_dir=serving_dir,
        profile=profile,
        assignments=tuple(assignments or ()),
        seed=seed,
        default_resources=(cpu, memory),
        resources=tuple(resources or ()),
        volumes=tuple(volumes or ()),
    )
    notify = functools.partial(print, file=sys.stderr)
    compiled.print_compiled(compile_graph(request, notify), as_json)
