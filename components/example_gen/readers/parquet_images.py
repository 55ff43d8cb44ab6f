"""Parquet of images: a column with the bytes of image files, and a column of labels.

This is what Hugging Face's library datasets writes: a struct of bytes and path, and whole numbers
whose names stand in the metadata of the schema.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import json
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.example_gen.example_ids import MOST_EXAMPLES, advice_on_count, example_ids
from components.example_gen.readers import (
    base,
    image_files,
    leftovers,
    lookalikes,
    split_columns,
    split_names,
    tables,
)
from components.example_gen.readers.files import (
    LONGEST_PATH,
    Files,
    Unchanged,
    changed,
    hash_file,
    suffix,
)
from components.example_gen.readers.folder import Folder
from components.messages import counted, listed, shown

SUFFIX = ".parquet"
_BYTES = "bytes"
# As in train-00000-of-00002.parquet; older versions of datasets write a hash behind the numbers.
_NUMBERED = re.compile(
    r"(?P<begin>.*)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})(?P<hash>-[0-9a-f]{16})?\.parquet"
)
_MOST_ROWS = 2000
# A large row group is read from its beginning for each shard of it.
_MOST_PIECES = 8
_BATCH_BYTES = 2**25
# A value that stands once in a dictionary can be that of every row.
_MOST_REPEATED_BYTES = 2**28


@dataclasses.dataclass(frozen=True)
class _File:
    """A file of a split, with the numbers of rows of its row groups."""

    path: str
    split: int
    groups: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of rows."""
        return sum(self.groups)


@dataclasses.dataclass(frozen=True)
class _Columns:
    """The columns of a file, and the names of the classes if the schema has them.

    Attributes:
      image: Column with the images.
      is_struct: Whether it holds structs with the bytes, not the bytes themselves.
      label: Column with the labels.
      split: Column with the splits; None without.
      names: Names of the classes in label order; None without.
      further: Columns that are not read.
    """

    image: str
    is_struct: bool
    label: str
    split: str | None
    names: tuple[str, ...] | None
    further: tuple[str, ...] = dataclasses.field(compare=False)


def recognise(folder: Folder) -> ParquetImages | None:
    """Opens the Parquet files with images of a folder; None where there are none.

    Raises:
      ReadingError: There are such files, but they cannot be used.
    """
    files = folder.files
    usable = {
        path: named
        for path in folder.listing.with_suffix([SUFFIX])
        if (named := folder.attempted(path, functools.partial(_columns, folder, path)))
    }
    if not usable:
        return None
    paths = _of_one_set(files, list(usable))
    _refuse_broken(folder, paths)
    _note_others(folder, paths, usable)
    _check_complete(files, paths)
    columns = {path: usable[path] for path in paths}
    first, *others = columns
    for other in others:
        if columns[other] != columns[first]:
            raise base.ReadingError(
                f"{files.shown(other)} has other columns or class names than "
                f"{shown(first)}; expected the same in all files. Write them alike, or move the "
                "files of the other data set elsewhere."
            )
    return ParquetImages(folder, list(columns), columns[first])


def _refuse_broken(folder: Folder, paths: Sequence[str]) -> None:
    """Refuses unreadable files where the data is, or of a split: their rows would be missing."""
    folders = {posixpath.dirname(path) for path in paths}
    for path, error in folder.broken.items():
        is_split = "" not in folders and split_names.of_file(path) != base.UNDECIDED
        if suffix(path) == SUFFIX and (posixpath.dirname(path) in folders or is_split):
            raise error


def _note_others(folder: Folder, paths: Sequence[str], usable: Collection[str]) -> None:
    """Notes why the other Parquet files are not read; it matters for one of a split."""
    for path in folder.listing.with_suffix([SUFFIX]):
        if path in usable and path not in paths:
            folder.no_manifests[path] = (
                f"it lies in another folder than {shown(paths[0])}; expected all files in the data "
                "folder, or in a folder for each split. Move it there."
            )
        elif path not in usable:
            folder.no_manifests[path] = (
                "it has no column of bytes; expected one with the images. Write each image as the "
                "bytes of a PNG file."
            )


def _of_one_set(files: Files, paths: list[str]) -> list[str]:
    """The files in the data folder itself, or else in one folder, or its folders train and test."""
    folders = sorted({posixpath.dirname(path) for path in paths})
    if "" in folders:
        return [path for path in paths if "/" not in path]
    sets = {
        posixpath.dirname(folder)
        if split_names.of_name(posixpath.basename(folder)) is not None
        else folder
        for folder in folders
    }
    if len(sets) > 1:
        raise base.ReadingError(
            f"{files.shown('')} holds Parquet files in several folders ({listed(folders)}); "
            "expected one data set. Give the folder of one of them with --data."
        )
    return paths


def _image_columns(schema: pa.Schema) -> list[str]:
    """Columns of bytes, or of structs with bytes."""
    return [field.name for field in schema if tables.is_bytes(field.type) or _is_struct(field.type)]


def _is_struct(kind: pa.DataType) -> bool:
    return (
        pa.types.is_struct(kind)
        and kind.get_field_index(_BYTES) >= 0
        and tables.is_bytes(kind.field(_BYTES).type)
    )


def _check_complete(files: Files, paths: Sequence[str]) -> None:
    """Refuses a set of numbered files of which one is missing, or there twice."""
    sets: dict[str, list[re.Match[str]]] = collections.defaultdict(list)
    for path in paths:
        if match := _NUMBERED.fullmatch(path):
            sets[match["begin"]].append(match)
    for matches in sets.values():
        _refuse_mixed(files, matches)
        _refuse_missing(files, matches)


def _refuse_mixed(files: Files, matches: Sequence[re.Match[str]]) -> None:
    """Refuses files of several sets that begin alike: images would be read twice."""
    numbers = collections.Counter(match["number"] for match in matches)
    twice = [match[0] for match in matches if numbers[match["number"]] > 1]
    if twice or len({match["count"] for match in matches}) > 1:
        names = listed(twice or [match[0] for match in matches])
        raise base.ReadingError(
            f"{files.shown('')} holds numbered files of several sets ({names}); expected one set "
            "with each number once. Move the files of the other sets elsewhere."
        )


def _refuse_missing(files: Files, matches: Sequence[re.Match[str]]) -> None:
    begin, count = matches[0]["begin"], int(matches[0]["count"])
    ending = "-*" if matches[0]["hash"] else ""
    numbers = {int(match["number"]) for match in matches}
    missing = [number for number in range(count) if number not in numbers]
    if missing:
        names = [f"{begin}-{number:05d}-of-{count:05d}{ending}{SUFFIX}" for number in missing]
        raise base.ReadingError(
            f"{files.shown('')} lacks {listed(names)}; expected all {count} files of the set. "
            "Copy the missing ones there."
        )


def _columns(folder: Folder, path: str) -> _Columns | None:
    """The columns of a file; None if it holds no images with labels."""
    options = folder.options
    schema = tables.parquet_schema(folder.files, path)
    images = _image_columns(schema)
    if not images:
        return None
    image = tables.find_column(images, options.path_column, tables.PATH_NAMES)
    if image is None and options.path_column is None and len(images) == 1:
        image = images[0]
    if image is None:
        folder.missed[path] = (
            f"columns of bytes {listed(images)}; expected one with the images. Name it as "
            "data.path_column."
        )
        return None
    if tables.is_bytes(schema.field(image).type) and _names_files(folder.files, path, image):
        return None
    others = [name for name in schema.names if name != image]
    label = tables.find_column(others, options.label_column, tables.LABEL_NAMES)
    if label is None:
        wanted = options.label_column or f"one of {', '.join(tables.LABEL_NAMES)}"
        folder.missed[path] = (
            f"images in the column {shown(image)}, but no label column ({shown(wanted)}) among "
            f"{listed(others) or 'no others'}; expected one. Name it as data.label_column."
        )
        return None
    is_struct = pa.types.is_struct(schema.field(image).type)
    names = _class_names(schema, label)
    _refuse_equal_classes(folder.files, path, names or ())
    left = [name for name in others if name != label]
    split = tables.optional_column(
        folder.files, path, left, options.split_column, tables.SPLIT_NAMES
    )
    further = tuple(name for name in left if name != split)
    return _Columns(image, is_struct, label, split, names, further)


def _names_files(files: Files, path: str, column: str) -> bool:
    """Whether bytes are paths of files, which makes the file a manifest of the wrong type."""
    # What cannot be read is told when all of it is read.
    with contextlib.suppress(base.ReadingError):
        names = tables.first_parquet_bytes(files, path, column)
        return any(
            name and len(name) <= LONGEST_PATH and _is_file(files, path, name) for name in names
        )
    return False


def _is_file(files: Files, path: str, name: bytes) -> bool:
    try:
        return files.why_unusable(tables.relative(path, name.decode())) is None
    except UnicodeDecodeError:
        return False


def _refuse_equal_classes(files: Files, path: str, names: Sequence[str]) -> None:
    """Refuses names of classes that look equal, or are empty: classes would be merged or split."""
    if empty := [str(number) for number, name in enumerate(names) if not name.strip()]:
        raise base.ReadingError(
            f"{files.shown(path)} names the classes {listed(empty)} with an empty text in the "
            "metadata of its schema; expected a name for each class. Name them, or write the file "
            "without names of classes."
        )
    if twice := lookalikes.alike(names):
        raise base.ReadingError(
            f"{files.shown(path)} names several classes alike ({listed(twice)}) in the "
            "metadata of its schema; expected a name of its own for each class. Rename them, or "
            "write the file without names of classes."
        )


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """Names of the classes in the metadata that Hugging Face's library writes."""
    try:
        about: Any = json.loads((schema.metadata or {}).get(b"huggingface", b"null"))
        names = about["info"]["features"][label]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


class ParquetImages:
    """Parquet files whose rows are images."""

    form = base.Form.PARQUET_IMAGES
    doubts: tuple[str, ...] = ()

    def __init__(self, folder: Folder, paths: Sequence[str], columns: _Columns):
        """Reads the numbers of rows.

        Raises:
          ReadingError: There are no rows, or only some files name a split.
        """
        files = folder.files
        self._files = files
        self._columns = columns
        self._unchanged = Unchanged(files)
        # Beside a column, the name of a file stays: it must not contradict the values.
        is_part = folder.is_span or columns.split is not None
        named = zip(paths, split_names.of_tables(paths, is_part), strict=True)
        opened = [_File(path, split, self._groups(path)) for path, split in named]
        # Files of a split follow one another, in the order of their names.
        self._parts = {each.path: each for each in sorted(opened, key=lambda each: each.split)}
        splits = [each.split for each in self._parts.values()]
        if base.UNDECIDED in splits and len(set(splits)) > 1:
            raise base.ReadingError(
                f"{files.shown('')} holds Parquet files with and without the name of a split "
                f"({listed(list(self._parts))}); expected {split_names.EXPECTED} in all names or "
                "in none. Rename them."
            )
        self._counts = collections.Counter[int]()
        for each in self._parts.values():
            self._counts[each.split] += each.count
        total = sum(self._counts.values())
        if not 0 < total <= MOST_EXAMPLES:
            raise base.ReadingError(
                f"{files.shown('')}: {total:,} rows in {listed(list(self._parts))}; expected at "
                f"least one, at most {MOST_EXAMPLES:,}. {advice_on_count(total)}"
            )
        self.splits = split_names.known(np.unique(self._splits()).tolist())
        counts = " and ".join(
            f"{count} for {split_names.first_part(which)}" for which, count in self._counts.items()
        )
        self.summary = (
            f"Parquet, {counted(len(paths), 'file')}, with images in the column "
            f"{shown(columns.image)} and labels in {shown(columns.label)}: {counts}"
        )
        if columns.split is not None:
            self.summary += f", divided by the column {shown(columns.split)}"
        further = listed(columns.further)
        self.ignored = (
            *([f"columns {further}: neither image, label nor split"] if further else ()),
            *leftovers.lines(folder, set(paths).__contains__),
        )

    def _groups(self, path: str) -> tuple[int, ...]:
        with tables.opened(self._files, path) as stream:
            return tables.parsed(self._files, path, lambda: _group_sizes(pq.ParquetFile(stream)))

    def sources(self) -> list[str]:
        """The files."""
        return list(self._parts)

    def state(self, path: str) -> tuple[int, ...] | None:
        """What changes when a source does; None where that is unknown."""
        return self._files.state(path)

    def hash_source(self, path: str) -> str:
        """SHA-256 of the file; reads the images of every row group."""
        digest = hash_file(self._files, path)
        with tables.opened(self._files, path) as stream:
            tables.parsed(self._files, path, lambda: self._read_all(pq.ParquetFile(stream)))
        return digest

    def _read_all(self, file: pq.ParquetFile) -> None:
        for _ in self._batches(file, range(file.metadata.num_row_groups)):
            pass

    def digest_lines(self, contents: Mapping[str, str]) -> list[str]:
        """Path and digest of each file."""
        return [image_files.digest_line(path, contents[path]) for path in self._parts]

    def index(self, contents: Mapping[str, str]) -> base.Index:
        """Lists all examples: their ids are split and row, counted across the files of a split."""
        texts: list[str] = []
        for path, part in self._parts.items():
            self._unchanged.check(path, contents)
            rows = self._labels(path)
            if len(rows) != part.count:
                raise changed(self._files, [path])
            texts += rows
        values, labels = self._encoded(texts)
        return base.Index(
            ids=[
                name
                for which, count in self._counts.items()
                for name in example_ids(split_names.first_part(which), count)
            ],
            values=values,
            labels=labels,
            splits=self._splits(),
        )

    def _splits(self) -> np.ndarray:
        """The split of each row: that of its file, or the one in the column; int8 [count]."""
        name, parts = self._columns.split, self._parts.values()
        if name is None:
            splits = np.repeat([part.split for part in parts], [part.count for part in parts])
            return splits.astype(np.int8)
        rows = (
            split_columns.read(
                self._files, part.path, name, self._column(part.path, name), part.split
            )
            for part in parts
        )
        return np.concatenate([np.array(each, np.int8) for each in rows])

    def _column(self, path: str, name: str) -> pa.ChunkedArray:
        with tables.opened(self._files, path) as stream:
            return tables.parsed(
                self._files,
                path,
                # As a dictionary, equal values take the memory of one.
                lambda: pq.read_table(stream, columns=[name], read_dictionary=[name])[name],
            )

    def _labels(self, path: str) -> list[str]:
        label, names = self._columns.label, self._columns.names
        column = self._column(path, label)
        given = tables.as_text(self._files, path, label, column)
        stripped = {text: text.strip() for text in set(given)}
        texts = [stripped[text] for text in given]
        if names is not None and pa.types.is_integer(column.type):
            known = {str(number): name for number, name in enumerate(names)}
            fault = f"a {shown(label)} that is none of the {len(names)} named classes"
            outside = [row for row, text in enumerate(texts) if text not in known]
            tables.refuse_rows(
                self._files, path, fault, f"numbers from 0 to {len(names) - 1}", outside
            )
            return [known[text] for text in texts]
        empty = [row for row, text in enumerate(texts) if not text]
        tables.refuse_rows(self._files, path, f"no {shown(label)}", "a label in each row", empty)
        return texts

    def _encoded(self, texts: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
        """As `tables.encoded`, but named classes keep their order."""
        values, labels = tables.encoded(texts)
        if self._columns.names is None:
            return values, labels
        known = {name: position for position, name in enumerate(self._columns.names)}
        order = sorted(range(len(values)), key=lambda number: known.get(values[number], number))
        places = np.empty(len(order), np.int32)
        places[order] = np.arange(len(order))
        return tuple(values[number] for number in order), places[labels]

    def shards(self, index: base.Index) -> list[base.Shard]:
        """Row groups: small ones together, large ones in pieces."""
        shards, first = [], 0
        for path, part in self._parts.items():
            for row, count in _pieces(part.groups):
                shards.append(base.Shard(f"{first + row:09d}", first + row, count, path, row))
            first += part.count
        return shards

    def read(self, shard: base.Shard, contents: Mapping[str, str]) -> Iterator[base.Item]:
        """Yields the images, yet to be decoded; empty ones as bad items."""
        path = shard.source
        self._unchanged.check(path, contents)
        with tables.opened(self._files, path) as stream:
            file = tables.parsed(self._files, path, lambda: pq.ParquetFile(stream))
            groups, skipped = _covering(_group_sizes(file), shard)
            batches = self._batches(file, groups)
            row, end = shard.row - skipped, shard.row + shard.count
            while row < end:
                batch = tables.parsed(self._files, path, lambda: next(batches, None))
                if batch is None:
                    raise changed(self._files, [path])
                wanted = batch[max(0, shard.row - row) : end - row]
                start = max(row, shard.row)
                for offset, content in enumerate(wanted):
                    yield self._item(f"{shown(path)}[{start + offset}]", content)
                row += len(batch)
        self._unchanged.check(path, contents)

    def _batches(self, file: pq.ParquetFile, groups: Sequence[int]) -> Iterator[list[bytes | None]]:
        name = self._columns.image
        stored = sum(file.metadata.row_group(group).total_byte_size for group in groups)
        rows = sum(file.metadata.row_group(group).num_rows for group in groups)
        leaf = f"{name}.{_BYTES}" if self._columns.is_struct else name
        repeated = _largest_dictionary(file, groups, leaf)
        size = min(_MOST_ROWS, _BATCH_BYTES * rows // max(1, stored))
        size = max(1, min(size, _MOST_REPEATED_BYTES // max(1, repeated)))
        for batch in file.iter_batches(size, list(groups), columns=[leaf]):
            column = batch.column(0)
            tables.check_sound(column)
            if self._columns.is_struct:
                # `field` alone would show bytes where the struct is missing.
                column = column.flatten()[column.type.get_field_index(_BYTES)]
            yield column.to_pylist()

    def _item(self, name: str, content: bytes | None) -> base.Item:
        if content:
            return base.Encoded(name, content=content)
        return base.Bad(
            name, "there are no bytes; expected those of an image file. Fix or remove the row."
        )


def _group_sizes(file: pq.ParquetFile) -> tuple[int, ...]:
    metadata = file.metadata
    return tuple(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))


def _largest_dictionary(file: pq.ParquetFile, groups: Sequence[int], leaf: str) -> int:
    """An upper bound of the bytes of a value that the rows of a group can have in common."""
    columns = [
        metadata.column(number)
        for metadata in map(file.metadata.row_group, groups)
        for number in range(metadata.num_columns)
    ]
    return max(
        (
            column.total_uncompressed_size
            for column in columns
            if column.path_in_schema == leaf and column.has_dictionary_page
        ),
        default=0,
    )


def _pieces(groups: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First row and number of rows of each piece of work."""
    first = gathered = 0
    for count in groups:
        if gathered and gathered + count > _MOST_ROWS:
            yield first, gathered
            first, gathered = first + gathered, 0
        gathered += count
        if gathered > _MOST_ROWS:
            size = max(_MOST_ROWS, -(-gathered // _MOST_PIECES))
            for start in range(0, gathered, size):
                yield first + start, min(size, gathered - start)
            first, gathered = first + gathered, 0
    if gathered:
        yield first, gathered


def _covering(groups: Sequence[int], shard: base.Shard) -> tuple[list[int], int]:
    """The row groups that hold a shard, and how many of their rows come before it."""
    covering: list[int] = []
    row = skipped = 0
    for group, count in enumerate(groups):
        if row < shard.row + shard.count and row + count > shard.row:
            if not covering:
                skipped = shard.row - row
            covering.append(group)
        row += count
    return covering, skipped
