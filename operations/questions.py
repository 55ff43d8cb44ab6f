"""Reads image files and IDX files as questions for a model: images of the size that it takes."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageOps

from components import images
from components.example_gen import idx
from components.example_gen.readers.files import is_junk, suffix
from components.features import IMAGE_SUFFIXES
from components.images import Fit, ImageError, Preparation
from components.reading_report import Border
from pipeline import paths
from pipeline.errors import DataError, PathError
from pipeline.streams import output_to_log

# Border from which on it is bright, where the training images have a dark one; and the reverse.
_MIDDLE = 127
_BATCH_SIZE = 1000
# A larger file holds no image that could be used.
_MOST_BYTES = 2**30
_IDX_START, _GZIP_START = b"\x00\x00", b"\x1f\x8b"
# As in t10k-images-idx3-ubyte.gz, emnist-letters-test-images.idx3-ubyte and mine.idx.
_IDX_IMAGES = re.compile(r"images[-.]idx[0-9][-.][a-z]+(\.gz)?$|\.idx(\.gz)?$")
_OUTSIDE = (
    "the link leads out of the folder; expected links to what lies inside. Name the file or folder "
    "that it leads to."
)
_TIFF_STARTS = (b"II", b"MM")
_EXPECTED = "expected an image file, an IDX file, or a folder of images"
_AS_ASKED = "inverted: --invert always"
_FITTED = {Fit.PAD: "padded", Fit.CROP: "cropped", Fit.STRETCH: "stretched"}


class Invert(enum.StrEnum):
    """When an image is inverted: dark becomes bright."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclasses.dataclass(frozen=True)
class Form:
    """What the model takes, and how its training images looked.

    Attributes:
      preparation: How images become images of the model's size.
      border: Border of the training images.
      invert: When images are inverted.
    """

    preparation: Preparation
    border: Border
    invert: Invert


@dataclasses.dataclass(frozen=True)
class Question:
    """An image to classify.

    Attributes:
      name: Name of the file, with the position of the image in an IDX file.
      pixels: The image, uint8 [height, width, channels], in the model's size.
      notes: What was done to the image.
    """

    name: str
    pixels: np.ndarray
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Refused:
    """A file that cannot be classified.

    Attributes:
      file: Name of the file.
      reason: What is wrong, what was expected, how to fix it.
    """

    file: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Ignored:
    """What a folder holds besides images.

    Attributes:
      folder: The folder, as the user wrote it.
      kinds: The kinds of files with their counts.
    """

    folder: str
    kinds: str


def read_all(given: Sequence[pathlib.Path], form: Form) -> Iterator[Question | Refused | Ignored]:
    """Reads the images of files and folders in order; a bad file does not stop the others.

    Args:
      given: Image files, IDX files, and folders, whose image files, and IDX files with images, are
        read at any depth.
      form: What the model takes.
    """
    for path in given:
        try:
            place = _place(path)
            if place.is_dir():
                yield from _of_folder(path, place, form)
            else:
                yield from _of_file(str(path), place, form)
        except (DataError, PathError) as error:
            yield _refused(str(path), error)


def _place(path: pathlib.Path) -> pathlib.Path:
    """The full path; its characters do not matter here, since names are escaped when printed."""
    try:
        return paths.resolved(path, "predict")
    except PathError:
        place = paths.expanded(path, "predict")
        if not os.path.lexists(place):
            raise
        return _real(place)


def _of_folder(
    path: pathlib.Path, place: pathlib.Path, form: Form
) -> Iterator[Question | Refused | Ignored]:
    count = 0
    ignored = collections.Counter[str]()
    for file in _walk(place, ignored):
        if isinstance(file, Refused):
            count += 1
            yield Refused(str(path / os.path.relpath(file.file, place)), file.reason)
        elif kind := _kind_ignored(file):
            ignored[kind] += 1
        else:
            count += 1
            shown = str(path / file.relative_to(place))
            if file.is_symlink() and not _real(file).is_relative_to(place):
                yield Refused(shown, _OUTSIDE)
                continue
            try:
                yield from _of_file(shown, file, form)
            except (DataError, PathError) as error:
                yield _refused(shown, error)
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(ignored.items()))
    if not count:
        others = f" but {kinds}" if kinds else ""
        raise DataError(
            f"the folder has no image files{others}; expected IDX files of images, or names that "
            f"end in {', '.join(sorted(IMAGE_SUFFIXES))}. Name another folder, or the files "
            "themselves."
        )
    if kinds:
        yield Ignored(str(path), kinds)


def _walk(
    root: pathlib.Path, ignored: collections.Counter[str]
) -> Iterator[pathlib.Path | Refused]:
    """The files below a folder, of each folder those first that lie directly in it.

    Links to folders are followed as in training data: inside the folder that was given, and not
    below another link, so that the walk ends. Links to files may still lead out.
    """
    waiting = [(root, False)]
    while waiting:
        folder, linked = waiting.pop()
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            yield Refused(str(folder), _unreadable(error))
            continue
        below = []
        for entry in entries:
            if is_junk(entry.name):
                ignored["hidden or temporary"] += 1
            elif not _is_folder(entry):
                yield entry
            elif not entry.is_symlink():
                below.append((entry, linked))
            elif not (real := _real(entry)).is_relative_to(root):
                yield Refused(str(entry), _OUTSIDE)
            elif linked or _real(folder).is_relative_to(real):
                ignored["links to folders that lead back or lie below others"] += 1
            else:
                below.append((entry, True))
        waiting += reversed(below)


def _real(path: pathlib.Path) -> pathlib.Path:
    """Where a path leads; unlike `Path.resolve`, also for links in a circle."""
    return pathlib.Path(os.path.realpath(path))


def _is_folder(entry: pathlib.Path) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _kind_ignored(file: pathlib.Path) -> str | None:
    """The kind of a file that is not read; None for images and for IDX files of images."""
    ending = suffix(file.name)
    is_copy = ending == ".gz" and file.with_suffix("").exists()
    if ending in IMAGE_SUFFIXES or (_IDX_IMAGES.search(file.name) and not is_copy):
        return None
    return ascii(ending)[1:-1] or "without a suffix"


def _refused(name: str, error: Exception) -> Refused:
    """Some messages begin with the name, which stands beside the reason anyway."""
    return Refused(name, str(error).removeprefix(f"{name}: ").removeprefix(f"{name} "))


def _of_file(name: str, file: pathlib.Path, form: Form) -> Iterator[Question]:
    """Reads a file.

    Raises:
      DataError: The file cannot be used.
      PathError: It is a pipe or a device.
    """
    try:
        paths.refuse_endless(file)
        size = file.stat().st_size
        if size > _MOST_BYTES and not _is_idx(file):
            raise DataError(
                f"the file has {size:,} bytes; expected at most {_MOST_BYTES:,}. Make the image "
                "smaller."
            )
        if _is_idx(file):
            yield from _of_idx(name, file, form)
        else:
            yield _photo(name, file.read_bytes(), form)
    except FileNotFoundError as error:
        raise DataError(f"there is no such file; {_EXPECTED}. Check the path.") from error
    except OSError as error:
        raise DataError(_unreadable(error)) from error


def _unreadable(error: OSError) -> str:
    return f"cannot be read ({error.strerror or error}); {_EXPECTED}. Check its permissions."


def _is_idx(file: pathlib.Path) -> bool:
    with file.open("rb") as opened:
        start = opened.read(3)
    if start[:2] == _GZIP_START:
        return suffix(file.name) not in IMAGE_SUFFIXES
    is_named_so = _IDX_IMAGES.search(file.name) is not None
    return start[:2] == _IDX_START and (is_named_so or not idx.TYPE_CODES.isdisjoint(start[2:]))


def _of_idx(name: str, file: pathlib.Path, form: Form) -> Iterator[Question]:
    shape = form.preparation.shape
    position = 0
    try:
        for batch in idx.image_reader(str(file), shape).batches(_BATCH_SIZE):
            for image in batch:
                pixels, notes = image.reshape(shape), []
                if form.invert == Invert.ALWAYS:
                    pixels, notes = 255 - pixels, [_AS_ASKED]
                yield Question(f"{name}[{position}]", pixels, tuple(notes))
                position += 1
    except idx.IdxError as error:
        raise DataError(str(error)) from error


def _photo(name: str, content: bytes, form: Form) -> Question:
    preparation = form.preparation
    try:
        with _silent(content):
            image = images.decode(content, preparation.channels, preparation.background)
        why = _why_inverted(image, form)
        pixels = images.fitted(ImageOps.invert(image) if why else image, preparation)
    except ImageError as error:
        raise DataError(str(error)) from error
    notes = [why] if why else []
    if image.width * preparation.height != image.height * preparation.width:
        notes.append(f"{_FITTED[preparation.fit]} from {image.width}x{image.height}")
    return Question(name, pixels, tuple(notes))


def _silent(content: bytes) -> contextlib.AbstractContextManager[None]:
    """Hides what libtiff prints about damaged files, past Python; the reason is in the error."""
    if content[:2] not in _TIFF_STARTS:
        return contextlib.nullcontext()
    return output_to_log(pathlib.Path(os.devnull), verbose=False)


def _why_inverted(image: Image.Image, form: Form) -> str | None:
    """Says why an image is inverted, in a note; None if it is not."""
    if form.invert == Invert.ALWAYS:
        return _AS_ASKED
    # An image of the exact size is taken for one like those of the training.
    is_exact = image.size == (form.preparation.width, form.preparation.height)
    if form.invert == Invert.NEVER or form.preparation.channels != 1 or is_exact:
        return None
    is_bright = images.border(image) > _MIDDLE
    if form.border == "dark" and is_bright:
        return "inverted: its border is bright, those of the training images are dark"
    if form.border == "bright" and not is_bright:
        return "inverted: its border is dark, those of the training images are bright"
    return None
