"""Data that TFX's file access reaches is read alike."""

import numpy as np
import pytest
from tfx.dsl.io import fileio

from components.example_gen.readers import base
from tests.components.example_gen.readers import made

WRITERS = {
    "IDX": made.write_idx,
    "arrays": made.write_arrays,
    "pixel table": made.write_pixel_table,
    "Parquet": made.write_parquet,
    "class folders": made.write_class_folders,
    "manifest": made.write_manifest,
}


@pytest.mark.parametrize("form", WRITERS)
def test_each_form_is_read_as_on_this_machine(data, form):
    images = np.arange(6 * 16, dtype=np.uint8).reshape(6, 4, 4, 1)
    labels = [str(number % 3) for number in range(6)]
    WRITERS[form](data, [made.Part(split, images, labels) for split in ("train", "test")])
    made.write(data, ".hidden", "__MACOSX/1.png", "notes.txt")
    here, there = made.read(data), made.read(data, remote=True)
    assert there.reader.summary == here.reader.summary
    assert there.reader.ignored == here.reader.ignored
    assert there.contents == here.contents
    assert list(there.index.ids) == list(here.index.ids)
    assert there.bytes == here.bytes
    assert there.shards == here.shards
    assert not there.bad
    assert not any(isinstance(item, base.Encoded) and item.path for item in there.items)


def test_paths_that_leave_the_folder_are_bad_whatever_is_set(data):
    made.write(data, "1.png")
    made.write(data.parent, "2.png")
    made.text(data, "x.csv", "path,label", "1.png,a", "../2.png,b", "/etc/passwd,c", "3.png,d")
    read = made.read(data, remote=True, outside_files=True)
    assert list(read.bad) == ["../2.png", "/etc/passwd", "3.png"]


def test_a_file_is_read(data):
    made.write_arrays(data, [made.Part("data", np.zeros((2, 4, 4, 1), np.uint8), ["1", "2"])])
    assert made.read(data / "arrays.npz", remote=True).labels == ["1", "2"]


@pytest.mark.parametrize("name", ["nothing", "nothing.csv"])
def test_what_is_not_there_is_refused(data, refusal, name):
    message = refusal(name, remote=True)
    assert "holds nothing" in message or "there is no such file" in message


def test_a_file_that_changes_is_refused(data):
    made.write_arrays(data, [made.Part("data", np.zeros((2, 4, 4, 1), np.uint8), ["1", "2"])])
    reader = made.opened(data, remote=True)
    contents = made.hashed(reader)
    (shard,) = reader.shards(reader.index(contents))
    made.write_arrays(data, [made.Part("data", np.ones((2, 4, 4, 1), np.uint8), ["1", "2"])])
    with pytest.raises(base.ReadingError, match="changed while the run was reading it"):
        list(reader.read(shard, contents))


def hashed_classes(data, **arguments):
    """A reader of two classes, the hashes of their files, and the shard of both."""
    made.write(data, "a/1.png", "b/1.png")
    reader = made.opened(data, **arguments)
    contents = made.hashed(reader)
    (shard,) = reader.shards(reader.index(contents))
    return reader, contents, shard


def test_an_error_in_a_file_that_was_hashed_is_no_bad_image(data, monkeypatch):
    """It would be skipped, and the model would learn from less than the digest says."""
    reader, contents, shard = hashed_classes(data, remote=True)

    def broken(path, mode):
        raise OSError("the connection was reset")

    monkeypatch.setattr(fileio, "open", broken)
    with pytest.raises(base.ReadingError, match=r"1\.png cannot be read .*reset.*; expected"):
        list(reader.read(shard, contents))


def test_a_file_that_is_gone_since_it_was_hashed_is_no_bad_image(data):
    reader, contents, shard = hashed_classes(data, remote=True)
    (data / "b/1.png").unlink()
    with pytest.raises(base.ReadingError, match=r"b/1\.png: there is no such file; expected one"):
        list(reader.read(shard, contents))
