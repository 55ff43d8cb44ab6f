"""Commands that look back: runs, runs show, runs compare, review, lineage."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import command_line
from cli.options import DEFAULT_OUTPUT, AsJson, OnlyPipeline, OutputDir, PipelineName, RunId
from components.messages import listed
from pipeline.errors import OutputError
from pipeline.records.outcomes import Status, Verdict


def add_commands(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    listing = typer.Typer(help="List runs, or show or compare them.", invoke_without_command=True)
    listing.callback(epilog=command_line.paragraphs(_RUNS_EXAMPLES))(runs)
    listing.command(epilog=command_line.paragraphs(_SHOW_EXAMPLES))(show)
    listing.command(epilog=command_line.paragraphs(_COMPARE_EXAMPLES))(compare)
    app.add_typer(listing, name="runs", rich_help_panel="Look back")
    app.command(epilog=command_line.paragraphs(_REVIEW_EXAMPLES), rich_help_panel="Look back")(
        review
    )
    app.command(epilog=command_line.paragraphs(_LINEAGE_EXAMPLES), rich_help_panel="Look back")(
        lineage
    )


_RUNS_EXAMPLES = """Examples:

`runs --verdict refused --since 2026-11-01` lists the runs refused this month.

`runs --status failed --pipeline fashion-mnist --json` prints JSON for a program."""

_SHOW_EXAMPLES = """Examples:

`runs show latest` shows the newest run.

`runs show 20261122 --json` prints the receipt of the run whose id starts so."""

_COMPARE_EXAMPLES = """Examples:

`runs compare 20261122-213024 latest` compares the newest run with an earlier one."""

_REVIEW_EXAMPLES = """Examples:

`review` rebuilds the page of the newest run and prints its path.

`review 20261122-213024 --open` opens the page of another run in the browser."""

_LINEAGE_EXAMPLES = """Examples:

`lineage 1795389609` shows the data, code, configuration, run and gates of a version.

`lineage outputs/fashion-mnist/serving/1795389609/saved_model.pb` identifies the model of a file.

`lineage ~/backup/model --json` identifies a copied model by its content."""


def runs(
    context: typer.Context,
    status: Annotated[Status | None, typer.Option(help="Filter by status.")] = None,
    verdict: Annotated[Verdict | None, typer.Option(help="Filter by verdict.")] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="DATE|TIME",
            help="Runs that began at or after this time: 2026-11-22 or 2026-11-22T21:30, in local "
            "time unless it has a zone.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="DATE|TIME", help="Runs that began up to this time; a date is inclusive."
        ),
    ] = None,
    pipeline: OnlyPipeline = None,
    output_dir: OutputDir = DEFAULT_OUTPUT,
    as_json: AsJson = False,
) -> None:
    """List the runs of all pipelines, newest first; `runs show ID|latest` shows one."""
    if context.invoked_subcommand:
        return
    from cli.render.runs import print_runs
    from pipeline import moments
    from pipeline.records import history

    wanted = history.Filter(status, verdict, pipeline, *moments.between(since, until))
    receipts = history.runs(output_dir, wanted)
    print_runs(receipts, history.served(output_dir), output_dir, as_json)


def show(
    run_id: RunId,
    output_dir: OutputDir = DEFAULT_OUTPUT,
    as_json: AsJson = False,
) -> None:
    """Show the verdict, gates, classes and nodes of a run."""
    from cli.render.runs import print_run
    from pipeline.records import history

    print_run(history.find(output_dir, run_id), output_dir, as_json)


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="Id of the baseline run.")],
    second: Annotated[
        str, typer.Argument(metavar="B", help="Id of the run to compare, or latest.")
    ],
    output_dir: OutputDir = DEFAULT_OUTPUT,
    as_json: AsJson = False,
) -> None:
    """Compare two runs on the same test images, here and on an HTML page."""
    from cli.render.runs import print_comparison
    from operations import pages

    comparison = pages.compare(first, second, output_dir)
    try:
        page = pages.write_comparison(comparison, output_dir)
    except OutputError:
        print_comparison(comparison, None, as_json)
        raise
    print_comparison(comparison, page, as_json)


def review(
    run_id: RunId = "latest",
    open_page: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    output_dir: OutputDir = DEFAULT_OUTPUT,
) -> None:
    """Rebuild the review page of a run."""
    from operations import pages

    command_line.acts()
    made = pages.review(run_id, output_dir)
    print(f"Review    {made.page}")
    if made.lost:
        print(
            f"The page stays as it was: results of {listed(made.lost)} are gone, and a new page "
            "would show less."
        )
    print(f"All runs  {made.index}")
    if open_page:
        import webbrowser

        webbrowser.open(made.page.as_uri())


def lineage(
    subject: Annotated[
        str, typer.Argument(metavar="VERSION|PATH", help="Served version, or path of a model.")
    ],
    pipeline: PipelineName = None,
    output_dir: OutputDir = DEFAULT_OUTPUT,
    as_json: AsJson = False,
) -> None:
    """Show the origin and history of a model."""
    from cli.render.lineage import print_lineage
    from operations.lineage import lineage

    print_lineage(lineage(subject, pipeline, output_dir), as_json)
