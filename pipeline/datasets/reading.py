"""Reads the data of a run and checks it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from components import features, slices
from components.example_gen import collection, split
from components.example_gen.readers.base import Index, Reader, ReadingError
from components.example_gen.readers.files import each_of
from components.example_gen.request import Part, Request
from components.image_schema import ImageSchema
from components.messages import listed
from components.object_store import ObjectStoreError
from pipeline.config import Config
from pipeline.datasets import SAMPLE, bucket, find
from pipeline.datasets.dataset import DataSet, Holding, Source
from pipeline.datasets.digest_cache import DigestCache, State
from pipeline.datasets.options import reading_options as reading_options
from pipeline.errors import DataError

# Above this number, files are summed up.
_MOST_FILES = 24
_SECONDS_IN_SILENCE = 10

Item = TypeVar("Item")


def _in_silence(line: str) -> None:
    """Tells nobody."""


def read_dataset(
    source: Source,
    schema: ImageSchema,
    schema_sha256: str,
    config: Config,
    *,
    trust_time_stamps: bool = True,
    notify: Callable[[str], None] = _in_silence,
) -> DataSet:
    """Reads and checks all files of a run, except that it decodes no image file.

    Draws the sample first if the run uses it.

    Args:
      source: the folder or file, and its spans.
      schema: image shape and class names.
      schema_sha256: SHA-256 of the schema file.
      config: how to read and to divide the data.
      trust_time_stamps: whether files that have not changed since an earlier run count as read.
      notify: receives a line now and then while much is read from a bucket.

    Raises:
      DataError: the data cannot be used, contradicts the schema, or changed meanwhile.
      UnreachableError: a bucket does not answer.
    """
    if source.sample and isinstance(source.place, pathlib.Path):
        _draw_sample(source.place)
    asked = asked_of(config, schema, _parts(source))
    location = str(source.place)
    with _as_data_error(location, in_spans=source.window is not None):
        readers = collection.open_parts(location, asked)
        contents = _contents(location, asked.parts, readers, trust_time_stamps, notify)
        digest = collection.digest(asked.parts, readers, contents)
        listing = collection.listing(asked, readers, contents, config.seed)
        doubts = [doubt for reader in readers for doubt in reader.doubts]
        doubts += _slice_doubts(listing, config)
    counts = {
        name: tuple(
            split.class_counts(listing.labels[listing.splits == number], len(schema.class_names))
        )
        for number, name in enumerate(features.SPLITS)
    }
    return DataSet(
        name=SAMPLE if source.sample else location,
        sample=source.sample,
        location=location,
        request=_settled(asked, contents, listing.by_number),
        digest=digest,
        sha256s=_sha256s(asked.parts, contents, digest),
        schema_sha256=schema_sha256,
        form=readers[-1].form,
        summary=collection.summary(readers),
        ignored=(
            *(source.window.ignored if source.window else ()),
            *(line for reader in readers for line in reader.ignored),
        ),
        counts=counts,
        holdings=tuple(map(_holding, asked.parts, listing.indexes, contents)),
        window=source.window,
        doubts=tuple(dict.fromkeys([*doubts, *_unvalidated(counts, schema.class_names)])),
    )


def _holding(part: Part, index: Index, contents: collection.Contents) -> Holding:
    shared = frozenset(contents) if index.contents is None else frozenset[str]()
    sha256s = contents.values() if index.contents is None else index.contents
    # Of an image that cannot be read, there is none. Whole arrays: there may be millions.
    beginnings = "".join(sha256[: 2 * Holding.DIGEST_BYTES] for sha256 in sha256s if sha256)
    digests = np.unique(np.frombuffer(bytes.fromhex(beginnings), np.uint64))
    return Holding(
        span=int(part.name.removeprefix("span-")) if part.name else None,
        images=len(index.ids),
        digests=digests.tobytes(),
        shared=shared,
    )


def _unvalidated(counts: Mapping[str, Sequence[int]], names: Sequence[str]) -> list[str]:
    """Says which classes have no validation images, though others have some."""
    without = [
        name
        for name, count in zip(names, counts[features.VALIDATION_SPLIT], strict=True)
        if not count
    ]
    if not without:
        return []
    return [
        f"No validation image is of {listed(without)}: the best epoch is chosen without looking at "
        "such images. Add images, or set a larger split.validation if the data gives no validation "
        "split."
    ]


def _slice_doubts(listing: collection.Listing, config: Config) -> list[str]:
    """Checks the slices before anything starts; DataGate does where the data is not here.

    Returns:
      What of them will not be judged, or will refuse every model.
    """
    slicings = config.gates.slicings()
    if not slicings:
        return []
    taken = listing.splits != split.NOT_TAKEN
    columns = None if listing.columns is None else listing.columns.filter(taken)
    is_test = listing.splits[taken] == features.TEST
    wanted = {slicing.column: slicing.wanted_images for slicing in slicings}
    slices.check(columns, int(is_test.sum()), wanted)
    if columns is None:
        return []
    doubts = []
    for slicing in slicings:
        values = slices.values(slicing.column, columns[slicing.column])
        tested = list(itertools.compress(values, is_test.tolist()))
        slices.check_tested(slicing.column, tested)
        doubts += slices.doubts(slicing, tested)
    return doubts


def asked_of(config: Config, schema: ImageSchema, parts: Sequence[Part]) -> Request:
    """What ExampleGen is asked for."""
    return Request(
        parts=tuple(parts),
        shape=schema.shape,
        class_count=len(schema.class_names),
        class_names=schema.class_names,
        options=reading_options(config.data),
        fit=config.images.fit,
        background=config.images.background,
        bad_files=config.data.bad_files,
        max_bad_share=config.data.max_bad_share,
        split=split_settings(config),
    )


def split_settings(config: Config) -> split.Settings:
    """How examples are divided."""
    return split.Settings(config.split.validation, config.split.test_share, config.split.group)


# The whole of data that does not come in spans.
WHOLE = Part("", "", "all")


def _parts(source: Source) -> list[Part]:
    """The parts to read: spans to train on, newest last, and the one to test on."""
    window = source.window
    if window is None:
        return [WHOLE]
    spans = [*window.train, *([] if window.reference in window.train else [window.reference])]
    return [
        Part(
            span.name,
            span.folder.name,
            "test" if span not in window.train else "all" if span == window.reference else "train",
        )
        for span in spans
    ]


def _contents(
    location: str,
    parts: Sequence[Part],
    readers: Sequence[Reader],
    trusted: bool,
    notify: Callable[[str], None],
) -> list[collection.Contents]:
    """The SHA-256 of every source of every part."""
    name = hashlib.sha256(os.fsencode(location)).hexdigest()[:16]
    file = find.cache_folder() / "digests" / f"{name}.sqlite"
    cache = DigestCache(file, location, trusted=trusted)
    found = [
        _part_contents(location, part, reader, cache, notify)
        for part, reader in zip(parts, readers, strict=True)
    ]
    cache.save()
    return found


def _part_contents(
    location: str, part: Part, reader: Reader, cache: DigestCache, notify: Callable[[str], None]
) -> collection.Contents:
    # IDX files have digests of what they hold uncompressed.
    kind = f"{reader.form} {part.path} "
    found = {}
    for path in reader.sources():
        state = _state(reader, path)
        found[path] = cache.find(f"{kind}{path}", state) if state else None
    unknown = [path for path, digest in found.items() if digest is None]

    def hashed(path: str) -> tuple[State | None, int, str]:
        state, began = _state(reader, path), time.time_ns()
        return state, began, _hashed(location, part, reader, path, state)

    several = collection.are_fetched_together(reader, location)
    read = each_of(hashed, unknown, several=several)
    if collection.is_remote(location):
        read = _told(read, len(unknown), location, notify)
    for path, (state, began, digest) in zip(unknown, read, strict=True):
        if state and digest:
            cache.keep(f"{kind}{path}", state, digest, began)
        found[path] = digest
    return {path: digest or "" for path, digest in found.items()}


def _told(
    read: Iterator[Item], count: int, location: str, notify: Callable[[str], None]
) -> Iterator[Item]:
    """Passes on what is read, and says how far that is when it takes long."""
    told = time.monotonic()
    for number, item in enumerate(read, start=1):
        if time.monotonic() - told > _SECONDS_IN_SILENCE:
            notify(f"Read {number:,} of {count:,} objects of {location} for their digests")
            told = time.monotonic()
        yield item


def _state(reader: Reader, path: str) -> State | None:
    """The state of a file; None where it is gone or unknown."""
    try:
        return reader.state(path)
    except OSError:
        return None


def _hashed(location: str, part: Part, reader: Reader, path: str, before: State | None) -> str:
    """The SHA-256 of a file that does not change while it is read.

    The age of a file says nothing: one that was written a second ago can be whole, one whose copy
    stalled an hour ago is not, and the clock of a file server is not ours. That a file is not whole
    shows in its content; what changes later still, ExampleGen finds by the SHA-256.
    """
    try:
        return reader.hash_source(path)
    finally:
        # Of a file that is still being copied, this is what is wrong, whatever was read of it.
        if before != _state(reader, path):
            place = "/".join(filter(None, (location, part.path, path)))
            raise DataError(
                f"{place} changed while it was read; expected "
                "files at rest. Where it is still being copied, run again when it is whole; to "
                "avoid this, copy under another name and rename at the end."
            )


def _settled(asked: Request, contents: Sequence[collection.Contents], by_number: bool) -> Request:
    """The request with what is known by now."""
    few = sum(map(len, contents)) <= _MOST_FILES
    return dataclasses.replace(
        asked,
        class_names=() if by_number else asked.class_names,
        contents=tuple(dict(known) for known in contents) if few else (),
    )


def _sha256s(
    parts: Sequence[Part], contents: Sequence[Mapping[str, str]], digest: str
) -> dict[str, str]:
    count = sum(map(len, contents))
    if count > _MOST_FILES:
        return {f"{count:,} files": digest}
    return {
        f"{part.path}/{path}".removeprefix("/").removesuffix(".gz"): sha256
        for part, known in zip(parts, contents, strict=True)
        for path, sha256 in known.items()
        if sha256
    }


@contextlib.contextmanager
def _as_data_error(location: str, in_spans: bool) -> Iterator[None]:
    try:
        yield
    except ObjectStoreError as error:
        raise bucket.told(error) from error
    except slices.SliceError as error:
        raise DataError(f"{location}: {error}") from error
    except split.SplitError as error:
        raise DataError(f"{error}{_advice_on_spans(error) if in_spans else ''}") from error
    except ReadingError as error:
        place = "" if location in str(error) else f"{location}: "
        raise DataError(f"{place}{error}") from error


def _advice_on_spans(error: split.SplitError) -> str:
    if isinstance(error, split.NoTestImagesError):
        # Further spans would only add images to train on.
        return (
            " All test images come from one span: set spans.reference to one that has images of "
            "every class."
        )
    return " Or take more spans, with spans.window."


def _draw_sample(folder: pathlib.Path) -> None:
    # Imported here because only drawing needs Pillow.
    from pipeline.datasets import sample

    try:
        sample.write_sample(folder)
    except OSError as error:
        raise DataError(
            f"the sample cannot be written to {folder} ({error.strerror}); expected a folder that "
            "can be written to. Set XDG_CACHE_HOME to one."
        ) from error
