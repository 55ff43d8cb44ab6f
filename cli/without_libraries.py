"""What the command line answers where no library is installed. Standard library alone."""

from __future__ import annotations

from pathlib import Path


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

        environment.enter()
        deep, as_json = "--deep" in arguments, "--json" in arguments
        return doctor.main(deep, as_json, None, Path("outputs"), environment.dropped())
    return "The environment is missing: typer cannot be imported. Make it with: make setup"
