"""The IDX reader: sound files come out as they went in, all others are refused in words."""

import gzip
import hashlib
import io
import re
import struct
import tracemalloc
import zlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from hypothesis.extra import numpy as arrays

from components.example_gen import idx

CLASSES = 10
FIXES = (
    "again",
    "Rename",
    "Add",
    "Fix",
    "Use",
    "Get",
    "Check",
    "swapped",
    "convert",
    "change",
    "Divide",
)


def idx_bytes(values):
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return header + values.tobytes()


def some_images(*shape):
    shape = shape or (10, 28, 28)
    return np.arange(np.prod(shape), dtype=np.int64).astype(np.uint8).reshape(shape)


def some_labels(count=10):
    return (np.arange(count) % CLASSES).astype(np.uint8)


@pytest.fixture
def write(tmp_path):
    """Writes a file of this content, gzipped where the name says so; returns its path."""

    def written(name, content):
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return str(path)

    return written


@pytest.fixture
def refused(tmp_path):
    """The message with which images in a file of exactly these bytes are refused."""

    def write(name, content):
        (tmp_path / name).write_bytes(content)
        return refused_images(str(tmp_path / name))

    return write


def read_images(path, shape=(28, 28, 1), batch_size=4):
    reader = idx.image_reader(path, shape)
    return np.concatenate(list(reader.batches(batch_size))), reader.sha256


def refusal(path, action):
    """The message with which a file is refused: it names the file and says how to fix it."""
    with pytest.raises(idx.IdxError) as caught:
        action()
    message = str(caught.value)
    assert path in message
    assert "; expected " in message
    assert any(fix in message for fix in FIXES)
    return message


def refused_images(path, shape=(28, 28, 1)):
    return refusal(path, lambda: read_images(path, shape))


def refused_labels(path):
    return refusal(path, lambda: idx.read_any_labels(path))


IMAGES = arrays.arrays(
    np.uint8,
    strategies.one_of(
        arrays.array_shapes(min_dims=3, max_dims=3, max_side=7),
        arrays.array_shapes(min_dims=3, max_dims=3, max_side=7).map(lambda sizes: (*sizes, 3)),
    ),
)


@hypothesis.given(IMAGES, strategies.booleans(), strategies.integers(1, 9))
def test_images_come_out_as_they_went_in(tmp_path_factory, values, zipped, batch_size):
    path = tmp_path_factory.mktemp("idx") / ("images.gz" if zipped else "images")
    content = idx_bytes(values)
    path.write_bytes(gzip.compress(content) if zipped else content)
    channels = 3 if values.ndim == 4 else 1
    found, digest = read_images(str(path), (*values.shape[1:3], channels), batch_size)
    np.testing.assert_array_equal(found, values)
    assert digest == hashlib.sha256(content).hexdigest()


@hypothesis.given(
    strategies.lists(strategies.integers(0, CLASSES - 1), min_size=1), strategies.booleans()
)
def test_labels_come_out_as_they_went_in(tmp_path_factory, values, zipped):
    path = tmp_path_factory.mktemp("idx") / ("labels.gz" if zipped else "labels")
    content = idx_bytes(np.array(values, np.uint8))
    path.write_bytes(gzip.compress(content) if zipped else content)
    found, digest = idx.read_any_labels(str(path))
    assert found.tolist() == values
    assert digest == hashlib.sha256(content).hexdigest()


def test_more_labels_than_a_batch_come_out_in_order(write):
    values = (np.arange(70_000) % CLASSES).astype(np.uint8)
    found, _ = idx.read_any_labels(write("labels", idx_bytes(values)))
    np.testing.assert_array_equal(found, values)


def test_a_batch_is_never_larger_than_asked_for(write):
    reader = idx.image_reader(write("images", idx_bytes(some_images())), (28, 28, 1))
    assert [len(batch) for batch in reader.batches(4)] == [4, 4, 2]


def test_reading_leaves_no_file_open(write):
    path = write("images.gz", idx_bytes(some_images()))
    opened = []

    def remembering():
        opened.append(io.FileIO(path))
        return opened[-1]

    list(idx.image_reader(path, (28, 28, 1), remembering).batches(4))
    assert opened
    assert all(stream.closed for stream in opened)


@pytest.mark.parametrize("name", ["images", "images.gz"])
@hypothesis.given(content=strategies.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_words(tmp_path_factory, name, content):
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_bytes(content)
    for action in (
        lambda: read_images(str(path), (1, 1, 1)),
        lambda: idx.read_any_labels(str(path)),
    ):
        try:
            action()
        except idx.IdxError as error:
            assert str(path) in str(error)


@hypothesis.given(
    position=strategies.integers(min_value=0),
    value=strategies.integers(0, 255),
    data=strategies.data(),
)
def test_a_damaged_gzip_file_is_read_or_refused_in_words(tmp_path_factory, position, value, data):
    path = tmp_path_factory.mktemp("fuzz") / "images.gz"
    content = bytearray(gzip.compress(idx_bytes(some_images(3, 4, 4)), mtime=0))
    content[position % len(content)] = value
    length = data.draw(strategies.integers(0, len(content)))
    path.write_bytes(content[:length])
    try:
        found, _ = read_images(str(path), (4, 4, 1))
    except idx.IdxError as error:
        assert str(path) in str(error)
    else:
        np.testing.assert_array_equal(found, some_images(3, 4, 4))


@hypothesis.given(
    tail=strategies.binary(min_size=1, max_size=60), length=strategies.integers(1, 11)
)
def test_a_header_alone_is_no_data(tmp_path_factory, tail, length):
    """Right magic numbers, and behind them whatever may come."""
    path = tmp_path_factory.mktemp("fuzz") / "images"
    path.write_bytes(bytes([0, 0, 8, 3]) + tail[:length])
    with pytest.raises(idx.IdxError):
        read_images(str(path))


@pytest.mark.parametrize("kept", [1, 3, 8, 15, 16, 17, 7000, 7855])
def test_a_truncated_plain_file_is_refused(refused, kept):
    assert "truncated" in refused("images", idx_bytes(some_images())[:kept])


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_a_truncated_gzip_file_is_refused(refused, share):
    content = gzip.compress(idx_bytes(some_images()))
    assert "truncated" in refused("images.gz", content[: int(len(content) * share)])


def wrong_checksum(content):
    zipped = bytearray(gzip.compress(content))
    zipped[-8] ^= 1
    return bytes(zipped)


DAMAGED = {
    "no checksum": (
        "images.gz",
        lambda content: gzip.compress(content)[:-4],
        "truncated or damaged",
    ),
    "wrong checksum": ("images.gz", wrong_checksum, "damaged .*CRC"),
    "a value short": (
        "images",
        lambda content: content[:-1],
        "expected 7840 values after the header",
    ),
    "not gzip": ("images.gz", bytes, r"is not gzip.*Rename it without \.gz"),
    "gzip unsaid": ("images", gzip.compress, r"is gzipped.*Add \.gz to the name"),
    "empty": ("images", lambda _: b"", "is empty"),
    "empty gzip": ("images.gz", lambda _: b"", "is empty"),
    "surplus": ("images", lambda content: content + b"\0", "goes on after the 10x28x28 values"),
    "surplus in gzip": (
        "images.gz",
        lambda content: gzip.compress(content + b"\0"),
        "goes on after the 10x28x28 values",
    ),
    "a second member": (
        "images.gz",
        lambda content: gzip.compress(content) + gzip.compress(b"more"),
        "goes on after",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_file_that_is_not_as_its_header_and_name_say_is_refused(refused, case):
    name, spoil, told = DAMAGED[case]
    assert re.search(told, refused(name, spoil(idx_bytes(some_images()))))


@pytest.mark.parametrize(
    "magic",
    [
        pytest.param(b"\x89PNG", id="another format"),
        pytest.param(b"\x01\x00\x08\x03", id="no leading zero"),
        pytest.param(b"\x00\x00\x0d\x03", id="floats"),
        pytest.param(b"\x00\x00\x09\x03", id="signed bytes"),
        pytest.param(b"\x00\x00\x08\x02", id="two dimensions"),
        pytest.param(b"\x00\x00\x08\xff", id="255 dimensions"),
    ],
)
def test_a_wrong_magic_number_is_refused(refused, magic):
    message = refused("images", magic + idx_bytes(some_images())[4:])
    assert f"magic number 0x{magic.hex()}; expected 0x00000803" in message
    assert "swapped" not in message


@pytest.mark.parametrize(
    ("found", "channels", "told"),
    [
        ((4, 32, 24), 1, "images of 32x24; expected 28x28.*change the shape in the schema"),
        ((2, 28, 28, 3), 1, "0x00000804; expected 0x00000803"),
        ((2, 28, 28, 4), 3, "images of 28x28x4; expected 28x28x3"),
        ((0, 28, 28), 1, "announces 0x28x28 values; expected at least one record of images"),
    ],
    ids=["size", "colour", "channels", "none"],
)
@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_images_of_another_form_are_refused(write, name, found, channels, told):
    path = write(name, idx_bytes(some_images(*found)))
    assert re.search(told, refused_images(path, (28, 28, channels)))


def test_gray_images_for_a_schema_of_three_channels_are_told_as_such(write):
    path = write("images", idx_bytes(some_images()))
    message = refused_images(path, (28, 28, 3))
    assert "are gray and the schema's have three channels: change the shape in the" in message
    assert "swapped" not in message


def test_labels_in_the_place_of_colour_images_are_perhaps_swapped(write):
    message = refused_images(write("images", idx_bytes(some_labels(4))), (28, 28, 3))
    assert message.endswith("Are the images and the labels swapped?")


def test_zero_labels_are_refused(write):
    path = write("labels", idx_bytes(some_labels(0)))
    assert "expected at least one record of labels" in refused_labels(path)


def test_a_gzip_bomb_is_refused_unread(tmp_path):
    """200 MB of zeros behind a header that announces ten images."""
    path = tmp_path / "images.gz"
    packer = zlib.compressobj(9, wbits=31)
    with path.open("wb") as file:
        file.write(packer.compress(idx_bytes(some_images())))
        for _ in range(200):
            file.write(packer.compress(bytes(1_000_000)))
        file.write(packer.flush())
    positions = []

    class Watched(io.FileIO):
        """A file that remembers how far it was read."""

        def close(self):
            if not self.closed:
                positions.append(self.tell())
            super().close()

    tracemalloc.start()
    try:
        with pytest.raises(idx.IdxError, match="nothing more was read"):
            list(idx.image_reader(str(path), (28, 28, 1), lambda: Watched(path)).batches(4))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 190_000
    assert 0 < max(positions) < path.stat().st_size
    assert peak < 2_000_000


@pytest.mark.parametrize("count", [2**32 - 1, 2**31 - 1, 10**9, 10**7])
def test_a_header_that_announces_billions_is_refused_in_little_memory(write, count):
    header = struct.pack(">BBBBIII", 0, 0, 8, 3, count, 28, 28)
    path = write("images", header + bytes(784))
    tracemalloc.start()
    try:
        message = refused_images(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(count if count > 10**7 else count * 784) in message
    assert ("at most 10,000,000. Divide the data into spans." in message) == (count > 10**7)
    assert peak < 2_000_000


def test_a_header_that_announces_billions_of_labels_is_refused(write):
    path = write("labels", struct.pack(">BBBBI", 0, 0, 8, 1, 2**32 - 1) + bytes(10))
    assert "4294967295" in refused_labels(path)


@pytest.mark.parametrize(
    ("name", "told"),
    [("", "Is a directory"), ("images", "No such file"), ("images.gz", "No such file")],
)
def test_a_folder_and_a_missing_file_are_refused(tmp_path, name, told):
    assert told in refused_images(str(tmp_path / name))
