"""Data that `init` has opened: a folder, a file or a span, with its list of examples."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping

from components import features
from components.example_gen.readers import opening
from components.example_gen.readers.base import Form, Index, Options, Reader, ReadingError
from components.example_gen.readers.folder import Shape
from components.messages import shown
from pipeline.datasets.bucket import BucketPath, Place

# To read a file of this size takes seconds.
_LARGE_MEGABYTES = 20


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What the options of `init` say about the images; None where they do not.

    Attributes:
      size: Height and width.
      channels: Number of channels, 1 or 3.
    """

    size: tuple[int, int] | None
    channels: int | None

    def shapes(self) -> list[Shape]:
        """The shapes that fit, gray first; none where any size does."""
        if self.size is None:
            return []
        channels = (1, 3) if self.channels is None else (self.channels,)
        return [(*self.size, each) for each in channels]


@dataclasses.dataclass(frozen=True)
class Opened:
    """Opened data.

    Attributes:
      reader: Its reader.
      contents: SHA-256 of each source that is asked for.
      index: All its examples.
    """

    reader: Reader
    contents: Mapping[str, str]
    index: Index


def open_place(
    place: Place, options: Options, wanted: Wanted, notify: Callable[[str], None], is_span: bool
) -> Opened:
    """Opens data and lists its examples.

    Args:
      place: A folder or a file.
      options: What the configuration says about reading.
      wanted: What the options say about the images.
      notify: Shows a line about what takes time.
      is_span: Whether it is one span of several.

    Raises:
      ReadingError: The data cannot be used.
      ObjectStoreError: A bucket cannot be read.
    """
    reader = _reader(place, options, wanted, is_span)
    contents = _Contents(reader, notify)
    return Opened(reader, contents, reader.index(contents))


def _reader(place: Place, options: Options, wanted: Wanted, is_span: bool) -> Reader:
    """Opens data as a run with the wanted size would; as it is, where the size does not fit."""
    open_it = functools.partial(
        opening.open_data,
        str(place),
        options,
        remote=isinstance(place, BucketPath),
        is_span=is_span,
    )
    refusals = []
    for shape in wanted.shapes():
        try:
            return open_it(shape=shape)
        except ReadingError as error:
            refusals.append(error)
    try:
        reader = open_it()
    except ReadingError as error:
        raise (refusals or [error])[0] from error
    # Its shape is a guess, which must not take the place of what is wanted.
    if refusals and reader.form == Form.PIXEL_TABLE:
        raise refusals[0]
    return reader


class _Contents(Mapping[str, str]):
    """SHA-256 of each source that is asked for; not of image files, which nobody has to read."""

    def __init__(self, reader: Reader, notify: Callable[[str], None]):
        self._reader = reader
        self._notify = notify
        self._hashed: dict[str, str] = {}
        self._sources = frozenset(reader.sources())

    def __getitem__(self, path: str) -> str:
        if path not in self._sources:
            raise KeyError(path)
        if _is_image(path):
            # Of all of them, only those of the sample are read.
            return ""
        if path not in self._hashed:
            state = self._reader.state(path)
            megabytes = state[2] / 10**6 if state else 0.0
            if megabytes >= _LARGE_MEGABYTES:
                self._notify(f"reading {shown(path)} ({megabytes:,.0f} MB) to its end ...")
            self._hashed[path] = self._reader.hash_source(path)
        return self._hashed[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


def _is_image(path: str) -> bool:
    return pathlib.PurePosixPath(path).suffix.lower() in features.IMAGE_SUFFIXES
