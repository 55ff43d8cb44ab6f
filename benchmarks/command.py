"""What the command lines of the benchmarks share: their options, and how those are read."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

import typer

from pipeline.datasets import AUTO, SAMPLE
from pipeline.errors import ConfigurationError

Short = Annotated[
    bool,
    typer.Option("--short", help="The least that shows that it works: its figures mean nothing."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the figures as JSON, on one line, the last.")
]
RecordTo = Annotated[
    str | None,
    typer.Option(
        "--record",
        metavar="PATH|none",
        help="Where to write the record; by default a new file in benchmarks/records, "
        "and none for --short.",
    ),
]
DataFrom = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="FOLDER|auto|sample",
        help="The images: a folder of IDX files, the synthetic sample (the default for --short), "
        "or auto (otherwise): FASHION_MNIST_DIR, the user's cache, or a download.",
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option("--seeds", metavar="1,2,3", help="Random seeds, one training each."),
]


def application() -> typer.Typer:
    """An empty command line."""
    return typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def data_argument(given: str | None, short: bool) -> str:
    """Where the images come from, if need be by default."""
    return given or (SAMPLE if short else AUTO)


def seeds(given: str | None, short: bool) -> list[int]:
    """The seeds to train with: three, or a single one in a short form, unless others are given."""
    return numbers(given or ("1" if short else "1,2,3"), "--seeds", least=0)


def numbers(text: str, option: str, least: int) -> list[int]:
    """Reads whole numbers between commas, none below `least`.

    Raises:
      ConfigurationError: where the text is anything else.
    """
    parts = text.split(",")
    if all(part.strip().isdecimal() and int(part) >= least for part in parts):
        return [int(part) for part in parts]
    raise ConfigurationError(
        f"{option}: found {text!r}; expected whole numbers of at least {least} between commas. "
        f"Give them as in {option} 1,2,3."
    )


def check_known(option: str, given: Collection[Any], known: Collection[Any], place: str) -> None:
    """Checks that all values of an option are known.

    Args:
      option: Name of the option.
      given: Its values.
      known: Values that it may have.
      place: Where another one is added.

    Raises:
      ConfigurationError: If one is unknown.
    """
    if unknown := set(given) - set(known):
        raise ConfigurationError(
            f"{option}: found {min(unknown)!r}; expected one of {', '.join(map(str, known))}. Take "
            f"one of them, or add it to {place}."
        )
