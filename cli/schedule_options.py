"""The options of `schedule`, and the values that they take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli import command_line
from cli.options import CONFIG_HELP, PROFILE_NAMES, SEED_HELP, SET_HELP, Runner


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

Cron = Annotated[
    str | None,
    typer.Option(
        metavar="EXPRESSION",
        help="When runs are due: minute, hour, day, month and weekday, such as '0 3 * * *'.",
        rich_help_panel=_WHEN,
    ),
]
Timezone = Annotated[
    str,
    typer.Option(
        metavar="ZONE",
        help="Time zone of --cron, such as Europe/Berlin.",
        rich_help_panel=_WHEN,
    ),
]
Start = Annotated[
    str | None,
    typer.Option(
        metavar="DATE|TIME",
        help="First date or time: 2026-12-01, or 2026-12-01T03:00 in the time zone.",
        rich_help_panel=_WHEN,
    ),
]
End = Annotated[
    str | None,
    typer.Option(
        metavar="DATE|TIME",
        help="Last time or date (inclusive).",
        rich_help_panel=_WHEN,
    ),
]
Jitter = Annotated[
    int,
    typer.Option(
        min=0,
        max=86_400,
        metavar="SECONDS",
        help="Maximum random delay of each run.",
        rich_help_panel=_WHEN,
    ),
]
OnChange = Annotated[
    bool,
    typer.Option(
        "--on-change",
        help="Run only if data, code or configuration changed since the last completed run, "
        "or the bucket lacks the served version. Without it, each run is a `run --force`.",
        rich_help_panel=_WHEN,
    ),
]
Once = Annotated[
    bool,
    typer.Option("--once", help="Run once now and return its exit code.", rich_help_panel=_WHEN),
]
ShowNext = Annotated[
    bool,
    typer.Option("--next", help="Print the next five run times and exit.", rich_help_panel=_WHEN),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help=f"{CONFIG_HELP} Each run reads it anew.",
        rich_help_panel=_WHAT,
        callback=command_line.option_path("--config"),
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(help=f"Profile: {PROFILE_NAMES}.", rich_help_panel=_WHAT),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="Data: a folder or file, auto or sample; by default that of --config, else auto. "
        "With auto, missing data raises an alarm.",
        rich_help_panel=_WHAT,
    ),
]
GraphRunner = Annotated[Runner, typer.Option(help="Runner: local or beam.", rich_help_panel=_WHAT)]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help=SET_HELP,
        rich_help_panel=_WHAT,
    ),
]
Seed = Annotated[int | None, typer.Option(min=0, help=SEED_HELP, rich_help_panel=_WHAT)]
OverlapPolicy = Annotated[
    Overlap,
    typer.Option(
        help="Policy for a run that is due while another is at work: skip, or queue (one at most).",
        rich_help_panel=_TROUBLE,
    ),
]
MisfirePolicy = Annotated[
    Misfire,
    typer.Option(
        help="Policy for runs that were missed while the scheduler or the machine was down: "
        "one run for all of them, or skip.",
        rich_help_panel=_TROUBLE,
    ),
]
MisfireGrace = Annotated[
    int,
    typer.Option(
        min=1,
        max=525_600,
        metavar="MINUTES",
        help="Maximum delay of a missed run; older ones are dropped.",
        rich_help_panel=_TROUBLE,
    ),
]
TimeLimit = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=10_080,
        metavar="MINUTES",
        help="Time limit of a run. A longer run is stopped and counts as failed.",
        rich_help_panel=_TROUBLE,
    ),
]
Retries = Annotated[
    int,
    typer.Option(
        min=0,
        max=10,
        help="Number of retries after a failure, a crash or a timeout, or if the pipeline is held.",
        rich_help_panel=_TROUBLE,
    ),
]
Backoff = Annotated[
    int,
    typer.Option(
        min=1,
        max=86_400,
        metavar="SECONDS",
        help="Delay before the first retry; it doubles each time.",
        rich_help_panel=_TROUBLE,
    ),
]
DataDue = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=8_760,
        metavar="HOURS",
        help="Alarm if no new data came for so many hours; once, until new data comes.",
        rich_help_panel=_TROUBLE,
    ),
]
ReadWithin = Annotated[
    int,
    typer.Option(
        min=1,
        max=10_080,
        metavar="MINUTES",
        help="Time limit for reading the data ahead of a run; then retries, then an alarm.",
        rich_help_panel=_TROUBLE,
    ),
]
NotifyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File with Apprise URLs to notify of runs and alarms, one per line, mode 600. "
        "Adds to IMAGE_PIPELINE_NOTIFY.",
        rich_help_panel=_TROUBLE,
    ),
]
StopWithin = Annotated[
    int,
    typer.Option(
        min=1,
        max=3_600,
        metavar="SECONDS",
        help="Grace period of a run that is stopped, before it is killed.",
        rich_help_panel=_SERVICE,
    ),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(min=1, max=65_535, help="Port for Prometheus metrics.", rich_help_panel=_SERVICE),
]
InstallUnit = Annotated[
    bool,
    typer.Option(
        "--install-unit",
        help="Write a systemd user unit for this command line, without starting it.",
        rich_help_panel=_SERVICE,
    ),
]
UnitFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|-",
        help="Path of the unit file, or - to print it; by default systemd's folder.",
        rich_help_panel=_SERVICE,
    ),
]
NextAsJson = Annotated[bool, typer.Option("--json", help="With --next: print JSON.")]
