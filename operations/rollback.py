"""Serves an earlier version again, once it has been found sound.

Readers take the highest version. So an earlier one is never put back in its place: its content is
published once more, under a new and higher number, with what is kept of it and a record of the
rollback. All of it lies in the serving folder: neither artifacts nor ML Metadata are needed.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import logging
import pathlib
from typing import Any

from rich.markup import escape
from rich.table import Table

from cli.render import runs
from components import features
from components.pusher import versions
from components.pusher.served import ServedModel, UnreadableModelError, read_version
from components.serving_check.check import check_export
from operations import unfinished
from pipeline import machine
from pipeline.errors import OutputError, UnknownRunError, UnsoundVersionError, UsageError
from pipeline.locations import Locations
from pipeline.lock import exclusive
from pipeline.records import history

_NO_QUESTIONS = "its golden questions are gone, so it cannot be checked"
# More of them would hide the message in which they stand.
_NAMED_VERSIONS = 10

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Rollback:
    """A rollback that happened.

    Attributes:
      rolled_back_from: the version that was served until then.
      rolled_back_to: the earlier version, whose content is served since.
      new_version: under which it is served since.
      user: who did it.
      time: when, in ISO 8601.
    """

    rolled_back_from: int
    rolled_back_to: int
    new_version: int
    user: str
    time: str


@dataclasses.dataclass(frozen=True)
class Version:
    """A version below the serving folder.

    Attributes:
      number: by which it is served.
      digest: of its content; None where that cannot be read.
      run: receipt of the run that pushed its content; None where none says so.
      published: when, in ISO 8601; None where that is not known.
      model: what was read of it; None where it cannot be read, or was changed.
      flaw: why it cannot be read; None where it can.
      is_served: whether it has the content that is served now.
    """

    number: int
    digest: str | None
    run: dict[str, Any] | None
    published: str | None
    model: ServedModel | None
    flaw: str | None
    is_served: bool

    @property
    def golden(self) -> pathlib.Path | None:
        """Its golden questions, where they are kept."""
        kept = self.model.kept if self.model else ()
        return next((path for path in kept if path.name == features.GOLDEN_FILE), None)

    @property
    def obstacle(self) -> str | None:
        """Why it cannot be rolled back to, in words; None where only its check is left to do."""
        if self.is_served:
            return "it is what is served now"
        return self.flaw or (None if self.golden else _NO_QUESTIONS)

    def told(self) -> dict[str, Any]:
        """What `rollback --list --json` prints of it."""
        return {
            "version": self.number,
            "run_id": self.run["run_id"] if self.run else None,
            "published": self.published,
            "accuracy": self.run["test_accuracy"] if self.run else None,
            "digest": self.digest,
            "can_be_rolled_back_to": self.obstacle is None,
            "obstacle": self.obstacle,
        }


def main(
    to: int | None,
    pipeline: str | None,
    output_dir: pathlib.Path,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Rolls back, or only checks that it could, and says what came of it.

    Args:
      to: the version to go back to; None takes the one that was served before.
      pipeline: its name; None takes the only one that serves the version, or anything.
      output_dir: of all pipelines.
      dry_run: checks the version and changes nothing.
      as_json: whether to print one JSON document.

    Raises:
      UsageError: where there is no such version, or it fails its check.
      LockHeldError: where the pipeline is at work.
    """
    locations = find_serving(output_dir, pipeline, to)
    if dry_run:
        target = _sound_target(locations, to)
        found: dict[str, Any] = {"pipeline": locations.root.name, "version": target.number}
        said = (
            f"Version {target.number} is sound: it answers its golden questions. Nothing changed."
        )
    else:
        done = rollback(locations, to)
        found = {"pipeline": locations.root.name, **dataclasses.asdict(done)}
        said = (
            f"Served    {locations.serving / str(done.new_version)}: version "
            f"{done.rolled_back_to} again, in place of {done.rolled_back_from}"
        )
    if as_json:
        print(json.dumps({**found, "dry_run": dry_run}, indent=1))
    else:
        print(said)


def print_versions(pipeline: str | None, output_dir: pathlib.Path, as_json: bool) -> None:
    """Prints what can be rolled back to, newest first.

    Raises:
      UsageError: where nothing has been pushed, or several pipelines serve something.
    """
    locations = find_serving(output_dir, pipeline, None)
    found = [version.told() for version in reversed(_read(locations).versions)]
    if as_json:
        print(json.dumps(found, indent=1))
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("version", "run", "published", "accuracy", "can be rolled back to"):
        table.add_column(heading, no_wrap=heading != "can be rolled back to")
    for told in found:
        table.add_row(
            str(told["version"]),
            told["run_id"] or "",
            told["published"] or "",
            "" if told["accuracy"] is None else f"{told['accuracy']:.4f}",
            escape(f"no: {told['obstacle']}" if told["obstacle"] else "yes"),
        )
    runs.make_console().print(table)


def find_serving(output_dir: pathlib.Path, name: str | None, version: int | None) -> Locations:
    """The pipeline that serves a version, or the only one that serves anything.

    Raises:
      UnknownRunError: where none does.
      UsageError: where several do.
    """
    if name is not None:
        return history.find_pipeline(output_dir, name)
    serving = {
        locations: versions.served_versions(locations.serving)
        for locations in history.pipelines(output_dir)
    }
    fitting = [
        locations
        for locations, served in serving.items()
        if (version in served if version is not None else served)
    ]
    if len(fitting) > 1:
        names = ", ".join(locations.root.name for locations in fitting)
        raise UsageError(f"{names} serve models; expected one of them: name it with --pipeline.")
    if not fitting:
        known = [number for served in serving.values() for number in served]
        raise unknown_version(version, known, output_dir)
    return fitting[0]


def unknown_version(version: int | None, known: list[int], where: pathlib.Path) -> UnknownRunError:
    """The error that says that there is no such version, and which there are."""
    if not known:
        return UnknownRunError(
            f"no model has been pushed below {where}; expected a served version. "
            "Push one with: python3 pipeline_runner.py run"
        )
    newest = ", ".join(map(str, sorted(known, reverse=True)[:_NAMED_VERSIONS]))
    return UnknownRunError(
        f"no version {version} below {where}; expected one that is known, newest first: {newest}."
    )


def rollback(locations: Locations, to: int | None) -> Rollback:
    """Checks a version and publishes it anew, with a record of the rollback.

    Args:
      locations: of the pipeline.
      to: the version to go back to; None takes the one that was served before.

    Raises:
      UnknownRunError: where there is no such version, or none was served before.
      UnsoundVersionError: where it fails its check; nothing was changed.
      OutputError: where it cannot be published; nothing was changed.
      LockHeldError: where the pipeline is at work.
    """
    with exclusive(locations.lock, "rollback"):
        unfinished.complete(locations)
        target = _sound_target(locations, to)
        record: dict[str, Any] = {
            "rolled_back_from": versions.served_versions(locations.serving)[-1],
            "rolled_back_to": target.number,
            "user": machine.user(),
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        return Rollback(**record, new_version=_publish(locations, target, record))


def recorded(locations: Locations) -> list[Rollback]:
    """All rollbacks of a pipeline, oldest first.

    A record that cannot be read is left out, and a line in the log says so.
    """
    found = (_read_record(path) for path in versions.rollback_files(locations.serving))
    return [done for done in found if done is not None]


def _read_record(path: pathlib.Path) -> Rollback | None:
    try:
        return Rollback(**json.loads(path.read_text(encoding="utf-8")), new_version=int(path.stem))
    except (OSError, ValueError, TypeError) as error:
        logger.warning(
            "%s cannot be read (%s); expected the record of a rollback. It is left out. Put the "
            "file back from a copy, or remove it.",
            path,
            error,
        )
        return None


def origin(version: int, rollbacks: list[Rollback]) -> int:
    """The version that a run pushed with this content: the end of a chain of rollbacks."""
    earlier = {done.new_version: done.rolled_back_to for done in rollbacks}
    while version in earlier:
        version = earlier[version]
    return version


def pushing_run(version: int, receipts: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The run that pushed a version.

    Later runs with the same model name the version, too, and pushed nothing.

    Args:
      version: its number.
      receipts: of the pipeline, oldest first.
    """
    return next((run for run in receipts if run["pushed_version"] == version), None)


@dataclasses.dataclass(frozen=True)
class _Serving:
    """What lies below the serving folder, lowest version first."""

    versions: list[Version]
    rollbacks: list[Rollback]

    def find(self, number: int, where: pathlib.Path) -> Version:
        for version in self.versions:
            if version.number == number:
                return version
        raise unknown_version(number, [version.number for version in self.versions], where)

    def before(self, where: pathlib.Path) -> Version:
        """The newest of those before the one that is served, of other content than its.

        Where that one came by a rollback itself, those before the one to which it went back: what
        was rolled back from is not taken for what was there before.
        """
        served = self.versions[-1]
        bound = origin(served.number, self.rollbacks)
        for version in reversed(self.versions):
            if version.number < bound and not version.is_served:
                return version
        raise UnknownRunError(
            f"nothing was served below {where} before version {served.number}; expected an "
            "earlier version of other content. `rollback --list` shows what there is, and --to "
            "VERSION names one."
        )


def _read(locations: Locations) -> _Serving:
    """Reads all versions, with what is known of them.

    Raises:
      UnknownRunError: where nothing is served.
    """
    numbers = versions.served_versions(locations.serving)
    if not numbers:
        raise unknown_version(None, [], locations.root)
    rollbacks, receipts = recorded(locations), history.receipts_of(locations)
    digests = {number: _digest(locations.serving / str(number)) for number in numbers}
    found = []
    for number, digest in digests.items():
        run = pushing_run(origin(number, rollbacks), receipts)
        published = _published(number, run, rollbacks)
        same = digest is not None and digest == digests[numbers[-1]]
        is_served = same or number == numbers[-1]
        model, flaw = _read_model(locations, number)
        found.append(Version(number, digest, run, published, model, flaw, is_served))
    return _Serving(found, rollbacks)


def _digest(export: pathlib.Path) -> str | None:
    try:
        return versions.content_digest(export)
    except OSError:
        return None


def _read_model(locations: Locations, number: int) -> tuple[ServedModel | None, str | None]:
    try:
        return read_version(locations.serving, number), None
    except UnreadableModelError as error:
        return None, str(error)


def _published(number: int, run: dict[str, Any] | None, rollbacks: list[Rollback]) -> str | None:
    times = [done.time for done in rollbacks if done.new_version == number]
    # A push names the version by its time; a number that no run gave may be anything.
    return next(iter(times), _time_of(number) if run else None)


def _time_of(version: int) -> str | None:
    try:
        moment = datetime.datetime.fromtimestamp(version, datetime.UTC)
    # Above a number that somebody chose, versions are no times.
    except (ValueError, OverflowError, OSError):
        return None
    return moment.isoformat(timespec="seconds")


def _sound_target(locations: Locations, to: int | None) -> Version:
    """The version to go back to, once it has answered its golden questions."""
    serving = _read(locations)
    target = serving.before(locations.root) if to is None else serving.find(to, locations.root)
    findings = _findings(locations.serving / str(target.number), target)
    if findings:
        raise UnsoundVersionError(
            f"version {target.number} of {locations.root.name} cannot be rolled back to: "
            f"{'; '.join(findings)}. Expected a sound version that is not served already; "
            "`rollback --list` shows them. Nothing was changed."
        )
    return target


def _findings(export: pathlib.Path, target: Version) -> list[str]:
    """What speaks against a version: what is known of it, or else what ServingCheck finds."""
    if target.obstacle or target.model is None:
        return [target.obstacle or _NO_QUESTIONS]
    return check_export(str(export), str(target.golden), target.model.class_names)


def _publish(locations: Locations, target: Version, record: dict[str, Any]) -> int:
    """Serves a version again, with what is kept of it; returns its new number."""
    export = locations.serving / str(target.number)
    kept = target.model.kept if target.model else ()
    try:
        return versions.publish(export, locations.serving, kept, json.dumps(record, indent=1))
    except OSError as error:
        raise OutputError(
            f"version {target.number} cannot be published again ({error.strerror}); expected room "
            f"and write permission in {locations.serving}. Nothing was changed."
        ) from error
