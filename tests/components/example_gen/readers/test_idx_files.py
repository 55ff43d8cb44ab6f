"""IDX files: the names they go by, the types they may have, halves and twins."""

import gzip
import hashlib
import re
import struct
import tracemalloc

import numpy as np
import pytest

from components.example_gen import idx
from components.example_gen.readers import base
from tests.components.example_gen.readers import made

IMAGES = np.arange(4 * 9, dtype=np.uint8).reshape(4, 3, 3)
LABELS = np.array([0, 1, 2, 1], np.uint8)
USUAL = [name for names in idx.FILES.values() for name in names]


def write(data, names=USUAL, **contents):
    """Writes the four files; `images` and `labels` replace the content of the training files."""
    usual = {"images": made.idx_file(IMAGES), "labels": made.idx_file(LABELS)}
    for name in names:
        kind = "images" if "images" in name else "labels"
        content = usual[kind] if "train" not in name else contents.get(kind, usual[kind])
        made.write(data, name, content=gzip.compress(content) if name.endswith(".gz") else content)
    return data


def header(*sizes):
    """The header of images of these sizes, and few of the values that it announces."""
    return struct.pack(f">BBBB{len(sizes)}I", 0, 0, 8, len(sizes), *sizes) + bytes(36)


def found(data, **arguments):
    read = made.read(data, **arguments)
    assert read.reader.form == base.Form.IDX
    return read


NAMES = {
    "usual": USUAL,
    "gzipped": [f"{name}.gz" for name in USUAL],
    "mixed": [USUAL[0], f"{USUAL[1]}.gz", *USUAL[2:]],
    "dots": [name.replace("-idx", ".idx") for name in USUAL],
    "test": [name.replace("t10k", "test") for name in USUAL],
    "EMNIST": [f"emnist-letters-{name.replace('t10k', 'test')}" for name in USUAL],
    "raw": [f"raw/{name}" for name in USUAL],
    "torchvision": [f"FashionMNIST/raw/{name}" for name in USUAL],
}


@pytest.mark.parametrize("case", NAMES)
def test_files_go_by_many_names_with_the_same_ids_and_digest(data, case):
    read = found(write(data, NAMES[case]))
    assert read.index.ids[3:5] == ["train-00000003", "t10k-00000000"]
    assert read.index.splits.tolist() == [0] * 4 + [2] * 4
    images, labels = (
        hashlib.sha256(made.idx_file(array)).hexdigest() for array in (IMAGES, LABELS)
    )
    lines = [f"{half} {images} {labels}\n" for half in ("train", "t10k")]
    assert read.reader.digest_lines(read.contents) == lines
    assert [item.tolist() for item in read.items] == IMAGES[..., None].tolist() * 2
    assert read.reader.ignored == ()


def test_what_lies_beside_is_told(data):
    made.text(write(data), "fashion-mnist_train.csv", "label,pixel1", "0,0")
    assert found(data).reader.ignored == ("fashion-mnist_train.csv: not part of the data",)


ACCEPTED = {
    "a fourth dimension": {"images": made.idx_file(IMAGES[..., None])},
    "32-bit labels": {"labels": made.idx_file(LABELS.astype(">i4"), 0x0C)},
}


@pytest.mark.parametrize("case", ACCEPTED)
@pytest.mark.parametrize("shape", [None, (3, 3, 1)])
def test_other_programs_write_the_same_in_other_types(data, case, shape):
    read = found(write(data, **ACCEPTED[case]), shape=shape)
    assert read.items[0].shape == (3, 3, 1)
    assert read.labels[:4] == ["0", "1", "2", "1"]


def test_labels_beyond_a_byte_are_read(data):
    labels = np.array([0, 300, -1, 70_000], ">i4")
    read = found(write(data, labels=made.idx_file(labels, 0x0C)))
    assert read.index.values == ("-1", "0", "1", "2", "300", "70000")


COLOUR = np.zeros((4, 3, 3, 3), np.uint8)
REFUSED = {
    "float": ({"images": made.idx_file(IMAGES.astype(">f4"), 0x0D)}, "32-bit floating-point"),
    "double": ({"images": made.idx_file(IMAGES.astype(">f8"), 0x0E)}, "64-bit floating-point"),
    "signed": ({"images": made.idx_file(IMAGES.astype("i1"), 0x09)}, "holds signed bytes"),
    "16 bits": ({"images": made.idx_file(IMAGES.astype(">i2"), 0x0B)}, "holds 16-bit integers"),
    "32 bits": ({"images": made.idx_file(IMAGES.astype(">i4"), 0x0C)}, "holds 32-bit integers"),
    "float labels": ({"labels": made.idx_file(LABELS.astype(">f4"), 0x0D)}, "32-bit floating"),
    "little-endian": (
        {"images": struct.pack("<4I", 0x803, 4, 3, 3) + IMAGES.tobytes()},
        "The file is little-endian: write its header in big-endian order",
    ),
    "QMNIST": ({"labels": made.idx_file(np.zeros((4, 8), ">i4"), 0x0C)}, "columns, as QMNIST's"),
    "swapped": ({"images": made.idx_file(LABELS), "labels": made.idx_file(IMAGES)}, "swapped?"),
    "two channels": ({"images": made.idx_file(COLOUR[..., :2])}, "expected 1 or 3 channels"),
    "a label short": ({"labels": made.idx_file(LABELS[:3])}, "4 images and .* 3 labels"),
    "a value short": ({"images": made.idx_file(IMAGES)[:-1]}, "truncated or damaged"),
    "a value more": ({"images": made.idx_file(IMAGES) + b"0"}, "goes on after the 4x3x3"),
    "a billion images": ({"images": header(10**9, 3, 3)}, "announces 1000000000x3x3 values"),
    "an endless image": ({"images": header(1, 2**31, 2**31)}, "expected at most 67,108,864 pixels"),
    "a large image": (
        {"images": header(1, 2**13, 2**13), "labels": made.idx_file(LABELS[:1])},
        "truncated or damaged",
    ),
    "no images": ({"images": made.idx_file(IMAGES[:0])}, "at least one record of images"),
    "no labels": ({"labels": made.idx_file(LABELS[:0])}, "at least one record of labels"),
    "gzip unsaid": ({"images": gzip.compress(made.idx_file(IMAGES))}, "Add .gz to the name"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_files_are_refused_in_words(data, refusal, case):
    contents, told = REFUSED[case]
    write(data, **contents)
    tracemalloc.start()
    try:
        assert re.search(told, refusal())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**26


def test_the_labels_of_qmnist_are_refused_with_the_way_out(data, refusal):
    names = [f"qmnist-{name.replace('t10k', 'test')}" for name in USUAL]
    names = [name.replace("labels-idx1-ubyte", "labels-idx2-int") for name in names]
    write(data, names, labels=made.idx_file(np.zeros((4, 8), ">i4"), 0x0C))
    assert "write the first column, the class, to a file of its own" in refusal()


@pytest.mark.parametrize(
    ("images", "shape", "told"),
    [
        (IMAGES, (28, 28, 1), "images of 3x3; expected 28x28, as the schema says"),
        (COLOUR, (3, 3, 1), "0x00000804; expected 0x00000803.*several channels"),
        (IMAGES, (3, 3, 3), "0x00000803; expected 0x00000804"),
        (IMAGES[..., None], (3, 3, 3), "images of 3x3x1; expected 3x3x3"),
    ],
)
def test_images_that_contradict_the_schema_are_refused(data, refusal, images, shape, told):
    write(data, images=made.idx_file(images))
    assert re.search(told, refusal(shape=shape))


@pytest.mark.parametrize("case", ["usual", "dots", "EMNIST", "raw"])
@pytest.mark.parametrize("missing", range(4))
def test_a_missing_file_is_named_as_the_others_are(data, refusal, case, missing):
    names = list(NAMES[case])
    name = names.pop(missing)
    write(data, names)
    message = refusal()
    expected = name.replace("test", "t10k")
    told = re.search(r"holds neither (\S+) nor \1\.gz; expected all four IDX files", message)
    assert told[1].replace("test", "t10k") == expected


def test_a_span_may_lack_a_half_but_not_half_of_one(data, refusal):
    write(data, USUAL[:2])
    assert found(data, is_span=True).index.splits.tolist() == [0] * 4
    write(data, USUAL[2:3])
    assert f"holds neither {USUAL[3]} nor {USUAL[3]}.gz; expected a whole span" in refusal(
        is_span=True
    )


def test_a_file_beside_the_same_one_gzipped_is_read_plain(data):
    plain = found(write(data))
    write(data, [f"{USUAL[0]}.gz"])
    read = found(data)
    assert read.reader.digest_lines(read.contents) == plain.reader.digest_lines(plain.contents)
    assert read.reader.sources()[:2] == [USUAL[0], f"{USUAL[0]}.gz"]
    assert read.reader.ignored == (f"{USUAL[0]}.gz: the same file is there plain, which is read",)


def test_a_file_that_differs_from_the_one_gzipped_is_refused(data):
    write(data)
    write(data, [f"{USUAL[0]}.gz"], images=made.idx_file(255 - IMAGES))
    reader = made.opened(data)
    contents = made.hashed(reader)
    for action in (reader.digest_lines, reader.index):
        with pytest.raises(base.ReadingError, match="hold different data; expected the same"):
            action(contents)


def test_several_data_sets_in_a_folder_are_refused(data, refusal):
    write(data)
    write(data, NAMES["EMNIST"])
    assert "holds several files for one purpose" in refusal()


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_images_of_emnist_are_told_to_lie_on_their_side(data, names):
    reader = found(write(data, names)).reader
    is_emnist = names is NAMES["EMNIST"]
    assert reader.summary.endswith("; images of EMNIST lie on their side") == is_emnist
    assert len(reader.doubts) == is_emnist


def test_one_file_is_no_data_set(data, refusal):
    write(data)
    assert "is one IDX file; expected the folder of all four" in refusal(USUAL[0])
