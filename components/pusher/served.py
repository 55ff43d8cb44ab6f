"""Reads and checks the served model: the newest version and its kept files.

This module needs neither TensorFlow nor TFX, so that a damaged model is reported before they are
imported.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from itertools import zip_longest
from typing import TypeVar

from components import features
from components.class_names import composed
from components.image_schema import ImageSchema
from components.images import Fit, Preparation
from components.messages import by, shown
from components.pusher import versions

MODEL_FILE = "saved_model.pb"
# Images have no longer side, and servers count up to this.
_LONGEST_SIDE = 2**31 - 1
# More names would make the message hard to read.
_SHOWN_CLASSES = 3

Value = TypeVar("Value")
# Image size and class names.
_Task = tuple[tuple[int, ...], tuple[str, ...]]


class UnreadableModelError(ValueError):
    """A served model that cannot be read; the message says why."""


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """A served version with unchanged files.

    Attributes:
      version: Version number.
      export: Folder of the SavedModel.
      digest: Digest of the export.
      kept: Files that lay next to the export in its model artifact; empty if somebody put the
        version there by hand.
      image_shape: Height, width and channels of its images.
      class_names: Class names in label order.
      preparation: How it prepares image files; None if its export does not say.
    """

    version: int
    export: pathlib.Path
    digest: str
    kept: tuple[pathlib.Path, ...]
    image_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    preparation: Preparation | None


def read_served(base: pathlib.Path) -> ServedModel | None:
    """Returns the newest version below `base`; None if no model is served.

    Raises:
      UnreadableModelError: If it cannot be read, or has changed since it was published.
    """
    try:
        served = versions.served_versions(base)
    except OSError as error:
        raise UnreadableModelError(f"{base} cannot be read ({error.strerror})") from error
    # For example a broken link: the disk with the served models is not mounted.
    if not base.is_dir() and os.path.lexists(base):
        raise UnreadableModelError(f"{base} is no folder")
    return read_version(base, served[-1]) if served else None


def read_version(base: pathlib.Path, version: int) -> ServedModel:
    """Reads a version below `base`.

    Raises:
      UnreadableModelError: If it cannot be read, or has changed since it was published.
    """
    export = base / str(version)
    try:
        digest = _sound_export(export)
        kept = _sound_files(versions.kept_folder(base, version), export, digest)
        return ServedModel(version, export, digest, kept, *_described(export))
    except OSError as error:
        path = shown(str(error.filename or export))
        raise UnreadableModelError(f"{path} cannot be read ({error.strerror or error})") from error


def difference(model: ServedModel, schema: ImageSchema) -> str | None:
    """Describes how image size and classes of a model and a schema differ; None if they agree."""
    ours = (schema.shape, schema.class_names)
    return _difference((model.image_shape, model.class_names), ours, "the schema")


def preparation_difference(model: ServedModel, asked: Preparation) -> str | None:
    """Describes how a model and a run prepare image files; None if alike, or unknown."""
    own = model.preparation
    if own is None:
        return None
    settings = (
        ("images.fit", own.fit, asked.fit),
        ("images.background", own.background, asked.background),
    )
    differing = [setting for setting in settings if setting[1] != setting[2]]
    if not differing:
        return None
    ours = " and ".join(f"{name}={value}" for name, value, _ in differing)
    theirs = " and ".join(f"{name}={value}" for name, _, value in differing)
    return f"prepares image files with {ours}, and this run with {theirs}"


def version_difference(model: ServedModel, other: ServedModel) -> str | None:
    """Describes how image size and classes of two versions differ; None if they agree."""
    theirs = (other.image_shape, other.class_names)
    return _difference((model.image_shape, model.class_names), theirs, f"version {other.version}")


def _sound_export(export: pathlib.Path) -> str:
    graph = export / MODEL_FILE
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
        path = _beside(folder, name)
        if versions.file_digest(path) != expected:
            raise UnreadableModelError(f"{shown(str(path))} was changed since it was published")
    return tuple(folder / name for name in files)


def _beside(folder: pathlib.Path, name: str) -> pathlib.Path:
    """The path of a kept file; a name may lead neither to another folder nor to a device."""
    path = folder / name
    if path.parent != folder or path.name != name or path.is_symlink() or not path.is_file():
        raise UnreadableModelError(
            f"{folder / versions.DIGESTS_FILE} names {shown(name)}, which is no file of its folder"
        )
    return path


def _described(
    export: pathlib.Path,
) -> tuple[tuple[int, ...], tuple[str, ...], Preparation | None]:
    path = export / features.EXPORT_DESCRIPTION_FILE
    described = _read_json(path)
    shape, names = _listed(described, "image_shape", int), _listed(described, "class_names", str)
    if len(shape) != 3 or not all(0 < size <= _LONGEST_SIDE for size in shape) or not names:
        raise UnreadableModelError(f"{path} does not say image_shape and class_names")
    return shape, names, _preparation(described, shape)


def _preparation(described: dict[str, object], shape: tuple[int, ...]) -> Preparation | None:
    background = described.get("background")
    if type(background) is not int or background not in range(256):
        return None
    height, width, channels = shape
    try:
        return Preparation(height, width, channels, Fit(str(described.get("fit"))), background)
    except ValueError:
        return None


def _listed(described: dict[str, object], key: str, kind: type[Value]) -> tuple[Value, ...]:
    """Returns the values of a list; an empty tuple if it is not a list of such values."""
    values = described.get(key)
    # A truth value is an int for Python, and no size.
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        return ()
    return tuple(values)


def _read_json(path: pathlib.Path) -> dict[str, object]:
    # A pipe would keep its reader waiting, and a device might have no end.
    if path.exists() and not path.is_file():
        raise UnreadableModelError(f"{path} is no regular file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UnreadableModelError(f"{path} is not JSON ({shown(str(error))})") from error
    if not isinstance(content, dict):
        raise UnreadableModelError(f"{path} is not a JSON object")
    return content


def _difference(one: _Task, other: _Task, name: str) -> str | None:
    one, other = ((shape, tuple(map(composed, names))) for shape, names in (one, other))
    if one == other:
        return None
    return f"is for {_task(*one, other[1])}; {name} is for {_task(*other, one[1])}"


def _task(shape: tuple[int, ...], names: tuple[str, ...], other: tuple[str, ...]) -> str:
    """Describes image size and classes, with the first few classes that the other side lacks."""
    own = [name for name in names if name not in other] or _from_first_difference(names, other)
    more = ["..."] if len(own) > _SHOWN_CLASSES else []
    told = ", ".join([*map(shown, own[:_SHOWN_CLASSES]), *more])
    among = "among them " if len(own) < len(names) else ""
    return f"{by(shape)} images in {len(names)} classes" + (f" ({among}{told})" if own else "")


def _from_first_difference(names: tuple[str, ...], other: tuple[str, ...]) -> list[str]:
    pairs = zip_longest(names, other)
    first = next((index for index, (one, two) in enumerate(pairs) if one != two), len(names))
    return list(names[first:])
