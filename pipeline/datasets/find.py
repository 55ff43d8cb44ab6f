"""Finds the data of a run: a named folder or bucket, the cache, a download, or else the sample."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable

from components import object_store
from components.object_store import ObjectStoreError
from pipeline import paths
from pipeline.config import DataConfig, SpansConfig
from pipeline.datasets import AUTO, SAMPLE, bucket, download, spans
from pipeline.datasets.dataset import Source
from pipeline.errors import DataError

DIRECTORY_VARIABLE = "FASHION_MNIST_DIR"

_NEWEST_SPAN = SpansConfig()
_USUAL_DATA = DataConfig()


def find_source(
    argument: str,
    notify: Callable[[str], None],
    asked: SpansConfig = _NEWEST_SPAN,
    data: DataConfig = _USUAL_DATA,
) -> Source:
    """Finds the folder or file of a run's data and picks its spans.

    Args:
      argument: `auto`, `sample`, a folder or a file, which may be in a bucket.
      notify: receives one line for each download and each surprise about the spans.
      asked: the spans to take.
      data: the part of the configuration that says how data is read.

    Raises:
      DataError: the named folder or file, or one of the spans, does not exist.
      UnreachableError: a bucket does not answer.
    """
    try:
        source = _located(argument, notify)
        return dataclasses.replace(source, window=spans.resolve(source.place, asked, data, notify))
    except ObjectStoreError as error:
        raise bucket.told(error) from error


def _located(argument: str, notify: Callable[[str], None]) -> Source:
    if argument == SAMPLE:
        return Source(_sample_folder(), sample=True)
    if argument != AUTO:
        return Source(_existing(argument, "--data"), sample=False)
    if os.environ.get(DIRECTORY_VARIABLE):
        place = _existing(os.environ[DIRECTORY_VARIABLE], DIRECTORY_VARIABLE)
        return Source(place, sample=False)
    cache = cache_folder() / "fashion-mnist"
    if download.is_complete(cache) or download.fetch_missing(cache, notify):
        return Source(cache, sample=False)
    return Source(_sample_folder(), sample=True)


def cache_folder() -> pathlib.Path:
    """The folder for downloads and the synthetic sample."""
    return paths.in_home(".cache", "XDG_CACHE_HOME") / "image-pipeline"


def _sample_folder() -> pathlib.Path:
    # The name has a digest of the code that draws, so that an older drawing is never used.
    drawing = hashlib.sha256(pathlib.Path(__file__).with_name("sample.py").read_bytes())
    return cache_folder() / f"sample-{drawing.hexdigest()[:12]}"


def _existing(place: str, origin: str) -> bucket.Place:
    if object_store.is_address(place):
        return _existing_in_bucket(place, origin)
    path = paths.resolved(pathlib.Path(place), origin, or_bucket=True)
    if path.is_dir() or path.is_file():
        return path
    if path.exists():
        paths.refuse_endless(path)
    raise DataError(
        f"{origin}: {place} does not exist; expected a folder with a folder of images per class, a "
        "CSV, TSV or Parquet file, an .npz file, a folder of IDX files, or a folder of spans "
        "(span-N). Give its path, or --data sample."
    )


def _existing_in_bucket(place: str, origin: str) -> bucket.BucketPath:
    path = bucket.address(place, origin)
    if path.is_dir() or path.is_file():
        return path
    raise DataError(
        f"{origin}: {path} holds no objects; expected a folder with data, or a CSV, TSV, Parquet "
        "or .npz file. Check the address; upper and lower case differ."
    )
