"""The command that runs the pipeline on a schedule."""

from __future__ import annotations

import functools
import sys

import typer

from cli import command_line
from cli.options import DEFAULT_OUTPUT, OutputDir, Runner
from cli.schedule_options import (
    Assignments,
    Backoff,
    ConfigFile,
    Cron,
    Data,
    DataDue,
    End,
    GraphRunner,
    InstallUnit,
    Jitter,
    MetricsPort,
    Misfire,
    MisfireGrace,
    MisfirePolicy,
    NextAsJson,
    NotifyFile,
    Once,
    OnChange,
    Overlap,
    OverlapPolicy,
    Profile,
    ReadWithin,
    Retries,
    Seed,
    ShowNext,
    Start,
    StopWithin,
    TimeLimit,
    Timezone,
    UnitFile,
)


def add_commands(app: typer.Typer) -> None:
    """Adds the command of this module."""
    app.command(epilog=command_line.paragraphs(_EXAMPLES), rich_help_panel="Run")(schedule)


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
    cron: Cron = None,
    timezone: Timezone = "UTC",
    start: Start = None,
    end: End = None,
    jitter: Jitter = 0,
    on_change: OnChange = False,
    once: Once = False,
    show_next: ShowNext = False,
    config: ConfigFile = None,
    profile: Profile = None,
    data: Data = None,
    runner: GraphRunner = Runner.local,
    assignments: Assignments = None,
    seed: Seed = None,
    output_dir: OutputDir = DEFAULT_OUTPUT,
    overlap: OverlapPolicy = Overlap.skip,
    misfire: MisfirePolicy = Misfire.run_once,
    misfire_grace: MisfireGrace = 720,
    time_limit: TimeLimit = None,
    retries: Retries = 0,
    backoff: Backoff = 60,
    data_due: DataDue = None,
    read_within: ReadWithin = 60,
    notify_file: NotifyFile = None,
    stop_within: StopWithin = 60,
    metrics_port: MetricsPort = None,
    install_unit: InstallUnit = False,
    unit_file: UnitFile = None,
    as_json: NextAsJson = False,
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
