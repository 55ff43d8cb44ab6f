"""Prints rollbacks, and the versions that can be served again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from rich.markup import escape

from cli.render.tables import make_console, plain_table
from components.pusher.rollbacks import Rollback
from components.pusher.served import ServedModel
from operations.rollback import Version
from pipeline.locations import Locations


def print_rollback(
    locations: Locations, done: Rollback, differs: str | None, as_json: bool
) -> None:
    """Prints a rollback of a pipeline, as text or as JSON.

    Args:
      locations: Places of the pipeline.
      done: The rollback.
      differs: How image size and classes of the two versions differ; None if they agree.
      as_json: Whether to print one JSON document.
    """
    if as_json:
        _print_json(locations, {**dataclasses.asdict(done), "differs": differs}, dry_run=False)
        return
    print(
        f"Served    {locations.serving / str(done.new_version)}: version {done.rolled_back_to} "
        f"again, instead of {done.rolled_back_from}"
    )
    _print_difference(done.rolled_back_to, differs)


def print_check(
    locations: Locations, target: ServedModel, differs: str | None, as_json: bool
) -> None:
    """Prints that a version of a pipeline is sound, as text or as JSON.

    Args:
      locations: Places of the pipeline.
      target: The version.
      differs: How its image size and classes differ from those of the served version; None if they
        agree.
      as_json: Whether to print one JSON document.
    """
    said = f"Version {target.version} is sound: it answers its reference images as before."
    _print_trial(locations, target.version, said, as_json, differs)


def print_without_copy(
    locations: Locations, earlier: Rollback, differs: str | None, as_json: bool
) -> None:
    """Prints that a rollback would only complete an earlier one, as text or as JSON.

    Args:
      locations: Places of the pipeline.
      earlier: The earlier rollback, whose version the bucket lacks.
      differs: How image size and classes of its two versions differ; None if they agree.
      as_json: Whether to print one JSON document.
    """
    said = (
        f"Version {earlier.new_version} is served since the last rollback, and the bucket lacks "
        "it. This rollback would only copy it there."
    )
    _print_trial(locations, earlier.new_version, said, as_json, differs)


def _print_trial(
    locations: Locations, version: int, said: str, as_json: bool, differs: str | None
) -> None:
    """Prints what a rollback would do that is only tried."""
    if as_json:
        _print_json(locations, {"version": version, "differs": differs}, dry_run=True)
        return
    print(f"{said} Nothing changed.")
    _print_difference(version, differs)


def _print_difference(version: int, differs: str | None) -> None:
    if differs:
        print(f"Attention version {version} {differs}. Clients must follow.")


def _print_json(locations: Locations, values: dict[str, int | str | None], dry_run: bool) -> None:
    document = {"pipeline": locations.root.name, **values, "dry_run": dry_run}
    print(json.dumps(document, indent=1))


def print_versions(known: Sequence[Version], as_json: bool) -> None:
    """Prints the versions of a pipeline, newest first, as text or as JSON.

    Args:
      known: Its versions, lowest first.
      as_json: Whether to print one JSON document.
    """
    newest_first = known[::-1]
    if as_json:
        print(json.dumps([_document(version) for version in newest_first], indent=1))
        return
    table = plain_table("version", "run", "published", "accuracy", "rollback")
    # Only the last column wraps on a narrow terminal.
    for column in table.columns[:-1]:
        column.no_wrap = True
    for version in newest_first:
        table.add_row(
            str(version.number),
            version.run.run_id if version.run else "",
            version.published or "",
            "" if version.accuracy is None else f"{version.accuracy:.4f}",
            escape(_answer(version)),
        )
    make_console().print(table)


def _answer(version: Version) -> str:
    """Whether a version can be rolled back to, and what would be different then."""
    if version.obstacle:
        return f"no: {version.obstacle}"
    return f"yes, but it {version.differs}" if version.differs else "yes"


def _document(version: Version) -> dict[str, int | str | float | None]:
    return {
        "version": version.number,
        "run_id": version.run.run_id if version.run else None,
        "published": version.published,
        "accuracy": version.accuracy,
        "digest": version.digest,
        "can_be_rolled_back_to": version.obstacle is None,
        "obstacle": version.obstacle,
        "differs": version.differs,
    }
