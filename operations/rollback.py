"""Serves an earlier version again, once its check has found it sound.

Readers take the highest version, so an earlier one is never put back in place: its content is
published once more, under a new and higher number, with its kept files and a record of the
rollback. All of it lies in the serving folder; neither artifacts nor ML Metadata are needed.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import pathlib
from collections.abc import Iterable, Sequence

from components import features
from components.messages import shown
from components.object_store import ObjectStoreError
from components.pusher import bucket, rollbacks, versions
from components.pusher.rollbacks import Rollback
from components.pusher.served import (
    ServedModel,
    UnreadableModelError,
    read_version,
    version_difference,
)
from components.serving_check.check import check_export
from operations import lost, unfinished
from pipeline import machine
from pipeline.errors import (
    OutputError,
    PipelineError,
    UnknownRunError,
    UnreachableError,
    UnsoundVersionError,
    UsageError,
)
from pipeline.exclusion import Held, exclusive
from pipeline.locations import Locations
from pipeline.records import history, served_version
from pipeline.records.receipt import Receipt

_NO_QUESTIONS = "its reference images are gone, so it cannot be checked"
# More of them would hide the message in which they stand.
_NAMED_VERSIONS = 10

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Version:
    """A version below the serving folder.

    Attributes:
      number: Number under which it is served.
      origin: Version that a run pushed with this content.
      digest: SHA-256 of its content; None where that cannot be read.
      run: Receipt of the run that pushed its content; None where no receipt names it.
      published: Time of its publication, in ISO 8601; None where that is not known.
      model: Its model; None where it cannot be read, or was changed.
      flaw: Reason why the model cannot be read; None where it can.
      differs: How its image size and classes differ from those of the served version; None where
        they agree, or one of the two models cannot be read.
      is_served: Whether it has the content that is served now, or the same answers.
      has_served_weights: Whether it has the weights that are served now. Its export may differ in
        all else, so a person may ask for it by number.
      is_newest: Whether it is the served version itself.
    """

    number: int
    origin: int
    digest: str | None
    run: Receipt | None
    published: str | None
    model: ServedModel | None
    flaw: str | None
    differs: str | None
    is_served: bool
    has_served_weights: bool
    is_newest: bool

    @property
    def accuracy(self) -> float | None:
        """Test accuracy that its run measured; None where that is not known."""
        return self.run.evaluation.accuracy if self.run and self.run.evaluation else None

    @property
    def golden(self) -> pathlib.Path | None:
        """File of its reference images and their answers; None where it is not kept."""
        kept = self.model.kept if self.model else ()
        return next((path for path in kept if path.name == features.GOLDEN_FILE), None)

    @property
    def obstacle(self) -> str | None:
        """Reason why it cannot be rolled back to; None where only its check is left to do."""
        if self.is_newest:
            return "it is served now"
        if self.is_served:
            return "it is the same model as the served version"
        return self.flaw or (None if self.golden else _NO_QUESTIONS)


def find_serving(output_dir: pathlib.Path, name: str | None, version: int | None) -> Locations:
    """The pipeline that serves a version, or the only one that serves anything, or did.

    Args:
      output_dir: Folder of all pipelines.
      name: Name of the pipeline; None searches all of them.
      version: Version to look for; None takes any.

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
        # A pipeline whose disk is gone may be the one that is meant.
        if (version in served if version is not None else served or lost.loss(locations))
    ]
    if len(fitting) > 1:
        names = ", ".join(locations.root.name for locations in fitting)
        raise UsageError(
            f"{names} serve models, or served some before; expected one of them: name it with "
            "--pipeline."
        )
    if not fitting:
        known = [number for served in serving.values() for number in served]
        raise unknown_version(version, known, output_dir)
    return fitting[0]


def unknown_version(
    version: int | None, known: Sequence[int], where: pathlib.Path
) -> UnknownRunError:
    """The error for a version that does not exist; it names those that do."""
    if not known:
        return lost.nothing_served(where)
    newest = ", ".join(map(str, sorted(known, reverse=True)[:_NAMED_VERSIONS]))
    return UnknownRunError(
        f"no version {version} below {where}; expected one that is known, newest first: {newest}."
    )


def rollback(locations: Locations, to: int | None) -> Rollback:
    """Checks a version and publishes it anew, with a record of the rollback.

    If an earlier rollback did not reach the bucket of the pipeline, a repetition of it only copies
    its version there.

    Args:
      locations: Places of the pipeline.
      to: Version to go back to; None takes the one that was served before.

    Returns:
      The rollback, or the earlier one that is complete now.

    Raises:
      UnknownRunError: where there is no such version, or none was served before.
      UnsoundVersionError: where it fails its check; nothing was changed.
      ServedModelError: where no higher number is left, the bucket of the pipeline holds a version
        of somebody else, or the note of its address cannot be read; nothing was changed.
      OutputError: where it cannot be published; nothing was changed.
      LockHeldError: where the pipeline is at work.
      LockLostError: where the lock is no longer held; nothing was changed.
      StoreError: where the database of the lock refuses it.
      StoreUnreachableError: where the database of the lock does not answer.
      UnreachableError: where the bucket of the pipeline did not get the new version, which is
        served from the serving folder; where the bucket cannot say whether it has the version of
        the last rollback, nothing was changed.
    """
    with exclusive(locations, "rollback") as held:
        unfinished.complete(locations)
        if earlier := without_copy(locations, to):
            return _complete(locations, earlier)
        target = check(locations, to)
        planned = _planned(locations, target)
        _check_bucket(locations)
        new_version = _publish(locations, target, rollbacks.to_json(planned), held)
        _copy_to_bucket(locations, new_version)
        return dataclasses.replace(planned, new_version=new_version)


def _planned(locations: Locations, target: ServedModel) -> Rollback:
    """The rollback from the served version to another one; its new version is not known yet."""
    served = versions.served_versions(locations.serving)[-1]
    withdrawn, restored = _kept(locations, served), _kept(locations, target.version)
    return Rollback(
        rolled_back_from=served,
        rolled_back_to=target.version,
        new_version=0,
        user=machine.user(),
        time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        withdrawn=_digest(locations.serving / str(served)),
        restored=_digest(target.export),
        withdrawn_answers=withdrawn.answers,
        restored_answers=restored.answers,
        withdrawn_weights=withdrawn.weights,
        restored_weights=restored.weights,
    )


def without_copy(locations: Locations, to: int | None) -> Rollback | None:
    """The last rollback, if its version is served but not in the bucket, and `to` repeats it.

    Args:
      locations: Places of the pipeline.
      to: Version to go back to; None repeats whichever rollback was the last.

    Raises:
      ServedModelError: where the note of the bucket's address cannot be read.
      UnreachableError: where the bucket does not say whether it has the version.
    """
    base = locations.serving
    address, served = served_version.bucket_of(locations), versions.served_versions(base)
    records = rollbacks.recorded(base) if address and served else []
    last = next((done for done in records if done.new_version == served[-1]), None)
    if address is None or last is None or to not in _repetitions(last, records):
        return None
    try:
        return None if last.new_version in bucket.whole_versions(address) else last
    except ObjectStoreError as error:
        raise UnreachableError(
            f"a rollback on {shown(last.time)} served version {last.new_version}, and it is not "
            f"known whether {address} has it: {error} Nothing was changed. Give the command again "
            "when the bucket can be read, or name an earlier version with --to VERSION."
        ) from error


def _repetitions(last: Rollback, records: Sequence[Rollback]) -> tuple[int | None, ...]:
    """What `rollback` is asked for by somebody who repeats the last rollback."""
    origin = rollbacks.origin(last.new_version, records)
    return None, last.new_version, last.rolled_back_to, origin


def _complete(locations: Locations, earlier: Rollback) -> Rollback:
    """Copies the version of an earlier rollback to the bucket."""
    _check_bucket(locations)
    _copy_to_bucket(locations, earlier.new_version)
    logger.warning(
        "The rollback on %s was completed: the bucket lacked version %d, and has it now. Nothing "
        "else was changed; another `rollback` goes back further.",
        shown(earlier.time),
        earlier.new_version,
    )
    return earlier


def _check_bucket(locations: Locations) -> None:
    """Refuses to cover a version of the bucket that was published from elsewhere."""
    address = served_version.bucket_of(locations)
    try:
        if address:
            bucket.check_own(locations.serving, address)
    except bucket.ForeignVersionsError as error:
        raise served_version.in_bucket(error) from error
    except ObjectStoreError as error:
        # A rollback must not wait for the bucket; the copy will tell.
        logger.warning("The bucket was not compared: %s", error)


def _copy_to_bucket(locations: Locations, version: int) -> None:
    address = served_version.bucket_of(locations)
    if address is None:
        return
    try:
        served_version.copy_to_bucket(locations, address)
    except PipelineError as error:
        raise UnreachableError(
            f"version {version} is served from {locations.serving}, but not yet from {address}: "
            f"{error} The next run or rollback copies it."
        ) from error


def check(locations: Locations, to: int | None) -> ServedModel:
    """Checks the version to go back to, and changes nothing.

    Args:
      locations: Places of the pipeline.
      to: Number of the version; None takes the one that was served before.

    Returns:
      The version, which has answered its reference images.

    Raises:
      UnknownRunError: where there is no such version, or none was served before.
      UnsoundVersionError: where it fails its check.
      ServedModelError: where no higher number is left for it.
    """
    served_version.check_numbers(locations)
    known = read_versions(locations)
    target = _previous(known, locations) if to is None else _find(to, known, locations)
    findings = [target.obstacle] if target.obstacle else _findings(target)
    if findings or target.model is None:
        raise UnsoundVersionError(
            f"version {target.number} of {locations.root.name} cannot be rolled back to: "
            f"{'; '.join(findings)}. Expected a sound version that is not served already; "
            "`rollback --list` shows them. Nothing was changed."
        )
    return target.model


def _find(number: int, known: Sequence[Version], locations: Locations) -> Version:
    for version in known:
        if version.number == number:
            return version
    raise unknown_version(number, [version.number for version in known], locations.root)


def _previous(known: Sequence[Version], locations: Locations) -> Version:
    """The newest version before the served one with other content and other weights.

    After a rollback the search begins below the version that was rolled back to: what was rolled
    back from does not count as what was there before.
    """
    served = known[-1]
    for version in reversed(known):
        is_same = version.is_served or version.has_served_weights
        if version.number < served.origin and not is_same:
            return version
    raise UnknownRunError(
        f"nothing was served below {locations.root} before version {served.number}; expected an "
        "earlier version of other content. `rollback --list` shows what there is, and --to "
        "VERSION names one."
    )


def _findings(target: Version) -> list[str]:
    """What ServingCheck finds wrong with a version."""
    model = target.model
    return check_export(str(model.export), str(target.golden), model.class_names) if model else []


def _publish(locations: Locations, target: ServedModel, record: str, held: Held) -> int:
    """Serves a version again, with its kept files; returns its new number."""
    try:
        held.check()
        return versions.publish(
            target.export, locations.serving, target.kept, record, check=held.check
        )
    except OSError as error:
        raise OutputError(
            f"version {target.version} cannot be published again ({error.strerror}); expected room "
            f"and write permission in {locations.serving}. Nothing was changed."
        ) from error


def read_versions(locations: Locations) -> list[Version]:
    """Reads all versions of a pipeline, lowest first.

    Raises:
      UnknownRunError: where nothing is served.
    """
    numbers = versions.served_versions(locations.serving)
    if not numbers:
        raise lost.nothing_served(locations.root.parent, locations.root.name)
    records, receipts = rollbacks.recorded(locations.serving), history.receipts_of(locations)
    models = {number: _read_model(locations, number) for number in numbers}
    newest, _ = models[numbers[-1]]
    digest = newest.digest if newest else _digest(locations.serving / str(numbers[-1]))
    served, kept = digest, _kept(locations, numbers[-1])
    found = []
    for number in numbers:
        pushed = rollbacks.origin(number, records)
        # Later runs of this version found the model served.
        run = next((run for run in receipts if run.pushed_version == pushed), None)
        model, flaw = models[number]
        digest = model.digest if model else _digest(locations.serving / str(number))
        mine, is_newest = _kept(locations, number), number == numbers[-1]
        version = Version(
            number=number,
            origin=pushed,
            digest=digest,
            run=run,
            published=_published(number, run, records),
            model=model,
            flaw=flaw,
            differs=version_difference(model, newest) if model and newest else None,
            is_served=is_newest or _same(digest, served) or _same(mine.answers, kept.answers),
            has_served_weights=_same(mine.weights, kept.weights),
            is_newest=is_newest,
        )
        found.append(version)
    return found


def difference(locations: Locations, version: int, other: int) -> str | None:
    """How image size and classes of two versions differ, as in `Version.differs`."""
    one, _ = _read_model(locations, version)
    two, _ = _read_model(locations, other)
    return version_difference(one, two) if one and two else None


def _same(mine: str | None, its: str | None) -> bool:
    """Whether two digests are known and equal."""
    return mine is not None and mine == its


def _digest(export: pathlib.Path) -> str | None:
    try:
        return versions.content_digest(export)
    except OSError:
        return None


def _kept(locations: Locations, number: int) -> rollbacks.KeptDigests:
    return rollbacks.kept_digests(versions.kept_folder(locations.serving, number))


def _read_model(locations: Locations, number: int) -> tuple[ServedModel | None, str | None]:
    try:
        return read_version(locations.serving, number), None
    except UnreadableModelError as error:
        return None, str(error)


def _published(number: int, run: Receipt | None, records: Iterable[Rollback]) -> str | None:
    times = [done.time for done in records if done.new_version == number]
    # A push names the version by its time; a number that no run gave may be anything.
    return next(iter(times), _time_of(number) if run else None)


def _time_of(version: int) -> str | None:
    try:
        moment = datetime.datetime.fromtimestamp(version, datetime.UTC)
    # Numbers above one that somebody chose may be too high for a time.
    except (ValueError, OverflowError, OSError):
        return None
    return moment.isoformat(timespec="seconds")
