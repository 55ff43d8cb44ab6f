"""What the command line answers where no library is installed. Standard library alone.

Like the doctor, it has the syntax of Python 3.8.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from cli import help_texts
from components.redaction import redacted
from pipeline.locations import DEFAULT_OUTPUT_DIR


def answer(arguments: list[str]) -> int | str:
    """Answers `--version` and `doctor`; anything else needs the environment.

    Returns:
      An exit code, or what to say before exiting with 1.
    """
    from components import environment
    from pipeline import streams

    streams.prepare()
    if arguments[:1] == ["--version"]:
        from cli.version import version

        print(version())
        return 0
    if arguments[:1] == ["doctor"]:
        from cli import doctor

        asked = doctor_parser().parse_args(arguments[1:])
        environment.enter()
        return doctor.main(
            asked.deep,
            asked.json,
            asked.data,
            asked.output_dir,
            environment.dropped(),
            asked.config,
        )
    return (
        "The environment is missing, or you may not read it: this Python lacks typer or tfx. Make "
        "it with: make setup. If .venv belongs to another user, change its owner or permissions "
        "first."
    )


class _Parser(argparse.ArgumentParser):
    """Repeats no secret in what it does not know, such as an argument too many."""

    def error(self, message: str) -> NoReturn:
        super().error(redacted(message))


def doctor_parser() -> argparse.ArgumentParser:
    """The options of `doctor`: those of the command in `cli.upkeep`."""
    parser = _Parser(
        prog="pipeline_runner.py doctor",
        description="Check the machine and the environment, and suggest fixes.",
        allow_abbrev=False,
    )
    parser.add_argument("--deep", action="store_true", help=help_texts.DOCTOR_DEEP)
    parser.add_argument("--data", help=help_texts.DOCTOR_DATA)
    parser.add_argument("--config", type=Path, metavar="FILE", help=help_texts.DOCTOR_CONFIG)
    parser.add_argument(
        "--output-dir",
        type=Path,
        default=DEFAULT_OUTPUT_DIR,
        help=f"{help_texts.OUTPUT} [default: %(default)s]",
    )
    parser.add_argument("--json", action="store_true", help=help_texts.JSON)
    return parser
