"""The command line: `app` has every command."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import (
    cluster,
    command_line,
    past,
    running,
    schedule,
    serving,
    setting_up,
    upkeep,
    version,
)

app = typer.Typer(
    cls=command_line.Commands,
    help="Train, evaluate and publish a classifier of small images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `init` for images of your own, else with `run`; `runs show latest` then "
    "shows the result.",
)
for module in (setting_up, running, schedule, past, serving, upkeep, cluster):
    module.add_commands(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(version.version())
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs a command."""
    command_line.start(app)
