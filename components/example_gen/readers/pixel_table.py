"""A table of pixels: CSV with a label column and one column for each pixel."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from components.example_gen.example_ids import example_ids
from components.example_gen.readers import (
    base,
    emnist,
    image_files,
    leftovers,
    pixel_names,
    split_names,
    tables,
)
from components.example_gen.readers.files import Unchanged, changed, hash_file, suffix
from components.example_gen.readers.folder import Folder, Shape
from components.messages import by, listed, shown

# With fewer columns a table is about something else.
_FEWEST_PIXELS = 16
_LINE_BREAK = re.compile(r"[\r\n]")
_PIXEL = re.compile(r" *0*(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9]) *")


@dataclasses.dataclass(frozen=True)
class _Table:
    """A table with labels; `dropped` are columns that are neither label nor pixels."""

    header: tables.Header
    label: str
    pixels: tuple[str, ...]
    dropped: tuple[str, ...]
    split: int


def guess_shape(pixels: int) -> Shape | None:
    """Height, width and channels of a square image with so many values; None if there is none."""
    for channels in (1, 3):
        side = math.isqrt(pixels // channels)
        if side * side * channels == pixels:
            return side, side, channels
    return None


def recognise(folder: Folder, candidates: Sequence[str]) -> PixelTable | None:
    """Opens the tables of pixels among these tables; None where there is none.

    Raises:
      ReadingError: There are tables of pixels, but they cannot be used.
    """
    texts = [path for path in candidates if suffix(path) in tables.DELIMITERS]
    labelled = [
        table
        for path in texts
        if (table := folder.attempted(path, functools.partial(_table, folder, path)))
    ]
    unfit = {table.header.path: _why_unfit(table.pixels, folder.shape) for table in labelled}
    if None in unfit.values():
        tables.refuse_broken(folder, texts)
        tables.note_deeper(folder, list(unfit), tuple(tables.DELIMITERS))
        splits = split_names.of_tables(list(unfit), folder.is_span)
        return PixelTable(folder, [*map(_with_split, labelled, splits)])
    folder.missed.update((path, reason) for path, reason in unfit.items() if reason)
    return None


def _table(folder: Folder, path: str) -> _Table | None:
    """The table in a file; None if it is no table of pixels with labels."""
    options = folder.options
    header = tables.read_header(folder.files, path)
    if _is_headless(header):
        folder.missed[path] = (
            "the first row holds numbers alone; expected the names of the columns. Add a first "
            "row: label,pixel0,pixel1 and so on. The values are taken row by row, with red, green "
            "and blue of a pixel together."
        )
        return None
    label = tables.find_column(header.columns, options.label_column, tables.LABEL_NAMES)
    ids = [
        name
        for name in header.columns
        if name != label and (name == options.id_column or name.lower() in tables.ID_NAMES)
    ]
    left_out = {label, *ids}
    pixels = [name for name in header.columns if name not in left_out]
    if not _are_pixels(folder, header, pixels):
        return None
    if label is None:
        folder.missed[path] = _no_label(options)
        return None
    return _Table(header, label, tuple(pixels), tuple(ids), split_names.of_file(path))


def _with_split(table: _Table, split: int) -> _Table:
    return dataclasses.replace(table, split=split)


def _is_headless(header: tables.Header) -> bool:
    return len(header.columns) >= _FEWEST_PIXELS and all(
        name.strip().isdigit() for name in header.columns
    )


def _are_pixels(folder: Folder, header: tables.Header, names: Sequence[str]) -> bool:
    """Whether the columns hold, in the first row, whole numbers from 0 to 255."""
    if len(names) < _FEWEST_PIXELS:
        return False
    rows = tables.first_rows(folder.files, header)[:1].select(list(names)).to_pylist()
    first = rows[0] if rows else {}
    values = list(first.values())
    if wordy := [name for name, value in first.items() if not _is_number(value)]:
        if _could_be_image(values, len(wordy), folder.shape):
            folder.missed[header.path] = (
                f"columns of pixels, but no number in row 2 of {listed(wordy)}; expected whole "
                "numbers from 0 to 255 in all columns but those of the label and the id. Fill in "
                "the values, or remove the columns that are no pixels."
            )
        return False
    others = [value for value in values if not _PIXEL.fullmatch(value)]
    if others:
        folder.missed[header.path] = (
            f"numbers in row 2 that are no pixels ({listed(others)}); expected whole numbers from "
            "0 to 255. Convert the table if it holds pixels."
        )
    return not others


def _could_be_image(values: Sequence[str], wordy: int, shape: Shape | None) -> bool:
    """Whether most values are pixels, and an image has so many, with or without other columns."""
    wanted = math.prod(shape) if shape else 0
    is_size = any(
        count == wanted or guess_shape(count) is not None
        for count in (len(values), len(values) - wordy)
    )
    return is_size and sum(map(bool, map(_PIXEL.fullmatch, values))) * 2 > len(values)


def _is_number(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _why_unfit(pixels: Sequence[str], shape: Shape | None) -> str | None:
    """What is wrong with the number or the names of columns of pixels; None if nothing is."""
    expected = shape or guess_shape(len(pixels))
    if expected is not None and len(pixels) == math.prod(expected):
        return pixel_names.why_unordered(pixels, expected)
    wanted = f"{by(shape)}={math.prod(shape)}" if shape else "a square image's"
    return (
        f"{len(pixels)} columns of pixels; expected {wanted}, a column for each value of an image. "
        "Change the shape in the schema, give --size HxW to `init`, or remove the columns that are "
        "no pixels."
    )


def _no_label(options: base.Options) -> str:
    asked = options.label_column
    wanted = shown(asked) if asked else f"one of {', '.join(tables.LABEL_NAMES)}"
    return (
        f"columns of pixels, but no label column ({wanted}); expected one. Name it as "
        "data.label_column, or use a table with labels."
    )


class PixelTable:
    """Tables of pixels, one for each split or one alone."""

    form = base.Form.PIXEL_TABLE

    def __init__(
        self,
        folder: Folder,
        labelled: Sequence[_Table],
    ):
        """Checks the headers.

        Raises:
          ReadingError: They contradict one another or the schema.
        """
        self._files = folder.files
        ordered = sorted(labelled, key=lambda table: table.split)
        self._tables = {table.header.path: table for table in ordered}
        self.splits = split_names.known(table.split for table in ordered)
        self._unchanged = Unchanged(folder.files)
        self._check_one_each()
        self._shape = self._checked_shape(folder.shape)
        self.summary = (
            f"pixel table {listed(list(self._tables))} with {len(labelled[0].pixels)} columns of "
            f"pixels, images of {by(self._shape)}{emnist.summary(self._tables)}"
        )
        self.doubts = emnist.doubts(self._tables)
        self.ignored = (
            *(
                f"column {listed(table.dropped)} of {shown(path)}: rows have their number as id"
                for path, table in self._tables.items()
                if table.dropped
            ),
            *leftovers.lines(folder, self._tables.__contains__),
        )

    def _check_one_each(self) -> None:
        splits = [table.split for table in self._tables.values()]
        if len(splits) > 1 and (base.UNDECIDED in splits or len(set(splits)) < len(splits)):
            raise base.ReadingError(
                f"{self._files.shown('')} holds several tables of pixels "
                f"({listed(list(self._tables))}); expected one, or one each for train, val and "
                "test, called like that. Remove or rename the others."
            )

    def _checked_shape(self, shape: Shape | None) -> Shape:
        pixels = {path: table.pixels for path, table in self._tables.items()}
        expected = shape or next(filter(None, map(guess_shape, map(len, pixels.values()))))
        for path, names in pixels.items():
            if reason := _why_unfit(names, expected):
                raise base.ReadingError(f"{self._files.shown(path)}: {reason}")
        self._refuse_other_columns(pixels)
        return expected

    def _refuse_other_columns(self, pixels: Mapping[str, Sequence[str]]) -> None:
        """Refuses tables whose pixels may stand in different orders."""
        first, *others = pixels
        for other in others:
            pairs = enumerate(zip(pixels[first], pixels[other], strict=True), 1)
            unlike = next(
                (each for each in pairs if each[1][0].strip() != each[1][1].strip()), None
            )
            if unlike is not None:
                number, (name, other_name) = unlike
                raise base.ReadingError(
                    f"{self._files.shown(other)}: column {number} of pixels is "
                    f"{shown(other_name)}, and in {shown(first)} it is {shown(name)}; expected the "
                    "same columns in the same order in all tables. Sort or rename the columns."
                )

    def sources(self) -> list[str]:
        """The tables."""
        return list(self._tables)

    def state(self, path: str) -> tuple[int, ...] | None:
        """What changes when a source does; None where that is unknown."""
        return self._files.state(path)

    def hash_source(self, path: str) -> str:
        """SHA-256 of the file; checks every value."""
        table = self._tables[path]
        digest = hash_file(self._files, path)
        rows = 0
        with tables.opened_natively(self._files, path) as stream:
            columns = [table.label, *table.dropped, *table.pixels]
            for batch in self._batches(table, stream, columns):
                self._check_texts(table, batch, rows)
                rows += len(batch)
        self._unchanged.check(path, {path: digest})
        return digest

    def _batches(
        self, table: _Table, stream: pa.NativeFile, columns: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        types = dict.fromkeys(table.pixels, pa.uint8())
        return tables.batches_of(self._files, stream, table.header, columns, types)

    def _check_texts(self, table: _Table, batch: pa.RecordBatch, before: int) -> None:
        """Checks the labels and the dropped columns of a batch that follows so many rows."""
        path = table.header.path
        labels = batch.column(0).to_pylist()
        empty = [before + row for row, text in enumerate(labels) if not text.strip()]
        tables.refuse_rows(self._files, path, "no label", "a label in each row", empty)
        spaced = [before + row for row, text in enumerate(labels) if tables.is_spaced(text)]
        tables.refuse_spaced(self._files, path, table.label, spaced)
        for place, name in enumerate((table.label, *table.dropped)):
            # After a quotation mark that is not closed, the next rows are part of the value.
            texts = batch.column(place).to_pylist()
            broken = [before + row for row, text in enumerate(texts) if _LINE_BREAK.search(text)]
            fault = f"a line break in {'a label' if name == table.label else shown(name)}"
            tables.refuse_rows(self._files, path, fault, "a single line", broken)

    def digest_lines(self, contents: Mapping[str, str]) -> list[str]:
        """Path and digest of each table."""
        return [image_files.digest_line(path, contents[path]) for path in self._tables]

    def index(self, contents: Mapping[str, str]) -> base.Index:
        """Lists all examples: their ids are split and row."""
        labels, ids, splits = [], [], []
        for path, table in self._tables.items():
            texts = self._labels(path, table, contents)
            labels += texts
            ids += example_ids(split_names.first_part(table.split), len(texts))
            splits += [table.split] * len(texts)
        if not labels:
            raise base.ReadingError(
                f"{self._files.shown('')} holds tables of pixels without rows "
                f"({listed(list(self._tables))}); expected a row for each image. Add them."
            )
        values, positions = tables.encoded(labels)
        return base.Index(ids, values, positions, np.array(splits, np.int8))

    def _labels(self, path: str, table: _Table, contents: Mapping[str, str]) -> list[str]:
        self._unchanged.check(path, contents)
        with tables.opened_natively(self._files, path) as stream:
            return [
                text.strip()
                for batch in self._batches(table, stream, [table.label])
                for text in batch.column(0).to_pylist()
            ]

    def shards(self, index: base.Index) -> list[base.Shard]:
        """One for each table, since a table can be read from its beginning alone."""
        shards, first = [], 0
        for path, table in self._tables.items():
            count = int((index.splits == table.split).sum())
            name = split_names.first_part(table.split)
            shards.append(base.Shard(name, first, count, path))
            first += count
        return [shard for shard in shards if shard.count]

    def read(self, shard: base.Shard, contents: Mapping[str, str]) -> Iterator[np.ndarray]:
        """Yields the images, uint8 [height, width, channels]."""
        self._unchanged.check(shard.source, contents)
        table = self._tables[shard.source]
        count = 0
        with tables.opened_natively(self._files, shard.source) as stream:
            for batch in self._batches(table, stream, table.pixels):
                images = np.stack([column.to_numpy() for column in batch.columns], axis=1)
                count += len(images)
                yield from images.reshape(-1, *self._shape)
        if count != shard.count:
            raise changed(self._files, [shard.source])
        self._unchanged.check(shard.source, contents)
