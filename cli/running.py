"""Commands that run the pipeline: run, resume, verify, and the keys of its configuration."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import command_line
from cli.options import (
    DATA_HELP,
    DEFAULT_OUTPUT,
    PROFILE_NAMES,
    AsJson,
    Assignments,
    ConfigFile,
    NotifyFile,
    OutputDir,
    RunId,
    Runner,
    Seed,
    Verbose,
)

if TYPE_CHECKING:
    from operations.preparation import Request


def add_commands(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command(epilog=command_line.paragraphs(_RUN_EXAMPLES), rich_help_panel="Run")(run)
    app.command(epilog=command_line.paragraphs(_RESUME_EXAMPLES), rich_help_panel="Run")(resume)
    app.command(epilog=command_line.paragraphs(_VERIFY_EXAMPLES), rich_help_panel="Run")(verify)
    app.command(epilog=command_line.paragraphs(_KEYS_EXAMPLES), rich_help_panel="Run")(keys)


_RUN_EXAMPLES = """Examples:

`run` uses the data in FASHION_MNIST_DIR, else the cached or downloaded Fashion-MNIST, else the
synthetic sample.

`run --data ~/fashion-mnist --profile smoke` checks the whole pipeline in a minute
or two.

`run --config flowers/pipeline.toml` runs as the file says that `init` wrote; --set and other
options override it.

`run --data ~/photos --set schema_file=photos.pbtxt --set name=photos` runs on a folder per class.

`run --set training.epochs=30 --set gates.accuracy=0.93` overrides two keys.

`run --new-line` starts over after a change of the classes or of the image size.

If data, schema, code, configuration and libraries are the same as in the last completed run, its
verdict still holds and nothing runs; --force runs anyway.

Exit codes: 0 pushed. 1 a node failed, DataGate stopped the run, the code of the project changed
meanwhile, another process has locked the metadata store, or its database or a bucket does not
answer. 2 bad input or configuration, an unusable metadata store, or an incompatible served model. 3
refused by a gate. 4 another run holds the pipeline. 130 interrupted."""

_RESUME_EXAMPLES = """Examples:

`resume` continues the newest run, if it failed or was interrupted.

`resume 20261122-213024` continues another run. Complete nodes are reused, and training continues
after its last complete epoch.

A run whose training diverged would diverge again, so it cannot be resumed; the error shows the
command to use instead."""

_VERIFY_EXAMPLES = """Examples:

`verify` repeats the newest run in a temporary folder and compares all digests.

`verify 20261122-213024 --json` verifies another run and prints JSON.

Exit codes: 0 identical. 5 an artifact differs; the output names the first one and possible causes.
1 the repetition failed. 2 unknown run, one that cannot be verified, or its input is gone or bad. 4
another `verify` is at work in this output folder."""

_KEYS_EXAMPLES = """Examples:

`keys` shows every key with its default; `run --set training.epochs=30` overrides one.

`keys --profile smoke` shows the values of another profile.

`keys --json` prints them for a program."""


def run(
    config: ConfigFile = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help=f"Profile: {PROFILE_NAMES}. If unset: that of --config, else smoke "
            "for the sample, default for other data."
        ),
    ] = None,
    data: Annotated[str | None, typer.Option(help=DATA_HELP)] = None,
    runner: Annotated[
        Runner, typer.Option(help="Runner: local (TFX's LocalDagRunner) or beam.")
    ] = Runner.local,
    assignments: Assignments = None,
    seed: Seed = None,
    deterministic: Annotated[
        bool | None,
        typer.Option(
            "--deterministic/--no-deterministic",
            help="Train bit-identically each time; sets training.deterministic, which is true by "
            "default.",
        ),
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Reuse cached outputs of nodes.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Run even if nothing changed.")] = False,
    new_line: Annotated[
        bool,
        typer.Option(
            "--new-line",
            help="Replace a served model that has other classes or another image size, without a "
            "comparison.",
        ),
    ] = False,
    notify_file: NotifyFile = None,
    output_dir: OutputDir = DEFAULT_OUTPUT,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Run the pipeline: data, training, evaluation, gates, push."""
    _note_code()
    from operations.preparation import Request
    from pipeline.config_file import combine
    from pipeline.datasets import AUTO

    settings = combine(
        config,
        profile=profile,
        data=data,
        seed=seed,
        assignments=(
            *(
                ()
                if deterministic is None
                else (f"training.deterministic={json.dumps(deterministic)}",)
            ),
            *(assignments or ()),
        ),
    )
    request = Request(
        profile=settings.profile,
        data=settings.data or AUTO,
        runner=runner.value,
        assignments=settings.assignments,
        seed=settings.seed,
        use_cache=cache,
        force=force,
        output_dir=output_dir,
        new_line=new_line,
        verbose=verbose,
        command=shlex.join(["python3", *sys.argv]),
    )
    raise typer.Exit(_run(request, notify_file, as_json))


def resume(
    run_id: RunId = "latest",
    notify_file: NotifyFile = None,
    output_dir: OutputDir = DEFAULT_OUTPUT,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Resume a failed or interrupted run; exit codes of `run`."""
    _note_code()
    from operations.resume import request_of

    raise typer.Exit(_run(request_of(run_id, output_dir, verbose), notify_file, as_json))


def verify(
    run_id: RunId = "latest",
    output_dir: OutputDir = DEFAULT_OUTPUT,
    as_json: AsJson = False,
) -> None:
    """Repeat a run and check that its results are bit-identical."""
    _note_code()
    from cli.render.progress import LiveProgress
    from cli.render.verification import print_verification
    from operations.verify import verify

    command_line.acts()
    verification = verify(run_id, output_dir, LiveProgress(sys.stderr))
    print_verification(verification, as_json)
    raise typer.Exit(verification.exit_code)


def keys(
    profile: Annotated[
        str, typer.Option(help=f"Profile whose values to show: {PROFILE_NAMES}.")
    ] = "default",
    as_json: AsJson = False,
) -> None:
    """List the configuration keys for `run --set`, with their values in a profile."""
    from cli.render.keys import print_keys

    print_keys(profile, as_json)


def _note_code() -> None:
    """Notes what code is there before it is imported, so that a change is found from now on."""
    from pipeline.records import provenance

    provenance.code_at_start()


def _run(request: Request, notify_file: Path | None, as_json: bool) -> int:
    """Runs a request, notifies, prints the result, and returns the exit code."""
    command_line.acts()
    from cli.render import runs
    from cli.render.progress import LiveProgress
    from components.notifications.sending import ADDRESSES_VARIABLE
    from operations.notifications.notifying import Notifier
    from operations.run import run

    notifier = Notifier.from_options(notify_file)
    # No process that the run starts needs the passwords in them.
    os.environ.pop(ADDRESSES_VARIABLE, None)
    receipt = run(request, LiveProgress(sys.stderr), notifier)
    runs.print_run(receipt, request.output_dir, as_json)
    return receipt.exit_code
