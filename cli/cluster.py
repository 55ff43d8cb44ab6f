"""The command for clusters: compile."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import command_line
from cli.options import AsJson, Assignments, ConfigFile, Profile, Seed
from operations.targets import Target
from pipeline.errors import ConfigurationError


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

`compile -o flowers.yaml ... --config flowers/pipeline.toml --data /mnt/flowers/data
--schema-location /mnt/flowers/schema.pbtxt` takes your own schema, of which the nodes read a copy.

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
    serving_dir: Annotated[
        str, typer.Option(help="Folder of the served versions inside the containers.")
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Path, or gs:// or s3:// URI, of the data inside the containers; by default that "
            "of --config."
        ),
    ] = None,
    data_digest: Annotated[
        str | None,
        typer.Option(
            help="Digest of the data, as `digest` prints it; by default computed from --data, if "
            "this machine can read it there."
        ),
    ] = None,
    schema_location: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Path or gs:// URI inside the containers of a copy of your own schema; without "
            "it, the nodes read the schema in the image.",
        ),
    ] = None,
    config: ConfigFile = None,
    target: Annotated[Target, typer.Option(help="Target platform.")] = Target.KUBEFLOW,
    profile: Profile = None,
    assignments: Assignments = None,
    seed: Seed = None,
    cache: Annotated[
        bool,
        typer.Option("--cache/--no-cache", help="Let the cluster reuse cached outputs of nodes."),
    ] = True,
    expect_served: Annotated[
        bool,
        typer.Option(
            "--expect-served",
            help="Refuse each new model if no model is served; for recurring runs.",
        ),
    ] = False,
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
    notify_secret: Annotated[
        str | None,
        typer.Option(
            metavar="SECRET=KEY",
            help="Kubernetes secret, and key in it, with the addresses to notify when a run ends, "
            "also where a node failed; Kubeflow Pipelines 2.14 or newer.",
        ),
    ] = None,
    dashboard_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Address of Kubeflow's dashboard, for links in notifications."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compile the pipeline for Kubeflow Pipelines or Vertex AI."""
    from cli.render import compiled
    from operations.compile import compile_graph
    from operations.compile_request import Request
    from pipeline.config_file import combine

    command_line.acts()
    settings = combine(
        config, profile=profile, data=data, seed=seed, assignments=tuple(assignments or ())
    )
    if settings.data is None:
        raise ConfigurationError(
            "--data is missing; expected the path of the data as the nodes see it. Give --data, or "
            "`data` in the file of --config."
        )
    request = Request(
        target=target,
        output=output,
        image=image,
        pipeline_root=pipeline_root,
        data=settings.data,
        data_digest=data_digest,
        digest_options=(
            *(("--config", str(config)) if config else ()),
            *(part for assignment in assignments or () for part in ("--set", assignment)),
        ),
        serving_dir=serving_dir,
        schema_location=schema_location,
        profile=settings.profile or "default",
        assignments=settings.assignments,
        seed=settings.seed,
        use_cache=cache,
        expect_served=expect_served,
        default_resources=(cpu, memory),
        resources=tuple(resources or ()),
        volumes=tuple(volumes or ()),
        notify_secret=notify_secret,
        dashboard_url=dashboard_url,
    )
    notify = functools.partial(print, file=sys.stderr)
    compiled.print_compiled(compile_graph(request, notify), as_json)
