"""Draws the record of a soak: runs and kills, open files and memory over time."""

from __future__ import annotations

import json
import pathlib
from typing import Annotated, Any

import typer

from benchmarks import command
from cli import command_line
from pipeline.errors import DataError, OutputError

# What is counted, as the legend has it.
_COUNTED = {
    "pushed": "versions pushed",
    "alarms": "alarms",
    "damaged": "damaged spans",
    "killed_runs": "runs killed",
    "killed_schedulers": "schedulers killed",
}
_WIDTH, _HEIGHT = 640, 140
_MIB = 2**20

app = command.application()


@app.command(
    cls=command_line.Command,
    epilog="""Examples:

`python -m benchmarks.soak_chart soak.json docs/images/soak.svg`""",
)
def main(
    record: Annotated[pathlib.Path, typer.Argument(help="Record of `benchmarks.soak`.")],
    picture: Annotated[pathlib.Path, typer.Argument(help="SVG file to write.")],
) -> None:
    """Draw the record of a soak."""
    try:
        repeats = json.loads(record.read_text(encoding="utf-8"))["repeats"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{record} cannot be read ({error}); expected a record of benchmarks.soak. Name one."
        ) from error
    drawn = chart(repeats)
    try:
        drawn.save(str(picture))
    except OSError as error:
        raise OutputError(
            f"{picture} cannot be written ({error.strerror}); expected the path of an SVG file. "
            "Name another one."
        ) from error


def chart(repeats: list[dict[str, Any]]) -> Any:
    """The chart of a record's measurements: four panels above each other."""
    import altair

    hours = [round(repeat["seconds"] / 3600, 4) for repeat in repeats]
    time = altair.X("hours:Q", title="hours", axis=altair.Axis(grid=False))

    def panel(rows: list[dict[str, Any]], title: str, legend: Any) -> Any:
        return (
            altair.Chart(altair.Data(values=rows))
            .mark_line(interpolate="step-after")
            .encode(x=time, y=altair.Y("value:Q", title=title), color=legend)
            .properties(width=_WIDTH, height=_HEIGHT)
        )

    counted = [
        {"hours": hour, "value": repeat[key], "what": name}
        for key, name in _COUNTED.items()
        for hour, repeat in zip(hours, repeats, strict=True)
    ]

    def measured(key: str, unit: int = 1) -> list[dict[str, Any]]:
        return [
            {"hours": hour, "value": repeat[key] / unit}
            for hour, repeat in zip(hours, repeats, strict=True)
        ]

    legend = altair.Color(
        "what:N", sort=list(_COUNTED.values()), legend=altair.Legend(orient="top", title=None)
    )
    nothing = altair.Undefined
    return altair.vconcat(
        panel(counted, "so far", legend),
        panel(measured("open_files"), "open files", nothing),
        panel(measured("memory", _MIB), "memory, MiB", nothing),
        panel(measured("disk", _MIB), "results on disk, MiB", nothing),
    )


if __name__ == "__main__":
    command_line.start(app)
