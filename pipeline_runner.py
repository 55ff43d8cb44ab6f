#!/usr/bin/env python3
"""The command line: finds its environment, parses, delegates."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent


def _enter_environment() -> None:
    """Goes on in `.venv` where the running Python lacks what the project needs."""
    if importlib.util.find_spec("typer"):
        return
    python = _ROOT / ".venv" / "bin" / "python"
    if python.exists() and Path(sys.prefix) != python.parent.parent:
        os.execv(python, [str(python), *sys.argv])
    if "doctor" in sys.argv[1:2]:
        from pipeline import doctor

        flags = sys.argv[2:]
        sys.exit(doctor.main("--deep" in flags, "--json" in flags, None, Path("outputs")))
    sys.exit("The environment is missing: typer cannot be imported. Make it with: make setup")


_enter_environment()

# Transform's Keras layer would otherwise turn Keras back to version 2, here and in subprocesses.
os.environ["TF_USE_LEGACY_KERAS"] = "0"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

from enum import StrEnum  # noqa: E402
from typing import Annotated  # noqa: E402

import typer  # noqa: E402

app = typer.Typer(
    help="Turns labelled small images into a pushed, reviewed classifier.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="First steps: `run` runs the whole pipeline, `runs show latest` says how it went.",
)
runs_app = typer.Typer(help="List the runs, or show one.", invoke_without_command=True)
app.add_typer(runs_app, name="runs")


class Runner(StrEnum):
    """What runs the graph."""

    local = "local"
    beam = "beam"


OutputDir = Annotated[
    Path, typer.Option("--output-dir", help="Folder of all results; one below it per pipeline.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]


@app.command(
    epilog="""Examples:

`run` takes the data that FASHION_MNIST_DIR names, else downloads it, else the sample.

`run --data ~/fashion-mnist --profile smoke` sees within two minutes that all works.

`run --set training.epochs=30 --set gates.accuracy=0.93` changes single values.

Exit codes: 0 pushed, 1 a node failed or DataGate stopped the run, 2 bad input or configuration,
3 refused by a gate, 4 another run is at work. `keys` lists what --set takes."""
)
def run(
    profile: Annotated[
        str | None,
        typer.Option(help="smoke or default; by default smoke for the sample, else default."),
    ] = None,
    data: Annotated[str, typer.Option(help="auto, sample, or a folder of IDX files.")] = "auto",
    runner: Annotated[Runner, typer.Option(help="TFX's loop, or a Beam DAG.")] = Runner.local,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a value; may be repeated."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything random.")] = None,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Reuse what has not changed.")
    ] = True,
    output_dir: OutputDir = Path("outputs"),
    as_json: AsJson = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show the log here instead of in log.txt.")
    ] = False,
) -> None:
    """Run the whole pipeline: data, training, evaluation, gates, push."""
    from operations import run as operation
    from operations.terminal import Progress

    request = operation.Request(
        profile=profile,
        data=data,
        runner=runner.value,
        assignments=tuple(assignments or ()),
        seed=seed,
        use_cache=cache,
        output_dir=output_dir,
        verbose=verbose,
        command=shlex.join(["python", *sys.argv]),
    )
    receipt = operation.run(request, Progress(sys.stderr))
    _print_receipt(receipt, output_dir, as_json)
    raise typer.Exit(operation.exit_code(receipt))


@app.command()
def keys(as_json: AsJson = False) -> None:
    """List the keys that `run --set` takes, with their defaults."""
    from operations import summary

    summary.print_keys(as_json)


@runs_app.callback()
def runs(
    context: typer.Context, output_dir: OutputDir = Path("outputs"), as_json: AsJson = False
) -> None:
    """List the runs of all pipelines, newest first; `runs show ID|latest` shows one."""
    if context.invoked_subcommand:
        return
    from operations import summary
    from pipeline import records

    summary.print_runs(records.read_receipts(output_dir), as_json)


@runs_app.command()
def show(
    run_id: Annotated[str, typer.Argument(metavar="ID|latest", help="Id, or how it begins.")],
    output_dir: OutputDir = Path("outputs"),
    as_json: AsJson = False,
) -> None:
    """Show how a run went: verdict, gates, classes, nodes."""
    from pipeline import records

    _print_receipt(records.find_receipt(output_dir, run_id), output_dir, as_json)


@runs_app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="Id of the earlier run.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Id of the later run, or latest.")],
    output_dir: OutputDir = Path("outputs"),
    as_json: AsJson = False,
) -> None:
    """Compare two runs on the same test images, here and on a page of their own."""
    from operations import review as operation

    operation.compare(first, second, output_dir, as_json)


@app.command(
    epilog="""Examples:

`review` makes the page of the newest run and says where it is.

`review 20261122-213024 --open` opens that of another in the browser."""
)
def review(
    run_id: Annotated[
        str, typer.Argument(metavar="ID|latest", help="Id, or how it begins.")
    ] = "latest",
    open_page: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Make the evaluation page of a run again, from what the run left."""
    from operations import review as operation

    operation.main(run_id, output_dir, open_page)


@app.command(
    epilog="""Examples:

`predict shirt.jpg` or `predict photos/*.png --name my-pipeline`

`predict t10k-images-idx3-ubyte.gz --json` for a whole IDX file."""
)
def predict(
    files: Annotated[list[Path], typer.Argument(help="PNG, JPEG or IDX files.")],
    name: Annotated[
        str | None, typer.Option(help="Of the pipeline; by default the one that pushed last.")
    ] = None,
    output_dir: OutputDir = Path("outputs"),
    as_json: AsJson = False,
) -> None:
    """Classify images with the pushed model: three choices each, with probabilities."""
    from operations import predict as operation

    operation.main(files, name, output_dir, as_json)


@app.command()
def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Also import the whole stack.")] = False,
    data: Annotated[str | None, typer.Option(help="Folder of IDX files to check.")] = None,
    output_dir: OutputDir = Path("outputs"),
    as_json: AsJson = False,
) -> None:
    """Check the machine and the environment, and say how to mend what is wrong."""
    from pipeline import doctor as operation

    raise typer.Exit(operation.main(deep, as_json, data, output_dir))


def _print_receipt(receipt: dict, output_dir: Path, as_json: bool) -> None:
    from operations import summary

    summary.print_receipt(receipt, output_dir, as_json)


def main() -> None:
    """Runs a command; tells errors that have words for themselves in words."""
    from pipeline.errors import PipelineError

    try:
        app()
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
