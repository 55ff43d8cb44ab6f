"""Arrays: one .npz file with images and labels under the usual names, such as x_train and y_train.

Nothing is unpickled, and no more is decompressed than the header of an array announces.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from components.example_gen.example_ids import MOST_EXAMPLES, advice_on_count, example_ids
from components.example_gen.readers import base, image_files, leftovers, split_names, tables
from components.example_gen.readers.files import Files, Unchanged, changed, hash_file
from components.example_gen.readers.folder import Folder, Shape
from components.features import MOST_IMAGE_PIXELS
from components.messages import by, listed, shown
from components.object_store import ObjectStoreError

SUFFIX = ".npz"
_IMAGES = frozenset(["x", "image", "images", "img", "imgs"])
_LABELS = frozenset(["y", "label", "labels", "target", "targets"])
_ENDING = ".npy"
_BATCH_BYTES = 2**24
_LONGEST_LABEL_BYTES = 4096
# Labels are held in memory, and equal ones take next to nothing in the file.
_MOST_LABEL_BYTES = 2**28
# Halves of a character of UTF-16, which alone are none.
_FIRST_HALF, _LAST_HALF = 0xD800, 0xDFFF


@dataclasses.dataclass(frozen=True)
class _Array:
    """An array of the file: its name, and what its header says."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    header_bytes: int


@dataclasses.dataclass(frozen=True)
class _Part:
    """Images and labels of a split."""

    split: int
    images: _Array
    labels: _Array

    @property
    def name(self) -> str:
        """First part of the ids."""
        return split_names.first_part(self.split)

    @property
    def count(self) -> int:
        """Number of images."""
        return self.images.shape[0]


def recognise(folder: Folder) -> Arrays | None:
    """Opens the .npz file of a folder; None where there is none.

    Raises:
      ReadingError: There are several, or its arrays cannot be used.
    """
    files = folder.files
    meant = []
    for path in folder.listing.with_suffix([SUFFIX]):
        if "/" in path:
            continue
        names = folder.attempted(path, functools.partial(_names, files, path))
        if names is None:
            continue
        if any(meaning and meaning[0] for meaning in map(_meaning, names)):
            meant.append(path)
        else:
            folder.missed[path] = (
                f"arrays {listed(names) or '(none)'}; expected x_train, y_train, x_test and "
                "y_test, or train_images, train_labels and so on, or images and labels. Rename "
                "them."
            )
    if meant and folder.broken:
        raise next(iter(folder.broken.values()))
    if len(meant) > 1:
        raise base.ReadingError(
            f"{files.shown('')} holds several .npz files with images ({listed(meant)}); expected "
            "one, with all arrays. Name one of the files with --data, or put all arrays into one "
            "with numpy.savez."
        )
    return Arrays(folder, meant[0]) if meant else None


def _names(files: Files, path: str) -> list[str]:
    with _opened(files, path) as archive:
        return [
            info.filename.removesuffix(_ENDING)
            for info in archive.infolist()
            if info.filename.endswith(_ENDING)
        ]


@contextlib.contextmanager
def _opened(files: Files, path: str) -> Iterator[zipfile.ZipFile]:
    with (
        tables.opened(files, path) as stream,
        _sound(files, path),
        zipfile.ZipFile(stream) as archive,
    ):
        yield archive


@contextlib.contextmanager
def _sound(files: Files, path: str) -> Iterator[None]:
    try:
        yield
    except (base.ReadingError, ObjectStoreError):
        raise
    # What zipfile and NumPy raise for hostile bytes is documented nowhere: zlib's, struct's and
    # tokenize's errors are among it.
    except Exception as error:
        raise base.ReadingError(
            f"{files.shown(path)} cannot be read ({shown(str(error))}); expected a whole .npz "
            "file. Write it again with numpy.savez, or copy it again."
        ) from error


class Arrays:
    """The arrays of one .npz file."""

    form = base.Form.ARRAYS
    doubts: tuple[str, ...] = ()

    def __init__(self, folder: Folder, path: str):
        """Reads and checks the headers.

        Raises:
          ReadingError: The file or an array cannot be used.
        """
        self._files = folder.files
        self._path = path
        self._unchanged = Unchanged(folder.files)
        names = _names(self._files, path)
        meanings = self._meanings(names)
        with _opened(self._files, path) as archive:
            arrays = {meaning: self._header(archive, name) for meaning, name in meanings.items()}
        self._parts = self._paired(arrays)
        for part in self._parts:
            self._check(part, folder.shape)
        self.splits = split_names.known(part.split for part in self._parts)
        sizes = by(self._parts[0].images.shape[1:])
        counts = " and ".join(f"{part.count} for {part.name}" for part in self._parts)
        self.summary = f"arrays in {shown(path)}: images of {sizes}, {counts}"
        used = {array.name for part in self._parts for array in (part.images, part.labels)}
        others = [name for name in names if name not in used]
        self.ignored = (
            *((f"arrays {listed(others)} of {shown(path)}",) if others else ()),
            *leftovers.lines(folder, lambda other: other == path),
        )

    def _refused(self, reason: str) -> base.ReadingError:
        return base.ReadingError(f"{self._files.shown(self._path)}: {reason}")

    def _meanings(self, names: Sequence[str]) -> dict[tuple[bool, int], str]:
        """The names of the arrays of images (True) and of labels, by split."""
        meanings: dict[tuple[bool, int], str] = {}
        for name in names:
            meaning = _meaning(name)
            if meaning is None:
                continue
            if meaning in meanings:
                raise self._refused(
                    f"the arrays {listed([meanings[meaning], name])} mean the same; expected one "
                    "of them. Leave the other out."
                )
            meanings[meaning] = name
        return meanings

    def _header(self, archive: zipfile.ZipFile, name: str) -> _Array:
        info = archive.getinfo(f"{name}{_ENDING}")
        with archive.open(info) as stream:
            version = np.lib.format.read_magic(stream)
            if version == (1, 0):
                shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
            elif version == (2, 0):
                shape, is_fortran, dtype = np.lib.format.read_array_header_2_0(stream)
            else:
                raise self._refused(
                    f"array {shown(name)} has version {version} of the format; expected 1 or 2, "
                    "as of arrays of numbers. Write plain numbers with numpy.savez."
                )
            header_bytes = stream.tell()
        if dtype.hasobject:
            raise self._refused(
                f"array {shown(name)} holds pickled Python objects, which could run code; expected "
                "numbers or text. Convert it with astype, and write it again."
            )
        if is_fortran and len(shape) > 1:
            raise self._refused(
                f"array {shown(name)} is stored column by column; expected row by row. Convert it "
                "with numpy.ascontiguousarray, and write it again."
            )
        array = _Array(name, shape, dtype, header_bytes)
        if info.file_size != header_bytes + math.prod(shape) * dtype.itemsize:
            raise self._refused(
                f"array {shown(name)} is truncated or damaged: its header announces {by(shape)} "
                f"values and the archive {info.file_size} bytes; expected them to agree. Write it "
                "again."
            )
        return array

    def _paired(self, arrays: Mapping[tuple[bool, int], _Array]) -> list[_Part]:
        splits = sorted({which for _, which in arrays})
        if base.UNDECIDED in splits and len(splits) > 1:
            raise self._refused(
                f"arrays with and without a split ({listed([a.name for a in arrays.values()])}); "
                "expected one or the other. Rename or remove some of them."
            )
        for which in splits:
            for is_images, missing in ((True, "images"), (False, "labels")):
                if (is_images, which) not in arrays:
                    other = arrays[not is_images, which].name
                    raise self._refused(
                        f"array {shown(other)} without its {missing}; expected both. Add the "
                        f"{missing} under a name such as {missing}_{split_names.first_part(which)}."
                    )
        return [_Part(which, arrays[True, which], arrays[False, which]) for which in splits]

    def _check(self, part: _Part, shape: Shape | None) -> None:
        self._check_images(part.images, shape)
        self._check_labels(part.labels)
        if part.count != part.labels.shape[0]:
            raise self._refused(
                f"{part.count} images in {shown(part.images.name)} and {part.labels.shape[0]} "
                f"labels in {shown(part.labels.name)}; expected one label for each image. Make "
                "them of equal length."
            )
        if not 0 < part.count <= MOST_EXAMPLES:
            raise self._refused(
                f"{part.count:,} images in {shown(part.images.name)}; expected at least one, at "
                f"most {MOST_EXAMPLES:,}. {advice_on_count(part.count)}"
            )

    def _check_images(self, images: _Array, shape: Shape | None) -> None:
        name = shown(images.name)
        if images.dtype != np.uint8:
            hint = (
                "If they lie between 0 and 1, multiply by 255 and round first: "
                "(255 * x).round().astype('uint8')."
                if images.dtype.kind == "f"
                else "Convert them with astype('uint8') if all lie there."
            )
            raise self._refused(
                f"array {name} holds {_in_words(images.dtype)}; expected unsigned bytes (uint8), "
                f"from 0 to 255. {hint}"
            )
        sizes = images.shape[1:]
        if len(images.shape) not in (3, 4) or sizes[2:] not in ((), (1,), (3,)):
            channels_first = len(sizes) == 3 and sizes[0] in (1, 3)
            hint = (
                "Move the channels to the end: x.transpose(0, 2, 3, 1)."
                if channels_first
                else "Reshape the array."
            )
            raise self._refused(
                f"array {name} is of shape {by(images.shape)}; expected count x height x width, or "
                f"count x height x width x channels with 1 or 3 channels. {hint}"
            )
        height, width, *channels = sizes
        if height * width > MOST_IMAGE_PIXELS:
            raise self._refused(
                f"array {name} has images of {by(sizes)}; expected at most "
                f"{MOST_IMAGE_PIXELS:,} pixels. Use smaller images."
            )
        if 0 in sizes or (shape is not None and (height, width, *(channels or [1])) != shape):
            expected = by(shape) if shape else "at least one pixel"
            raise self._refused(
                f"array {name} has images of {by(sizes)}; expected {expected}, as the schema says. "
                "Use images of that size, or change the shape in the schema."
            )

    def _check_labels(self, labels: _Array) -> None:
        name = shown(labels.name)
        if len(labels.shape) != 1 and labels.shape[1:] != (1,):
            hint = (
                "Of labels with a column for each class, take y.argmax(axis=1)."
                if len(labels.shape) == 2
                else "Reshape the array."
            )
            raise self._refused(
                f"array {name} is of shape {by(labels.shape) or '()'}; expected one "
                f"label for each image. {hint}"
            )
        if labels.dtype.kind not in "iuUS":
            raise self._refused(
                f"array {name} holds {_in_words(labels.dtype)}; expected whole numbers or text. "
                "Convert them with astype('int64')."
            )

        size = labels.dtype.itemsize
        if size > _LONGEST_LABEL_BYTES or size * labels.shape[0] > _MOST_LABEL_BYTES:
            raise self._refused(
                f"array {name} holds {labels.shape[0]} {_in_words(labels.dtype)}; expected labels "
                f"of at most {_LONGEST_LABEL_BYTES} bytes each, and {_MOST_LABEL_BYTES:,} in all. "
                "Shorten them, or write numbers."
            )

    def sources(self) -> list[str]:
        """The file."""
        return [self._path]

    def state(self, path: str) -> tuple[int, ...] | None:
        """What changes when a source does; None where that is unknown."""
        return self._files.state(path)

    def hash_source(self, path: str) -> str:
        """SHA-256 of the file; reads every array that is used to its end, with its checksum."""
        digest = hash_file(self._files, path)
        for part in self._parts:
            for array in (part.images, part.labels):
                for _ in self._rows(array):
                    pass
        return digest

    def _rows(self, array: _Array) -> Iterator[np.ndarray]:
        """Yields the values of an array, some rows at a time."""
        row_bytes = math.prod(array.shape[1:]) * array.dtype.itemsize
        at_once = max(1, _BATCH_BYTES // max(1, row_bytes))
        with (
            _opened(self._files, self._path) as archive,
            archive.open(f"{array.name}{_ENDING}") as stream,
        ):
            stream.read(array.header_bytes)
            for start in range(0, array.shape[0], at_once):
                rows = min(at_once, array.shape[0] - start)
                content = stream.read(rows * row_bytes)
                if len(content) != rows * row_bytes:
                    raise EOFError(f"array {array.name} ends early")
                yield np.frombuffer(content, array.dtype).reshape(rows, *array.shape[1:])
            # Only at the end of an array its checksum is compared.
            stream.read(1)

    def digest_lines(self, contents: Mapping[str, str]) -> list[str]:
        """Path and digest of the file."""
        return [image_files.digest_line(self._path, contents[self._path])]

    def index(self, contents: Mapping[str, str]) -> base.Index:
        """Lists all examples: their ids are split and position."""
        self._unchanged.check(self._path, contents)
        texts = [text for part in self._parts for text in self._texts(part.labels)]
        values, labels = tables.encoded(texts)
        counts = [part.count for part in self._parts]
        return base.Index(
            ids=[name for part in self._parts for name in example_ids(part.name, part.count)],
            values=values,
            labels=labels,
            splits=np.repeat([part.split for part in self._parts], counts).astype(np.int8),
        )

    def _texts(self, labels: _Array) -> list[str]:
        values = np.concatenate([rows.reshape(-1) for rows in self._rows(labels)])
        if labels.dtype.kind in "iu":
            return [str(value) for value in values.tolist()]
        fault = f"array {shown(labels.name)} holds a label that is no text"
        expected = "Unicode text" if labels.dtype.kind == "U" else "UTF-8"
        tables.refuse_rows(self._files, self._path, fault, expected, _without_text(values))
        texts = [value.decode() if isinstance(value, bytes) else value for value in values.tolist()]
        stripped = [text.strip() for text in texts]
        empty = [row for row, text in enumerate(stripped) if not text]
        fault = f"array {shown(labels.name)} has no label"
        tables.refuse_rows(self._files, self._path, fault, "a label in each row", empty)
        return stripped

    def shards(self, index: base.Index) -> list[base.Shard]:
        """One for each array of images, since one can be read from its beginning alone."""
        shards, first = [], 0
        for part in self._parts:
            shards.append(base.Shard(part.name, first, part.count, self._path))
            first += part.count
        return shards

    def read(self, shard: base.Shard, contents: Mapping[str, str]) -> Iterator[np.ndarray]:
        """Yields the images, uint8 [height, width, channels]."""
        self._unchanged.check(self._path, contents)
        part = next((part for part in self._parts if part.name == shard.name), None)
        if part is None or part.count != shard.count:
            raise changed(self._files, [self._path])
        height, width, *channels = part.images.shape[1:]
        for images in self._rows(part.images):
            yield from images.reshape(-1, height, width, *(channels or [1]))
        self._unchanged.check(self._path, contents)


def _meaning(name: str) -> tuple[bool, int] | None:
    """Whether a name means images or labels, and of which split; None if it means neither."""
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    which = [split_names.of_name(word) for word in words]
    named = [each for each in which if each is not None]
    kinds = [word for word, each in zip(words, which, strict=True) if each is None]
    if len(kinds) != 1 or len(named) > 1 or kinds[0] not in _IMAGES | _LABELS:
        return None
    return kinds[0] in _IMAGES, named[0] if named else base.UNDECIDED


def _without_text(values: np.ndarray) -> list[int]:
    """Positions of the values that are neither Unicode text nor UTF-8."""
    if values.dtype.kind == "S":
        return [row for row, value in enumerate(values.tolist()) if not _is_utf8(value)]
    four_bytes = np.dtype(np.uint32).newbyteorder(values.dtype.byteorder)
    codes = values.view(four_bytes).reshape(len(values), -1)
    is_half = (codes >= _FIRST_HALF) & (codes <= _LAST_HALF)
    rows: list[int] = np.flatnonzero((is_half | (codes > sys.maxunicode)).any(axis=1)).tolist()
    return rows


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _in_words(dtype: np.dtype[np.generic]) -> str:
    words = {
        "f": "floating-point numbers",
        "i": "signed integers",
        "u": "integers",
        "b": "booleans",
    }
    return f"{words.get(dtype.kind, 'values')} ({shown(str(dtype))})"
