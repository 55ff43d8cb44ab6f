"""Commands that set up a project of one's own: init, config show, digest."""

from __future__ import annotations

import functools
import sys
from typing import Annotated

import typer

from cli import command_line
from cli.options import DATA_HELP, AsJson, Assignments, ConfigFile, Profile


def add_commands(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    panel = "Set up"
    app.command(epilog=command_line.paragraphs(_INIT_EXAMPLES), rich_help_panel=panel)(init)
    configuration = typer.Typer(help="Show the effective configuration.", no_args_is_help=True)
    configuration.command(epilog=command_line.paragraphs(_SHOW_EXAMPLES))(show)
    # A second command keeps `show` a word of the command line.
    configuration.callback()(_group)
    app.add_typer(configuration, name="config", rich_help_panel=panel)
    app.command(epilog=command_line.paragraphs(_DIGEST_EXAMPLES), rich_help_panel=panel)(digest)


_INIT_EXAMPLES = """Examples:

`init flowers --data ~/flowers` looks at a folder of photos and writes flowers/schema.pbtxt,
flowers/pipeline.toml and flowers/README.md.

`init flowers --data ~/flowers --size 64x48 --channels 3` sets the image size instead of suggesting
one.

`run --config flowers/pipeline.toml` then trains on them.

Nothing that exists is overwritten. Sizes, colours and background are suggested from a sample of at
most 500 images; every suggestion has its reason beside it in pipeline.toml.

Exit codes: 0 written. 1 the bucket of the data does not answer. 2 the data cannot be used, or a
file exists already."""

_SHOW_EXAMPLES = """Examples:

`config show` shows every value of the default profile.

`config show --config flowers/pipeline.toml --set training.epochs=30` shows what a run would take,
and where each value comes from: a default, the profile, the file or --set.

`config show --config flowers/pipeline.toml --json` prints JSON."""

_DIGEST_EXAMPLES = """Examples:

`digest --config flowers/pipeline.toml` reads the data of a configuration file to its end, and
prints its digest for `compile --data-digest`.

`digest --data ~/fashion-mnist --json` prints JSON, with the number of images of each class."""


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Folder to write to.")],
    data: Annotated[str, typer.Option(help="Your images: a folder or a file (docs/your-data.md).")],
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Image height and width; by default suggested."),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(metavar="1|3", help="1 for gray, 3 for colour; by default suggested."),
    ] = None,
    assignments: Assignments = None,
) -> None:
    """Look at your images, and write a schema and a configuration file for them."""
    from cli.render.initialized import print_initialized
    from operations.initialization.command import initialize

    command_line.acts()
    notify = functools.partial(print, file=sys.stderr)
    print_initialized(initialize(name, data, size, channels, tuple(assignments or ()), notify))


def _group() -> None:
    """Show the effective configuration."""


def show(
    config: ConfigFile = None,
    profile: Profile = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Show every effective value and where it comes from."""
    from cli.render.effective import print_effective
    from operations.effective import effective

    print_effective(effective(config, profile, tuple(assignments or ())), as_json)


def digest(
    config: ConfigFile = None,
    data: Annotated[str | None, typer.Option(help=DATA_HELP)] = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Read data to its end, and print its digest and its classes."""
    from cli.render.digest import print_digest
    from operations.digest import digest
    from pipeline.config_file import combine

    notify = functools.partial(print, file=sys.stderr)
    settings = combine(config, data=data, assignments=tuple(assignments or ()))
    print_digest(digest(settings, notify), as_json)
