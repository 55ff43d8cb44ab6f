#!/usr/bin/env python3
"""The command line: finds its environment, parses, delegates."""

from __future__ import annotations

import functools
import importlib.util
import os
import shlex
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent
_ENTERED = "IMAGE_PIPELINE_ENTERED"


def _enter_environment() -> None:
    """Goes on in `.venv` where the running Python lacks what the project needs."""
    # A damaged `.venv` may be taken for another Python: it is entered once, not for ever.
    entered = os.environ.pop(_ENTERED, None)
    if importlib.util.find_spec("typer"):
        return
    python = _ROOT / ".venv" / "bin" / "python"
    if python.exists() and not entered:
        os.environ[_ENTERED] = "1"
        os.execv(python, [str(python), *sys.argv])
    if "--version" in sys.argv[1:2]:
        from pipeline import streams

        streams.prepare()
        print(_version())
        sys.exit()
    if "doctor" in sys.argv[1:2]:
        from cli import doctor
        from components import environment
        from pipeline import streams

        streams.prepare()
        environment.enter()
        flags = sys.argv[2:]
        dropped = environment.dropped()
        sys.exit(doctor.main("--deep" in flags, "--json" in flags, None, Path("outputs"), dropped))
    sys.exit("The environment is missing: typer cannot be imported. Make it with: make setup")


def _version() -> str:
    """The version of the project, which stands in `setup.py`."""
    lines = (_ROOT / "setup.py").read_text(encoding="utf-8").splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("VERSION = "))


_enter_environment()

from enum import StrEnum  # noqa: E402
from typing import TYPE_CHECKING, Annotated  # noqa: E402

import typer  # noqa: E402

from cli import command_line  # noqa: E402
from pipeline import paths  # noqa: E402

if TYPE_CHECKING:
    from operations.run import Request


app = typer.Typer(
    cls=command_line.Commands,
    help="Turns labelled small images into a pushed, reviewed classifier.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="First steps: `run` runs the whole pipeline, `runs show latest` says how it went.",
)
runs_app = typer.Typer(help="List the runs, or show one.", invoke_without_command=True)
app.add_typer(runs_app, name="runs")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(_version())
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    pass


class Runner(StrEnum):
    """What runs the graph."""

    local = "local"
    beam = "beam"


class Target(StrEnum):
    """What a graph is compiled for."""

    kubeflow = "kubeflow"
    vertex = "vertex"


class Overlap(StrEnum):
    """What becomes of a scheduled run that is due while another is at work."""

    skip = "skip"
    queue = "queue"


class Misfire(StrEnum):
    """What becomes of scheduled runs that were missed."""

    run_once = "run-once"
    skip = "skip"


class Status(StrEnum):
    """How far a run came."""

    running = "running"
    completed = "completed"
    failed = "failed"
    interrupted = "interrupted"


class Verdict(StrEnum):
    """What a run decided."""

    pushed = "pushed"
    refused = "refused"
    stopped = "stopped"
    none = "none"


# What `schedule --help` lists together.
_WHEN, _WHAT = "When runs are due", "What runs"
_TROUBLE, _SERVICE = "Where runs do not go smoothly", "As a service"

_OUTPUT_HELP = "Folder of all results; one below it per pipeline."
OutputDir = Annotated[
    Path, typer.Option("--output-dir", callback=paths.output_folder, help=_OUTPUT_HELP)
]
NotifyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Apprise addresses to tell how it ended, one a line; only its owner may read it. "
        "IMAGE_PIPELINE_NOTIFY names more.",
        callback=command_line.option_path("--notify-file"),
    ),
]
RunId = Annotated[str, typer.Argument(metavar="ID|latest", help="Id, or how it begins.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Show the log here instead of in log.txt.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
PipelineName = Annotated[
    str | None, typer.Option("--pipeline", help="Name of the pipeline; needed where several fit.")
]


@app.command(
    epilog="""Examples:

`run` takes the data that FASHION_MNIST_DIR names, else downloads it, else the sample.

`run --data ~/fashion-mnist --profile smoke` sees within two minutes that all works.

`run --set training.epochs=30 --set gates.accuracy=0.93` changes single values.

`run --new-line` replaces a served model for other classes or another image size, uncompared.

Where data, schema, code, configuration and libraries are those of the last completed run, its
verdict stands, and no graph is run; --force runs it all the same.

Exit codes: 0 pushed, 1 a node failed, DataGate stopped the run, or another process has locked the
metadata store, 2 bad input or configuration, a metadata store that cannot be used, or a served
model that cannot be compared with, 3 refused by a gate, 4 another run is at work, 130 interrupted.
`keys` lists what --set takes."""
)
def run(
    profile: Annotated[
        str | None,
        typer.Option(help="smoke, default or best; by default smoke for the sample, else default."),
    ] = None,
    data: Annotated[
        str, typer.Option(help="auto, sample, a folder of IDX files, or one of spans (span-N).")
    ] = "auto",
    runner: Annotated[Runner, typer.Option(help="TFX's loop, or a Beam DAG.")] = Runner.local,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a value; may be repeated."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything random.")] = None,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic/--no-deterministic",
            help="The same model to the bit each time; sets training.deterministic.",
        ),
    ] = True,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Reuse what has not changed.")
    ] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Run the graph although nothing changed.")
    ] = False,
    new_line: Annotated[
        bool,
        typer.Option(
            "--new-line",
            help="Replace a served model of other classes or another size without comparing.",
        ),
    ] = False,
    notify_file: NotifyFile = None,
    output_dir: OutputDir = Path("outputs"),
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Run the whole pipeline: data, training, evaluation, gates, push."""
    from operations.run import Request

    request = Request(
        profile=profile,
        data=data,
        runner=runner.value,
        assignments=(
            *(() if deterministic else ("training.deterministic=false",)),
            *(assignments or ()),
        ),
        seed=seed,
        use_cache=cache,
        force=force,
        output_dir=output_dir,
        new_line=new_line,
        verbose=verbose,
        command=shlex.join(["python3", *sys.argv]),
    )
    raise typer.Exit(_run(request, notify_file, as_json))


@app.command(
    epilog="""Examples:

`resume` continues the newest run, if it failed or was interrupted.

`resume 20261122-213024` continues another: what is complete of it is not run again, and a training
goes on after its last complete epoch.

A run whose training diverged would only diverge again: it is refused, with the command to run
instead."""
)
def resume(
    run_id: RunId = "latest",
    notify_file: NotifyFile = None,
    output_dir: OutputDir = Path("outputs"),
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Continue a run that failed or was interrupted; exit codes as those of `run`."""
    from operations import resume as operation

    request = operation.request_of(run_id, output_dir, verbose)
    raise typer.Exit(_run(request, notify_file, as_json))


@app.command(
    epilog="""Examples:

`verify` runs the newest run again, in a scratch folder, and compares digest by digest.

`verify 20261122-213024 --json` does so with another, for a program to read.

Exit codes: 0 identical, 5 an artifact differs (the first is named, and why it may), 1 the run could
not be repeated, 2 no such run."""
)
def verify(
    run_id: RunId = "latest",
    output_dir: OutputDir = Path("outputs"),
    as_json: AsJson = False,
) -> None:
    """Run a run again and see whether it makes the same, to the bit."""
    from cli.render.progress import Progress
    from operations import verify as operation

    command_line.acts()
    raise typer.Exit(operation.main(run_id, output_dir, as_json, Progress(sys.stderr)))


@app.command(
    epilog="""Examples:

`schedule --cron '0 3 * * *' --timezone Europe/Berlin --on-change` trains each night where data,
code or configuration changed.

`schedule --cron '*/30 * * * mon-fri' --data ~/spans --data-due 24 --retries 3 --time-limit 90`
sounds an alarm where no new data came for a day, and retries what failed after 1, 2 and 4 minutes.

`schedule --cron '0 3 * * *' --install-unit` writes a systemd unit that keeps it going.

`schedule --once --data sample` runs now, as the schedule would.

Expressions count as cron does: Sunday is 0 or 7, and either is enough where both day and weekday
are given. Where clocks are changed, what is due at given hours runs once, and `*` for the hour goes
on hour after hour.

A run is a process of its own. Never retried are bad input (exit 2), a refusal (3), a stop by
DataGate, a training that diverged, and a pipeline that another run holds (4). The sample never
takes the place of data that is missing. On SIGTERM or Ctrl-C a run is asked to end, which keeps
what is complete of it. Logs and state are in the folder `schedule` of the pipeline.

Exit codes: 0 stopped, 2 bad input or configuration, 4 another scheduler is at work; with --once
those of `run`."""
)
def schedule(
    cron: Annotated[
        str | None,
        typer.Option(
            metavar="EXPRESSION",
            help="When runs are due: minute, hour, day, month and weekday, such as '0 3 * * *'.",
            rich_help_panel=_WHEN,
        ),
    ] = None,
    timezone: Annotated[
        str,
        typer.Option(
            metavar="ZONE",
            help="In which --cron counts, such as Europe/Berlin.",
            rich_help_panel=_WHEN,
        ),
    ] = "UTC",
    start: Annotated[
        str | None,
        typer.Option(
            metavar="DATE|TIME",
            help="Nothing is due before: 2026-12-01, or 2026-12-01T03:00 in the zone.",
            rich_help_panel=_WHEN,
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            metavar="DATE|TIME",
            help="Nothing is due after; a date counts whole.",
            rich_help_panel=_WHEN,
        ),
    ] = None,
    jitter: Annotated[
        int,
        typer.Option(
            min=0,
            max=86_400,
            metavar="SECONDS",
            help="Put each run off by as much at most, at random.",
            rich_help_panel=_WHEN,
        ),
    ] = 0,
    on_change: Annotated[
        bool,
        typer.Option(
            "--on-change",
            help="Run only where data, code or configuration changed since the last completed run.",
            rich_help_panel=_WHEN,
        ),
    ] = False,
    once: Annotated[
        bool,
        typer.Option("--once", help="Run now, and exit as the run does.", rich_help_panel=_WHEN),
    ] = False,
    show_next: Annotated[
        bool,
        typer.Option(
            "--next", help="Show the next five times, and run nothing.", rich_help_panel=_WHEN
        ),
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option(help="As for `run`.", rich_help_panel=_WHAT),
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            help="auto, sample, or a folder; auto that finds nothing is an alarm.",
            rich_help_panel=_WHAT,
        ),
    ] = "auto",
    runner: Annotated[Runner, typer.Option(help="As for `run`.", rich_help_panel=_WHAT)] = (
        Runner.local
    ),
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a value; may be repeated.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of everything random.", rich_help_panel=_WHAT)
    ] = None,
    output_dir: OutputDir = Path("outputs"),
    overlap: Annotated[
        Overlap,
        typer.Option(
            help="What becomes of a run that is due while another is at work: it is skipped, or "
            "waits, one at most.",
            rich_help_panel=_TROUBLE,
        ),
    ] = Overlap.skip,
    misfire: Annotated[
        Misfire,
        typer.Option(
            help="What becomes of runs that were due while the scheduler was down or the machine "
            "asleep: one makes up for all, or none.",
            rich_help_panel=_TROUBLE,
        ),
    ] = Misfire.run_once,
    misfire_grace: Annotated[
        int,
        typer.Option(
            min=1,
            max=525_600,
            metavar="MINUTES",
            help="By how much such a run may be late; none makes up for what is older.",
            rich_help_panel=_TROUBLE,
        ),
    ] = 720,
    time_limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_080,
            metavar="MINUTES",
            help="A run that takes longer is asked to end, then killed; it counts as failed.",
            rich_help_panel=_TROUBLE,
        ),
    ] = None,
    retries: Annotated[
        int,
        typer.Option(
            min=0,
            max=10,
            help="How often a run is tried again that failed, crashed or took too long.",
            rich_help_panel=_TROUBLE,
        ),
    ] = 0,
    backoff: Annotated[
        int,
        typer.Option(
            min=1,
            max=86_400,
            metavar="SECONDS",
            help="The pause before the first retry; it doubles with each.",
            rich_help_panel=_TROUBLE,
        ),
    ] = 60,
    data_due: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=8_760,
            metavar="HOURS",
            help="An alarm where no new data came for so long; the next only after some came.",
            rich_help_panel=_TROUBLE,
        ),
    ] = None,
    notify_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Apprise addresses to tell of runs and alarms, one a line; only its owner may "
            "read it. IMAGE_PIPELINE_NOTIFY names more.",
            rich_help_panel=_TROUBLE,
        ),
    ] = None,
    stop_within: Annotated[
        int,
        typer.Option(
            min=1,
            max=3_600,
            metavar="SECONDS",
            help="How long a run has to end once it is asked to, before it is killed.",
            rich_help_panel=_SERVICE,
        ),
    ] = 60,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65_535, help="Serve Prometheus metrics here.", rich_help_panel=_SERVICE
        ),
    ] = None,
    install_unit: Annotated[
        bool,
        typer.Option(
            "--install-unit",
            help="Write a systemd user unit for this command line; start nothing.",
            rich_help_panel=_SERVICE,
        ),
    ] = False,
    unit_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            help="Where --install-unit writes it, or - to print it; by default systemd's folder.",
            rich_help_panel=_SERVICE,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --next: print a JSON document instead.")
    ] = False,
) -> None:
    """Run the pipeline by a cron expression, in the foreground, as a service."""
    from operations.scheduling import command, plan

    target = plan.Target(
        profile=profile,
        data=data,
        runner=runner.value,
        assignments=tuple(assignments or ()),
        seed=seed,
        output_dir=output_dir,
        notify_file=notify_file,
    )
    policy = plan.Policy(
        queue=overlap == Overlap.queue,
        run_missed=misfire == Misfire.run_once,
        grace_seconds=60 * misfire_grace,
        jitter_seconds=jitter,
        time_limit_seconds=60 * time_limit if time_limit else None,
        retries=retries,
        backoff_seconds=backoff,
        on_change=on_change,
        data_due_seconds=3600 * data_due if data_due else None,
        stop_seconds=stop_within,
    )
    options = command.Options(target, policy, cron, timezone, start, end, metrics_port)
    if show_next and not (install_unit or unit_file):
        command.show_next(options, as_json)
        return
    command_line.acts()
    if install_unit or unit_file:
        command.install_unit(options, sys.argv[1:], unit_file)
    elif once:
        raise typer.Exit(command.once(options))
    else:
        command.serve(options)


@app.command()
def keys(as_json: AsJson = False) -> None:
    """List the keys that `run --set` takes, with their defaults."""
    from cli.render import runs

    runs.print_keys(as_json)


@runs_app.callback(
    epilog="""Examples:

`runs --verdict refused --since 2026-11-01` for those that a gate refused this month.

`runs --status failed --pipeline fashion-mnist --json` for a program to read."""
)
def runs(
    context: typer.Context,
    status: Annotated[Status | None, typer.Option(help="Only those that came so far.")] = None,
    verdict: Annotated[Verdict | None, typer.Option(help="Only those decided so.")] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="DATE|TIME",
            help="Only those begun from then on: 2026-11-22, or 2026-11-22T21:30, in local time "
            "unless a zone is named.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="DATE|TIME", help="Only those begun by then; a date to its end."),
    ] = None,
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", help="Only those of the pipeline of this name.")
    ] = None,
    output_dir: OutputDir = Path("outputs"),
    as_json: AsJson = False,
) -> None:
    """List the runs of all pipelines, newest first; `runs show ID|latest` shows one."""
    if context.invoked_subcommand:
        return
    from cli.render import runs
    from pipeline.records import history

    wanted = history.Filter(status, verdict, pipeline, *history.between(since, until))
    runs.print_runs(history.runs(output_dir, wanted), history.served(output_dir), as_json)


@runs_app.command()
def show(
    run_id: RunId,
    output_dir: OutputDir = Path("outputs"),
    as_json: AsJson = False,
) -> None:
    """Show how a run went: verdict, gates, classes, nodes."""
    from pipeline.records import history

    _print_receipt(history.find(output_dir, run_id), output_dir, as_json)


@runs_app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="Id of the earlier run.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Id of the later run, or latest.")],
    output_dir: OutputDir = Path("outputs"),
    as_json: AsJson = False,
) -> None:
    """Compare two runs on the same test images, here and on a page of their own."""
    from operations import pages as operation

    operation.compare(first, second, output_dir, as_json)


@app.command(
    epilog="""Examples:

`lineage 1795389609` tells where a version comes from: data, code, configuration, run and gates.

`lineage outputs/fashion-mnist/serving/1795389609/saved_model.pb` finds the way back from a file.

`lineage ~/backup/model --json` knows a copy of the folder by its content."""
)
def lineage(
    subject: Annotated[
        str, typer.Argument(metavar="VERSION|PATH", help="A version, or a file of a model.")
    ],
    pipeline: PipelineName = None,
    output_dir: OutputDir = Path("outputs"),
    as_json: AsJson = False,
) -> None:
    """Tell where a model comes from, and what became of it."""
    from operations import lineage as operation

    operation.main(subject, pipeline, output_dir, as_json)


@app.command(
    epilog="""Examples:

`rollback --list` shows what can be rolled back to.

`rollback` serves the version again that was served before the one served now.

`rollback --to 1795389609 --dry-run` only checks whether that version is sound.

Exit codes: 0 done, 2 no such version, or one that fails its check: then nothing was changed, 4 the
pipeline is at work."""
)
def rollback(
    to: Annotated[
        int | None,
        typer.Option(
            "--to", min=1, metavar="VERSION", help="By default the one that was served before."
        ),
    ] = None,
    list_versions: Annotated[
        bool, typer.Option("--list", help="Show what can be rolled back to.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the version and change nothing.")
    ] = False,
    pipeline: PipelineName = None,
    output_dir: OutputDir = Path("outputs"),
    as_json: AsJson = False,
) -> None:
    """Serve an earlier version again, under a new number, once it has answered its questions."""
    from operations import rollback as operation

    if list_versions:
        operation.print_versions(pipeline, output_dir, as_json)
        return
    if not dry_run:
        command_line.acts()
    operation.main(to, pipeline, output_dir, dry_run, as_json)


@app.command(
    epilog="""Examples:

`clean --keep-last 10` says what it would free, and what stays and why.

`clean --older-than 30d --keep-last 10 --apply` frees what is both: old, and not of the newest ten.

`clean --keep-versions 5 --apply` also withdraws all but the newest five served versions.

What is served, what it needs to be rolled back to, and what the runs that stay have in the cache is
never removed; receipts, pages and logs of all runs stay."""
)
def clean(
    keep_last: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Runs that stay, newest first.")
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Only runs older than that may go: 12h, 30d or 4w."),
    ] = None,
    keep_versions: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Served versions that stay; by default all."),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; else only say it.")] = False,
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", help="Only the pipeline of this name.")
    ] = None,
    output_dir: OutputDir = Path("outputs"),
    as_json: AsJson = False,
) -> None:
    """Free room: remove what outdated runs made and nothing needs any more."""
    from operations import clean as operation

    if apply:
        command_line.acts()
    policy = operation.policy(keep_last, older_than, keep_versions)
    operation.main(policy, pipeline, output_dir, apply, as_json)


@app.command(
    epilog="""Examples:

`repair --dry-run` says what is wrong with the metadata stores below outputs, and changes nothing.

`repair --pipeline fashion-mnist` moves a damaged store aside and makes a new one.

The new store knows the served model. Receipts, reviews and served versions stay as they are; the
next run makes everything anew. Receipts of runs that were cut off are completed. A store that is
sound is left alone.

Exit codes: 0 repaired, or nothing to repair, 1 another process has locked the store, 2 no such
pipeline, or no new store can be made, 4 the pipeline is at work."""
)
def repair(
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", help="Only the pipeline of this name.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is wrong and change nothing.")
    ] = False,
    output_dir: OutputDir = Path("outputs"),
    as_json: AsJson = False,
) -> None:
    """Make a new metadata store in the place of a damaged one."""
    from operations import repair as operation

    if not dry_run:
        command_line.acts()
    operation.main(pipeline, output_dir, dry_run, as_json)


@app.command(
    epilog="""Examples:

`review` makes the page of the newest run and says where it is.

`review 20261122-213024 --open` opens that of another in the browser."""
)
def review(
    run_id: RunId = "latest",
    open_page: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Make the evaluation page of a run again, from what the run left."""
    from operations import pages as operation

    command_line.acts()
    operation.main(run_id, output_dir, open_page)


@app.command(
    epilog="""Examples:

`predict shirt.jpg` or `predict photos/*.png --pipeline my-pipeline`

`predict t10k-images-idx3-ubyte.gz --json` for a whole IDX file."""
)
def predict(
    files: Annotated[list[Path], typer.Argument(help="PNG, JPEG or IDX files.")],
    pipeline: Annotated[
        str | None,
        typer.Option("--pipeline", help="Its name; by default the one that pushed last."),
    ] = None,
    output_dir: OutputDir = Path("outputs"),
    as_json: AsJson = False,
) -> None:
    """Classify images with the pushed model: three choices each, with probabilities."""
    from operations import predict as operation

    operation.main(files, pipeline, output_dir, as_json)


@app.command(
    name="compile",
    epilog="""Examples:

`compile -o fashion.yaml --image registry.example.org/image-pipeline:1.0
--pipeline-root s3://artifacts/fashion --data /mnt/fashion/data --data-digest 4f0c...
--serving-dir /mnt/fashion/serving --volume fashion=/mnt/fashion`

`compile --target vertex -o fashion.json ... --resources Trainer=8,16Gi --set training.epochs=30`

The file is for one profile. data_location, data_digest and seed are parameters of each run of it;
what is given here is what they are by default. docs/kubeflow.md has the whole way.""",
)
def compile_graph(
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="File to write.",
            callback=command_line.option_path("--output"),
        ),
    ],
    image: Annotated[str, typer.Option(help="Of all nodes; the Containerfile builds it.")],
    pipeline_root: Annotated[str, typer.Option(help="URI below which artifacts are kept.")],
    data: Annotated[str, typer.Option(help="Folder of the IDX files, as the nodes see it.")],
    serving_dir: Annotated[
        str, typer.Option(help="Folder of the served versions, as the nodes see it.")
    ],
    data_digest: Annotated[
        str | None, typer.Option(help="Of the data; by default it is read here for it.")
    ] = None,
    target: Annotated[Target, typer.Option(help="What will run it.")] = Target.kubeflow,
    profile: Annotated[str, typer.Option(help="smoke, default or best.")] = "default",
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a value; may be repeated."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything random.")] = None,
    volumes: Annotated[
        list[str] | None,
        typer.Option(
            "--volume", metavar="CLAIM=PATH", help="Mount a volume claim; may be repeated."
        ),
    ] = None,
    cpu: Annotated[str, typer.Option(help="Cores of a node at most.")] = "4",
    memory: Annotated[str, typer.Option(help="Memory of a node at most.")] = "8Gi",
    resources: Annotated[
        list[str] | None,
        typer.Option(metavar="NODE=CPU,MEMORY", help="Those of one node; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compile the graph to the file that Kubeflow Pipelines or Vertex AI runs."""
    from operations import compile as operation

    command_line.acts()
    request = operation.Request(
        target=target.value,
        output=output,
        image=image,
        pipeline_root=pipeline_root,
        data=data,
        data_digest=data_digest,
        serving_dir=serving_dir,
        profile=profile,
        assignments=tuple(assignments or ()),
        seed=seed,
        default_resources=(cpu, memory),
        resources=tuple(resources or ()),
        volumes=tuple(volumes or ()),
    )
    notify = functools.partial(print, file=sys.stderr)
    operation.print_compiled(operation.compile_graph(request, notify), as_json)


@app.command()
def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Also import the whole stack.")] = False,
    data: Annotated[str | None, typer.Option(help="Folder of IDX files to check.")] = None,
    # Checked as all else that it is given: an option that is refused would end it.
    output_dir: Annotated[Path, typer.Option(help=_OUTPUT_HELP)] = Path("outputs"),
    as_json: AsJson = False,
) -> None:
    """Check the machine and the environment, and say how to mend what is wrong."""
    from cli import doctor as operation
    from components import environment

    raise typer.Exit(operation.main(deep, as_json, data, output_dir, environment.dropped()))


def _run(request: Request, notify_file: Path | None, as_json: bool) -> int:
    """Runs what is asked for, tells and prints how it went, and returns the exit code."""
    command_line.acts()
    from cli.render.progress import Progress
    from operations import run as operation
    from operations.notifications.notifying import Notifier

    notifier = Notifier.from_options(notify_file)
    receipt = operation.run(request, Progress(sys.stderr), notifier)
    _print_receipt(receipt, request.output_dir, as_json)
    return operation.exit_code(receipt)


def _print_receipt(receipt: dict, output_dir: Path, as_json: bool) -> None:
    from cli.render import runs

    runs.print_receipt(receipt, output_dir, as_json)


def main() -> None:
    """Runs a command."""
    command_line.start(app)


if __name__ == "__main__":
    main()
