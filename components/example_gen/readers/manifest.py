"""A manifest: a table (CSV, TSV or Parquet) with the path and the label of each image file."""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence, Set

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.example_gen.readers import (
    base,
    image_files,
    leftovers,
    split_columns,
    split_names,
    tables,
)
from components.example_gen.readers.files import (
    WRITE_SLASHES,
    Files,
    changed,
    hash_file,
    is_too_long,
    suffix,
)
from components.example_gen.readers.folder import Folder
from components.features import IMAGE_SUFFIXES
from components.messages import counted, listed, shown

# Some files may be missing; if none of the first ones is there, the table is about something else.
_TRIED = 100
_NO_ID = "If the column is no id, rename it, or name another one as data.id_column."
_NO_QUOTE = "Remove the quotation mark that opens there, or write it twice within quotation marks."
# What ends a value or a row of a table of text.
_BETWEEN_CELLS = re.compile(r'[,;\t"\r\n]')
_OTHER_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclasses.dataclass(frozen=True)
class _Columns:
    """Names of the columns of a manifest; the last two may be missing."""

    path: str
    label: str
    id: str | None
    split: str | None

    @property
    def used(self) -> set[str | None]:
        """Those that are read; the others are carried along."""
        return {self.path, self.label, self.id, self.split}


@dataclasses.dataclass(frozen=True)
class _Manifest:
    """A manifest that was read.

    Attributes:
      source: Relative path of the manifest.
      sha256: SHA-256 of what was read.
      columns: Names of the columns that have a meaning.
      paths: Relative path of each image.
      labels: Label of each image.
      ids: Id of each image.
      splits: Split of each image.
      further: The further columns.
    """

    source: str
    sha256: str
    columns: _Columns
    paths: list[str]
    labels: list[str]
    ids: list[str]
    splits: list[int]
    further: pa.Table


def recognise(folder: Folder, candidates: Sequence[str]) -> Manifest | None:
    """Opens the manifests among these tables; None where there is none whose images are there.

    Raises:
      ReadingError: A manifest is unsound, or there are several that are not one for each split.
    """
    files = folder.files
    usable = [
        (path, columns)
        for path in candidates
        if (columns := folder.attempted(path, functools.partial(_columns, folder, path)))
        and folder.attempted(path, functools.partial(_has_images, folder, path, columns))
    ]
    if not usable:
        return None
    tables.refuse_broken(folder, candidates)
    usable.sort(key=lambda each: split_names.of_file(each[0]))
    paths = [path for path, _ in usable]
    _check_one_each(files, paths)
    tables.note_deeper(folder, paths, tables.SUFFIXES)
    by_file = len(usable) > 1
    read = [_read(folder, path, columns, by_file) for path, columns in usable]
    return Manifest(folder, read)


def _columns(folder: Folder, path: str) -> _Columns | None:
    files, options = folder.files, folder.options
    names = _names(files, path)
    image = tables.find_column(names, options.path_column, tables.PATH_NAMES)
    label = tables.find_column(
        [name for name in names if name != image], options.label_column, tables.LABEL_NAMES
    )
    if image is None or label is None:
        asked = [name for name in (options.path_column, options.label_column) if name is not None]
        if asked:
            folder.missed[path] = (
                f"no columns for path and label with the names that are set ({listed(asked)}); "
                f"expected them among {listed(names[:_TRIED])}. Set data.path_column and "
                "data.label_column to columns of the table."
            )
        elif hint := _misread(files, path, names):
            folder.missed[path] = hint
        else:
            folder.no_manifests[path] = _without_columns(names)
        return None
    left = [name for name in names if name not in (image, label)]
    return _Columns(
        image,
        label,
        tables.optional_column(files, path, left, options.id_column, tables.ID_NAMES),
        tables.optional_column(files, path, left, options.split_column, tables.SPLIT_NAMES),
    )


def _misread(files: Files, path: str, names: Sequence[str]) -> str | None:
    """Why the columns of a table of text were not seen, though they are there."""
    if suffix(path) not in tables.DELIMITERS:
        return None
    if not names:
        with tables.opened(files, path) as stream:
            is_empty = not stream.read(1)
        if is_empty:
            return None
        return (
            "the first row is blank; expected the names of the columns. Remove the blank row, and "
            "write the names, such as path and label, if they are missing."
        )
    if any(map(tables.is_spaced, names)):
        return (
            f"a space before a quotation mark in the first row ({listed(names[:_TRIED])}); "
            f"expected none. {tables.NO_SPACE}"
        )
    for delimiter, word in _OTHER_DELIMITERS.items():
        columns = [name.strip(' "') for name in names[0].split(delimiter)]
        image = tables.find_column(columns, None, tables.PATH_NAMES)
        if len(names) == 1 and image and tables.find_column(columns, None, tables.LABEL_NAMES):
            usual = _OTHER_DELIMITERS[tables.DELIMITERS[suffix(path)]]
            return (
                f"the columns are separated by {word}; expected {usual} in a {suffix(path)} file. "
                "Save it with commas as .csv, or with tabs as .tsv."
            )
    return None


def _without_columns(names: Sequence[str]) -> str:
    held = f"its first row is {listed(names)}" if names else "it is empty"
    return (
        f"{held}; expected the names of the columns, with one for the path and one for the label "
        f"of each image, such as {tables.PATH_NAMES[0]} and {tables.LABEL_NAMES[0]}. Fix the first "
        "row, or set data.path_column and data.label_column."
    )


def _names(files: Files, path: str) -> Sequence[str]:
    if suffix(path) != ".parquet":
        return tables.read_header(files, path).columns
    return tables.parquet_schema(files, path).names


def _has_images(folder: Folder, path: str, columns: _Columns) -> bool:
    """Whether one of the first images of a table is there."""
    files = folder.files
    if suffix(path) == ".parquet":
        kind = tables.parquet_schema(files, path).field(columns.path).type
        if not tables.is_text(kind):
            folder.missed[path] = _no_paths(columns.path, kind)
            return False
        names = tables.first_parquet_texts(files, path, columns.path)
    else:
        header = tables.read_header(files, path)
        names = tables.first_rows(files, header)[columns.path].to_pylist()
    tried = [name for name in names[:_TRIED] if isinstance(name, str)]
    if any(files.why_unusable(place) is None for place in _places(folder, path, tried)):
        return True
    first = f"no image that is there (the first is {shown(str(names[0]))})" if names else "no image"
    folder.missed[path] = (
        f"the column {shown(columns.path)} names {first}; expected paths that count from the "
        f"folder of the manifest. Fix the paths, or copy the images there{_ways_out(folder, tried)}"
    )
    return False


def _ways_out(folder: Folder, names: Sequence[str]) -> str:
    """The end of a sentence about names of images that are not there, and what else may help."""
    is_outside = any(name.startswith("/") or ".." in name.split("/") for name in names)
    leave = ", or set data.outside_files=true to read images elsewhere"
    allow = leave if is_outside and not folder.options.outside_files else ""
    slash = f" {WRITE_SLASHES}" if any("\\" in name for name in names) else ""
    space = f" {tables.NO_SPACE}" if any(map(tables.is_spaced, names)) else ""
    return f"{allow}.{slash}{space}"


def _no_paths(column: str, kind: pa.DataType) -> str:
    if tables.is_bytes(kind):
        return (
            f"the column {shown(column)} is of type {shown(str(kind))} and does not hold images; "
            "expected text with the paths of image files. Convert the column to text."
        )
    return (
        f"the column {shown(column)} is of type {shown(str(kind))}; expected paths of image files, "
        "or the bytes of image files (binary, or a struct with bytes). Write each image as the "
        "bytes of a PNG file."
    )


def _places(folder: Folder, path: str, names: Sequence[str]) -> list[str]:
    """Where the images of a table lie, counted from the data folder.

    Some systems write é as one character, others as two. A name that is there in one form alone
    means the file of that form.
    """
    places = [tables.relative(path, name) for name in names]
    if all(map(str.isascii, places)):
        return places
    there = set(folder.listing.paths)
    composed: dict[str, list[str]] = {}
    for each in folder.listing.paths:
        if not each.isascii():
            composed.setdefault(unicodedata.normalize("NFC", each), []).append(each)

    def spelled(place: str) -> str:
        if place.isascii() or place in there:
            return place
        alike = composed.get(unicodedata.normalize("NFC", place), [])
        return alike[0] if len(alike) == 1 else place

    return [spelled(place) for place in places]


def _check_one_each(files: Files, paths: Sequence[str]) -> None:
    splits = [split_names.of_file(path) for path in paths]
    if len(paths) > 1 and (base.UNDECIDED in splits or len(set(splits)) < len(splits)):
        raise base.ReadingError(
            f"{files.shown('')} holds several manifests ({listed(paths)}); expected one, or one "
            "each for train, val and test, called like that. Remove or rename the others."
        )


def _read(folder: Folder, path: str, columns: _Columns, by_file: bool) -> _Manifest:
    files = folder.files
    table, sha256 = _table(files, path)
    texts = {
        name: tables.as_text(files, path, name, table[name])
        for name in (columns.path, columns.label, columns.id)
        if name is not None
    }
    for name in texts:
        _refuse_empty(files, path, name, texts[name], _NO_ID if name == columns.id else "")
    paths = _places(folder, path, texts[columns.path])
    _refuse_twice(files, path, columns.path, paths)
    if columns.id is not None:
        _refuse_twice(files, path, columns.id, texts[columns.id], _NO_ID)
    split = split_names.of_file(path) if by_file else base.UNDECIDED
    further = [name for name in table.column_names if name not in columns.used]
    if suffix(path) in tables.DELIMITERS:
        _refuse_swallowed(folder, path, table.select(further), set(paths))
    return _Manifest(
        source=path,
        sha256=sha256,
        columns=columns,
        paths=paths,
        labels=[label.strip() for label in texts[columns.label]],
        ids=texts[columns.id]
        if columns.id is not None
        else image_files.ids([tables.relative(path, name) for name in texts[columns.path]]),
        splits=[split] * len(paths)
        if columns.split is None
        else split_columns.read(files, path, columns.split, table[columns.split], split),
        further=table.select(further),
    )


def _table(files: Files, path: str) -> tuple[pa.Table, str]:
    if suffix(path) != ".parquet":
        table, sha256 = tables.read_text(files, tables.read_header(files, path))
    else:
        table, sha256 = tables.read_parquet(files, path)
    if not table.num_rows:
        raise base.ReadingError(
            f"{files.shown(path)} has no rows; expected one for each image. Add them, or remove "
            "the file."
        )
    return table, sha256


def _refuse_empty(files: Files, path: str, name: str, texts: Sequence[str], hint: str) -> None:
    empty = [row for row, text in enumerate(texts) if not text.strip()]
    tables.refuse_rows(files, path, f"no {shown(name)}", "a value in each row", empty, hint)
    broken = [row for row, text in enumerate(texts) if "\n" in text or "\r" in text]
    tables.refuse_rows(files, path, f"a line break in {shown(name)}", "a single line", broken)


def _refuse_swallowed(folder: Folder, path: str, further: pa.Table, known: Set[str]) -> None:
    """Refuses values that hold the rows of other images.

    A quotation mark that is not closed makes one value of all rows up to the next one.
    """
    images = {each for each in folder.listing.paths if suffix(each) in ("", *IMAGE_SUFFIXES)}

    def is_left_out(cell: str) -> bool:
        place = tables.relative(path, cell)
        if place in known or not cell:
            return False
        return place in images or (
            suffix(place) in IMAGE_SUFFIXES and folder.files.why_unusable(place) is None
        )

    for name in further.column_names:
        column = further[name]
        broken = pc.indices_nonzero(pc.match_substring_regex(column, r"[\r\n]")).to_pylist()
        for row in broken:
            cells = _BETWEEN_CELLS.split(column[row].as_py())
            image = next(filter(is_left_out, map(str.strip, cells)), None)
            if image is not None:
                fault = f"rows of other images in {shown(name)} ({shown(image)}, say)"
                expected = "a closing quotation mark in the same row"
                tables.refuse_rows(folder.files, path, fault, expected, [row], _NO_QUOTE)


def _refuse_twice(files: Files, path: str, name: str, texts: Sequence[str], hint: str = "") -> None:
    if len(set(texts)) == len(texts):
        return
    counts = collections.Counter(texts)
    rows = [row for row, text in enumerate(texts) if counts[text] > 1]
    twice = next(text for text in texts if counts[text] > 1)
    fault = f"the same {shown(name)} ({shown(twice)}, say)"
    tables.refuse_rows(files, path, fault, "each of them once", rows, hint)


def _within(files: Files, paths: Sequence[str]) -> Iterator[str]:
    """The paths as they count from the data folder, also of images that are named otherwise."""
    root = files.local("")
    real = functools.cache(os.path.realpath)
    for path in paths:
        yield path
        place = files.local(path) if path.startswith("/") or ".." in path.split("/") else None
        if place and root and not is_too_long(place):
            yield os.path.relpath(place, root)
            # Links may lead to the folders, but an image that is a link keeps its name.
            folder, name = os.path.split(place)
            yield os.path.relpath(os.path.join(real(folder), name), real(root))


class Manifest:
    """Images that a manifest names, or one manifest for each split."""

    form = base.Form.MANIFEST
    doubts: tuple[str, ...] = ()

    def __init__(self, folder: Folder, manifests: Sequence[_Manifest]):
        """Joins the manifests.

        Raises:
          ReadingError: They contradict one another.
        """
        files, listing = folder.files, folder.listing
        self._files = files
        self._manifests = manifests
        self._paths = [path for manifest in manifests for path in manifest.paths]
        self._ids = [name for manifest in manifests for name in manifest.ids]
        self.splits = split_names.known(
            split for manifest in manifests for split in manifest.splits
        )
        self._refuse_shared()
        self._listing = listing
        sources = [manifest.source for manifest in manifests]
        columns = manifests[0].columns
        named = [columns.path, columns.label, *filter(None, (columns.id, columns.split))]
        self.summary = (
            f"{listed(sources)} with {counted(len(self._paths), 'image')}, in the columns "
            f"{listed(named)}"
        )
        self.ignored = leftovers.lines(
            folder,
            {*_within(files, self._paths), *sources}.__contains__,
            f"{listed(sources)} does not name them",
        )

    @functools.cached_property
    def _unusable(self) -> set[str]:
        """The images that cannot be opened; found when asked for, since workers need it not."""
        known = set(self._listing.paths) - self._listing.doubtful
        doubtful = (path for path in self._paths if path not in known)
        return {path for path in doubtful if self._files.why_unusable(path) is not None}

    def _refuse_shared(self) -> None:
        for what, names, hint in (("path", self._paths, ""), ("id", self._ids, f" {_NO_ID}")):
            if len(set(names)) < len(names):
                counts = collections.Counter(names)
                twice = [name for name, count in counts.items() if count > 1]
                sources = listed([manifest.source for manifest in self._manifests])
                raise base.ReadingError(
                    f"{sources}: the same {what} in several of them ({listed(twice)}); expected "
                    f"each image in one split alone. Remove it from the others.{hint}"
                )

    def sources(self) -> list[str]:
        """The manifests, then the images that can be opened."""
        manifests = [manifest.source for manifest in self._manifests]
        return [*manifests, *(path for path in self._paths if path not in self._unusable)]

    def state(self, path: str) -> tuple[int, ...] | None:
        """What changes when a source does; None where that is unknown."""
        return self._files.state(path)

    def hash_source(self, path: str) -> str:
        """SHA-256 of the file; empty for an image that cannot be read."""
        if any(path == manifest.source for manifest in self._manifests):
            return hash_file(self._files, path)
        return image_files.hash_image(self._files, path)

    def digest_lines(self, contents: Mapping[str, str]) -> list[str]:
        """Path and digest of each file."""
        paths = [*(manifest.source for manifest in self._manifests), *self._paths]
        return [image_files.digest_line(path, contents.get(path, "")) for path in paths]

    def index(self, contents: Mapping[str, str]) -> base.Index:
        """Lists all examples in the order of the manifest."""
        stale = [each.source for each in self._manifests if contents[each.source] != each.sha256]
        if stale:
            raise changed(self._files, stale)
        values, labels = tables.encoded(
            [label for manifest in self._manifests for label in manifest.labels]
        )
        splits = [split for manifest in self._manifests for split in manifest.splits]
        return base.Index(
            ids=self._ids,
            values=values,
            labels=labels,
            splits=np.array(splits, np.int8),
            contents=[contents.get(path, "") for path in self._paths],
            columns=self._further(),
        )

    def _further(self) -> pa.Table | None:
        further = [manifest.further for manifest in self._manifests]
        if not any(table.num_columns for table in further):
            return None
        try:
            return pa.concat_tables(further, promote_options="default")
        except pa.ArrowException as error:
            sources = listed([manifest.source for manifest in self._manifests])
            raise base.ReadingError(
                f"{sources} have columns of one name but different types ({shown(str(error))}); "
                "expected the same columns. Convert those of one of them."
            ) from error

    def shards(self, index: base.Index) -> list[base.Shard]:
        """Consecutive files."""
        return image_files.shards(self._paths)

    def read(self, shard: base.Shard, contents: Mapping[str, str]) -> Iterator[base.Item]:
        """Yields the files, yet to be decoded."""
        return image_files.read(self._files, shard.files, contents)
