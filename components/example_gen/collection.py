"""The data of a run: its parts, opened, with their digest and the split of each example."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from components import features
from components.example_gen import labels, split
from components.example_gen.readers.base import Form, Index, Reader, ReadingError, Shard
from components.example_gen.readers.files import each_of
from components.example_gen.readers.opening import open_data
from components.example_gen.request import Part, Request, names_of
from components.example_gen.split import NOT_TAKEN

if TYPE_CHECKING:
    import pyarrow as pa

# Name of a column that only counts rows.
_ROWS = "rows of a part without further columns"
# SHA-256 of every source of a part, by path.
Contents = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Work:
    """A shard with what the graph needs of its examples.

    Attributes:
      part: Number of the part.
      name: Name of the shard, which is distinct among all parts.
      shard: What to read.
      ids: Id of each example.
      labels: Label of each example, int32 [count].
      splits: Position of its split in `features.SPLITS`, or `NOT_TAKEN`; int8 [count].
      contents: SHA-256 of the sources of the shard, by path.
    """

    part: int
    name: str
    shard: Shard
    ids: tuple[str, ...]
    labels: np.ndarray
    splits: np.ndarray
    contents: Contents


def work_to_json(work: Work) -> str:
    """The work as text."""
    # Not all of it through asdict, which copies each of thousands of texts.
    return json.dumps(
        {
            "part": work.part,
            "name": work.name,
            "shard": vars(work.shard),
            "ids": work.ids,
            "labels": work.labels.tolist(),
            "splits": work.splits.tolist(),
            "contents": dict(work.contents),
        }
    )


def work_from_json(text: str) -> Work:
    """Reads work from its text."""
    values = json.loads(text)
    shard = values.pop("shard")
    return Work(
        part=values["part"],
        name=values["name"],
        shard=Shard(**{**shard, "files": tuple(shard["files"])}),
        ids=tuple(values["ids"]),
        labels=np.array(values["labels"], np.int32),
        splits=np.array(values["splits"], np.int8),
        contents=values["contents"],
    )


@dataclasses.dataclass(frozen=True)
class Listing:
    """All examples of a run, part after part.

    Attributes:
      indexes: Index of each part.
      ids: Distinct ids.
      labels: Labels, int32 [count].
      splits: Position of each example's split in `features.SPLITS`, or `NOT_TAKEN`; int8 [count].
      columns: Further columns of the data, a row per example; None without any.
      by_number: Whether the data has the numbers of the classes instead of their names.
    """

    indexes: Sequence[Index]
    ids: Sequence[str]
    labels: np.ndarray
    splits: np.ndarray
    columns: pa.Table | None
    by_number: bool


def is_remote(location: str) -> bool:
    """Whether data lies elsewhere than on this machine."""
    return "://" in location


def open_part(location: str, part: Part, request: Request) -> Reader:
    """Opens a part of the data.

    Args:
      location: Folder or file of the data.
      part: The part.
      request: What to read.

    Raises:
      ReadingError: It holds no images in a known form.
    """
    path = os.path.join(location, part.path) if part.path else location
    return open_data(
        path,
        request.options,
        shape=request.shape,
        remote=is_remote(location),
        is_span=bool(part.name),
    )


def open_parts(location: str, request: Request) -> list[Reader]:
    """Opens all parts of the data.

    Raises:
      ReadingError: One of them holds no images in a known form.
    """
    return [open_part(location, part, request) for part in request.parts]


def summary(readers: Sequence[Reader]) -> str:
    """What was recognised in all parts, in words."""
    return "; ".join(dict.fromkeys(reader.summary for reader in readers))


def hashed(readers: Sequence[Reader], location: str) -> list[Contents]:
    """The SHA-256 of every source of every part.

    Args:
      readers: Opened parts.
      location: Folder or file of the data.
    """
    return [_hashed(reader, location) for reader in readers]


def _hashed(reader: Reader, location: str) -> Contents:
    paths = reader.sources()
    hashes = each_of(reader.hash_source, paths, several=are_fetched_together(reader, location))
    return dict(zip(paths, hashes, strict=True))


def are_fetched_together(reader: Reader, location: str) -> bool:
    """Whether to read several sources at a time: image files elsewhere; other files are large."""
    return is_remote(location) and reader.form in (Form.CLASS_FOLDERS, Form.MANIFEST)


def digest(parts: Sequence[Part], readers: Sequence[Reader], contents: Sequence[Contents]) -> str:
    """SHA-256, hexadecimal, of the content of all parts and of what decides the ids.

    The hashed text has the lines of each part (`Reader.digest_lines`) with its name before them.
    """
    found = hashlib.sha256()
    for part, reader, known in zip(parts, readers, contents, strict=True):
        prefix = _prefix(part)
        lines = "".join([f"{prefix}{line}" for line in reader.digest_lines(known)])
        found.update(lines.encode(errors="surrogateescape"))
    return found.hexdigest()


def listing(
    request: Request, readers: Sequence[Reader], contents: Sequence[Contents], seed: int
) -> Listing:
    """Lists all examples, resolves their labels, and divides them.

    Args:
      request: What to read.
      readers: Opened parts.
      contents: SHA-256 of the sources of each part.
      seed: Random seed of the validation split.

    Raises:
      ReadingError: Ids or labels are unknown, or a class has too few examples.
    """
    indexes = [reader.index(known) for reader, known in zip(readers, contents, strict=True)]
    numbers = _resolved(indexes, request)
    ids = [
        f"{_prefix(part)}{name}"
        for part, index in zip(request.parts, indexes, strict=True)
        for name in index.ids
    ]
    classes = np.concatenate(
        [
            np.array([numbers[value] for value in index.values], np.int32)[index.labels]
            for index in indexes
        ]
    )
    columns = _columns(indexes)
    splits = _divided(request, indexes, ids, classes, columns, seed)
    taken = splits != NOT_TAKEN
    split.check_classes(splits[taken], classes[taken], request.split, names_of(request))
    return Listing(indexes, ids, classes, splits, columns, _is_by_number(numbers, request))


def _prefix(part: Part) -> str:
    return f"{part.name}-" if part.name else ""


def _resolved(indexes: Sequence[Index], request: Request) -> dict[str, int]:
    """The number of each label of the data, over all parts together."""
    values = list(dict.fromkeys(value for index in indexes for value in index.values))
    if request.class_names:
        return labels.resolve(values, request.class_names)
    return labels.by_number(values, request.class_count)


def _is_by_number(numbers: Mapping[str, int], request: Request) -> bool:
    return all(value == str(number) for value, number in numbers.items()) and not (
        set(numbers) & set(request.class_names)
    )


def _columns(indexes: Sequence[Index]) -> pa.Table | None:
    """The further columns of all parts; nulls where a part lacks one."""
    if all(index.columns is None for index in indexes):
        return None
    # Imported here: most data has no further columns.
    import pyarrow as pa

    tables = [
        # A table without columns has no rows either.
        pa.table({_ROWS: pa.nulls(len(index.ids))}) if index.columns is None else index.columns
        for index in indexes
    ]
    try:
        joined = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ReadingError(
            f"the further columns of the spans do not fit together ({error}); expected columns of "
            "the same name to hold the same kind of values. Fix or rename one of them."
        ) from error
    if features.EXAMPLE_ID in joined.column_names:
        raise ReadingError(
            f"the data has a further column called {features.EXAMPLE_ID}, beside the ids; expected "
            "another name, since the ids are kept under this one. Rename the column."
        )
    return joined.drop_columns([_ROWS]) if _ROWS in joined.column_names else joined


def _divided(
    request: Request,
    indexes: Sequence[Index],
    ids: Sequence[str],
    classes: np.ndarray,
    columns: pa.Table | None,
    seed: int,
) -> np.ndarray:
    """The split of each example, or `NOT_TAKEN`; int8 [count]."""
    uses = np.repeat([part.use for part in request.parts], [len(index.ids) for index in indexes])
    has_contents = all(index.contents is not None for index in indexes)
    examples = split.Examples(
        ids=ids,
        labels=classes,
        given=np.concatenate([index.splits for index in indexes]),
        trains=uses != "test",
        tests=uses != "train",
        contents=[sha for index in indexes for sha in index.contents or ()]
        if has_contents
        else None,
        columns=columns,
        ids_in_part=[name for index in indexes for name in index.ids],
    )
    split.check_group_count(examples, request.split)
    return split.assign(examples, request.split, seed)


def work_of(
    listed: Listing, request: Request, readers: Sequence[Reader], contents: Sequence[Contents]
) -> Iterator[Work]:
    """Divides the reading of all examples that some split takes.

    Args:
      listed: All examples.
      request: What to read.
      readers: Opened parts.
      contents: SHA-256 of the sources of each part.
    """
    start = 0
    for number, (part, reader, index) in enumerate(
        zip(request.parts, readers, listed.indexes, strict=True)
    ):
        for shard in reader.shards(index):
            rows = slice(start + shard.first, start + shard.first + shard.count)
            if (listed.splits[rows] == NOT_TAKEN).all():
                continue
            yield Work(
                part=number,
                name=f"{_prefix(part)}{shard.name}",
                shard=shard,
                ids=tuple(listed.ids[rows]),
                labels=listed.labels[rows],
                splits=listed.splits[rows],
                contents=_of_shard(shard, contents[number]),
            )
        start += len(index.ids)


def _of_shard(shard: Shard, contents: Contents) -> Contents:
    if not shard.files:
        # Few files, which a shard may read several of.
        return contents
    return {path: contents[path] for path in shard.files if path in contents}


def check_digest(found: str, expected: str, location: str) -> None:
    """Checks that the data is the one that the run was asked for.

    Raises:
      ReadingError: It is another.
    """
    if found != expected:
        raise ReadingError(
            f"the data in {location} has the digest {found}; expected {expected}, as the run was "
            "asked for. Where it changed meanwhile, run again when it is at rest; on a cluster, "
            "give the digest of this data as data_digest, or the location of the other."
        )
