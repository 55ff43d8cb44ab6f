"""Reads what is served: the newest version, with what is kept of it, found sound or refused.

Needs neither TensorFlow nor TFX, so that a damaged model is told before anything heavy starts.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from itertools import zip_longest
from typing import Any

from components import features
from components.image_schema import ImageSchema
from components.pusher import versions

_MODEL_FILE = "saved_model.pb"
# More of them would hide the message in which they stand.
_SHOWN_CLASSES = 3


class UnreadableModelError(ValueError):
    """A served model that cannot be read; the message says why."""


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """A served version whose files are as they were published.

    Attributes:
      version: its number.
      export: folder of the SavedModel.
      digest: of the export.
      kept: files that lay beside the export in its model artifact; none where nothing is kept, as
        of a version that somebody put there by hand.
      image_shape: height, width and channels of the images that it takes.
      class_names: its classes in label order.
    """

    version: int
    export: pathlib.Path
    digest: str
    kept: tuple[pathlib.Path, ...]
    image_shape: tuple[int, ...]
    class_names: tuple[str, ...]


def read_served(base: pathlib.Path) -> ServedModel | None:
    """The newest version below `base`; None where nothing is served.

    Raises:
      UnreadableModelError: where it cannot be read, or is not as it was published.
    """
    try:
        served = versions.served_versions(base)
    except OSError as error:
        raise UnreadableModelError(f"{base} cannot be read ({error.strerror})") from error
    # As where a link leads nowhere: what is served lies on a disk that is not there.
    if not base.is_dir() and os.path.lexists(base):
        raise UnreadableModelError(f"{base} is no folder")
    return read_version(base, served[-1]) if served else None


def read_version(base: pathlib.Path, version: int) -> ServedModel:
    """Reads a version below `base`.

    Raises:
      UnreadableModelError: where it cannot be read, or is not as it was published.
    """
    export = base / str(version)
    try:
        digest = _sound_export(export)
        kept = _sound_files(versions.kept_folder(base, version), export, digest)
        return ServedModel(version, export, digest, kept, *_described(export))
    except OSError as error:
        path = error.filename or export
        raise UnreadableModelError(f"{path} cannot be read ({error.strerror or error})") from error


def difference(model: ServedModel, schema: ImageSchema) -> str | None:
    """Image size and classes of a served model and a schema, in words; None where they agree."""
    if (model.image_shape, model.class_names) == (schema.shape, schema.class_names):
        return None
    served = _task(model.image_shape, model.class_names, schema.class_names)
    ours = _task(schema.shape, schema.class_names, model.class_names)
    return f"is for {served}; the schema is for {ours}"


def _sound_export(export: pathlib.Path) -> str:
    graph = export / _MODEL_FILE
    if not graph.is_file() or not graph.stat().st_size:
        raise UnreadableModelError(f"{graph} is missing or empty")
    return versions.content_digest(export)


def _sound_files(
    folder: pathlib.Path, export: pathlib.Path, digest: str
) -> tuple[pathlib.Path, ...]:
    if not folder.exists():
        return ()
    digests = _read_json(folder / versions.DIGESTS_FILE)
    files = digests.get("files")
    if not isinstance(digests.get("export"), str) or not isinstance(files, dict):
        raise UnreadableModelError(f"{folder / versions.DIGESTS_FILE} names no digests")
    if digests["export"] != digest:
        raise UnreadableModelError(f"the files in {export} are not those that were published")
    for name, expected in files.items():
        if versions.file_digest(folder / name) != expected:
            raise UnreadableModelError(f"{folder / name} was changed since it was published")
    return tuple(folder / name for name in files)


def _described(export: pathlib.Path) -> tuple[tuple[int, ...], tuple[str, ...]]:
    path = export / features.EXPORT_DESCRIPTION_FILE
    described = _read_json(path)
    shape, names = _listed(described, "image_shape", int), _listed(described, "class_names", str)
    if not shape or not names:
        raise UnreadableModelError(f"{path} does not say image_shape and class_names")
    return shape, names


def _listed(described: dict[str, Any], key: str, kind: type) -> tuple[Any, ...]:
    """The values of a list; none where it is no list of such values."""
    values = described.get(key)
    sound = isinstance(values, list) and all(isinstance(value, kind) for value in values)
    return tuple(values or ()) if sound else ()


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UnreadableModelError(f"{path} is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise UnreadableModelError(f"{path} holds no JSON object")
    return content


def _task(shape: tuple[int, ...], names: tuple[str, ...], other: tuple[str, ...]) -> str:
    """Image size and classes, with the first few classes that the other side lacks."""
    size = "x".join(map(str, shape))
    own = [name for name in names if name not in other] or _from_first_difference(names, other)
    shown = ", ".join([*own[:_SHOWN_CLASSES], *(["..."] if len(own) > _SHOWN_CLASSES else [])])
    among = "among them " if len(own) < len(names) else ""
    return f"{size} images in {len(names)} classes" + (f" ({among}{shown})" if own else "")


def _from_first_difference(names: tuple[str, ...], other: tuple[str, ...]) -> list[str]:
    pairs = zip_longest(names, other)
    first = next((index for index, (one, two) in enumerate(pairs) if one != two), len(names))
    return list(names[first:])
