"""A look at data that takes seconds: all names and labels, and the pixels of a sample."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from components import features, images
from components.class_names import composed, is_showable
from components.example_gen.readers.base import (
    UNDECIDED,
    Bad,
    Encoded,
    Form,
    Index,
    Item,
    ReadingError,
)
from components.messages import shown
from components.object_store import ObjectStoreError, is_address
from components.reading_report import Border
from operations.initialization import channel_order, shares, span_window
from operations.initialization.opened import Opened, Wanted, open_place
from operations.initialization.shares import Division
from operations.initialization.tested import Tested
from pipeline import paths
from pipeline.config import Config
from pipeline.datasets import bucket, spans
from pipeline.datasets.bucket import BucketPath, Place
from pipeline.datasets.reading import reading_options
from pipeline.errors import DataError

# The sample, whatever the size of the data.
_MOST_IMAGES = 500
# Bytes of undecoded images that are held, and pixels that are decoded: some seconds of work.
_MOST_BYTES = 2**27
_MOST_PIXELS = 2**29
_MOST_PIECES = 8
_SEED = 1
# The review shows a cell for each pair of classes.
_MOST_CLASSES = 1000
# Share of images with transparent parts from which these decide the background.
_MANY_TRANSPARENT = 0.1
# How many times the contrast on the worst background that on the best has to be.
_CLEARLY = 1.1
# Brightness of what may be behind transparent parts, the usual first.
BACKGROUNDS = (0, 255, 128)
_JPEG = b"\xff\xd8"


@dataclasses.dataclass(frozen=True)
class Sample:
    """The images that were decoded.

    Attributes:
      tried: Number of images that were tried.
      heights: Height of each image, upright, int64 [N].
      widths: Width of each image, upright, int64 [N].
      brightest: Largest value of each image, 0 to 255; 255 with transparent parts, int64 [N].
      gray: Number of images without colours.
      border: Kind of their borders; transparent parts as on `best_background`.
      contrasts: Standard deviation of the brightness of each image with transparent parts, on each
        of `BACKGROUNDS`, float64 [T, 3].
      pixel_shape: Height, width and channels where the data holds pixels, not image files.
      roughness: `channel_order.roughness` of each image with colours where the data holds pixels,
        float64 [C, 2, 2].
      bad: Images that cannot be used.
      positions: Position in the index of each image that was tried, int64 [tried].
      is_bad: Whether each of them cannot be used, bool [tried].
    """

    tried: int
    heights: np.ndarray
    widths: np.ndarray
    brightest: np.ndarray
    gray: int
    border: Border
    contrasts: np.ndarray
    pixel_shape: tuple[int, int, int] | None
    roughness: np.ndarray
    bad: tuple[Bad, ...]
    positions: np.ndarray
    is_bad: np.ndarray

    @property
    def short_sides(self) -> np.ndarray:
        """The shorter side of each image, int64 [N]."""
        shorter: np.ndarray = np.minimum(self.heights, self.widths)
        return shorter

    @property
    def best_background(self) -> int | None:
        """The ground that images with transparent parts show best on; None if it matters little."""
        return _best_background(self.contrasts, len(self.heights))


@dataclasses.dataclass(frozen=True)
class Look:
    """What is known of data after a look.

    Attributes:
      data: Full path or address of the data.
      form: Form of the data; None where spans have several.
      summary: What was recognised, in words.
      ignored: What lies there and is not read, a line each.
      doubts: What may not be as its owner means it, as the reader says, some sentences each.
      class_names: Names of the classes in label order.
      counts: Number of images of each class in label order, by split; `UNDECIDED_SPLIT` where the
        data does not say.
      sample: The images that were decoded.
      division: How a run draws the splits that the data does not give. In spans it is the usual
        one, since ids are others there.
      bad_share: Largest share of bad images, of all that were tried and of those of each split.
      columns: Number of different values of each further column.
      window: Number of newest spans that a run trains on; None where the data has no spans.
      lacking: Classes without images to train on in the spans that a run takes by default.
      tested: What a run tests on.
      is_guess: Whether the images are only taken for square ones, as columns of pixels are.
    """

    data: Place
    form: Form | None
    summary: str
    ignored: tuple[str, ...]
    doubts: tuple[str, ...]
    class_names: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    sample: Sample
    division: Division
    bad_share: float
    columns: Mapping[str, int]
    window: int | None
    lacking: tuple[str, ...]
    tested: Tested
    is_guess: bool

    @property
    def pixel_shape(self) -> tuple[int, int, int] | None:
        """Height, width and channels where the data holds pixels, not image files."""
        return self.sample.pixel_shape

    @property
    def per_class(self) -> tuple[int, ...]:
        """Number of images of each class in label order."""
        return tuple(map(sum, zip(*self.counts.values(), strict=True)))

    @property
    def has_test(self) -> bool:
        """Whether the data names its test images."""
        return self.tested.is_given

    @property
    def test_images(self) -> tuple[float, ...]:
        """Number of test images of each class, or what the draw is expected to take."""
        return self.tested.expected(self.division.test_share)

    @property
    def has_validation(self) -> bool:
        """Whether the data names its validation images."""
        return sum(self.counts[features.VALIDATION_SPLIT]) > 0


UNDECIDED_SPLIT = "undecided"


def look(data: str, asked: Config, wanted: Wanted, notify: Callable[[str], None]) -> Look:
    """Looks at data.

    Args:
      data: Path or address of a folder or a file.
      asked: Configuration: how data is read and divided.
      wanted: What the options say about the images.
      notify: Shows a line about what takes time or is unusual.

    Raises:
      DataError: The data cannot be used; the message says why.
      PathError: The path cannot be used.
      UnreachableError: A bucket does not answer.
    """
    place = _existing(data)
    try:
        real = place if isinstance(place, BucketPath) else paths.resolved(place, "--data")
        options = reading_options(asked.data)
        found = spans.find_spans(real)
        usual = spans.resolve(real, asked.spans, asked.data, notify) if found else None
        if usual is None:
            taken = span_window.whole(open_place(real, options, wanted, notify, is_span=False))
        else:
            taken = span_window.take(found, usual, asked, wanted, notify)
        reader, index = taken.looked_at.reader, taken.index
        order = label_order(index.values, keep=reader.form == Form.PARQUET_IMAGES)
        _check_classes(index, place)
        divide = shares.usual if found else shares.choose
        division = divide(index, taken.tested, asked)
        sample = _sample(_thinned(_chosen_items(taken.looked_at)))
    except ObjectStoreError as error:
        raise bucket.told(error) from error
    except ReadingError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(
            f"{shown(str(error.filename or place))} cannot be read ({error.strerror}); expected "
            "readable files. Check their permissions."
        ) from error
    if not len(sample.heights):
        first = sample.bad[0]
        raise DataError(
            f"none of {sample.tried} images of {place} can be used, the first of them "
            f"{shown(first.name)}: {first.reason}"
        )
    return Look(
        data=place,
        form=taken.form,
        summary=reader.summary,
        ignored=(*taken.ignored, *reader.ignored),
        doubts=reader.doubts,
        class_names=tuple(composed(index.values[position]) for position in order),
        counts=_counts(index, order),
        sample=sample,
        division=division,
        bad_share=_bad_share(sample, index, None if found else asked, division),
        columns=_columns(taken.looked_at.index),
        window=taken.window,
        lacking=taken.lacking,
        tested=taken.tested.ordered(order),
        is_guess=reader.form == Form.PIXEL_TABLE and wanted.size is None,
    )


def _bad_share(sample: Sample, index: Index, asked: Config | None, division: Division) -> float:
    """The share that a run has to be allowed to skip; without a configuration, of all images."""
    if not sample.bad:
        return 0.0
    splits = shares.Splits(index, asked.split.group, asked.seed) if asked else None
    return shares.largest_bad_share(splits, division, sample.positions, sample.is_bad)


def label_order(values: Sequence[str], keep: bool) -> list[int]:
    """The order of classes: by number, or as people sort names; `keep` leaves names as they are.

    Returns:
      Positions in `values`.
    """
    if all(re.fullmatch(r"[0-9]+", value) for value in values):
        return sorted(range(len(values)), key=lambda position: _size(values[position]))
    if keep:
        return list(range(len(values)))
    return sorted(range(len(values)), key=lambda position: _natural(values[position]))


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """A key by which `class 2` comes before `class 10`."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name.casefold())
    # Digits of other scripts are text here.
    return [(0, *_size(part)) if part[0] in "0123456789" else (1, 0, part) for part in parts], name


def _size(digits: str) -> tuple[int, str]:
    """A key that orders numbers by size; Python makes no number of more than 4,300 digits."""
    significant = digits.lstrip("0")
    return len(significant), significant


def _existing(data: str) -> Place:
    """The full path of the data, with its links: what they lead to may change from run to run."""
    if is_address(data):
        return bucket.address(data, "--data")
    real = paths.resolved(pathlib.Path(data), "--data", or_bucket=True)
    try:
        paths.refuse_endless(real)
    except OSError as error:
        raise DataError(
            f"--data {data} cannot be read ({error.strerror}); expected a folder or a file with "
            "labelled images. Check the path."
        ) from error
    plain = pathlib.Path(os.path.normpath(paths.expanded(pathlib.Path(data), "--data").absolute()))
    # Behind a link, `..` is another folder.
    return plain if plain.resolve() == real else real


def _check_classes(index: Index, place: Place) -> None:
    names = index.values
    if len(names) < 2:
        only = f"only one class, {shown(names[0])}" if names else "no labelled images"
        raise DataError(
            f"{place} has {only}; expected images of at least two classes. Add a folder or rows of "
            "another class."
        )
    if len(names) > _MOST_CLASSES:
        median = int(np.median(np.bincount(index.labels, minlength=len(names))))
        raise DataError(
            f"{place} has {len(names):,} classes, with {median:,} images in the median class; "
            f"expected at most {_MOST_CLASSES:,}. Check that the labels are classes, not names of "
            "objects or measured values, and merge or leave out small classes."
        )
    for name in names:
        if not is_showable(name):
            raise DataError(
                f"{place} has a class called {shown(name)}; expected names without control "
                "characters and line breaks. Rename the class in the data."
            )


def _counts(index: Index, order: Sequence[int]) -> dict[str, tuple[int, ...]]:
    positions = {**dict(enumerate(features.SPLITS)), UNDECIDED: UNDECIDED_SPLIT}
    counts = {}
    for position, name in positions.items():
        labels = index.labels[index.splits == position]
        per_value = np.bincount(labels, minlength=len(index.values))
        counts[name] = tuple(int(per_value[each]) for each in order)
    return counts


def _columns(index: Index) -> dict[str, int]:
    if index.columns is None:
        return {}
    counts = {}
    for name in index.columns.column_names:
        # Arrow cannot count lists, tensors, half floats and further types: such a column is no
        # group of images.
        with contextlib.suppress(pa.ArrowException):
            counts[name] = len(index.columns[name].unique())
    return counts


def _chosen_items(opened: Opened) -> Iterator[tuple[int, Item]]:
    """The images of the sample with their positions in the index, in the order of the data."""
    reader, index, contents = opened.reader, opened.index, opened.contents
    random = np.random.default_rng(_SEED)
    shards = list(reader.shards(index))
    if any(shard.files for shard in shards):
        total = sum(shard.count for shard in shards)
        chosen = set(random.permutation(total)[:_MOST_IMAGES].tolist())
    else:
        # To read a row is to read the piece that it is in.
        pieces = sorted(random.permutation(len(shards))[:_MOST_PIECES])
        shards = [shards[piece] for piece in pieces]
        rows = np.concatenate([np.arange(s.first, s.first + s.count) for s in shards])
        chosen = set(random.permutation(rows)[:_MOST_IMAGES].tolist())
    for shard in shards:
        wanted = [row for row in range(shard.count) if shard.first + row in chosen]
        if shard.files:
            files = tuple(shard.files[row] for row in wanted)
            part = dataclasses.replace(shard, count=len(files), files=files)
            hashed = {path: reader.hash_source(path) for path in files}
            items = reader.read(part, hashed)
        else:
            items = _rows(reader.read(shard, contents), wanted)
        yield from zip((shard.first + row for row in wanted), items, strict=True)


def _rows(items: Iterator[Item], wanted: Sequence[int]) -> Iterator[Item]:
    if not wanted:
        return
    rows = set(wanted)
    for row, item in enumerate(items):
        if row in rows:
            # Readers yield views, each of which keeps the batch that it was read in.
            yield item.copy() if isinstance(item, np.ndarray) else item
        if row >= wanted[-1]:
            return


def _thinned(items: Iterable[tuple[int, Item]]) -> list[tuple[int, Item]]:
    """All items; or every second, every fourth ..., if they would take too much memory."""
    held: list[tuple[int, Item]] = []
    stride = 1
    for position, item in enumerate(items):
        if position % stride == 0:
            held.append(item)
        if sum(_bytes(each) for _, each in held) > _MOST_BYTES and len(held) > 1:
            held, stride = held[::2], 2 * stride
    return held


def _bytes(item: Item) -> int:
    match item:
        case Encoded():
            return len(item.content)
        case Bad():
            return 0
    return item.nbytes


@dataclasses.dataclass(frozen=True)
class _Measured:
    """What is measured of an image.

    Attributes:
      size: Height and width.
      brightest: Largest value of its pixels, be the background black or white.
      gray: Whether it is without colours.
      borders: Mean brightness of its border on each of `BACKGROUNDS`, float64 [3].
      contrasts: Standard deviation of its brightness on each of them, float64 [3]; None for an
        image without transparent parts.
    """

    size: tuple[int, int]
    brightest: int
    gray: bool
    borders: np.ndarray
    contrasts: np.ndarray | None


def _sample(items: Sequence[tuple[int, Item]]) -> Sample:
    """Decodes the images, in a fixed random order until they are many pixels."""
    measured, bad, rough = [], [], []
    positions, is_bad, decoded = [], [], 0
    shape = None
    for number in np.random.default_rng(_SEED).permutation(len(items)):
        if decoded >= _MOST_PIXELS:
            break
        position, item = items[number]
        positions.append(position)
        is_bad.append(False)
        try:
            each = _measured(item)
        except images.ImageError as error:
            bad.append(Bad(_name(item), str(error)))
            is_bad[-1] = True
            continue
        decoded += math.prod(each.size)
        if isinstance(item, np.ndarray):
            shape = item.shape
            rough.append(channel_order.roughness(item))
        measured.append(each)
    heights, widths = np.array([each.size for each in measured], np.int64).reshape(-1, 2).T
    contrasts = np.array([each.contrasts for each in measured if each.contrasts is not None])
    contrasts = contrasts.reshape(-1, len(BACKGROUNDS))
    background = _best_background(contrasts, len(measured)) or 0
    borders = np.array([each.borders for each in measured]).reshape(-1, len(BACKGROUNDS))
    return Sample(
        tried=len(positions),
        heights=heights,
        widths=widths,
        brightest=np.array([each.brightest for each in measured], np.int64),
        gray=sum(each.gray for each in measured),
        border=images.border_kind(borders[:, BACKGROUNDS.index(background)]),
        contrasts=contrasts,
        pixel_shape=shape,
        roughness=np.array([each for each in rough if each is not None]).reshape(-1, 2, 2),
        bad=tuple(sorted(bad, key=lambda each: each.name)),
        positions=np.array(positions, np.int64),
        is_bad=np.array(is_bad, bool),
    )


def _best_background(contrasts: np.ndarray, decoded: int) -> int | None:
    if not len(contrasts) or len(contrasts) < _MANY_TRANSPARENT * decoded:
        return None
    # Not the mean: a few images that stand out strongly would hide those that vanish.
    low = low_contrasts(contrasts)
    # A few transparent pixels at the rim say nothing.
    return None if low.max() < _CLEARLY * low.min() else BACKGROUNDS[int(np.argmax(low))]


def low_contrasts(contrasts: np.ndarray) -> np.ndarray:
    """The contrast that nine of ten images exceed.

    Args:
      contrasts: Contrast of each image on each background, float64 [T, 3].

    Returns:
      float64 [3].
    """
    low: np.ndarray = np.percentile(contrasts, 10, axis=0)
    return low


def _measured(item: Item) -> _Measured:
    on_black, on_white = _on_black_and_white(item)
    gray = bool((on_black == on_black[..., :1]).all())
    size = (on_black.shape[0], on_black.shape[1])
    brightest = max(int(on_black.max()), int(on_white.max()))
    variants = [on_black]
    if not np.array_equal(on_black, on_white):
        # Half of each is what shows on gray.
        on_gray = ((on_black.astype(np.uint16) + on_white) // 2).astype(np.uint8)
        variants = [on_black, on_white, on_gray]
    borders = np.array([images.borders(each[None])[0] for each in variants])
    if len(variants) == 1:
        return _Measured(size, brightest, gray, borders.repeat(len(BACKGROUNDS)), None)
    contrasts = np.array([each.mean(axis=-1).std() for each in variants])
    return _Measured(size, brightest, gray, borders, contrasts)


def _on_black_and_white(item: Item) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of an image on each ground, uint8 [height, width, channels].

    Raises:
      ImageError: The image cannot be used.
    """
    match item:
        case Bad():
            raise images.ImageError(item.reason)
        case Encoded():
            content = _content(item)
            on_black = np.asarray(images.decode(content, 3, 0))
            # JPEG has no transparency: a photograph is decoded but once.
            if content.startswith(_JPEG):
                return on_black, on_black
            return on_black, np.asarray(images.decode(content, 3, 255))
    return item, item


def _content(item: Encoded) -> bytes:
    try:
        return item.content or pathlib.Path(item.path).read_bytes()
    except OSError as error:
        raise images.ImageError(
            f"the file cannot be read ({error.strerror}); expected a readable file. Check its "
            "permissions."
        ) from error


def _name(item: Item) -> str:
    return "" if isinstance(item, np.ndarray) else item.name


def percentiles(values: np.ndarray) -> tuple[int, int, int]:
    """The 5th, 50th and 95th percentile, as whole pixels."""
    low, middle, high = (math.floor(each) for each in np.percentile(values, (5, 50, 95)))
    return low, middle, high
