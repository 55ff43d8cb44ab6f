"""IDX files: a file of images and a file of labels for training, and two for the test.

The low-level reader is `components.example_gen.idx`.
"""

from __future__ import annotations

import dataclasses
import functools
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from components import features
from components.example_gen import idx
from components.example_gen.example_ids import example_ids
from components.example_gen.readers import base, emnist, leftovers
from components.example_gen.readers.files import Files, Listing, changed, require_usable
from components.example_gen.readers.folder import Folder
from components.messages import listed, shown

# As in train-images-idx3-ubyte, emnist-letters-test-labels.idx1-ubyte.gz, qmnist-...-idx2-int.
_NAME = re.compile(
    r"(?P<prefix>(?:.+[-_])?)(?P<half>train|t10k|test)(?P<join>[-_])(?P<content>images|labels)"
    r"(?P<ending>[-.]idx[0-9][-.][a-z]+)(?P<zipped>(?:\.gz)?)"
)
_HALVES = {"train": idx.TRAIN, "t10k": idx.TEST, "test": idx.TEST}
_SPLITS = {idx.TRAIN: features.TRAIN, idx.TEST: features.TEST}
_USUAL_ENDINGS = {"images": "idx3-ubyte", "labels": "idx1-ubyte"}
_SUFFIXES = (".gz", ".idx")
# Folder in which torchvision keeps the files, in one with the name of the data set.
_RAW = "raw"
_BATCH_SIZE = 2048


@dataclasses.dataclass(frozen=True)
class _Named:
    """A file with the name of an IDX file; `twin` is the same one gzipped, beside a plain one."""

    path: str
    match: re.Match[str]
    twin: str | None = None


@dataclasses.dataclass(frozen=True)
class _Pair:
    """A half of the data: images and labels."""

    half: str
    images: _Named
    labels: _Named


def recognise(folder: Folder) -> IdxFiles | None:
    """Opens the IDX files of a folder; None where it has none.

    Raises:
      ReadingError: Files are missing, ambiguous, or not what their names say.
    """
    files, is_span = folder.files, folder.is_span
    named = _named(folder.listing)
    if not named:
        return None
    by_half: dict[str, dict[str, _Named]] = {}
    for each in _with_twins(files, named):
        contents = by_half.setdefault(_HALVES[each.match["half"]], {})
        content = each.match["content"]
        if content in contents:
            raise _ambiguous(files, [contents[content].path, each.path])
        contents[content] = each
    _check_one_set(files, named)
    halves = [half for half in idx.FILES if not is_span or half in by_half]
    pairs = [_pair(files, half, by_half, is_span) for half in halves]
    return IdxFiles(folder, pairs)


def is_named(name: str) -> bool:
    """Whether a name is that of an IDX file."""
    return _NAME.fullmatch(name) is not None


def _named(listing: Listing) -> list[_Named]:
    """The files with names of IDX files, in the folder itself or else in a folder called raw."""
    suffixes = [ending for ending in listing.by_suffix if ending.startswith(_SUFFIXES)]
    paths = listing.with_suffix(["", *suffixes])
    matches = [(path, _NAME.fullmatch(posixpath.basename(path))) for path in paths]
    named = [_Named(path, match) for path, match in matches if match]
    direct = [each for each in named if "/" not in each.path]
    return direct or [each for each in named if _is_raw(posixpath.dirname(each.path))]


def _is_raw(folder: str) -> bool:
    parts = folder.split("/")
    return len(parts) <= 2 and parts[-1] == _RAW


def _with_twins(files: Files, named: Sequence[_Named]) -> Iterator[_Named]:
    """The files, each once: of one that is there plain and gzipped, the plain one is read."""
    paths = {each.path for each in named}
    for each in named:
        require_usable(files, each.path)
        zipped = f"{each.path}.gz"
        if not each.match["zipped"]:
            yield dataclasses.replace(each, twin=zipped if zipped in paths else None)
        elif each.path.removesuffix(".gz") not in paths:
            yield each


def _ambiguous(files: Files, paths: Sequence[str]) -> base.ReadingError:
    return base.ReadingError(
        f"{files.shown('')} holds several files for one purpose ({listed(paths)}); expected one "
        "data set. Move the files of each data set to a folder of its own."
    )


def _check_one_set(files: Files, named: Sequence[_Named]) -> None:
    sets = {(posixpath.dirname(each.path), each.match["prefix"]): each.path for each in named}
    if len(sets) > 1:
        raise _ambiguous(files, sorted(sets.values()))


def _pair(
    files: Files, half: str, by_half: Mapping[str, Mapping[str, _Named]], is_span: bool
) -> _Pair:
    contents = by_half.get(half, {})
    for content in _USUAL_ENDINGS:
        if content not in contents:
            raise _missing(files, _missing_name(half, content, by_half), is_span)
    return _Pair(half, contents["images"], contents["labels"])


def _missing_name(half: str, content: str, by_half: Mapping[str, Mapping[str, _Named]]) -> str:
    """The name that a missing file should have, judging by the others."""
    for other in (half, *by_half):
        for named in by_half.get(other, {}).values():
            match = named.match
            folder = posixpath.dirname(named.path)
            word = match["half"] if other == half else half
            usual = _USUAL_ENDINGS[content]
            ending = f".{usual}" if match["ending"].startswith(".") else f"-{usual}"
            name = f"{match['prefix']}{word}{match['join']}{content}{ending}"
            return posixpath.join(folder, name)
    return idx.FILES[half][list(_USUAL_ENDINGS).index(content)]


def _missing(files: Files, name: str, is_span: bool) -> base.ReadingError:
    expected = "a whole span" if is_span else "all four IDX files"
    return base.ReadingError(
        f"{files.shown('')} holds neither {shown(name)} nor {shown(name)}.gz; expected {expected}. "
        "Copy the missing one there; where it is still being copied, run again when all is there."
    )


class IdxFiles:
    """Pairs of IDX files."""

    form = base.Form.IDX

    def __init__(self, folder: Folder, pairs: Sequence[_Pair]):
        """Reads and checks the headers.

        Raises:
          ReadingError: A header is not that of such a file, or contradicts another or the schema.
        """
        self._files = folder.files
        self._pairs = pairs
        self.splits = frozenset(_SPLITS[pair.half] for pair in pairs)
        self._shape = folder.shape
        self._counts = {pair.half: self._checked_count(pair) for pair in pairs}
        counts = " and ".join(f"{count} images for {half}" for half, count in self._counts.items())
        twins = [each.twin for pair in pairs for each in (pair.images, pair.labels) if each.twin]
        read = {path for pair in pairs for path in (pair.images.path, pair.labels.path)}
        self.summary = f"IDX files with {counts}{emnist.summary(read)}"
        self.doubts = emnist.doubts(read)
        self.ignored = (
            *((f"{listed(twins)}: the same file is there plain, which is read",) if twins else ()),
            *leftovers.lines(folder, {*read, *twins}.__contains__),
        )

    def _checked_count(self, pair: _Pair) -> int:
        images = self._image_reader(pair.images.path)
        idx.check_counts(images, self._label_reader(pair.labels.path))
        return images.count

    def _image_reader(self, path: str) -> idx.IdxReader:
        if self._shape is None:
            return idx.any_image_reader(self._files.shown(path), self._opener(path))
        return idx.image_reader(self._files.shown(path), self._shape, self._opener(path))

    def _label_reader(self, path: str) -> idx.IdxReader:
        return idx.label_reader(self._files.shown(path), self._opener(path))

    def _opener(self, path: str) -> idx.OpenBinary:
        """Opens the file of this relative path; `idx` knows the whole one, for its messages."""

        return functools.partial(self._files.open, path)

    def sources(self) -> list[str]:
        """Images and labels of each pair, each followed by the same file gzipped if it is there."""
        named = [each for pair in self._pairs for each in (pair.images, pair.labels)]
        return [path for each in named for path in (each.path, each.twin) if path]

    def state(self, path: str) -> tuple[int, ...] | None:
        """What changes when a source does; None where that is unknown."""
        return self._files.state(path)

    def hash_source(self, path: str) -> str:
        """SHA-256 of what the file holds uncompressed; checks all of it."""
        require_usable(self._files, path)
        is_images = any(path in (pair.images.path, pair.images.twin) for pair in self._pairs)
        reader = self._image_reader(path) if is_images else self._label_reader(path)
        for _ in reader.batches(_BATCH_SIZE):
            pass
        return reader.sha256

    def digest_lines(self, contents: Mapping[str, str]) -> list[str]:
        """Name, digest of the images and digest of the labels of each pair."""
        self._check_twins(contents)
        return [
            f"{pair.half} {contents[pair.images.path]} {contents[pair.labels.path]}\n"
            for pair in self._pairs
        ]

    def _check_twins(self, contents: Mapping[str, str]) -> None:
        for pair in self._pairs:
            for each in (pair.images, pair.labels):
                if each.twin and contents[each.path] != contents[each.twin]:
                    raise base.ReadingError(
                        f"{self._files.shown(each.path)} and {self._files.shown(each.twin)} hold "
                        "different data; expected the same. Remove the one that is not meant."
                    )

    def index(self, contents: Mapping[str, str]) -> base.Index:
        """Lists all examples: their ids are half and position."""
        self._check_twins(contents)
        labels = np.concatenate([self._labels(pair, contents) for pair in self._pairs])
        numbers, positions = np.unique(labels, return_inverse=True)
        counts = list(self._counts.values())
        return base.Index(
            ids=[
                example_id
                for half, count in self._counts.items()
                for example_id in example_ids(half, count)
            ],
            values=tuple(map(str, numbers.tolist())),
            labels=positions.astype(np.int32),
            splits=np.repeat([_SPLITS[pair.half] for pair in self._pairs], counts).astype(np.int8),
        )

    def _labels(self, pair: _Pair, contents: Mapping[str, str]) -> np.ndarray:
        path = pair.labels.path
        labels, sha256 = idx.read_any_labels(self._files.shown(path), self._opener(path))
        if sha256 != contents[path] or len(labels) != self._counts[pair.half]:
            raise changed(self._files, [path])
        return labels

    def shards(self, index: base.Index) -> list[base.Shard]:
        """One for each pair: a gzipped file can be read from its beginning alone."""
        firsts = np.cumsum([0, *self._counts.values()]).tolist()
        return [
            base.Shard(pair.half, first, self._counts[pair.half], pair.images.path)
            for pair, first in zip(self._pairs, firsts, strict=False)
        ]

    def read(self, shard: base.Shard, contents: Mapping[str, str]) -> Iterator[np.ndarray]:
        """Yields the images, uint8 [height, width, channels]."""
        reader = self._image_reader(shard.source)
        if reader.count != shard.count:
            raise changed(self._files, [shard.source])
        height, width, *channels = reader.dimensions[1:]
        for images in reader.batches(_BATCH_SIZE):
            yield from images.reshape(-1, height, width, *(channels or [1]))
        if reader.sha256 != contents[shard.source]:
            raise changed(self._files, [shard.source])
