"""Data that changes after it was hashed is never read in silence."""

import time

import numpy as np
import pytest

from components.example_gen.readers import base
from tests.components.example_gen.readers import made

WRITERS = {
    "IDX": made.write_idx,
    "arrays": made.write_arrays,
    "pixel table": made.write_pixel_table,
    "Parquet": made.write_parquet,
}


def parts(value, count=6):
    images = np.full((count, 4, 4, 1), value, np.uint8)
    labels = [str(number % 3) for number in range(count)]
    return [made.Part(split, images, labels) for split in ("train", "test")]


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("after", [parts(2), parts(1, 9)], ids=["pixels", "count"])
@pytest.mark.parametrize("is_anew", [False, True], ids=["the same reader", "a reader opened anew"])
@pytest.mark.parametrize("age", [0, 60], ids=["young", "old"])
def test_a_file_that_changes_is_refused(data, form, after, is_anew, age, monkeypatch):
    WRITERS[form](data, parts(1))
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + age * 10**9)
    reader = made.opened(data)
    contents = made.hashed(reader)
    shards = reader.shards(reader.index(contents))
    # Once before, so that what was checked is known.
    assert sum(1 for shard in shards for _ in reader.read(shard, contents)) == 12
    WRITERS[form](data, after)
    if is_anew:
        reader = made.opened(data)
    with pytest.raises(base.ReadingError, match="; expected "):
        for shard in shards:
            list(reader.read(shard, contents))


@pytest.mark.parametrize("form", WRITERS)
def test_the_digest_follows_the_content(data, form):
    lines = []
    for value in (1, 2):
        WRITERS[form](data, parts(value))
        reader = made.opened(data)
        lines.append(reader.digest_lines(made.hashed(reader)))
    assert lines[0] != lines[1]


def test_image_files_carry_the_digest_that_they_must_have(data):
    made.write(data, "a/1.png", "b/1.png")
    reader = made.opened(data)
    contents = made.hashed(reader)
    made.write(data, "a/1.png", content=b"other")
    (shard,) = reader.shards(reader.index(contents))
    assert [item.sha256 for item in reader.read(shard, contents)] == list(contents.values())


def test_an_image_that_is_gone_has_no_digest(data):
    made.write(data, "a/1.png", "b/1.png")
    reader = made.opened(data)
    (data / "a" / "1.png").unlink()
    contents = made.hashed(reader)
    assert contents["a/1.png"] == ""
    (shard,) = reader.shards(reader.index(contents))
    first, second = reader.read(shard, contents)
    assert isinstance(first, base.Bad)
    assert isinstance(second, base.Encoded)
