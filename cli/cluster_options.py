"""The options of `compile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import command_line
from operations.targets import Target

Output = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        help="File to write.",
        callback=command_line.option_path("--output"),
    ),
]
Image = Annotated[
    str, typer.Option(help="Container image of all nodes, built from the Containerfile.")
]
PipelineRoot = Annotated[str, typer.Option(help="Root URI of the artifacts.")]
ServingDir = Annotated[
    str, typer.Option(help="Folder of the served versions inside the containers.")
]
Data = Annotated[
    str | None,
    typer.Option(
        help="Path, or gs:// or s3:// URI, of the data inside the containers; by default that "
        "of --config."
    ),
]
DataDigest = Annotated[
    str | None,
    typer.Option(
        help="Digest of the data, as `digest` prints it; by default computed from --data, if "
        "this machine can read it there."
    ),
]
SchemaLocation = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Path or gs:// URI inside the containers of a copy of your own schema; without "
        "it, the nodes read the schema in the image.",
    ),
]
TargetPlatform = Annotated[Target, typer.Option(help="Target platform.")]
Cache = Annotated[
    bool,
    typer.Option("--cache/--no-cache", help="Let the cluster reuse cached outputs of nodes."),
]
ExpectServed = Annotated[
    bool,
    typer.Option(
        "--expect-served",
        help="Refuse each new model if no model is served; for recurring runs.",
    ),
]
Volumes = Annotated[
    list[str] | None,
    typer.Option("--volume", metavar="CLAIM=PATH", help="Volume claim to mount; repeatable."),
]
Cpu = Annotated[str, typer.Option(help="CPU limit of a node.")]
Memory = Annotated[str, typer.Option(help="Memory limit of a node.")]
Resources = Annotated[
    list[str] | None,
    typer.Option(metavar="NODE=CPU,MEMORY", help="Limits of one node; repeatable."),
]
NotifySecret = Annotated[
    str | None,
    typer.Option(
        metavar="SECRET=KEY",
        help="Kubernetes secret, and key in it, with the addresses to notify when a run ends, "
        "also where a node failed; Kubeflow Pipelines 2.14 or newer.",
    ),
]
DashboardUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Address of Kubeflow's dashboard, for links in notifications."
    ),
]
