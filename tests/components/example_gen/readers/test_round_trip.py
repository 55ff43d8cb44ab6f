"""A data set that is written in a form comes out of it again: pixels, labels, ids, splits."""

import contextlib
import io
import os
import random
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies
from PIL import Image

from components.example_gen.readers import base
from tests.components.example_gen.readers import made

FORMS = {
    base.Form.IDX: made.write_idx,
    base.Form.ARRAYS: made.write_arrays,
    base.Form.PIXEL_TABLE: made.write_pixel_table,
    base.Form.PARQUET_IMAGES: made.write_parquet,
    base.Form.CLASS_FOLDERS: made.write_class_folders,
    base.Form.MANIFEST: made.write_manifest,
}


@strategies.composite
def data_sets(draw, splits=(("train", "test"), ("train", "val", "test"), ("data",))):
    # At least 16 pixels, so that a table is one of pixels.
    side, channels = draw(strategies.integers(4, 6)), draw(strategies.sampled_from([1, 3]))
    labels = strategies.lists(strategies.integers(0, 3).map(str), min_size=1, max_size=7)
    parts = []
    for split in draw(strategies.sampled_from(splits)):
        # Two classes at the least, or class folders are refused.
        values = ["0", "1", *draw(labels)]
        seed = draw(strategies.integers(0, 2**31))
        shape = (len(values), side, side, channels)
        pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        parts.append(made.Part(split, pixels, values))
    return parts


def pixels(item):
    if isinstance(item, np.ndarray):
        return item
    image = np.asarray(Image.open(io.BytesIO(made.content_of(item))))
    return image[:, :, None] if image.ndim == 2 else image


def check(parts, form, writer):
    shape = parts[0].images.shape[1:]
    with tempfile.TemporaryDirectory() as name:
        writer(Path(name) / "data", parts)
        found = made.read(Path(name) / "data", shape=shape)
        again = made.read(Path(name) / "data", shape=shape)
        images = [pixels(item) for item in found.items]
    assert found.reader.form == form
    assert not found.reader.ignored
    assert found.reader.splits == set(found.index.splits.tolist()) - {base.UNDECIDED}
    key = "t10k" if form == base.Form.IDX else "test"
    expected = {
        name.replace("test", key): (image.tobytes(), label, made.SPLITS[part.split])
        for part in parts
        for name, image, label in zip(part.ids, part.images, part.labels, strict=True)
    }
    names = [Path(name).stem for name in found.index.ids]
    assert len(set(found.index.ids)) == len(images) == len(expected)
    assert {
        name: (image.tobytes(), label, split)
        for name, image, label, split in zip(
            names, images, found.labels, found.index.splits.tolist(), strict=True
        )
    } == expected
    assert all(image.shape == shape and image.dtype == np.uint8 for image in images)
    check_shards(found)
    assert (again.contents, again.shards) == (found.contents, found.shards)
    assert list(again.index.ids) == list(found.index.ids)
    assert again.reader.digest_lines(again.contents) == found.reader.digest_lines(found.contents)


def check_shards(found):
    """The shards hold each example once, in order; their names are distinct and safe."""
    firsts = np.cumsum([0, *(shard.count for shard in found.shards)]).tolist()
    assert [shard.first for shard in found.shards] == firsts[:-1]
    assert firsts[-1] == len(found.index.ids)
    names = [shard.name for shard in found.shards]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalnum() for name in names)
    assert found.index.labels.dtype == np.int32
    assert found.index.splits.dtype == np.int8


@pytest.mark.parametrize("form", sorted(set(FORMS) - {base.Form.IDX}))
@hypothesis.settings(max_examples=15)
@hypothesis.given(parts=data_sets())
def test_what_is_written_is_read(form, parts):
    check(parts, form, FORMS[form])


@hypothesis.settings(max_examples=15)
@hypothesis.given(parts=data_sets((("train", "test"),)), zipped=strategies.booleans())
def test_what_is_written_as_idx_is_read(parts, zipped):
    check(parts, base.Form.IDX, lambda folder, parts: made.write_idx(folder, parts, zipped))


@hypothesis.settings(max_examples=15)
@hypothesis.given(
    parts=data_sets(), files=strategies.integers(1, 3), row_group_size=strategies.integers(1, 9)
)
def test_parquet_is_read_whatever_its_files_and_row_groups(parts, files, row_group_size):
    def write(folder, parts):
        made.write_parquet(folder, parts, files, row_group_size)

    check(parts, base.Form.PARQUET_IMAGES, write)


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_have_the_same_order_of_labels_and_rows(tmp_path, form):
    images = np.arange(12 * 16, dtype=np.uint8).reshape(12, 4, 4, 1)
    labels = [str(number) for number in (10, 9, 2, 1, 0, 3, 4, 5, 6, 7, 8, 10)]
    parts = [made.Part(split, images, labels) for split in ("train", "test")]
    FORMS[form](tmp_path, parts)
    found = made.read(tmp_path, shape=(4, 4, 1))
    if form != base.Form.CLASS_FOLDERS:
        assert found.index.values == tuple(map(str, range(11)))
        assert found.labels == labels * 2
        assert found.index.ids[:12] == parts[0].ids
    assert (found.index.contents is None) == (
        form not in (base.Form.CLASS_FOLDERS, base.Form.MANIFEST)
    )


@pytest.mark.parametrize("form", [base.Form.CLASS_FOLDERS, base.Form.MANIFEST])
def test_files_are_read_in_the_same_order_however_a_folder_lists_them(tmp_path, form, monkeypatch):
    images = np.arange(40 * 16, dtype=np.uint8).reshape(40, 4, 4, 1)
    FORMS[form](tmp_path, [made.Part("data", images, ["a", "b"] * 20)])
    found = made.read(tmp_path)

    original = os.scandir

    @contextlib.contextmanager
    def shuffled(place):
        with original(place) as entries:
            listed = list(entries)
        random.Random(str(place)).shuffle(listed)
        yield iter(listed)

    monkeypatch.setattr(os, "scandir", shuffled)
    again = made.read(tmp_path)
    assert list(again.index.ids) == list(found.index.ids)
    assert again.bytes == found.bytes
    assert again.shards == found.shards


def test_many_files_are_divided_into_shards_of_bounded_size(tmp_path):
    for count, most in ((100, 64), (3000, 94)):
        folder = tmp_path / str(count)
        paths = [f"{'ab'[number % 2]}/{number}.png" for number in range(count)]
        found = made.read(made.write(folder, *paths))
        assert max(shard.count for shard in found.shards) == most
        check_shards(found)


def test_row_groups_are_gathered_and_divided(tmp_path):
    table = made.image_table([bytes([1, number % 251]) for number in range(9000)], ["a"] * 9000)
    pq.write_table(table, tmp_path / "train.parquet", row_group_size=90)
    pq.write_table(table, tmp_path / "test.parquet", row_group_size=9000)
    found = made.read(tmp_path)
    check_shards(found)
    assert [shard.count for shard in found.shards] == [1980] * 4 + [1080] + [2000] * 4 + [1000]
    assert found.bytes == [bytes([1, number % 251]) for number in range(9000)] * 2


def test_gzipped_and_plain_idx_files_have_one_digest(tmp_path):
    parts = [
        made.Part(split, np.ones((3, 4, 4, 1), np.uint8), list("012"))
        for split in ("train", "test")
    ]
    made.write_idx(tmp_path / "plain", parts)
    made.write_idx(tmp_path / "zipped", parts, zipped=True)
    plain, zipped = (made.read(tmp_path / name) for name in ("plain", "zipped"))
    lines = plain.reader.digest_lines(plain.contents)
    assert lines == zipped.reader.digest_lines(zipped.contents)
    assert [line.split(" ")[0] for line in lines] == ["train", "t10k"]
