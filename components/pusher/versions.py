"""Versioned folders of served models: published whole or not at all.

    serving/<version>/                 the export; servers take the highest version
    serving/.kept/<version>/           files from beside the export in its artifact, and digests
    serving/.rollbacks/<version>.json  record of the rollback that published the version

Kept files and record are in place before the version becomes visible. So every version that
`publish` made has them, whatever happens to the artifacts and to ML Metadata. They are copies, not
hard links: damage to an artifact must not reach them, and the serving folder may be on another
disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import time
from collections.abc import Iterable

from components import disk

# No reader takes such names for versions.
_INCOMING, _OUTGOING = ".incoming-", ".outgoing-"
_KEPT, _ROLLBACKS = ".kept", ".rollbacks"
_MOST_DIGITS = 18
# Among the kept files: the digest of the export, and that of each kept file by its name.
DIGESTS_FILE = "digests.json"


def served_versions(base: pathlib.Path) -> list[int]:
    """All version numbers below `base`, lowest first; servers take the highest."""
    if not base.is_dir():
        return []
    return sorted(int(entry.name) for entry in base.iterdir() if _is_version(entry))


def identity(base: pathlib.Path) -> str:
    """What is served now, by number and content; empty where nothing is."""
    served = served_versions(base)
    return f"{served[-1]}-{content_digest(base / str(served[-1]))}" if served else ""


def kept_folder(base: pathlib.Path, version: int) -> pathlib.Path:
    """Folder of the files that are kept for a version."""
    return base / _KEPT / str(version)


def rollback_files(base: pathlib.Path) -> list[pathlib.Path]:
    """The records of rollbacks, each named by the version that it published, lowest first."""
    files = [path for path in (base / _ROLLBACKS).glob("*.json") if is_number(path.stem)]
    return sorted(files, key=lambda path: int(path.stem))


def publish(
    export: pathlib.Path,
    base: pathlib.Path,
    beside: Iterable[pathlib.Path] = (),
    rollback: str | None = None,
) -> int:
    """Copies an export below `base` under a new, higher version, and returns the version.

    The copy is made under a name that no reader looks at, brought to the disk, and renamed:
    a reader sees the whole version or none of it. Versions are unix seconds, as TFX's Pusher names
    them, and one more than the newest where that is not higher.

    To be called by one process at a time, which the lock of the pipeline sees to: what an earlier
    one left unfinished is removed.

    Args:
      export: folder of a SavedModel.
      base: folder of the versions.
      beside: files to keep for the version, such as the statistics of its data.
      rollback: record of the rollback that publishes it; None where a run does.

    Raises:
      OSError: where the copy fails; what was served stays as it was.
    """
    base.mkdir(parents=True, exist_ok=True)
    remove_unfinished(base)
    version = max([int(time.time()), *(number + 1 for number in served_versions(base))])
    incoming = base / f"{_INCOMING}{version}-{os.getpid()}"
    try:
        shutil.copytree(export, incoming / "export")
        _copy_beside(incoming / "kept", incoming / "export", beside)
        disk.sync_tree(incoming)
        if rollback is not None:
            _note_rollback(base, version, incoming, rollback)
        _move(incoming / "kept", kept_folder(base, version))
        (incoming / "export").rename(base / str(version))
    except OSError:
        with contextlib.suppress(OSError):
            remove_unfinished(base)
        raise
    # From here on it is served: nothing may say that it is not.
    with contextlib.suppress(OSError):
        disk.sync(base)
        incoming.rmdir()
    return version


def keep(base: pathlib.Path, version: int, beside: Iterable[pathlib.Path]) -> None:
    """Keeps files for a version of which nothing is kept, such as one put there by hand.

    Raises:
      OSError: where they cannot be copied; nothing is kept then.
    """
    incoming = base / f"{_INCOMING}{version}-{os.getpid()}"
    _copy_beside(incoming / "kept", base / str(version), beside)
    disk.sync_tree(incoming)
    _move(incoming / "kept", kept_folder(base, version))
    incoming.rmdir()


def _copy_beside(
    folder: pathlib.Path, export: pathlib.Path, beside: Iterable[pathlib.Path]
) -> None:
    folder.mkdir(parents=True)
    for file in beside:
        shutil.copyfile(file, folder / file.name)
    files = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
    digests = {"export": content_digest(export), "files": files}
    (folder / DIGESTS_FILE).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


def _note_rollback(base: pathlib.Path, version: int, incoming: pathlib.Path, rollback: str) -> None:
    note = incoming / "rollback"
    note.write_text(rollback, encoding="utf-8")
    disk.sync(note)
    _move(note, base / _ROLLBACKS / f"{version}.json")


def _move(path: pathlib.Path, target: pathlib.Path) -> None:
    target.parent.mkdir(exist_ok=True)
    path.rename(target)
    disk.sync(target.parent)


def withdraw(base: pathlib.Path, version: int) -> None:
    """Removes a version, out of the sight of readers first: none of them finds half of it.

    What is kept for it goes with it; the record of a rollback stays, which is history.

    To be called by the holder of the pipeline's lock alone.

    Raises:
      OSError: where not all of it can be removed; `unfinished` finds the rest.
    """
    outgoing = base / f"{_OUTGOING}{version}"
    (base / str(version)).rename(outgoing)
    disk.sync(base)
    remove_unfinished(base)


def unfinished(base: pathlib.Path) -> list[pathlib.Path]:
    """Leftovers of interrupted pushes and removals below `base`, in the order of removal.

    Kept files of versions that are gone count as leftovers. An incoming folder comes after the
    record and the kept files of its version: it is the evidence that the push never finished.
    """
    incoming = sorted(base.glob(f"{_INCOMING}*"))
    never = [v for v in map(_incoming_version, incoming) if not os.path.lexists(base / v)]
    notes = [base / _ROLLBACKS / f"{version}.json" for version in never]
    kept = [p for p in sorted(base.glob(f"{_KEPT}/*")) if not os.path.lexists(base / p.name)]
    outgoing = sorted(base.glob(f"{_OUTGOING}*"))
    return [*(note for note in notes if note.exists()), *kept, *incoming, *outgoing]


def remove_unfinished(base: pathlib.Path) -> None:
    """Removes what was left unfinished below `base`; for the holder of the lock alone."""
    for path in unfinished(base):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _incoming_version(path: pathlib.Path) -> str:
    return path.name.removeprefix(_INCOMING).partition("-")[0]


def file_digest(path: pathlib.Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def content_digest(folder: pathlib.Path) -> str:
    """SHA-256 over the names and the contents of all files below `folder`, hexadecimal."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        # Names may be bytes of any encoding.
        digest.update(os.fsencode(path.relative_to(folder)) + b"\0%d\0" % path.stat().st_size)
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _is_version(entry: pathlib.Path) -> bool:
    # A link that leads nowhere is one that cannot be read: its disk may not be mounted.
    return is_number(entry.name) and (entry.is_dir() or entry.is_symlink())


def is_number(name: str) -> bool:
    """Whether a name is that of a version, or of another folder that is counted."""
    # str.isdigit alone takes digits that int does not, such as superscripts; servers and databases
    # count to 2^63.
    return name.isascii() and name.isdigit() and len(name) <= _MOST_DIGITS
