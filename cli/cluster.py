"""The command for clusters: compile."""

from __future__ import annotations

import functools
import sys

import typer

from cli import command_line
from cli.cluster_options import (
    Cache,
    Cpu,
    DashboardUrl,
    Data,
    DataDigest,
    ExpectServed,
    Image,
    Memory,
    NotifySecret,
    Output,
    PipelineRoot,
    Resources,
    SchemaLocation,
    ServingDir,
    TargetPlatform,
    Volumes,
)
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
    output: Output,
    image: Image,
    pipeline_root: PipelineRoot,
    serving_dir: ServingDir,
    data: Data = None,
    data_digest: DataDigest = None,
    schema_location: SchemaLocation = None,
    config: ConfigFile = None,
    target: TargetPlatform = Target.KUBEFLOW,
    profile: Profile = None,
    assignments: Assignments = None,
    seed: Seed = None,
    cache: Cache = True,
    expect_served: ExpectServed = False,
    volumes: Volumes = None,
    cpu: Cpu = "4",
    memory: Memory = "8Gi",
    resources: Resources = None,
    notify_secret: NotifySecret = None,
    dashboard_url: DashboardUrl = None,
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
