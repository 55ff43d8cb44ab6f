"""Options that several commands share, and the values that they take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli import command_line, help_texts
from pipeline import paths
from pipeline.locations import DEFAULT_OUTPUT_DIR

DEFAULT_OUTPUT = DEFAULT_OUTPUT_DIR
SEED_HELP = "Random seed."
CONFIG_HELP = "Configuration file in TOML, which --set and other options override."
DATA_HELP = (
    "Data: a folder per class, a manifest, a CSV of pixels, Parquet, .npz or IDX files, or spans "
    "(docs/your-data.md), here or in a bucket (s3://BUCKET/FOLDER); auto; or sample. If unset: "
    "that of --config, else auto."
)
PROFILE_NAMES = "smoke, default, best or classic"
SET_HELP = "Override a configuration key; repeatable. `keys` lists them."


class Runner(StrEnum):
    """What runs the graph."""

    local = "local"
    beam = "beam"


OutputDir = Annotated[
    Path, typer.Option("--output-dir", callback=paths.output_folder, help=help_texts.OUTPUT)
]
NotifyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File with Apprise URLs to notify at the end of a run, one per line, mode 600. Adds "
        "to IMAGE_PIPELINE_NOTIFY.",
        callback=command_line.option_path("--notify-file"),
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help=CONFIG_HELP,
        callback=command_line.option_path("--config"),
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(help=f"Profile: {PROFILE_NAMES}. If unset: that of --config, else default."),
]
RunId = Annotated[
    str, typer.Argument(metavar="ID|latest", help="Run id or the start of one, or latest.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Print the log to the terminal instead of log.txt.")
]
AsJson = Annotated[bool, typer.Option("--json", help=help_texts.JSON)]
PipelineName = Annotated[
    str | None, typer.Option("--pipeline", help="Pipeline name; required if several match.")
]
OnlyPipeline = Annotated[str | None, typer.Option("--pipeline", help="Only this pipeline.")]
Assignments = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=SET_HELP)]
Seed = Annotated[int | None, typer.Option(min=0, help=SEED_HELP)]
