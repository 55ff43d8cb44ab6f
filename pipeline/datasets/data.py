"""Which IDX files a run takes: of a folder that is given, cached or downloaded, or the sample.

A folder holds the four IDX files, or spans of them (`pipeline.datasets.spans`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import os
import pathlib
import urllib.request
from collections.abc import Callable, Iterator

import numpy as np

from components.example_gen import idx, split
from components.image_schema import ImageSchema, SchemaError, parse_schema
from pipeline import paths
from pipeline.config import SpansConfig
from pipeline.datasets import spans
from pipeline.errors import ConfigurationError, DataError

AUTO = "auto"
SAMPLE = "sample"
DIRECTORY_VARIABLE = "FASHION_MNIST_DIR"

# The official sources and the MD5 sums that they publish.
_SOURCES = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_TIMEOUT_SECONDS = 10
_NEWEST_SPAN = SpansConfig()

Notify = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class DataSet:
    """The files of a run, read to the end and found sound.

    Attributes:
      name: what a person calls it: the folder, or `sample`.
      sample: whether it is the built-in sample.
      train: the files that `train` and `val` are drawn from: a pair, or one from each span.
      test: the files of the test split.
      schema_sha256: of the schema file that they were checked against.
      window: the spans that they are of; None where the folder has none.
    """

    name: str
    sample: bool
    train: tuple[idx.IdxPair, ...]
    test: idx.IdxPair
    schema_sha256: str
    window: spans.Window | None = None

    @property
    def description(self) -> str:
        """Its name and, where there are any, its spans."""
        return f"{self.name} ({self.window.description})" if self.window else self.name

    @property
    def train_count(self) -> int:
        """Number of examples that `train` and `val` are drawn from."""
        return sum(pair.count for pair in self.train)

    @property
    def sha256s(self) -> dict[str, str]:
        """SHA-256 of the uncompressed content by file name, with the folder of its span if any."""
        return {
            self._key(path): digest
            for pair in (*self.train, self.test)
            for path, digest in (
                (pair.images, pair.images_sha256),
                (pair.labels, pair.labels_sha256),
            )
        }

    @property
    def location(self) -> str:
        """The folder that all files lie in or below."""
        return idx.common_folder([*self.train, self.test])

    @property
    def digest(self) -> str:
        """SHA-256 that stands for what all files hold."""
        return idx.data_digest([*self.train, self.test])

    def _key(self, path: str) -> str:
        span = f"{pathlib.Path(path).parent.name}/" if self.window else ""
        return f"{span}{idx.file_name(path)}"


@dataclasses.dataclass(frozen=True)
class RemoteData:
    """Data that a cluster's nodes will read, by where it is and what it holds.

    Attributes:
      location: folder of the four IDX files, as the nodes see it.
      digest: as `DataSet.digest` is of the same files.
      schema_sha256: of the schema file that they have to be as.
      train: none: which files there are is found where they are read.
      test: None, for the same reason.
    """

    location: str
    digest: str
    schema_sha256: str
    train: tuple[()] = ()
    test: None = None


@dataclasses.dataclass(frozen=True)
class Source:
    """A folder that was found, not yet read.

    Attributes:
      folder: of IDX files, or of spans.
      sample: whether it is that of the built-in sample.
      window: the spans that are to be read; None where the folder has none.
    """

    folder: pathlib.Path
    sample: bool
    window: spans.Window | None = None


def find(argument: str, notify: Notify, asked: SpansConfig = _NEWEST_SPAN) -> Source:
    """Finds the folder of a run's data, and settles which of its spans are taken.

    Args:
      argument: `auto`, `sample` or a folder.
      notify: is told, in one line, of downloads, of the fallback, and of what may not be as
        expected of the spans.
      asked: which spans are taken.

    Raises:
      DataError: where a folder that was named is not there, or not the spans that were asked for.
    """
    source = _located(argument, notify)
    return dataclasses.replace(source, window=spans.resolve(source.folder, asked, notify))


def _located(argument: str, notify: Notify) -> Source:
    if argument == SAMPLE:
        return Source(_sample_folder(), sample=True)
    if argument != AUTO:
        return Source(_existing(argument, "--data"), sample=False)
    if os.environ.get(DIRECTORY_VARIABLE):
        folder = _existing(os.environ[DIRECTORY_VARIABLE], DIRECTORY_VARIABLE)
        return Source(folder, sample=False)
    cache = cache_folder() / "fashion-mnist"
    if _is_complete(cache) or _download(cache, notify):
        return Source(cache, sample=False)
    return Source(_sample_folder(), sample=True)


def read_schema(path: str) -> tuple[ImageSchema, str]:
    """Reads the schema file; returns what it says and its SHA-256.

    Raises:
      ConfigurationError: where it cannot be read or does not describe labelled images.
    """
    try:
        paths.refuse_endless(pathlib.Path(path))
        content = pathlib.Path(path).read_bytes()
        return parse_schema(content.decode(), path), hashlib.sha256(content).hexdigest()
    except OSError as error:
        raise ConfigurationError(
            f"schema_file {path} cannot be read ({error.strerror}); expected a readable schema. "
            "Set it with --set schema_file=PATH."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"schema_file {path} is not UTF-8 text ({error.reason}); expected a schema in text "
            "form. schema/README.md shows the form."
        ) from error
    except SchemaError as error:
        raise ConfigurationError(str(error)) from error


def read(source: Source, schema: ImageSchema, schema_sha256: str) -> DataSet:
    """Reads all files of a run to the end, in bounded memory, and checks them.

    Raises:
      DataError: where a file is missing, not what the schema says, or not at rest.
    """
    if source.sample:
        _draw_sample(source.folder)
    files = list(_files_of(source))
    before = _stamps(files)
    shape, classes = schema.shape, len(schema.class_names)
    try:
        *train, test = [idx.check_pair(*paths, shape, classes) for paths in files]
    except idx.IdxError as error:
        # Of a file that is still being copied, this is what is wrong, whatever was read of it.
        _check_at_rest(before, _stamps(files))
        raise DataError(str(error)) from error
    _check_at_rest(before, _stamps(files))
    name = SAMPLE if source.sample else str(source.folder)
    return DataSet(name, source.sample, tuple(train), test, schema_sha256, source.window)


def check_split(data: DataSet, class_names: tuple[str, ...], validation_per_class: int) -> None:
    """Checks that each class has images to train on, to validate on and to test on.

    Raises:
      DataError: where a class has too few, or none.
    """
    try:
        *train, test = [
            idx.read_labels(pair.labels, len(class_names))[0] for pair in (*data.train, data.test)
        ]
        split.check_classes(np.concatenate(train), test, validation_per_class, class_names)
    except idx.IdxError as error:
        raise DataError(str(error)) from error
    except split.SplitError as error:
        more = " Or take more spans, with spans.window." if data.window else ""
        raise DataError(f"{error}{more}") from error


def cache_folder() -> pathlib.Path:
    """The user's cache, where downloads and the drawn sample are kept."""
    return paths.in_home(".cache", "XDG_CACHE_HOME") / "image-pipeline"


def _sample_folder() -> pathlib.Path:
    # Named by the code that draws it, so that an older drawing is never taken for this one.
    drawing = hashlib.sha256(pathlib.Path(__file__).with_name("sample.py").read_bytes())
    return cache_folder() / f"sample-{drawing.hexdigest()[:12]}"


def _draw_sample(folder: pathlib.Path) -> None:
    # Here and not above: drawing needs Pillow, reading does not.
    from pipeline.datasets import sample

    try:
        sample.write_sample(folder)
    except OSError as error:
        raise DataError(
            f"the sample cannot be written to {folder} ({error.strerror}); expected a folder that "
            "can be written to. Set XDG_CACHE_HOME to one."
        ) from error


def _existing(folder: str, origin: str) -> pathlib.Path:
    path = paths.resolved(pathlib.Path(folder), origin)
    if path.is_dir():
        return path
    raise DataError(
        f"{origin}: {folder} is no folder; expected a folder with the four IDX files "
        f"({', '.join(name for pair in idx.FILES.values() for name in pair)}, gzipped or not), or "
        "with folders called span-N that hold them. Give its path, or --data sample."
    )


def _files_of(source: Source) -> Iterator[tuple[str, str, str]]:
    """Name, images and labels of each pair: those that are trained on, then that of the test."""
    window = source.window
    if window is None:
        expected = "all four IDX files, or folders called span-N"
        for half in idx.FILES:
            yield half, *_pair_paths(source.folder, half, expected)
        return
    for span in window.train:
        yield f"{span.name}-{idx.TRAIN}", *_pair_paths(span.folder, idx.TRAIN, "a whole span")
    span = window.reference
    yield f"{span.name}-{idx.TEST}", *_pair_paths(span.folder, idx.TEST, "a whole span")


def _pair_paths(folder: pathlib.Path, half: str, expected: str) -> tuple[str, str]:
    images, labels = (_file(folder, file, expected) for file in idx.FILES[half])
    return images, labels


def _file(folder: pathlib.Path, name: str, expected: str) -> str:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.exists():
            paths.refuse_endless(candidate)
            return str(candidate)
    raise DataError(
        f"{folder} holds neither {name} nor {name}.gz; expected {expected}. "
        "Copy the missing one there; where it is still being copied, run again when all is there."
    )


# Size, time of the last change in nanoseconds, and number of a file; None of one that is gone.
_Stamp = tuple[int, int, int] | None


def _stamps(files: list[tuple[str, str, str]]) -> dict[str, _Stamp]:
    return {path: _stamp(path) for _, *paths in files for path in paths}


def _stamp(path: str) -> _Stamp:
    try:
        found = pathlib.Path(path).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def _check_at_rest(before: dict[str, _Stamp], after: dict[str, _Stamp]) -> None:
    """Refuses files that changed while the whole of them was read.

    The age of a file says nothing: one that was written a second ago can be whole, one whose copy
    stalled an hour ago is not, and the clock of a file server is not ours. That a file is not whole
    shows in its content; what changes later still, ExampleGen finds by the SHA-256.
    """
    changed = [path for path, stamp in before.items() if after[path] != stamp]
    if changed:
        raise DataError(
            f"{changed[0]} changed while it was read; expected files at rest. Where it is still "
            "being copied, run again when it is whole; to avoid this, copy under another name and "
            "rename at the end."
        )


def _is_complete(folder: pathlib.Path) -> bool:
    return all((folder / name).is_file() for name in _MD5)


def _download(folder: pathlib.Path, notify: Notify) -> bool:
    """Downloads what is missing; False where no source can be reached."""
    notify(f"Downloading Fashion-MNIST (30 MB) to {folder}")
    for source in _SOURCES:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, md5 in _MD5.items():
                _download_file(source + name, folder / name, md5)
            return True
        except (OSError, http.client.HTTPException, DataError) as error:
            notify(f"{source} cannot be used: {error}")
    return False


def _download_file(url: str, path: pathlib.Path, md5: str) -> None:
    if path.is_file():
        return
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
        content = response.read()
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise DataError(f"{url} does not have the published checksum")
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.rename(path)
