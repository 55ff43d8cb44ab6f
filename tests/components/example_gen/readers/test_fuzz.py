"""Any bytes in a file of any name: the data is read, or refused in words."""

import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from components.class_names import is_showable
from components.example_gen.readers import base
from tests.components.example_gen.readers import made

NAMES = (
    *("x.csv", "x.tsv", "x.npz", "x.parquet", "classes.toml"),
    *("train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"),
)
BEGINNINGS = (
    b"",
    b"path,label\na/1.png,x\n",
    b"label," + b",".join(b"p%d" % number for number in range(16)) + b"\n",
    b"PK\x03\x04",
    b"PAR1",
    b"\x00\x00\x08\x03",
    b"\x1f\x8b",
    b'a = "',
)


def read_or_refused(folder):
    try:
        read = made.read(folder)
    except base.ReadingError as error:
        assert "; expected " in str(error)
        assert is_showable(str(error))
        return None
    assert len(read.items) == len(read.index.ids) == len(read.index.labels)
    return read


@pytest.mark.parametrize("name", NAMES)
@hypothesis.settings(max_examples=60)
@hypothesis.given(
    beginning=strategies.sampled_from(BEGINNINGS), content=strategies.binary(max_size=100)
)
def test_any_bytes_are_read_or_refused(name, beginning, content):
    with tempfile.TemporaryDirectory() as folder:
        made.write(Path(folder), "a/1.png", "b/1.png")
        made.write(Path(folder), name, content=beginning + content)
        read_or_refused(folder)


@pytest.mark.parametrize(
    "writer", [made.write_idx, made.write_arrays, made.write_pixel_table, made.write_manifest]
)
@hypothesis.settings(max_examples=40)
@hypothesis.given(data=strategies.data())
def test_damaged_files_are_read_or_refused(writer, data):
    images = np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4, 1)
    parts = [made.Part(split, images, ["0", "1", "1"]) for split in ("train", "test")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        writer(folder, parts)
        path = data.draw(
            strategies.sampled_from(sorted(path for path in folder.iterdir() if path.is_file()))
        )
        content = bytearray(path.read_bytes())
        position = data.draw(strategies.integers(0, len(content) - 1))
        content[position] = data.draw(strategies.integers(0, 255))
        path.write_bytes(content[: data.draw(strategies.integers(position, len(content)))])
        read_or_refused(folder)


@hypothesis.settings(max_examples=60)
@hypothesis.given(
    names=strategies.lists(
        strategies.text(
            strategies.characters(exclude_characters="/\0", exclude_categories=["Cs"]),
            min_size=1,
            max_size=12,
        ).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200),
        min_size=1,
        max_size=5,
        unique=True,
    )
)
def test_any_names_are_read_or_refused(names):
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(names):
            made.write(Path(folder), f"{name}/{number}.png", f"{name}/{name}.jpg")
        read = read_or_refused(folder)
        if read is not None:
            assert all(example_id.encode() for example_id in read.index.ids)
