"""Folders of the four IDX files, and of spans of them."""

import gzip

import numpy as np
import pytest

from components.example_gen import idx
from pipeline.datasets.find import DIRECTORY_VARIABLE

NAMES = [name for half in idx.FILES.values() for name in half]


@pytest.fixture
def contents(as_idx):
    """What the four files hold: six images of 4 x 4 to train on, and two to test on."""
    arrays = (
        np.arange(96).reshape(6, 4, 4),
        np.arange(6) % 2,
        np.arange(32).reshape(2, 4, 4),
        np.arange(2),
    )
    return dict(zip(NAMES, map(as_idx, arrays), strict=True))


@pytest.fixture
def write(contents):
    """Writes the four files to a folder, and returns it."""

    def written(folder, ending=""):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / f"{name}{ending}").write_bytes(gzip.compress(content) if ending else content)
        return folder

    return written


@pytest.fixture
def lines():
    return []


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """A cache of the test's own; no data is named."""
    monkeypatch.delenv(DIRECTORY_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "image-pipeline"


@pytest.fixture
def spans(tmp_path, write, as_idx):
    """Three spans, of which the first alone has test files; their images differ."""
    for number in (1, 2, 10):
        folder = write(tmp_path / "spans" / f"span-{number}")
        (folder / NAMES[0]).write_bytes(as_idx(np.full((6, 4, 4), number)))
        for name in NAMES[2:] if number > 1 else ():
            (folder / name).unlink()
    return tmp_path / "spans"
