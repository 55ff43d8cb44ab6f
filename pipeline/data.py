"""Which IDX files a run takes: a folder that is given, cached, downloaded, or the sample."""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import os
import pathlib
import urllib.request
from collections.abc import Callable

from components.example_gen import idx
from components.image_schema import ImageSchema, SchemaError, parse_schema
from pipeline.errors import ConfigurationError, DataError

AUTO = "auto"
SAMPLE = "sample"
DIRECTORY_VARIABLE = "FASHION_MNIST_DIR"

TRAIN = "train"
TEST = "t10k"
_FILES = {
    name: (f"{name}-images-idx3-ubyte", f"{name}-labels-idx1-ubyte") for name in (TRAIN, TEST)
}
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

Notify = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class DataSet:
    """The files of a run, read to the end and found sound.

    Attributes:
      name: what a person calls it: the folder, or `sample`.
      sample: whether it is the built-in sample.
      train: the files that `train` and `val` are drawn from.
      test: the files of the official test split.
      schema_sha256: of the schema file that they were checked against.
    """

    name: str
    sample: bool
    train: idx.IdxPair
    test: idx.IdxPair
    schema_sha256: str

    @property
    def sha256s(self) -> dict[str, str]:
        """SHA-256 of the uncompressed content by file name."""
        return {
            idx.file_name(path): digest
            for pair in (self.train, self.test)
            for path, digest in (
                (pair.images, pair.images_sha256),
                (pair.labels, pair.labels_sha256),
            )
        }


@dataclasses.dataclass(frozen=True)
class Source:
    """A folder of IDX files that was found, not yet read."""

    folder: pathlib.Path
    sample: bool


def find(argument: str, notify: Notify) -> Source:
    """Finds the folder of a run's data.

    Args:
      argument: `auto`, `sample` or a folder.
      notify: is told, in one line, of downloads and of the fallback.

    Raises:
      DataError: where a folder that was named is not there.
    """
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
    """Reads all four files to the end, in bounded memory, and checks them.

    Raises:
      DataError: where a file is missing or not what the schema says.
    """
    if source.sample:
        _draw_sample(source.folder)
    paths = {name: _pair_paths(source.folder, name) for name in _FILES}
    shape, classes = schema.shape, len(schema.class_names)
    try:
        pairs = {
            name: idx.check_pair(name, images, labels, shape, classes)
            for name, (images, labels) in paths.items()
        }
    except idx.IdxError as error:
        raise DataError(str(error)) from error
    name = SAMPLE if source.sample else str(source.folder)
    return DataSet(name, source.sample, pairs[TRAIN], pairs[TEST], schema_sha256)


def cache_folder() -> pathlib.Path:
    """The user's cache, where downloads and the drawn sample are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "image-pipeline"


def _sample_folder() -> pathlib.Path:
    # Named by the code that draws it, so that an older drawing is never taken for this one.
    drawing = hashlib.sha256(pathlib.Path(__file__).with_name("sample.py").read_bytes())
    return cache_folder() / f"sample-{drawing.hexdigest()[:12]}"


def _draw_sample(folder: pathlib.Path) -> None:
    # Here and not above: drawing needs Pillow, reading does not.
    from pipeline import sample

    try:
        sample.write_sample(folder)
    except OSError as error:
        raise DataError(
            f"the sample cannot be written to {folder} ({error.strerror}); expected a folder that "
            "can be written to. Set XDG_CACHE_HOME to one."
        ) from error


def _existing(folder: str, origin: str) -> pathlib.Path:
    path = pathlib.Path(folder).expanduser().resolve()
    if path.is_dir():
        return path
    raise DataError(
        f"{origin}: {folder} is no folder; expected a folder with the four IDX files "
        f"({', '.join(name for pair in _FILES.values() for name in pair)}, gzipped or not). "
        "Give its path, or --data sample."
    )


def _pair_paths(folder: pathlib.Path, name: str) -> tuple[str, str]:
    images, labels = (_file(folder, file) for file in _FILES[name])
    return images, labels


def _file(folder: pathlib.Path, name: str) -> str:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.exists():
            return str(candidate)
    raise DataError(
        f"{folder} holds neither {name} nor {name}.gz; expected all four IDX files. "
        "Copy the missing one there."
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
