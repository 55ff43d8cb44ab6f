"""Commands about the served model: rollback, predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import command_line
from cli.options import DEFAULT_OUTPUT, AsJson, OutputDir, PipelineName


def add_commands(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command(epilog=command_line.paragraphs(_ROLLBACK_EXAMPLES), rich_help_panel="Serve")(
        rollback
    )
    app.command(epilog=command_line.paragraphs(_PREDICT_EXAMPLES), rich_help_panel="Serve")(predict)


_ROLLBACK_EXAMPLES = """Examples:

`rollback --list` lists the versions that can be served again.

`rollback` serves the previous version again.

`rollback --to 1795389609 --dry-run` only checks that version.

Exit codes: 0 done. 2 unknown version, or its check failed; nothing was changed. 4 another command
holds the pipeline."""

_PREDICT_EXAMPLES = """Examples:

`predict shirt.jpg` classifies a photo.

`predict photos/*.png --pipeline my-pipeline` uses the model of another pipeline.

`predict t10k-images-idx3-ubyte.gz --json` classifies all images of an IDX file."""


def rollback(
    to: Annotated[
        int | None,
        typer.Option(
            "--to",
            min=1,
            metavar="VERSION",
            help="Version to serve; by default the previously served one.",
        ),
    ] = None,
    list_versions: Annotated[
        bool, typer.Option("--list", help="List the versions available for rollback.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the version and change nothing.")
    ] = False,
    pipeline: PipelineName = None,
    output_dir: OutputDir = DEFAULT_OUTPUT,
    as_json: AsJson = False,
) -> None:
    """Serve an earlier version again, under a new number, after checking it."""
    from cli.render.rollback import print_check, print_rollback, print_versions
    from operations.rollback import check, find_serving, read_versions, rollback

    locations = find_serving(output_dir, pipeline, None if list_versions else to)
    if list_versions:
        print_versions(read_versions(locations), as_json)
    elif dry_run:
        print_check(locations, check(locations, to), as_json)
    else:
        command_line.acts()
        print_rollback(locations, rollback(locations, to), as_json)


def predict(
    files: Annotated[list[Path], typer.Argument(help="PNG, JPEG or IDX files.")],
    pipeline: Annotated[
        str | None,
        typer.Option(
            "--pipeline", help="Pipeline name; by default the last one that pushed a model."
        ),
    ] = None,
    output_dir: OutputDir = DEFAULT_OUTPUT,
    as_json: AsJson = False,
) -> None:
    """Classify images with the served model: the three likeliest classes of each."""
    from cli.render.classified import print_classified
    from operations.predict import predict

    print_classified(predict(files, pipeline, output_dir), as_json)
