"""Arrays: .npz files under the usual names, never unpickled, never larger than they say."""

import io
import re
import tracemalloc
import zipfile

import numpy as np
import pytest

from components.example_gen.readers import base
from tests.components.example_gen.readers import made

IMAGES = np.arange(4 * 9, dtype=np.uint8).reshape(4, 3, 3)
LABELS = np.array([0, 1, 2, 1])


def write(data, name="a.npz", **arrays):
    np.savez_compressed(data / name, **arrays)
    return data


def found(data, **arguments):
    read = made.read(data, **arguments)
    assert read.reader.form == base.Form.ARRAYS
    return read


NAMES = {
    "Keras": (("x_train", "y_train", "x_test", "y_test"), [0, 2]),
    "large": (("X_train", "Y_train", "X_test", "Y_test"), [0, 2]),
    "turned": (("train_x", "train_y", "test_x", "test_y"), [0, 2]),
    "words": (("train_images", "train_labels", "test_images", "test_labels"), [0, 2]),
    "val": (("train_images", "train_labels", "val_images", "val_labels"), [0, 1]),
    "one": (("images", "labels"), [-1]),
    "letters": (("X", "y"), [-1]),
}


@pytest.mark.parametrize("case", NAMES)
def test_arrays_go_by_many_names(data, case):
    names, splits = NAMES[case]
    arrays = [IMAGES, LABELS] * (len(names) // 2)
    write(data, **dict(zip(names, arrays, strict=True)), other=LABELS)
    read = found(data)
    assert read.index.splits.tolist() == [split for split in splits for _ in LABELS]
    assert read.labels == list(map(str, LABELS)) * len(splits)
    assert read.reader.ignored == ("arrays other of a.npz",)


@pytest.mark.parametrize(
    "labels",
    [LABELS.astype(np.uint8), LABELS[:, None], LABELS.astype(str), LABELS.astype("S3")],
    ids=["bytes", "a column", "text", "ASCII"],
)
def test_labels_may_be_numbers_or_text(data, labels):
    assert found(write(data, x=IMAGES, y=labels)).labels == ["0", "1", "2", "1"]


def broken_text():
    """Text of which one value has a number that is no character."""
    codes = np.array(["cat", "dog", "cat", "dog"]).view(np.uint32).copy()
    codes[4] = 0x7FFFFFFF
    return codes.view("<U3")


NO_TEXT = {
    "half a character": np.array(["cat", "d\ud800g", "cat", "dog"]),
    "turned round": np.array(["cat", "d\udfffg", "cat", "dog"]).astype(">U3"),
    "no character": broken_text(),
    "bytes": np.array([b"cat", b"d\xffg", b"cat", b"dog"]),
}


@pytest.mark.parametrize("case", NO_TEXT)
def test_labels_that_are_no_text_are_refused(data, case):
    with pytest.raises(base.ReadingError) as caught:
        found(write(data, x=IMAGES, y=NO_TEXT[case]))
    message = str(caught.value)
    assert "array y holds a label that is no text in row 1; expected U" in message
    message.encode()


@pytest.mark.parametrize("kind", [str, bytes])
def test_spaces_around_a_label_do_not_count(data, kind):
    labels = np.array([" cat", "dog", "cat ", "dog"]).astype(np.dtype(kind))
    assert found(write(data, x=IMAGES, y=labels)).index.values == ("cat", "dog")


@pytest.mark.parametrize("images", [IMAGES, IMAGES[..., None]])
@pytest.mark.parametrize("name", ["", "a.npz"])
def test_images_have_a_channel(data, images, name):
    write(data, x=images, y=LABELS)
    read = found(data / name if name else data, shape=(3, 3, 1))
    assert [item.tolist() for item in read.items] == IMAGES[..., None].tolist()


REFUSED = {
    "floats": ({"x": IMAGES / 255, "y": LABELS}, r"floating-point numbers .*multiply by 255"),
    "integers": (
        {"x": IMAGES.astype(int), "y": LABELS},
        r"signed integers \(int64\); exp",
    ),
    "a column for each class": ({"x": IMAGES, "y": np.eye(4)}, r"y.argmax\(axis=1\)"),
    "labels with a fraction": ({"x": IMAGES, "y": LABELS / 2}, "expected whole numbers or text"),
    "objects": ({"x": IMAGES, "y": np.array([1, "a", {}, None], object)}, "pickled Python objects"),
    "channels first": ({"x": np.zeros((4, 3, 9, 9), np.uint8), "y": LABELS}, "transpose"),
    "rows": ({"x": IMAGES.reshape(4, 9), "y": LABELS}, "of shape 4x9; expected count x height"),
    "four channels": ({"x": np.zeros((4, 9, 9, 4), np.uint8), "y": LABELS}, "1 or 3 channels"),
    "no size": ({"x": np.zeros((4, 0, 9), np.uint8), "y": LABELS}, "images of 0x9"),
    "a label short": ({"x": IMAGES, "y": LABELS[:3]}, "4 images in x and 3 labels in y"),
    "none": ({"x": IMAGES[:0], "y": LABELS[:0]}, "0 images in x; expected at least one"),
    "one label": ({"x": IMAGES, "y": np.array(1)}, r"of shape \(\); expected one label"),
    "no labels": (
        {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES},
        "x_test without its",
    ),
    "no images": (
        {"x_train": IMAGES, "y_train": LABELS, "y_test": LABELS},
        "y_test without its",
    ),
    "two names": ({"x": IMAGES, "images": IMAGES, "y": LABELS}, "x, images mean the same"),
    "half split": ({"x": IMAGES, "y": LABELS, "x_test": IMAGES, "y_test": LABELS}, "and without a"),
    "unknown names": ({"arr_0": IMAGES, "arr_1": LABELS}, "a.npz: arrays arr_0, arr_1; expected"),
    "nothing": ({}, r"a.npz: arrays \(none\); expected"),
    "by columns": ({"x": np.asfortranarray(IMAGES), "y": LABELS}, "stored column by column"),
    "an empty label": (
        {"x": IMAGES, "y": np.array(["a", "b", "", " "])},
        "a.npz: array y has no label in rows 2, 3; expected a label in each row",
    ),
    "labels that look alike": (
        {"x": IMAGES, "y": np.array(["a\u0301", "\u00e1", "b", "b"])},
        "several classes look alike",
    ),
    "long labels": ({"x": IMAGES, "y": np.array(["x" * 2000] * 4)}, "at most 4096 bytes each"),
    "odd bytes": (
        {"x": IMAGES, "y": np.array([b"\xff"] * 4)},
        "no text in rows 0, 1, 2, 3; expected UTF-8",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_arrays_of_another_kind_are_refused(data, refusal, case):
    arrays, told = REFUSED[case]
    write(data, **arrays)
    assert re.search(told, refusal())


def test_images_of_another_size_than_the_schema_says_are_refused(data, refusal):
    write(data, x=IMAGES, y=LABELS)
    assert "images of 3x3; expected 28x28x1" in refusal(shape=(28, 28, 1))


def test_several_files_are_refused_unless_one_is_named(data, refusal):
    write(data, x=IMAGES, y=LABELS)
    write(data, "b.npz", x=IMAGES, y=LABELS)
    write(data, "c.npz", other=LABELS)
    assert "several .npz files with images (a.npz, b.npz)" in refusal()
    assert found(data / "a.npz").reader.sources() == ["a.npz"]


def test_other_arrays_beside_class_folders_are_ignored(data):
    made.write(write(data, features=IMAGES), "a/1.png", "b/1.png")
    read = made.read(data)
    assert read.reader.form == base.Form.CLASS_FOLDERS
    assert read.reader.ignored[0].startswith("a.npz: arrays features; expected x_train")


def npy(shape, content=b""):
    """An array file whose header announces a shape."""
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + content


HOSTILE = {
    "no archive": {"": b"hello"},
    "empty": {"": b""},
    "a header that lies": {"x.npy": npy((10**12, 30, 30), b"0" * 100), "y.npy": npy((4,))},
    "a header that overflows": {"x.npy": npy((2**62, 2**62, 8)), "y.npy": npy((4,))},
    "a negative size": {"x.npy": npy((-4, 3, 3), bytes(36)), "y.npy": npy((4,), bytes(4))},
    "a header of code": {"x.npy": b"\x93NUMPY\x01\x00\x10\x00__import__('os')", "y.npy": b""},
    "a deep header": {"x.npy": b"\x93NUMPY\x01\x00\x00\x20" + b"(" * 0x2000, "y.npy": b""},
    "a long header": {"x.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{", "y.npy": b""},
    "an unknown version": {"x.npy": b"\x93NUMPY\x09\x00", "y.npy": b""},
    "no header": {"x.npy": b"", "y.npy": b""},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused(data, refusal, case):
    entries = HOSTILE[case]
    if "" in entries:
        (data / "a.npz").write_bytes(entries[""])
    else:
        with zipfile.ZipFile(data / "a.npz", "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
    assert "a.npz" in refusal()


def test_more_images_than_memory_holds_are_refused(data, refusal):
    labels = np.zeros(10**7 + 1, np.uint8)
    write(data, x=labels[:, None, None], y=labels)
    expected = "expected at least one, at most 10,000,000. Divide the data into spans."
    assert f"10,000,001 images in x; {expected}" in refusal()


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_truncated_archive_is_refused(data, refusal, share):
    write(data, x=IMAGES, y=LABELS)
    content = (data / "a.npz").read_bytes()
    (data / "a.npz").write_bytes(content[: int(len(content) * share)])
    assert "cannot be read" in refusal()


def test_a_damaged_array_is_found_when_the_file_is_hashed(data):
    np.savez(data / "a.npz", x=np.zeros((4, 30, 30), np.uint8), y=LABELS)
    content = bytearray((data / "a.npz").read_bytes())
    content[2000] ^= 255
    (data / "a.npz").write_bytes(content)
    with pytest.raises(base.ReadingError, match="Bad CRC-32"):
        made.opened(data).hash_source("a.npz")


@pytest.mark.slow
def test_a_bomb_is_refused_unread(data, refusal):
    """A gigabyte of zeros behind a header that announces four images."""
    with zipfile.ZipFile(data / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as entry:
            entry.write(npy((4, 3, 3)))
            for _ in range(64):
                entry.write(bytes(2**24))
        archive.writestr("y.npy", npy((4,), bytes(4)))
    tracemalloc.start()
    try:
        message = refusal()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "its header announces 4x3x3 values" in message
    assert peak < 5_000_000


def test_large_arrays_are_read_in_little_memory(data):
    np.savez(data / "a.npz", x=np.zeros((200_000, 28, 28), np.uint8), y=np.zeros(200_000, np.uint8))
    reader = made.opened(data)
    contents = made.hashed(reader)
    shard = reader.shards(reader.index(contents))[0]
    tracemalloc.start()
    try:
        count = sum(1 for _ in reader.read(shard, contents))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 200_000
    assert peak < 60_000_000


def test_labels_and_images_that_would_fill_the_memory_are_refused(data, refusal):
    images = np.zeros((300_000, 1, 1), np.uint8)
    np.savez_compressed(data / "a.npz", x=images, y=np.zeros(300_000, "S1000"))
    assert "array y holds 300000 values (|S1000); expected labels of at most 4096" in refusal()
    np.savez_compressed(data / "a.npz", x=np.zeros((1, 2**13 + 1, 2**13), np.uint8), y=["1"])
    assert "images of 8193x8192; expected at most 67,108,864 pixels" in refusal()
