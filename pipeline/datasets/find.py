"""Finds the data of a run: a named folder, the cache, a download, or else the sample."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable

from components.example_gen import idx
from pipeline import paths
from pipeline.config import SpansConfig
from pipeline.datasets import AUTO, SAMPLE, download, spans
from pipeline.datasets.dataset import Source
from pipeline.errors import DataError

DIRECTORY_VARIABLE = "FASHION_MNIST_DIR"

_NEWEST_SPAN = SpansConfig()


def find_source(
    argument: str, notify: Callable[[str], None], asked: SpansConfig = _NEWEST_SPAN
) -> Source:
    """Finds the folder of a run's data and picks its spans.

    Args:
      argument: `auto`, `sample` or a folder.
      notify: receives one line for each download and each surprise about the spans.
      asked: the spans to take.

    Raises:
      DataError: the named folder or one of the spans does not exist.
    """
    source = _located(argument, notify)
    return dataclasses.replace(source, window=spans.resolve(source.folder, asked, notify))


def _located(argument: str, notify: Callable[[str], None]) -> Source:
    if argument == SAMPLE:
        return Source(_sample_folder(), sample=True)
    if argument != AUTO:
        return Source(_existing(argument, "--data"), sample=False)
    if os.environ.get(DIRECTORY_VARIABLE):
        folder = _existing(os.environ[DIRECTORY_VARIABLE], DIRECTORY_VARIABLE)
        return Source(folder, sample=False)
    cache = cache_folder() / "fashion-mnist"
    if download.is_complete(cache) or download.fetch_missing(cache, notify):
        return Source(cache, sample=False)
    return Source(_sample_folder(), sample=True)


def cache_folder() -> pathlib.Path:
    """The folder for downloads and the drawn sample."""
    return paths.in_home(".cache", "XDG_CACHE_HOME") / "image-pipeline"


def _sample_folder() -> pathlib.Path:
    # The name has a digest of the code that draws, so that an older drawing is never used.
    drawing = hashlib.sha256(pathlib.Path(__file__).with_name("sample.py").read_bytes())
    return cache_folder() / f"sample-{drawing.hexdigest()[:12]}"


def _existing(folder: str, origin: str) -> pathlib.Path:
    path = paths.resolved(pathlib.Path(folder), origin)
    if path.is_dir():
        return path
    raise DataError(
        f"{origin}: {folder} is no folder; expected a folder with the four IDX files "
        f"({', '.join(name for pair in idx.FILES.values() for name in pair)}, gzipped or not), or "
        "with folders called span-N that hold them. Give its path, or --data sample."
    )
