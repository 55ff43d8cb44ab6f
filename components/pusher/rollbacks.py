"""Records of rollbacks, which lie beside the served versions.

Both a rollback and Pusher read them, so this module needs neither TensorFlow nor TFX.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

import pydantic

from components import features
from components.digests import weights_digest
from components.files import read_regular
from components.messages import shown
from components.pusher import versions
from components.validation import faults_of

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Rollback:
    """A rollback that happened.

    Attributes:
      rolled_back_from: Version that was served until then.
      rolled_back_to: Earlier version whose content is served since.
      new_version: Number under which it is served since.
      user: Name of the user who did it.
      time: Time of the rollback, in ISO 8601.
      withdrawn: Digest of the content of `rolled_back_from`; None in a record without it.
      restored: Digest of the content that is served since; None in a record without it.
      withdrawn_answers: `answers_digest` of `rolled_back_from`; None where that is not known.
      restored_answers: `answers_digest` of what is served since; None where that is not known.
      withdrawn_weights: Digest of the weights of `rolled_back_from`; None where that is not known.
      restored_weights: Digest of the weights of what is served since; None where that is not known.
    """

    rolled_back_from: int
    rolled_back_to: int
    new_version: int
    user: str
    time: str
    withdrawn: str | None = None
    restored: str | None = None
    withdrawn_answers: str | None = None
    restored_answers: str | None = None
    withdrawn_weights: str | None = None
    restored_weights: str | None = None


class KeptDigests(NamedTuple):
    """Digests by which a model is recognised though its export has other bytes.

    Attributes:
      answers: `answers_digest`; None where it is not known.
      weights: Digest of the weights; None where it is not known.
    """

    answers: str | None
    weights: str | None


_RECORD = pydantic.TypeAdapter(Rollback)


class NoRecordError(ValueError):
    """What should be the record of a rollback is none; the message says why."""


def recorded(base: pathlib.Path) -> list[Rollback]:
    """Returns all rollbacks of the versions below `base`, oldest first.

    A record that cannot be read is left out, and a line in the log says so.
    """
    records = map(read_record, versions.rollback_files(base))
    return [record for record in records if record is not None]


def read_record(path: pathlib.Path) -> Rollback | None:
    """Reads a file of `versions.rollback_files`; None where it is damaged, and the log says why."""
    try:
        return parsed(read_regular(path), int(path.stem))
    except NoRecordError as error:
        why = str(error)
    except OSError as error:
        why = shown(str(error))
    logger.warning(
        "%s cannot be read (%s); expected the record of a rollback. It is left out. Put the "
        "file back from a copy, or remove it.",
        path,
        why,
    )
    return None


def to_json(done: Rollback) -> str:
    """Returns the record of a rollback, for `parsed`; the file's name alone has the new version."""
    record = dataclasses.asdict(done)
    del record["new_version"]
    return json.dumps(record, indent=1)


def parsed(content: bytes, version: int) -> Rollback:
    """Reads the record of the rollback that published a version.

    Raises:
      NoRecordError: If it is none.
    """
    try:
        document = json.loads(content.decode())
        numbered = json.dumps({**document, "new_version": version})
        record = _RECORD.validate_json(numbered, strict=True)
    except pydantic.ValidationError as error:
        raise NoRecordError(faults_of(error)) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise NoRecordError(shown(str(error))) from error
    # Versions only rise: without that, a chain of rollbacks might have no end.
    if max(record.rolled_back_to, record.rolled_back_from) >= version:
        raise NoRecordError("it leads to a lower version")
    return record


def withdrawn(base: pathlib.Path) -> dict[str, str]:
    """Returns the models that were rolled back and not restored since, by a rollback or by force.

    Returns:
      For the digests of each, of its content, answers and weights, what happened, in words.
    """
    found: dict[str, str] = {}
    for done in recorded(base):
        words = (
            f"version {done.rolled_back_from} was rolled back by {shown(done.user)} on "
            f"{shown(done.time)}"
        )
        withdrawn_digests = (done.withdrawn, done.withdrawn_answers, done.withdrawn_weights)
        found.update((digest, words) for digest in withdrawn_digests if digest)
        for digest in (done.restored, done.restored_answers, done.restored_weights):
            if digest:
                found.pop(digest, None)
    for digest in _served_digests(base) if found else []:
        found.pop(digest, None)
    return found


def _served_digests(base: pathlib.Path) -> list[str]:
    served = versions.served_versions(base)
    if not served:
        return []
    kept = kept_digests(versions.kept_folder(base, served[-1]))
    digests = (versions.content_digest(base / str(served[-1])), *kept)
    return [digest for digest in digests if digest]


def answers_digest(folder: pathlib.Path) -> str | None:
    """Returns the SHA-256 of the reference images in a folder and of the answers to them.

    A model that is trained again with the same input gives the same answers to the bit, while its
    export has other bytes: TensorFlow writes a random number into it.

    Args:
      folder: Folder of a model artifact, or of the kept files of a version.

    Returns:
      The digest, hexadecimal; None where there are none.
    """
    path = folder / features.GOLDEN_FILE
    try:
        return versions.file_digest(path) if path.is_file() else None
    except OSError:
        return None


def kept_digests(folder: pathlib.Path) -> KeptDigests:
    """Returns the digests of the files beside an export.

    The answers change with the test split, which the reference images are from. The weights do not.

    Args:
      folder: Folder of a model artifact, or of the kept files of a version.
    """
    return KeptDigests(answers_digest(folder), _weights_digest(folder))


def _weights_digest(folder: pathlib.Path) -> str | None:
    path = folder / features.KERAS_MODEL_FILE
    if not path.is_file():
        return None
    try:
        return weights_digest(folder)
    except Exception as error:  # Whatever the readers of archives raise, the file is damaged.
        logger.warning("%s cannot be read (%s); expected weights.", path, shown(str(error)))
        return None


def origin(version: int, rollbacks: Iterable[Rollback]) -> int:
    """Returns the version that a run pushed with this content: the end of a chain of rollbacks."""
    earlier = {done.new_version: done.rolled_back_to for done in rollbacks}
    while version in earlier:
        version = earlier[version]
    return version
