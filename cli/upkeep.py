"""Commands that keep a machine in order: clean, repair, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import command_line, help_texts
from cli.options import DEFAULT_OUTPUT, AsJson, OnlyPipeline, OutputDir


def add_commands(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command(epilog=command_line.paragraphs(_CLEAN_EXAMPLES), rich_help_panel="Maintain")(clean)
    app.command(epilog=command_line.paragraphs(_REPAIR_EXAMPLES), rich_help_panel="Maintain")(
        repair
    )
    app.command(epilog=command_line.paragraphs(_DOCTOR_EXAMPLES), rich_help_panel="Maintain")(
        doctor
    )


_CLEAN_EXAMPLES = """Examples:

`clean --keep-last 10` reports what it would delete and keep, and why.

`clean --older-than 30d --keep-last 10 --apply` deletes what runs older than 30 days made, but keeps
the newest ten runs.

`clean --keep-versions 5 --apply` deletes all but the newest five served versions. Without another
rule, no run is outdated.

Never deleted: the served version, what a rollback to it needs, cached artifacts of the runs that
are kept, and the receipts, pages and logs of all runs."""

_REPAIR_EXAMPLES = """Examples:

`repair --dry-run` reports what is wrong with the metadata stores below outputs.

`repair --pipeline fashion-mnist` moves a damaged store aside and makes a new one.

The served model is registered in the new store. Receipts, reviews and served versions stay as they
are; receipts of crashed runs are completed. The next run runs all nodes. A healthy store is not
changed.

Exit codes: 0 repaired, or nothing to repair. 1 another process has locked the store, its database
does not answer, or the disk failed; the old store is kept. 2 unknown pipeline, a permission is
missing, or no new store can be made. 4 another command holds the pipeline."""

_DOCTOR_EXAMPLES = """Examples:

`doctor` checks the system, the libraries, the disk and the metadata stores in seconds.

`doctor --deep --data ~/fashion-mnist` also imports all libraries, and checks data as a run does.

`doctor --config flowers/pipeline.toml` checks what a configuration file names: data and schema and,
where it sets them, the engine, the database of `metadata.uri` and the bucket of `serving.bucket`.

Exit codes: 0 ready. 1 a check failed."""


def clean(
    keep_last: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of newest runs to keep.")
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Delete only runs older than this: 12h, 30d or 4w."),
    ] = None,
    keep_versions: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Number of served versions to keep; by default all."),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Delete. Without it, only report.")
    ] = False,
    pipeline: OnlyPipeline = None,
    output_dir: OutputDir = DEFAULT_OUTPUT,
    as_json: AsJson = False,
) -> None:
    """Delete what old runs made and nothing needs any more."""
    from cli.render.cleaned import print_cleaned
    from operations.clean import clean, make_policy

    if apply:
        command_line.acts()
    policy = make_policy(keep_last, older_than, keep_versions)
    print_cleaned(clean(policy, pipeline, output_dir, apply), as_json)


def repair(
    pipeline: OnlyPipeline = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report problems and change nothing.")
    ] = False,
    output_dir: OutputDir = DEFAULT_OUTPUT,
    as_json: AsJson = False,
) -> None:
    """Replace a damaged metadata store."""
    from cli.render.repaired import print_repaired
    from operations.repair import repair

    if not dry_run:
        command_line.acts()
    print_repaired(repair(pipeline, output_dir, dry_run), as_json)


def doctor(
    deep: Annotated[bool, typer.Option("--deep", help=help_texts.DOCTOR_DEEP)] = False,
    data: Annotated[str | None, typer.Option(help=help_texts.DOCTOR_DATA)] = None,
    # Checked like everything else, as is the output folder.
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help=help_texts.DOCTOR_CONFIG),
    ] = None,
    # Checked like everything else: a refused option would end the doctor.
    output_dir: Annotated[Path, typer.Option(help=help_texts.OUTPUT)] = DEFAULT_OUTPUT,
    as_json: AsJson = False,
) -> None:
    """Check the machine and the environment, and suggest fixes."""
    from cli.doctor import main
    from components import environment

    raise typer.Exit(main(deep, as_json, data, output_dir, environment.dropped(), config))
