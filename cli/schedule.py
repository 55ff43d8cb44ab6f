"""The command that runs the pipeline on a schedule."""

from __future__ import annotations

import functools
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli import command_line
from cli.options import (
    CONFIG_HELP,
    DEFAULT_OUTPUT,
    PROFILE_NAMES,
    SEED_HELP,
    SET_HELP,
    OutputDir,
    Runner,
)


def add_commands(app: typer.Typer) -> None:
    """Adds the command of this module."""
    app.command(epilog=command_line.paragraphs(_EXAMPLES), rich_help_panel="Run")(schedule)


class Overlap(StrEnum):
    """Policy for a run that is due while another is at work."""

    skip = "skip"
    queue = "queue"


class Misfire(StrEnum):
    """Policy for scheduled runs that were missed."""

    run_once = "run-once"
    skip = "skip"


# Panels of `schedule --help`.
_WHEN, _WHAT = "When runs are due", "What runs"
_TROUBLE, _SERVICE = "Failures, retries and alarms", "As a service"

_EXAMPLES = """Examples:

`schedule --cron '0 3 * * *' --timezone Europe/Berlin --on-change` trains every night if data, code
or configuration changed.

`schedule --cron '*/30 * * * mon-fri' --data ~/spans --data-due 24 --retries 3 --time-limit 90`
raises an alarm if no new data came for a day, and retries failed runs after 1, 2 and 4 minutes.

`schedule --cron '0 3 * * *' --config flowers/pipeline.toml` trains as a configuration file says,
which each run reads anew.

`schedule --cron '0 3 * * *' --install-unit` writes a systemd unit for the scheduler.

`schedule --once --data sample` runs once now, as the schedule would.

Cron syntax is standard: Sunday is 0 or 7, and where both day and weekday are given, either starts
a run. When daylight saving time begins or ends, a run at a fixed hour starts exactly once, and `*`
for the hour continues every hour.

Each run is a process of its own. Not retried: bad input (exit 2), a refusal (3), a stop by
DataGate, and diverged training. A pipeline that another run holds (4) is retried, then skipped; an
alarm comes if no run could begin for a day. The sample never replaces missing data. SIGTERM and
Ctrl-C stop the running run and keep its complete nodes. Logs and state are in the folder `schedule`
of the pipeline.

Exit codes: 0 stopped. 2 bad input or configuration. 4 another scheduler is at work. With --once:
those of `run`."""


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
            help="Time zone of --cron, such as Europe/Berlin.",
            rich_help_panel=_WHEN,
        ),
    ] = "UTC",
    start: Annotated[
        str | None,
        typer.Option(
            metavar="DATE|TIME",
            help="First date or time: 2026-12-01, or 2026-12-01T03:00 in the time zone.",
            rich_help_panel=_WHEN,
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            metavar="DATE|TIME",
            help="Last time or date (inclusive).",
            rich_help_panel=_WHEN,
        ),
    ] = None,
    jitter: Annotated[
        int,
        typer.Option(
            min=0,
            max=86_400,
            metavar="SECONDS",
            help="Maximum random delay of each run.",
            rich_help_panel=_WHEN,
        ),
    ] = 0,
    on_change: Annotated[
        bool,
        typer.Option(
            "--on-change",
            help="Run only if data, code or configuration changed since the last completed run, "
            "or the bucket lacks the served version. Without it, each run is a `run --force`.",
            rich_help_panel=_WHEN,
        ),
    ] = False,
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="Run once now and return its exit code.", rich_help_panel=_WHEN
        ),
    ] = False,
    show_next: Annotated[
        bool,
        typer.Option(
            "--next", help="Print the next five run times and exit.", rich_help_panel=_WHEN
        ),
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"{CONFIG_HELP} Each run reads it anew.",
            rich_help_panel=_WHAT,
            callback=command_line.option_path("--config"),
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(help=f"Profile: {PROFILE_NAMES}.", rich_help_panel=_WHAT),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data: a folder or file, auto or sample; by default that of --config, else auto. "
            "With auto, missing data raises an alarm.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    runner: Annotated[
        Runner, typer.Option(help="Runner: local or beam.", rich_help_panel=_WHAT)
    ] = (Runner.local),
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help=SET_HELP,
            rich_help_panel=_WHAT,
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help=SEED_HELP, rich_help_panel=_WHAT)] = None,
    output_dir: OutputDir = DEFAULT_OUTPUT,
    overlap: Annotated[
        Overlap,
        typer.Option(
            help="Policy for a run that is due while another is at work: skip, or queue (one at "
            "most).",
            rich_help_panel=_TROUBLE,
        ),
    ] = Overlap.skip,
    misfire: Annotated[
        Misfire,
        typer.Option(
            help="Policy for runs that were missed while the scheduler or the machine was down: "
            "one run for all of them, or skip.",
            rich_help_panel=_TROUBLE,
        ),
    ] = Misfire.run_once,
    misfire_grace: Annotated[
        int,
        typer.Option(
            min=1,
            max=525_600,
            metavar="MINUTES",
            help="Maximum delay of a missed run; older ones are dropped.",
            rich_help_panel=_TROUBLE,
        ),
    ] = 720,
    time_limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_080,
            metavar="MINUTES",
            help="Time limit of a run. A longer run is stopped and counts as failed.",
            rich_help_panel=_TROUBLE,
        ),
    ] = None,
    retries: Annotated[
        int,
        typer.Option(
            min=0,
            max=10,
            help="Number of retries after a failure, a crash or a timeout, or if the pipeline is "
            "held.",
            rich_help_panel=_TROUBLE,
        ),
    ] = 0,
    backoff: Annotated[
        int,
        typer.Option(
            min=1,
            max=86_400,
            metavar="SECONDS",
            help="Delay before the first retry; it doubles each time.",
            rich_help_panel=_TROUBLE,
        ),
    ] = 60,
    data_due: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=8_760,
            metavar="HOURS",
            help="Alarm if no new data came for so many hours; once, until new data comes.",
            rich_help_panel=_TROUBLE,
        ),
    ] = None,
    read_within: Annotated[
        int,
        typer.Option(
            min=1,
            max=10_080,
            metavar="MINUTES",
            help="Time limit for reading the data ahead of a run; then retries, then an alarm.",
            rich_help_panel=_TROUBLE,
        ),
    ] = 60,
    notify_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with Apprise URLs to notify of runs and alarms, one per line, mode 600. "
            "Adds to IMAGE_PIPELINE_NOTIFY.",
            rich_help_panel=_TROUBLE,
        ),
    ] = None,
    stop_within: Annotated[
        int,
        typer.Option(
            min=1,
            max=3_600,
            metavar="SECONDS",
            help="Grace period of a run that is stopped, before it is killed.",
            rich_help_panel=_SERVICE,
        ),
    ] = 60,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65_535, help="Port for Prometheus metrics.", rich_help_panel=_SERVICE
        ),
    ] = None,
    install_unit: Annotated[
        bool,
        typer.Option(
            "--install-unit",
            help="Write a systemd user unit for this command line, without starting it.",
            rich_help_panel=_SERVICE,
        ),
    ] = False,
    unit_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            help="Path of the unit file, or - to print it; by default systemd's folder.",
            rich_help_panel=_SERVICE,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --next: print JSON.")] = False,
) -> None:
    """Run the pipeline on a cron schedule, as a service in the foreground."""
    from operations.scheduling import plan

    target = plan.Target(
        config_file=config.absolute() if config else None,
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
        look_seconds=60 * read_within,
        stop_seconds=stop_within,
    )
    options = plan.Options(target, policy, cron, timezone, start, end, metrics_port)
    install_unit = install_unit or unit_file is not None
    if show_next and not install_unit:
        from cli.render.schedule import print_upcoming

        print_upcoming(options.upcoming(), as_json)
        return
    command_line.acts()
    if install_unit:
        from cli.render.schedule import print_unit
        from operations.scheduling.unit import install_unit as install

        notify = functools.partial(print, file=sys.stderr)
        print_unit(install(options, sys.argv[1:], unit_file, notify))
        return
    from operations.scheduling import command

    if once:
        raise typer.Exit(command.once(options))
    command.serve(options)
