"""Commands about the served model: rollback, predict, fetch."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli import command_line
from cli.options import DEFAULT_OUTPUT, AsJson, OutputDir, PipelineName
from pipeline.errors import ExitCode


class Inverting(StrEnum):
    """Values of --invert, as in `operations.questions`, which takes long to import."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def add_commands(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command(epilog=command_line.paragraphs(_ROLLBACK_EXAMPLES), rich_help_panel="Serve")(
        rollback
    )
    app.command(epilog=command_line.paragraphs(_PREDICT_EXAMPLES), rich_help_panel="Serve")(predict)
    app.command(epilog=command_line.paragraphs(_FETCH_EXAMPLES), rich_help_panel="Serve")(fetch)


_ROLLBACK_EXAMPLES = """Examples:

`rollback --list` lists the versions that can be served again.

`rollback` serves the previous version again. If the last rollback did not reach the bucket, it only
copies that version there.

`rollback --to 1795389609 --dry-run` only checks that version.

Exit codes: 0 done. 1 the version is served, but its bucket did not get it; or nothing was changed,
since the disk failed, the lock was lost, or its database or bucket does not answer. The message
says which. 2 unknown version, or its check failed; nothing was changed. 4 another command holds the
pipeline."""

_PREDICT_EXAMPLES = """Examples:

`predict shirt.jpg` classifies a photo.

`predict rose.jpg --config flowers/pipeline.toml` uses the model of a configuration file.

`predict photos --pipeline my-pipeline` classifies all images of a folder with the model of another
pipeline.

`predict t10k-images-idx3-ubyte.gz --json` classifies all images of an IDX file.

Exit codes: 0 done. 2 at least one file cannot be classified, or no model is served."""


_FETCH_EXAMPLES = """Examples:

`fetch s3://models/flowers /srv/flowers` copies the newest whole version to /srv/flowers/VERSION, in
one step. A model server that watches the folder then loads it.

Exit codes: 0 done, or the version was there already. 1 nothing was changed, since the bucket or the
database of the pipeline does not answer, the version was withdrawn meanwhile, or the lock was lost;
try again. 2 the address or the folder cannot be used, or the bucket holds no whole version. 4
another process fetches into the folder, or the folder is that of a pipeline at work."""


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
    from cli.render.rollback import (
        print_check,
        print_rollback,
        print_versions,
        print_without_copy,
    )
    from components.pusher.versions import served_versions
    from operations.rollback import (
        check,
        difference,
        find_serving,
        read_versions,
        rollback,
        without_copy,
    )

    locations = find_serving(output_dir, pipeline, None if list_versions else to)
    if list_versions:
        print_versions(read_versions(locations), as_json)
    elif dry_run and (earlier := without_copy(locations, to)):
        differs = difference(locations, earlier.rolled_back_to, earlier.rolled_back_from)
        print_without_copy(locations, earlier, differs, as_json)
    elif dry_run:
        target = check(locations, to)
        differs = difference(locations, target.version, served_versions(locations.serving)[-1])
        print_check(locations, target, differs, as_json)
    else:
        command_line.acts()
        done = rollback(locations, to)
        differs = difference(locations, done.rolled_back_to, done.rolled_back_from)
        print_rollback(locations, done, differs, as_json)


def predict(
    files: Annotated[
        list[Path],
        typer.Argument(help="PNG, JPEG, WebP, BMP, GIF, TIFF or IDX files, or folders of them."),
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Configuration file whose pipeline to ask.",
            callback=command_line.option_path("--config"),
        ),
    ] = None,
    pipeline: Annotated[
        str | None,
        typer.Option(
            "--pipeline",
            help="Pipeline name; by default that of --config, else the last one that pushed a "
            "model, a sample only without another.",
        ),
    ] = None,
    invert: Annotated[
        Inverting,
        typer.Option(
            help="Invert images: auto, if their border is bright and those of the training images "
            "are dark, or the reverse."
        ),
    ] = Inverting.AUTO,
    output_dir: OutputDir = DEFAULT_OUTPUT,
    as_json: AsJson = False,
) -> None:
    """Classify images with the served model: the three likeliest classes of each."""
    from cli.render.classified import print_classified, print_progress
    from operations.predict import predict
    from operations.questions import Invert
    from pipeline.config_file import combine

    if config and pipeline is None:
        pipeline = combine(config).pipeline_name()
    classified = predict(files, pipeline, output_dir, Invert(invert), print_progress)
    print_classified(classified, as_json)
    if classified.refused:
        raise typer.Exit(ExitCode.BAD_INPUT)


def fetch(
    address: Annotated[
        str, typer.Argument(help="Folder of versions in a bucket, s3://BUCKET/FOLDER.")
    ],
    folder: Annotated[Path, typer.Argument(help="Folder that a model server watches.")],
    as_json: AsJson = False,
) -> None:
    """Copy the newest whole version from a bucket to a folder, for a model server."""
    from cli.render.fetched import print_fetched
    from operations.fetch import fetch

    command_line.acts()
    print_fetched(fetch(address, folder), as_json)
