"""Versioned folders of served models, published atomically.

    serving/<version>/                 the export; servers load the highest version
    serving/.kept/<version>/           other files of the model artifact, and digests
    serving/.rollbacks/<version>.json  record of the rollback that published the version

The kept files and the record exist before the version becomes visible. So every version that
`publish` made has them, whatever happens to the artifacts and to ML Metadata. They are copies, not
hard links: damage to an artifact must not reach them, and the serving folder may be on another
disk.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterable

from components import disk

# Readers ignore these names, since they are not numbers.
_INCOMING, _OUTGOING = ".incoming-", ".outgoing-"
_KEPT, _ROLLBACKS = ".kept", ".rollbacks"
_MOST_DIGITS = 18
_HIGHEST_VERSION = 10**_MOST_DIGITS - 1
# Servers load the folder with the highest number up to this.
_HIGHEST_SERVED = 2**63 - 1
# Property of an infra blessing: the digest of the export that was checked.
CHECKED_EXPORT = "checked_export"
# Property of the served model on a cluster, and of the blessing of a model that was compared with
# it: the `identity` of the served version.
SERVED_IDENTITY = "served_identity"
# Kept file with the digest of the export and the digests of all kept files by name.
DIGESTS_FILE = "digests.json"


class ChangedExportError(Exception):
    """An export is no longer the one that was checked."""


def served_versions(base: pathlib.Path) -> list[int]:
    """Returns all version numbers below `base` in ascending order; servers load the highest."""
    if not base.is_dir():
        return []
    return sorted(int(entry.name) for entry in base.iterdir() if _is_version(entry))


def too_high(base: pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders that servers would load instead of any version that is published next."""
    if not base.is_dir():
        return []
    return sorted(
        entry
        for entry in base.iterdir()
        if entry.name.isascii()
        and entry.name.isdigit()
        and _HIGHEST_VERSION <= int(entry.name) <= _HIGHEST_SERVED
        and (entry.is_dir() or entry.is_symlink())
    )


def identity(base: pathlib.Path) -> str:
    """Returns number and digest of the served version; empty if no model is served."""
    served = served_versions(base)
    return identity_of(served[-1], content_digest(base / str(served[-1]))) if served else ""


def identity_of(version: int, digest: str) -> str:
    """Returns the identity of a version whose export has this digest."""
    return f"{version}-{digest}"


def kept_folder(base: pathlib.Path, version: int) -> pathlib.Path:
    """Returns the folder of the kept files of a version."""
    return base / _KEPT / str(version)


def rollback_record(base: pathlib.Path, version: int) -> pathlib.Path:
    """Returns the file of the record of the rollback that published a version."""
    return base / _ROLLBACKS / f"{version}.json"


def rollback_files(base: pathlib.Path) -> list[pathlib.Path]:
    """Returns the records of rollbacks in ascending order of the versions that they published."""
    files = [path for path in (base / _ROLLBACKS).glob("*.json") if is_number(path.stem)]
    return sorted(files, key=lambda path: int(path.stem))


def publish(
    export: pathlib.Path,
    base: pathlib.Path,
    beside: Iterable[pathlib.Path] = (),
    rollback: str | None = None,
    check: Callable[[], None] | None = None,
    version: int | None = None,
    digest: str | None = None,
) -> int:
    """Copies an export below `base` under a new, higher version, and returns the version.

    The copy gets a name that readers ignore, is synced to the disk, and is then renamed: a reader
    sees the whole version or nothing. The version is the Unix time in seconds, as in TFX's Pusher,
    or the newest version so far plus one if that is higher.

    Only the holder of the pipeline's lock may call this: it removes what an interrupted call left.

    Args:
      export: Folder of a SavedModel.
      base: Folder of the versions.
      beside: Files to keep for the version, such as the statistics of its data.
      rollback: Record of the rollback that publishes the version; None for a run.
      check: Raises an error if the pipeline's lock is no longer held; None if it cannot be lost. It
        is called when all files are copied, immediately before the version becomes visible.
      version: Number of the version where another place has given it one; None takes a new one.
      digest: `content_digest` that the copy must have; None where it is what it is.

    Raises:
      ChangedExportError: If the copy has another digest; the served versions stay unchanged.
      OSError: If the copy fails, or no higher number is left; the served versions stay unchanged.
      Exception: Whatever `check` raises; the served versions stay unchanged.
    """
    base.mkdir(parents=True, exist_ok=True)
    if above := too_high(base):
        raise OSError(errno.EOVERFLOW, "no higher number is left for a new version", str(above[0]))
    remove_unfinished(base)
    if version is None:
        version = _next_version(base)
    incoming = base / f"{_INCOMING}{version}-{os.getpid()}"
    try:
        shutil.copytree(export, incoming / "export")
        copied_digest = _copy_beside(incoming / "kept", incoming / "export", beside)
        if digest is not None and copied_digest != digest:
            disk.remove(incoming)
            raise ChangedExportError(
                f"{export} has the digest {copied_digest[:12]}; expected {digest[:12]}, that of "
                "the model that was checked and judged. Some of its files were changed or lost "
                "since, and nothing was pushed. Train again: run with --no-cache; on a cluster, "
                "compile with it."
            )
        disk.sync_tree(incoming)
        if check is not None:
            _check_lock(check, incoming)
        if rollback is not None:
            _note_rollback(base, version, incoming, rollback)
        _move(incoming / "kept", kept_folder(base, version))
        (incoming / "export").rename(base / str(version))
    except OSError:
        with contextlib.suppress(OSError):
            remove_unfinished(base)
        raise
    # The version is served from here on, so a later error must not report a failure.
    with contextlib.suppress(OSError):
        disk.sync(base)
        incoming.rmdir()
    return version


def _next_version(base: pathlib.Path) -> int:
    # A record outlives its version: the next one, under a clock set back, would seem to be that.
    taken = [*served_versions(base), *(int(path.stem) for path in rollback_files(base))]
    return max([int(time.time()), *(number + 1 for number in taken if number < _HIGHEST_VERSION)])


def _check_lock(check: Callable[[], None], incoming: pathlib.Path) -> None:
    try:
        check()
    except Exception:
        # Nothing but its own files: the leftovers may be those of another command, now at work.
        with contextlib.suppress(OSError):
            disk.remove(incoming)
        raise


def keep(base: pathlib.Path, version: int, beside: Iterable[pathlib.Path]) -> None:
    """Keeps files for a version without kept files, such as one that was put there by hand.

    Raises:
      OSError: If they cannot be copied; then no file is kept.
    """
    incoming = base / f"{_INCOMING}{version}-{os.getpid()}"
    _copy_beside(incoming / "kept", base / str(version), beside)
    disk.sync_tree(incoming)
    _move(incoming / "kept", kept_folder(base, version))
    incoming.rmdir()


def _copy_beside(folder: pathlib.Path, export: pathlib.Path, beside: Iterable[pathlib.Path]) -> str:
    """Copies files, notes their digests and that of an export, and returns the latter."""
    folder.mkdir(parents=True)
    for file in beside:
        shutil.copyfile(file, folder / file.name)
    files = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
    digest = content_digest(export)
    digests = {"export": digest, "files": files}
    (folder / DIGESTS_FILE).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
    return digest


def _note_rollback(base: pathlib.Path, version: int, incoming: pathlib.Path, rollback: str) -> None:
    note = incoming / "rollback"
    note.write_text(rollback, encoding="utf-8")
    disk.sync(note)
    _move(note, rollback_record(base, version))


def _move(path: pathlib.Path, target: pathlib.Path) -> None:
    target.parent.mkdir(exist_ok=True)
    path.rename(target)
    disk.sync(target.parent)


def withdraw(base: pathlib.Path, version: int) -> None:
    """Removes a version and its kept files; the record of a rollback stays, as history.

    The version is first renamed, so that no reader sees a part of it. Only the holder of the
    pipeline's lock may call this.

    Raises:
      OSError: If some files cannot be removed; `unfinished` lists them later.
    """
    outgoing = base / f"{_OUTGOING}{version}"
    (base / str(version)).rename(outgoing)
    disk.sync(base)
    remove_unfinished(base)


def unfinished(base: pathlib.Path) -> list[pathlib.Path]:
    """Returns leftovers of interrupted pushes and removals below `base`, in order of removal.

    Kept files of removed versions count as leftovers. An incoming folder comes after the record
    and the kept files of its version: it is the evidence that the push never finished.
    """
    incoming = sorted(base.glob(f"{_INCOMING}*"))
    never = [v for v in map(_incoming_version, incoming) if not os.path.lexists(base / v)]
    notes = [base / _ROLLBACKS / f"{version}.json" for version in never]
    kept = [p for p in sorted(base.glob(f"{_KEPT}/*")) if not os.path.lexists(base / p.name)]
    outgoing = sorted(base.glob(f"{_OUTGOING}*"))
    return [*(note for note in notes if note.exists()), *kept, *incoming, *outgoing]


def remove_unfinished(base: pathlib.Path) -> None:
    """Removes all leftovers below `base`; only the holder of the pipeline's lock may call this."""
    for path in unfinished(base):
        disk.remove(path)


def _incoming_version(path: pathlib.Path) -> str:
    return path.name.removeprefix(_INCOMING).partition("-")[0]


def file_digest(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_digest(folder: pathlib.Path) -> str:
    """Returns the SHA-256 of the names and contents of all files below `folder`, hexadecimal."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        # Names may be bytes of any encoding.
        digest.update(os.fsencode(path.relative_to(folder)) + b"\0%d\0" % path.stat().st_size)
        with path.open("rb") as file:
            # In parts: a file may be large.
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def _is_version(entry: pathlib.Path) -> bool:
    # A broken link counts as a version, though an unreadable one: its disk may not be mounted.
    return is_number(entry.name) and (entry.is_dir() or entry.is_symlink())


def is_number(name: str) -> bool:
    """Returns whether a name is a number, such as the name of a version."""
    # str.isdigit accepts digits that int refuses, such as superscripts. Servers and databases count
    # up to 2^63, hence the limit.
    return name.isascii() and name.isdigit() and len(name) <= _MOST_DIGITS
