"""Versions of served models in a bucket.

    s3://bucket/folder/
      <version>/                   the export
      .kept/<version>/             other files of the model artifact, and digests
      .rollbacks/<version>.json    record of the rollback that published the version
      .whole/<version>.json        the marker, written last: sizes and digests of all these files
      .pipeline                    the name of the pipeline that the folder belongs to

A bucket has no rename that publishes a folder in one step. So the rule for readers is:

    List `.whole/`, take the highest number, and fetch the files that its marker names. Compare the
    digests. If a file is missing or differs, the version was withdrawn meanwhile: begin again.

The serving folder of the pipeline stays the place that decides: a version is first published there,
then copied to the bucket under the same number. `catch_up` completes a copy that was cut off.

The records of rollbacks are history, which outlives its versions: they say which models must not
be pushed again. So both `catch_up` and `fetch_newest` copy all that are missing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import pathlib
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping

from components import disk
from components.files import read_regular
from components.messages import shown
from components.object_store import Folder, Object, ObjectExistsError, ObjectStoreError, odd_name
from components.pusher import rollbacks, versions

_WHOLE = ".whole/"
_HISTORY = ".rollbacks/"
_OWNER = ".pipeline"
# More bytes than a name may have.
_MOST_OWNER_BYTES = 1000
# File of the serving folder that names the bucket which has copies of its versions.
_ADDRESS_FILE = ".bucket"
# Readers ignore this name, since it is no number.
_FETCHED = ".fetched-"
_COPIED_AT_ONCE = 2**20
# A marker of more bytes was written by nobody here.
_MOST_MARKER_BYTES = 2**24
# Likewise for the record of a rollback, which has half a kilobyte.
_MOST_RECORD_BYTES = 2**16

logger = logging.getLogger(__name__)


class ForeignVersionsError(ObjectStoreError):
    """A bucket with versions that were published from elsewhere."""


@dataclasses.dataclass(frozen=True)
class _File:
    """Size and SHA-256 of a file."""

    size: int
    sha256: str


# What a marker says: the files of a version, by their paths below the folder of all versions.
_Manifest = Mapping[str, _File]


def whole_versions(address: str) -> list[int]:
    """Returns the versions with a marker in ascending order; readers take the highest.

    Raises:
      ObjectStoreError: The bucket cannot be read.
    """
    names = (each.path.removeprefix(_WHOLE) for each in Folder(address).list(_WHOLE))
    numbers = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return sorted(int(number) for number in numbers if versions.is_number(number))


def address_of(base: pathlib.Path) -> str | None:
    """Returns the address of the bucket that has copies of the versions below `base`, if any.

    Raises:
      ObjectStoreError: The note of the address cannot be read.
    """
    note = base / _ADDRESS_FILE
    try:
        return read_regular(note).decode(errors="replace").strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ObjectStoreError(
            f"{note} cannot be read ({error.strerror}); expected the file with the address of the "
            "bucket that has copies of the versions. Give read permission, or remove what is in "
            "its place: the next run notes the address again."
        ) from error


def remember(base: pathlib.Path, address: str | None) -> None:
    """Notes which bucket has copies of the versions below `base`; None for none.

    Raises:
      ObjectStoreError: The note that is there cannot be read.
      OSError: The note cannot be written.
    """
    note, noted = base / _ADDRESS_FILE, address_of(base)
    if address is None:
        note.unlink(missing_ok=True)
    elif noted != address:
        base.mkdir(parents=True, exist_ok=True)
        # Half an address would be another one, and an empty note says that there is no bucket.
        disk.write_whole(note, f"{address}\n")


def foreign_version(base: pathlib.Path, address: str) -> int | None:
    """Returns the newest version of a bucket, if it is not below `base`.

    Somebody else published it. A model that was not compared with it must not replace it, also
    where a version below `base` has a higher number: that one was never in the bucket.

    Raises:
      ObjectStoreError: The bucket cannot be read.
    """
    newest = max(whole_versions(address), default=None)
    return None if newest in versions.served_versions(base) else newest


def check_own(base: pathlib.Path, address: str) -> None:
    """Checks that a bucket is for the versions below `base`, before one is published there.

    A folder without an owner becomes that of the pipeline.

    Args:
      base: Serving folder of a pipeline, in the folder with the pipeline's name.
      address: Address of the folder of the copies.

    Raises:
      ForeignVersionsError: It belongs to another pipeline, or its newest version is not below
        `base`.
      ObjectStoreError: The bucket cannot be read or written.
    """
    folder = Folder(address)
    _refuse_foreign(base, address, _owner(folder) or _become_owner(folder, base.parent.name))


def check_unchanged(base: pathlib.Path, address: str) -> int | None:
    """Checks as `check_own` does, but writes nothing: a folder without an owner stays so.

    Args:
      base: As for `check_own`.
      address: As for `check_own`.

    Returns:
      The newest version of the bucket; None if it has none.

    Raises:
      ForeignVersionsError: As for `check_own`.
      ObjectStoreError: The bucket cannot be read.
    """
    _refuse_foreign(base, address, _owner(Folder(address)) or base.parent.name)
    return max(whole_versions(address), default=None)


def check_owner(base: pathlib.Path, address: str) -> None:
    """Checks that a bucket does not belong to another pipeline than the one that serves `base`.

    Args:
      base: As for `check_own`.
      address: As for `check_own`.

    Raises:
      ForeignVersionsError: It belongs to another pipeline.
      ObjectStoreError: The bucket cannot be read.
    """
    _refuse_owner(base, address, _owner(Folder(address)) or base.parent.name)


def _refuse_foreign(base: pathlib.Path, address: str, owner: str) -> None:
    _refuse_owner(base, address, owner)
    newest = foreign_version(base, address)
    if newest is not None:
        raise ForeignVersionsError(_foreign(base, address, newest))


def _refuse_owner(base: pathlib.Path, address: str, owner: str) -> None:
    pipeline = base.parent.name
    if owner != pipeline:
        raise ForeignVersionsError(
            f"{shown(address)} has the versions of the pipeline {shown(owner)}; expected those of "
            f"{pipeline}, as readers take the highest version, whichever pipeline published it. "
            "Give each pipeline a folder of its own with "
            f"--set serving.bucket={shown(address)}/FOLDER. If the pipeline was renamed, remove "
            f"{Folder(address).shown(_OWNER)}."
        )


def _owner(folder: Folder) -> str | None:
    listed = folder.find(_OWNER)
    if listed is None:
        return None
    if listed.size > _MOST_OWNER_BYTES:
        raise ObjectStoreError(
            f"{folder.shown(_OWNER)} has {listed.size} bytes; expected the name of a pipeline. "
            "Remove it, or name another folder."
        )
    return folder.read(listed).decode(errors="replace").strip()


def _become_owner(folder: Folder, pipeline: str) -> str:
    try:
        folder.write(_OWNER, f"{pipeline}\n".encode(), only_new=True)
    except ObjectExistsError:
        # Another pipeline was quicker, or the answer to an earlier try was lost.
        owner = _owner(folder)
        if owner is None:
            raise
        return owner
    return pipeline


def _foreign(base: pathlib.Path, address: str, newest: int) -> str:
    served = versions.served_versions(base)
    if served and served[-1] > newest:
        return (
            f"{shown(address)} holds version {newest}, which {base} never had or has no longer, "
            f"and not version {served[-1]}, which is served there; expected that a new model was "
            "compared with the newest version of the bucket. Name another folder with "
            "--set serving.bucket=s3://BUCKET/FOLDER. If nobody needs that version, remove "
            f"{Folder(address).shown(_marker(newest))}."
        )
    command = ["python3", "pipeline_runner.py", "fetch", address, str(base)]
    return (
        f"{shown(address)} holds version {newest}, and {base} holds "
        f"{f'at most version {served[-1]}' if served else 'none'}; expected the served version "
        "in both, since a new model is compared with it. Fetch it with: "
        f"{shlex.join(command)}"
    )


def catch_up(base: pathlib.Path, address: str) -> int | None:
    """Copies the served version and the records of rollbacks to a bucket, as far as it lacks them.

    Only the holder of the pipeline's lock may call this.

    Args:
      base: Serving folder of a pipeline, in the folder with the pipeline's name.
      address: Address of the folder of the copies.

    Returns:
      The version that was copied; None if there was nothing to do.

    Raises:
      ObjectStoreError: The bucket cannot be read or written, holds other versions, or other files
        under the same number. Readers see the versions that it had before.
      OSError: A file of the version cannot be read.
    """
    check_own(base, address)
    served = versions.served_versions(base)
    if not served:
        return None
    folder = Folder(address)
    _copy_history(base, folder)
    if served[-1] in whole_versions(address):
        advice = (
            "restore the files, or name another folder with --set serving.bucket=s3://BUCKET/FOLDER"
        )
        _check_same(base, served[-1], folder, advice)
        return None
    _copy(base, served[-1], folder)
    return served[-1]


def _copy_history(base: pathlib.Path, folder: Folder) -> None:
    """Copies the records of rollbacks that a bucket lacks."""
    there = {each.path for each in folder.list(_HISTORY)}
    # Nothing came of a rollback that was killed: its record will be removed.
    leftovers = versions.unfinished(base)
    for path in versions.rollback_files(base):
        name = path.relative_to(base).as_posix()
        if name not in there and path not in leftovers and rollbacks.read_record(path):
            folder.upload(path, name)


def _check_same(base: pathlib.Path, version: int, folder: Folder, advice: str) -> None:
    """Compares the export of a version with the marker of its copy."""
    there, here = _manifest(folder, version), {}
    for path in _files(base, version):
        here[path.relative_to(base).as_posix()] = _file(path)
    names = sorted(name for name in {*there, *here} if name.startswith(f"{version}/"))
    if differing := [name for name in names if there.get(name) != here.get(name)]:
        raise ObjectStoreError(
            f"{folder.shown(differing[0])} is not the file of version {version} in {base}; "
            "expected the same files under one number. Another machine took the number for its own "
            f"model, or a file was changed: {advice}."
        )


def _copy(base: pathlib.Path, version: int, folder: Folder) -> None:
    """Copies a version file by file, checks that all arrived, and writes the marker."""
    manifest = {}
    for path in _files(base, version):
        name = path.relative_to(base).as_posix()
        manifest[name] = _file(path)
        folder.upload(path, name)
    arrived = {each.path: each.size for part in _parts(version) for each in folder.list(part)}
    if missing := [name for name in manifest if arrived.get(name) != manifest[name].size]:
        raise ObjectStoreError(
            f"{folder.shown(missing[0])} did not arrive whole; expected all files of version "
            f"{version}. Run again.",
            is_passing=True,
        )
    marker = _marker(version)
    content = json.dumps(
        {name: dataclasses.asdict(file) for name, file in manifest.items()}, indent=1
    ).encode()
    try:
        folder.write(marker, content, only_new=True)
    except ObjectExistsError:
        # The answer to an earlier try may have been lost; else another writer has this number.
        listed = folder.find(marker)
        if listed is None or folder.read(listed) != content:
            raise


def _marker(version: int) -> str:
    return f"{_WHOLE}{version}.json"


def _file(path: pathlib.Path) -> _File:
    return _File(path.stat().st_size, versions.file_digest(path))


def _files(base: pathlib.Path, version: int) -> Iterator[pathlib.Path]:
    for folder in (base / str(version), versions.kept_folder(base, version)):
        yield from sorted(path for path in folder.rglob("*") if path.is_file())
    record = versions.rollback_record(base, version)
    # A marker that lists a damaged one would keep everybody from fetching the version.
    if record.exists() and rollbacks.read_record(record):
        yield record


def _parts(version: int) -> tuple[str, ...]:
    """Beginnings of the paths of all files of a version."""
    base = pathlib.Path()
    kept, record = versions.kept_folder(base, version), versions.rollback_record(base, version)
    return f"{version}/", f"{kept.as_posix()}/", record.as_posix()


def withdraw(address: str, version: int) -> None:
    """Removes a version from a bucket: first its marker, then its files.

    Raises:
      ObjectStoreError: The bucket cannot be written; another call continues from there.
    """
    folder = Folder(address)
    folder.remove([_marker(version)])
    for part in _parts(version)[:2]:
        folder.remove([each.path for each in folder.list(part)])


def fetch_newest(
    address: str, base: pathlib.Path, check: Callable[[], None] | None = None
) -> tuple[int, bool]:
    """Copies the newest whole version of a bucket below `base`, with its kept files.

    The version appears there in one step, as with `versions.publish`. The records of rollbacks that
    `base` lacks come before it; a damaged one is left out, and the log says so. Only one process at
    a time may call this for a folder.

    Args:
      address: Address of the versions.
      base: Folder of versions.
      check: As for `versions.publish`.

    Returns:
      The version, and whether it is new there.

    Raises:
      ObjectStoreError: The bucket cannot be read, holds no whole version, or what it holds is not
        what its marker says; or `base` has other files under the same number, or a higher number,
        which servers would load.
      OSError: The files cannot be written; no part of the version is there.
      Exception: Whatever `check` raises; no part of the version is there.
    """
    whole = whole_versions(address)
    if not whole:
        raise ObjectStoreError(
            f"{shown(address)} holds no whole version; expected one with a marker in {_WHOLE}. "
            "Check the address: runs with the smoke profile or on the sample copy to a folder of "
            "their own below it. Or publish a version with: python3 pipeline_runner.py run"
        )
    version, own = whole[-1], max(versions.served_versions(base), default=0)
    if own > version:
        raise ObjectStoreError(
            f"{base} holds version {own}, and the newest of {shown(address)} is {version}; "
            "expected no higher number there, since servers load the highest. Name another folder, "
            f"or remove {base / str(own)} if it is not to be served."
        )
    there, folder = base / str(version), Folder(address)
    if there.exists():
        advice = f"remove {there} and fetch again, or name another folder"
        _check_same(base, version, folder, advice)
        _fetch_history(folder, None, base, check)
        return version, False
    base.mkdir(parents=True, exist_ok=True)
    for left in base.glob(f"{_FETCHED}*"):
        disk.remove(left)
    with tempfile.TemporaryDirectory(prefix=_FETCHED, dir=base) as name:
        place = pathlib.Path(name)
        _fetch(folder, version, place)
        kept = sorted(versions.kept_folder(place, version).glob("*"))
        beside = [path for path in kept if path.name != versions.DIGESTS_FILE]
        record = versions.rollback_record(place, version)
        shown_record = folder.shown(f"{_HISTORY}{record.name}")
        rollback = _sound(record.read_bytes(), version, shown_record) if record.exists() else None
        _fetch_history(folder, version, base, check)
        versions.publish(place / str(version), base, beside, rollback, check, version)
    return version, True


def _fetch_history(
    folder: Folder, coming: int | None, base: pathlib.Path, check: Callable[[], None] | None
) -> None:
    """Copies the records of rollbacks that `base` lacks.

    Args:
      folder: Folder of the bucket.
      coming: Version that is about to be published, which brings its own record; None for none.
      base: Folder of the versions.
      check: As for `fetch_newest`.
    """
    if check is not None:
        check()
    served = versions.served_versions(base)
    for listed in folder.list(_HISTORY):
        name, _, suffix = listed.path.removeprefix(_HISTORY).rpartition(".")
        if suffix != "json" or not versions.is_number(name) or int(name) == coming:
            continue
        path = versions.rollback_record(base, int(name))
        if path.exists() or (int(name) in served and _was_pushed(folder, int(name))):
            continue
        with folder.open(listed) as source:
            content = source.read(_MOST_RECORD_BYTES + 1)
        record = _sound(content, int(name), folder.shown(listed.path))
        if record is not None:
            path.parent.mkdir(exist_ok=True)
            disk.write_whole(path, record)


def _was_pushed(folder: Folder, version: int) -> bool:
    """Whether the marker of a version says that it came without the record of a rollback."""
    record = versions.rollback_record(pathlib.Path(), version).as_posix()
    return folder.find(_marker(version)) is not None and record not in _manifest(folder, version)


def _sound(record: bytes, version: int, place: str) -> str | None:
    """The record of a rollback as text; None where it is none, and the log says so."""
    try:
        if len(record) > _MOST_RECORD_BYTES:
            raise rollbacks.NoRecordError(f"it has more than {_MOST_RECORD_BYTES} bytes")
        rollbacks.parsed(record, version)
        return record.decode()
    except rollbacks.NoRecordError as error:
        logger.warning(
            "%s cannot be read (%s); expected the record of a rollback. It is left out, so the "
            "model that was rolled back may be pushed again.",
            place,
            error,
        )
        return None


def _fetch(folder: Folder, version: int, place: pathlib.Path) -> None:
    """Copies the files of a version, with their paths, and compares them with the marker."""
    parts = _parts(version)
    listed = {each.path: each for part in parts for each in folder.list(part)}
    for name, file in _manifest(folder, version).items():
        if odd_name(name) or not name.startswith(parts) or name not in listed:
            raise _unsound(folder, version, name)
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch_file(folder, listed[name], file, target, version)


def _fetch_file(
    folder: Folder, listed: Object, file: _File, target: pathlib.Path, version: int
) -> None:
    digest = hashlib.sha256()
    with folder.open(listed) as source, target.open("wb") as copy:
        while content := source.read(_COPIED_AT_ONCE):
            digest.update(content)
            copy.write(content)
    if (listed.size, digest.hexdigest()) != (file.size, file.sha256):
        raise _unsound(folder, version, listed.path)


def _unsound(folder: Folder, version: int, name: str) -> ObjectStoreError:
    return ObjectStoreError(
        f"{folder.shown(name)} is not what the marker of version {version} says; expected the "
        "files that were published. If the version was just withdrawn, fetch again; else publish "
        "another one.",
        is_passing=True,
    )


def _manifest(folder: Folder, version: int) -> _Manifest:
    path = _marker(version)
    listed = folder.find(path)
    if listed is None:
        raise _unsound(folder, version, path)
    if listed.size > _MOST_MARKER_BYTES:
        raise _no_marker(folder, path)
    try:
        document = json.loads(folder.read(listed))
        return {
            str(name): _File(int(file["size"]), str(file["sha256"]))
            for name, file in document.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _no_marker(folder, path) from error


def _no_marker(folder: Folder, path: str) -> ObjectStoreError:
    return ObjectStoreError(
        f"{folder.shown(path)} is no marker of a version; expected sizes and digests of its files "
        "as JSON. Remove it, and publish another version."
    )
