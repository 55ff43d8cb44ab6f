"""Tables of text (CSV, TSV): their headers, their rows, and the columns that are looked for."""

from __future__ import annotations

import collections
import contextlib
import csv
import dataclasses
import hashlib
import io
import os
import posixpath
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from components.example_gen.example_ids import MOST_EXAMPLES
from components.example_gen.readers import base, lookalikes, split_names
from components.example_gen.readers.files import (
    Files,
    Listing,
    require_usable,
    suffix,
    unreadable,
)
from components.example_gen.readers.folder import Folder
from components.features import IMAGE_SUFFIXES
from components.messages import listed, shown

DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*DELIMITERS, ".parquet")
PATH_NAMES = ("path", "file", "file_name", "filename", "filepath", "image", "image_path", "img")
LABEL_NAMES = ("label", "class", "category", "target", "class_name")
ID_NAMES = ("id", "image_id", "example_id")
SPLIT_NAMES = ("split", "set", "subset", "partition")
# A quotation mark quotes nothing unless it comes first.
_SPACED_QUOTE = '^ +"'
is_spaced = re.compile(_SPACED_QUOTE).match
NO_SPACE = "Remove the spaces before quotation marks."
# A row has to fit into a block; this one takes 1024 x 1024 pixels of three channels.
_BLOCK_BYTES = 2**24
# What is read of a table to recognise it: more than the first row, up to the end of a row.
_FIRST_BYTES, _MOST_FIRST_BYTES = 2**20, 2**26
_BUFFER_BYTES, _FEW_ROWS = 2**16, 10
# A value that stands once in a Parquet file can be that of every row.
_MOST_TEXT_BYTES = 2**30


@dataclasses.dataclass(frozen=True)
class Header:
    """The first row of a table of text.

    Attributes:
      path: Relative path of the file.
      columns: Names of the columns.
      delimiter: What stands between two values.
    """

    path: str
    columns: tuple[str, ...]
    delimiter: str


def levels(listing: Listing) -> Iterator[list[str]]:
    """Tables in the data folder itself, then those in the folders directly in it.

    Where all images lie in one folder, the folders in that one follow, and so on.
    """
    by_depth: dict[int, list[str]] = {}
    for path in listing.with_suffix(SUFFIXES):
        by_depth.setdefault(path.count("/"), []).append(path)
    around = _folder_of_all(listing.with_suffix(IMAGE_SUFFIXES) or listing.with_suffix(SUFFIXES))
    for depth in sorted(by_depth):
        wrapper = "".join(f"{name}/" for name in around[: max(0, depth - 1)])
        if depth <= len(around) + 1:
            yield [path for path in by_depth[depth] if path.startswith(wrapper)]


def _folder_of_all(paths: Sequence[str]) -> list[str]:
    """The names in the path of the folder that holds all of these sorted files."""
    # What the first and the last one share, all share.
    ends = [folder_of(path) for path in (*paths[:1], *paths[-1:])]
    common = posixpath.commonpath(ends) if ends else ""
    return common.split("/") if common else []


def refuse_broken(folder: Folder, paths: Sequence[str]) -> None:
    """Refuses unreadable files beside sound ones if their names say that they hold a split.

    Args:
      folder: The data folder.
      paths: The sound files and those beside them.

    Raises:
      ReadingError: There is such a file.
    """
    for path in paths:
        if path in folder.broken and split_names.of_file(path) != base.UNDECIDED:
            raise folder.broken[path]


def note_deeper(folder: Folder, paths: Sequence[str], suffixes: Sequence[str]) -> None:
    """Notes tables in folders beside tables of splits that are read, as test/test.csv.

    Args:
      folder: The data folder; what is noted matters for a split that nothing else gives.
      paths: The tables that are read.
      suffixes: Suffixes of such tables.
    """
    places = {folder_of(path) for path in paths}
    named = all(split_names.of_file(path) != base.UNDECIDED for path in paths)
    if not named or len(places) > 1:
        return
    for path in folder.listing.with_suffix(suffixes):
        place = folder_of(path)
        if place and place not in places and folder_of(place) in places:
            folder.no_manifests[path] = (
                f"it lies in another folder than {shown(paths[0])}; expected all tables in one "
                "folder, or all in folders directly in it. Move it there."
            )


def find_column(columns: Sequence[str], asked: str | None, usual: Sequence[str]) -> str | None:
    """The column that the configuration names, or else the first that has a usual name.

    Args:
      columns: Names of the columns.
      asked: Name in the configuration, which counts exactly.
      usual: Usual names, in lower case, the most usual first.
    """
    if asked is not None:
        return asked if asked in columns else None
    by_name = {column.strip().lower(): column for column in reversed(columns)}
    return next((by_name[name] for name in usual if name in by_name), None)


def optional_column(
    files: Files, path: str, names: Sequence[str], asked: str | None, usual: Sequence[str]
) -> str | None:
    """A column that may be missing, unless the configuration names it.

    Args:
      files: Access to the folder.
      path: The table.
      names: Names of its further columns.
      asked: Name in the configuration, which counts exactly.
      usual: Usual names, in lower case, the most usual first.

    Raises:
      ReadingError: The column that the configuration names is not there.
    """
    column = find_column(names, asked, usual)
    if asked is not None and column is None:
        raise base.ReadingError(
            f"{files.shown(path)} has no further column {shown(asked)}; expected it, as the "
            "section data of the configuration names it. Leave the setting out, or name one of: "
            f"{listed(names) or 'there are no others'}."
        )
    return column


def label_column(files: Files, path: str, asked: str | None) -> str | None:
    """The column of labels of a table, whatever separates its columns; None if there is none.

    Args:
      files: Access to the folder.
      path: The table; another file has no columns.
      asked: Name in the configuration, which counts exactly.
    """
    names: Sequence[str] = ()
    # A table that cannot be read has no columns either.
    with contextlib.suppress(base.ReadingError):
        if suffix(path) in DELIMITERS:
            names = read_header(files, path).columns
        elif suffix(path) == ".parquet":
            names = parquet_schema(files, path).names
    if len(names) == 1:
        names = [name.strip(' "') for name in re.split(r"[,;\t|]", names[0])]
    return find_column(names, asked, LABEL_NAMES)


def read_header(files: Files, path: str) -> Header:
    """Reads the first row; of an empty file it has no columns.

    Raises:
      ReadingError: It is no row of names in UTF-8.
    """
    require_usable(files, path)
    try:
        with files.open(path) as stream:
            line = stream.readline(_BLOCK_BYTES)
    except OSError as error:
        raise unreadable(files, path, error) from error
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(files, path) from error
    delimiter = DELIMITERS[suffix(path)]
    # Spreadsheets in countries with a decimal comma write semicolons.
    if delimiter == "," and ";" in text and "," not in text:
        delimiter = ";"
    columns = _header_columns(files, path, text, delimiter)
    return Header(path, columns, delimiter)


def _header_columns(files: Files, path: str, text: str, delimiter: str) -> tuple[str, ...]:
    try:
        columns = next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        if "\r" in text.strip():
            raise base.ReadingError(
                f"{files.shown(path)}: its lines end as on old Macs (CR); expected the line ends "
                "of Unix or Windows. Convert them: tr '\\r' '\\n' <OLD >NEW."
            ) from error
        raise base.ReadingError(
            f"{files.shown(path)}: the first row cannot be read ({error}); expected the names of "
            "the columns in one line. Fix the row."
        ) from error
    return tuple(columns)


def _not_utf8(files: Files, path: str) -> base.ReadingError:
    return base.ReadingError(
        f"{files.shown(path)} is not UTF-8 text; expected UTF-8, with or without a byte order "
        "mark. Save it as UTF-8, or convert it: iconv -t UTF-8 -f ITS-ENCODING."
    )


def refuse_equal_names(files: Files, path: str, columns: Sequence[str]) -> None:
    """Refuses a table with several columns of one name.

    Raises:
      ReadingError: There are such columns.
    """
    counts = collections.Counter(columns)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise base.ReadingError(
            f"{files.shown(path)} has several columns called {listed(twice)}; expected a name of "
            "its own for each column. Rename them."
        )


def first_rows(files: Files, header: Header) -> pa.Table:
    """The first rows, as text.

    Raises:
      ReadingError: They cannot be read.
    """
    refuse_equal_names(files, header.path, header.columns)
    with opened(files, header.path) as stream:
        begin = in_memory(_first_lines(stream))
    batches = batches_of(files, begin, header, header.columns, {})
    first = next(batches, None)
    return pa.Table.from_batches([first]) if first is not None else _no_rows(header)


def _first_lines(stream: BinaryIO) -> bytes:
    """The names of the columns, the first row and some more, none of them cut off."""
    parts = [stream.readline(_BLOCK_BYTES), stream.readline(_BLOCK_BYTES)]
    parts += [stream.read(_FIRST_BYTES), stream.readline(_BLOCK_BYTES)]
    quotes, size = sum(part.count(b'"') for part in parts), sum(map(len, parts))
    # Within quotation marks, the end of a line is none of a row.
    while quotes % 2 and size < _MOST_FIRST_BYTES and (line := stream.readline(_BLOCK_BYTES)):
        parts.append(line)
        quotes, size = quotes + line.count(b'"'), size + len(line)
    return b"".join(parts)


def _no_rows(header: Header) -> pa.Table:
    return pa.table({name: pa.array([], pa.string()) for name in header.columns})


def read_text(files: Files, header: Header) -> tuple[pa.Table, str]:
    """Reads a whole table as text.

    Returns:
      The table, and the SHA-256 of the file that it was read from.

    Raises:
      ReadingError: It cannot be read.
    """
    content = read_bytes(files, header.path)
    batches = list(batches_of(files, in_memory(content), header, header.columns, {}))
    table = pa.Table.from_batches(batches) if batches else _no_rows(header)
    # A quotation mark that is not closed makes one value of all the rows behind it.
    if content.count(b'"') % 2 and any("\n" in value for value in _last_row(table)):
        raise base.ReadingError(
            f"{files.shown(header.path)}: a quotation mark is not closed in row "
            f"{table.num_rows + 1}; expected a closing one. Add it, or remove the first."
        )
    for name in table.column_names:
        spaced = pc.match_substring_regex(table[name], _SPACED_QUOTE)
        refuse_spaced(files, header.path, name, pc.indices_nonzero(spaced).to_pylist())
    return table, hashlib.sha256(content).hexdigest()


def refuse_spaced(files: Files, path: str, name: str, rows: Sequence[int]) -> None:
    """Refuses rows with a space before a quotation mark, which would become part of the value.

    Args:
      files: Access to the folder.
      path: Relative path of the table.
      name: Name of the column.
      rows: Positions of the rows.

    Raises:
      ReadingError: There are such rows.
    """
    fault = f"a space before the quotation mark that opens {shown(name.strip())}"
    refuse_rows(files, path, fault, "none", rows, NO_SPACE)


def _last_row(table: pa.Table) -> list[str]:
    return [value for row in table[-1:].to_pylist() for value in row.values()]


def read_bytes(files: Files, path: str) -> bytes:
    """The whole content of a file.

    Raises:
      ReadingError: It cannot be read.
    """
    with opened(files, path) as stream:
        return stream.read()


@contextlib.contextmanager
def opened(files: Files, path: str) -> Iterator[BinaryIO]:
    """Opens a file; errors while it is open become those of readers.

    Raises:
      ReadingError: It cannot be opened or read.
    """
    require_usable(files, path)
    try:
        with files.open(path) as stream:
            yield stream
    except OSError as error:
        raise unreadable(files, path, error) from error


def in_memory(content: bytes) -> pa.NativeFile:
    """A copy of bytes that pyarrow reads without Python.

    Threads of pyarrow that let go of Python's objects while the program ends would abort it.
    """
    copied = pa.BufferOutputStream()
    copied.write(content)
    return pa.BufferReader(copied.getvalue())


@contextlib.contextmanager
def opened_natively(files: Files, path: str) -> Iterator[pa.NativeFile]:
    """Opens a file that pyarrow reads without Python, as `in_memory` does.

    Raises:
      ReadingError: It cannot be opened or read.
    """
    local = files.local(path)
    with opened(files, path) as stream:
        if local is not None:
            with pa.OSFile(os.fsencode(local)) as native:
                yield native
            return
        with tempfile.NamedTemporaryFile() as copied:
            shutil.copyfileobj(stream, copied)
            copied.flush()
            with pa.OSFile(copied.name) as native:
                yield native


def batches_of(
    files: Files,
    stream: pa.NativeFile,
    header: Header,
    columns: Sequence[str],
    types: Mapping[str, pa.DataType],
) -> Iterator[pa.RecordBatch]:
    """Yields the rows in batches; what has no type in `types` is text.

    Raises:
      ReadingError: A row is ragged, a value is not of its type, or the text is not UTF-8.
    """
    try:
        reader = pa_csv.open_csv(
            stream,
            # One thread: only then do errors name the row.
            pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            pa_csv.ParseOptions(delimiter=header.delimiter, newlines_in_values=True),
            pa_csv.ConvertOptions(
                column_types={name: types.get(name, pa.string()) for name in columns},
                include_columns=list(columns),
                # A class may be called NA, and an empty value is told by what reads it.
                null_values=[],
                strings_can_be_null=False,
            ),
        )
        yield from reader
    except pa.ArrowException as error:
        raise _malformed(files, header, error) from error


def _malformed(files: Files, header: Header, error: Exception) -> base.ReadingError:
    reason = str(error)
    if "UTF8" in reason:
        return _not_utf8(files, header.path)
    if "straddling" in reason:
        reason = "a row is longer than 16 MiB, or a quotation mark is not closed"
    if "Empty CSV" in reason:
        reason = "there are no rows"
    expected = f"{len(header.columns)} values in each row, as in the first one"
    if "conversion error" in reason:
        expected = "whole numbers from 0 to 255 in the columns of pixels"
    return base.ReadingError(
        f"{files.shown(header.path)} cannot be read as a table ({shown(reason)}); expected "
        f"{expected}. Fix the row."
    )


def as_text(files: Files, path: str, name: str, column: pa.ChunkedArray) -> list[str]:
    """The values of a column as text.

    Raises:
      ReadingError: The column holds neither text nor whole numbers, or a value is missing.
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_null(kind) or not (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)
    ):
        raise base.ReadingError(
            f"{files.shown(path)}: the column {shown(name)} is of type {shown(str(column.type))}; "
            "expected text or whole numbers. Convert the column, or name another one in the "
            "section data of the configuration."
        )
    texts = shared_texts(column)
    missing = [row for row, text in enumerate(texts) if text is None]
    refuse_rows(files, path, f"no {shown(name)}", "a value in each row", missing)
    return [text for text in texts if text is not None]


def shared_texts(column: pa.ChunkedArray) -> list[str | None]:
    """The values as text; equal ones of a chunk are one object, however many rows have them."""
    encoded_column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    texts: list[str | None] = []
    for chunk in encoded_column.chunks:
        values = chunk.dictionary.cast(pa.string()).to_pylist()
        texts += [None if place is None else values[place] for place in chunk.indices.to_pylist()]
    return texts


def refuse_rows(
    files: Files, path: str, fault: str, expected: str, rows: Sequence[int], hint: str = ""
) -> None:
    """Refuses a table for some of its rows.

    Args:
      files: Access to the folder.
      path: Relative path of the table.
      fault: What is wrong with them: "no label".
      expected: What should stand there.
      rows: Positions of the rows; none: nothing is refused.
      hint: What else helps than to fix or remove them, a sentence.

    Raises:
      ReadingError: There are such rows.
    """
    if not rows:
        return
    # As an editor counts text, with the names of the columns in row 1; as programs count Parquet.
    first = 2 if suffix(path) in DELIMITERS else 0
    numbers = listed([str(row + first) for row in rows])
    noun = "row" if len(rows) == 1 else "rows"
    raise base.ReadingError(
        f"{files.shown(path)}: {fault} in {noun} {numbers}; expected {expected}. Fix or "
        f"remove the rows.{hint and ' '}{hint}"
    )


def encoded(texts: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The distinct labels in a fixed order, and the position of each label, int32 [count].

    Whole numbers are ordered as numbers, all else as text.

    Raises:
      ReadingError: Labels look equal, but are not.
    """
    distinct = list(dict.fromkeys(texts))
    lookalikes.refuse_alike(distinct)
    numeric = all(text.isascii() and text.isdigit() and len(text) < 10 for text in distinct)
    order: Any = (lambda text: (int(text), text)) if numeric else None
    values = sorted(distinct, key=order)
    positions = {value: position for position, value in enumerate(values)}
    return tuple(values), np.fromiter((positions[text] for text in texts), np.int32, len(texts))


def folder_of(path: str) -> str:
    """The folder of a table, which the paths in it count from."""
    return posixpath.dirname(path)


def relative(table: str, name: str) -> str:
    """A path in a table as a path that counts from the data folder."""
    joined = posixpath.join(folder_of(table), name)
    # With `..` this would change the meaning where links are on the way.
    return joined if ".." in joined.split("/") else posixpath.normpath(joined)


def parsed(files: Files, path: str, action: Callable[[], Any]) -> Any:
    """What an action makes of a Parquet file.

    Raises:
      ReadingError: The file is no Parquet file, or is damaged.
    """
    try:
        made = action()
        if isinstance(made, pa.Table | pa.ChunkedArray):
            check_sound(made)
        return made
    # KeyError: the two schemas in the file contradict each other.
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        raise base.ReadingError(
            f"{files.shown(path)} cannot be read as Parquet ({shown(str(error))}); expected a "
            "whole Parquet file. Write it or copy it again."
        ) from error


def check_sound(data: pa.Table | pa.ChunkedArray | pa.Array | pa.RecordBatch) -> None:
    """Checks what pyarrow took from a Parquet file as it was.

    Text may not be UTF-8, and what a dictionary is asked for may lie behind its end.

    Raises:
      pa.ArrowInvalid: It is damaged.
    """
    data.validate(full=True)


def parquet_schema(files: Files, path: str) -> pa.Schema:
    """The schema of a Parquet file.

    Raises:
      ReadingError: It is no Parquet file.
    """
    with opened(files, path) as stream:
        schema = parsed(files, path, lambda: pq.read_schema(stream))
    refuse_equal_names(files, path, schema.names)
    return schema


def first_parquet_texts(files: Files, path: str, column: str) -> list[str | None]:
    """The first values of one column of a Parquet file; none if they are no text.

    Raises:
      ReadingError: It cannot be read.
    """
    if not is_text(parquet_schema(files, path).field(column).type):
        return []
    first = _first_values(files, path, column, 1000, read_dictionary=[column])
    return [] if first is None else shared_texts(pa.chunked_array([first]))


def first_parquet_bytes(files: Files, path: str, column: str) -> list[bytes | None]:
    """The first few values of a column of bytes of a Parquet file.

    Raises:
      ReadingError: They cannot be read.
    """
    # With a buffer, only the beginning of the column is read, not all its images.
    first = _first_values(files, path, column, _FEW_ROWS, buffer_size=_BUFFER_BYTES)
    return [] if first is None else first.to_pylist()


def _first_values(
    files: Files, path: str, column: str, rows: int, **options: Any
) -> pa.Array | None:
    """The values of the first rows, checked; None if there are no rows."""

    def read(stream: BinaryIO) -> pa.Array | None:
        batches = pq.ParquetFile(stream, **options).iter_batches(rows, columns=[column])
        first = next(batches, None)
        if first is None:
            return None
        check_sound(first)
        return first.column(0)

    with opened(files, path) as stream:
        return parsed(files, path, lambda: read(stream))


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a column of this type holds bytes."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text."""
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(value) or pa.types.is_large_string(value)


def read_parquet(files: Files, path: str) -> tuple[pa.Table, str]:
    """Reads a whole Parquet file that holds no images.

    Returns:
      The table, and the SHA-256 of the file that it was read from.

    Raises:
      ReadingError: It cannot be read, or it holds too much.
    """
    content = read_bytes(files, path)
    schema = parsed(files, path, lambda: pq.read_schema(io.BytesIO(content)))
    rows = parsed(files, path, lambda: pq.read_metadata(io.BytesIO(content)).num_rows)
    if rows > MOST_EXAMPLES:
        raise _too_much(files, path, f"{rows:,} rows", f"at most {MOST_EXAMPLES:,}")
    texts = [field.name for field in schema if is_text(field.type)]
    table = parsed(files, path, lambda: pq.read_table(io.BytesIO(content), read_dictionary=texts))
    size = parsed(files, path, lambda: sum(_text_bytes(table[name]) for name in texts))
    if size > _MOST_TEXT_BYTES:
        raise _too_much(files, path, f"{size:,} bytes of text", f"at most {_MOST_TEXT_BYTES:,}")
    plain = parsed(files, path, lambda: table.cast(schema))
    return plain, hashlib.sha256(content).hexdigest()


def _text_bytes(column: pa.ChunkedArray) -> int:
    """Number of bytes of all values of a dictionary-encoded column, each written out."""
    total = 0
    for chunk in column.chunks:
        lengths = pc.binary_length(chunk.dictionary)
        total += pc.sum(pc.cast(pc.take(lengths, chunk.indices), pa.int64())).as_py() or 0
    return total


def _too_much(files: Files, path: str, held: str, expected: str) -> base.ReadingError:
    return base.ReadingError(
        f"{files.shown(path)} holds {held}; expected {expected}. Use a smaller table, "
        "or divide the data into spans."
    )
