"""Parquet of images: columns, names of classes, sets of files, rows without an image."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.example_gen.readers import base
from components.example_gen.readers.files import LocalFiles, hash_file
from tests.components.example_gen.readers import made

IMAGES = [b"first", b"second", b"third"]


def table(labels=("a", "b", "a"), names=None, images=IMAGES):
    return made.image_table(images, pa.array(labels), names)


def write(data, **tables):
    """Writes tables; in the keyword, __ stands for a slash and _ for a dash."""
    for name, content in tables.items():
        path = data / f"{name.replace('__', '/').replace('_', '-')}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(content, path)
    return data


def found(data, **arguments):
    read = made.read(data, **arguments)
    assert read.reader.form == base.Form.PARQUET_IMAGES
    return read


@pytest.mark.parametrize("name", ["", "train-00000-of-00001.parquet"])
def test_a_folder_or_a_file_is_read(data, name):
    write(data, train_00000_of_00001=table())
    read = found(data / name if name else data)
    assert read.bytes == IMAGES
    assert read.labels == ["a", "b", "a"]
    assert list(read.index.ids) == [f"train-{row:08d}" for row in range(3)]
    assert [item.name for item in read.items][2] == "train-00000-of-00001.parquet[2]"


def test_rows_are_counted_across_the_files_of_a_split(data):
    write(
        data,
        data__train_00000_of_00002=table(),
        data__train_00001_of_00002=table(images=[b"4", b"5", b"6"]),
        data__validation_00000_of_00001=table(images=[b"7", b"8", b"9"]),
        data__test_00000_of_00001=table(),
    )
    read = found(data)
    assert read.index.ids[5:7] == ["train-00000005", "val-00000000"]
    assert read.index.splits.tolist() == [0] * 6 + [1] * 3 + [2] * 3
    assert read.bytes == [*IMAGES, b"4", b"5", b"6", b"7", b"8", b"9", *IMAGES]


@pytest.mark.parametrize("names", [["test"], ["test_00000_of_00002", "test_00001_of_00002"]])
def test_files_of_a_test_split_alone_are_all_of_the_data(data, names):
    write(data, **dict.fromkeys(names, table()))
    read = found(data)
    assert read.index.splits.tolist() == [base.UNDECIDED] * 3 * len(names)
    assert read.reader.splits == frozenset()
    assert found(data, is_span=True).index.splits.tolist() == [2] * 3 * len(names)


def test_folders_of_splits_are_recognised(data):
    write(data, default__train__0000=table(), default__test__0000=table())
    assert found(data).index.splits.tolist() == [0] * 3 + [2] * 3


def test_named_classes_keep_their_order(data):
    read = found(write(data, train=table([2, 0, 2], ["zebra", "bear", "ant", "unused"])))
    assert read.index.values == ("zebra", "ant")
    assert read.labels == ["ant", "zebra", "ant"]


@pytest.mark.parametrize(
    "about", [b"{[", b"null", b'{"info": 1}', b"[" * 100_000, b'{"info": {"features": {}}}']
)
def test_other_metadata_means_numbers(data, about):
    content = table([2, 0, 2]).replace_schema_metadata({"huggingface": about})
    assert found(write(data, train=content)).labels == ["2", "0", "2"]


LABELS = {
    "small integers": pa.array([1, 2, 1], pa.int8()),
    "large text": pa.array(["1", "2", "1"], pa.large_string()),
    "categories": pa.array(["1", "2", "1"]).dictionary_encode(),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_may_be_numbers_or_text(data, case):
    assert found(write(data, train=table(LABELS[case]))).labels == ["1", "2", "1"]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_images_may_be_plain_bytes(data, kind):
    images = pa.array([b"first", None, b""], kind)
    read = found(write(data, train=pa.table({"img": images, "label": [1, 2, 3]})))
    assert made.content_of(read.items[0]) == b"first"
    assert list(read.bad) == ["train.parquet[1]", "train.parquet[2]"]


def test_rows_without_bytes_are_bad(data):
    images = [None, {"bytes": None, "path": "a.png"}, {"bytes": b"third", "path": None}]
    content = pa.table({"image": pa.array(images, made.STRUCT), "label": [1, 2, 3]})
    read = found(write(data, train=content))
    assert list(read.bad) == ["train.parquet[0]", "train.parquet[1]"]
    assert made.content_of(read.items[2]) == b"third"


def test_columns_are_what_they_are_set_to(data):
    content = pa.table({"a": IMAGES, "mask": IMAGES[::-1], "fine": [1, 2, 3], "label": [4, 5, 6]})
    write(data, train=content)
    read = found(data, path_column="mask", label_column="fine")
    assert (read.bytes, read.labels) == (IMAGES[::-1], ["1", "2", "3"])


VALUES = {
    "text": pa.array(["Training", " ", "t10k"]),
    "nulls": pa.array(["train", None, "test"]),
    "categories": pa.array(["train", None, "test"]).dictionary_encode(),
}


@pytest.mark.parametrize("case", VALUES)
def test_a_column_gives_the_splits(data, case):
    """The ids stay those of rows without a split, as the name of the file has none."""
    write(data, rows=table().append_column("Subset", VALUES[case]))
    read = found(data)
    assert read.index.splits.tolist() == [0, -1, 2]
    assert read.reader.splits == {0, 2}
    assert list(read.index.ids) == [f"data-{row:08d}" for row in range(3)]
    assert read.reader.summary.endswith("3 for data, divided by the column Subset")


def test_a_column_divides_the_file_of_a_split(data):
    splits = {"train": ["", "val", "train"], "test": [None, None, "test"]}
    for name, values in splits.items():
        write(data, **{name: table().append_column("split", pa.array(values))})
    assert found(data).index.splits.tolist() == [0, 1, 0, 2, 2, 2]


def test_the_split_column_is_what_it_is_set_to(data):
    fold = pa.array(["test", "train", "train"])
    write(data, rows=table().append_column("fold", fold).append_column("set", [[1, 2, 3]]))
    assert found(data, split_column="fold").index.splits.tolist() == [2, 0, 0]


SPLITS = {
    "unknown": ("rows", ["a", "b", "train"], "an unknown split (a, say) in rows 0, 1; "),
    "no split": ("rows", [1, 2, 3], "or name another one as data.split_column."),
    "a contradiction": (
        "test",
        ["test", "", "train"],
        "a split that contradicts the name of the file (train, say) in row 2; ",
    ),
}


@pytest.mark.parametrize("case", SPLITS)
def test_unsound_splits_are_refused_with_their_rows(data, refusal, case):
    name, values, told = SPLITS[case]
    write(data, **{name: table().append_column("split", pa.array(values))})
    assert told in refusal()


def test_a_split_column_that_is_set_but_not_there_is_refused(data, refusal):
    write(data, rows=table())
    assert "rows.parquet has no further column fold" in refusal(split_column="fold")


def test_columns_that_are_not_read_are_told(data):
    write(data, rows=table().append_column("id", [[1, 2, 3]]).append_column("shop", [[1, 2, 3]]))
    assert found(data).reader.ignored == ("columns id, shop: neither image, label nor split",)


def of(**columns):
    return pa.table(columns)


REFUSED = {
    "no label column": (of(img=IMAGES, fine=[1, 2, 3]), "no label column (one of label, class"),
    "two images": (of(a=IMAGES, b=IMAGES, label=[1, 2, 3]), "columns of bytes a, b; expected one"),
    "fractions": (table([1.0, 2.0, 3.0]), "the column label is of type double; expected text"),
    "lists": (table([[1], [2], [3]]), "the column label is of type list"),
    "no labels": (table([None, None, None]), "the column label is of type null"),
    "a missing label": (table([1, None, 2]), "no label in row 1; expected a value in each row"),
    "an empty label": (table(["a", "b", " "]), "no label in row 2; expected a label"),
    "truth": (table([True, False, True]), "the column label is of type bool"),
    "unlabelled": (table([-1, -1, -1], ["a", "b"]), "named classes in rows 0, 1, 2; expected numb"),
    "beyond the names": (table([0, 1, 2], ["a", "b"]), "none of the 2 named classes in row 2"),
    "no rows": (table()[:0], "0 rows in train.parquet; expected at least one"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_columns_are_refused(data, refusal, case):
    content, told = REFUSED[case]
    write(data, train=content)
    assert told in refusal()


SETS = {
    "a missing file": (
        ["train_00000_of_00003", "train_00002_of_00003"],
        "lacks train-00001-of",
    ),
    "a missing file with a hash": (
        ["train_00000_of_00002_6f3344faa23e9b0a"],
        "lacks train-00001-of-00002-*.parquet; expected all 2 files of the set",
    ),
    "the same rows in one file and in two": (
        ["d__test_00000_of_00001", "d__test_00000_of_00002", "d__test_00001_of_00002"],
        "several sets (d/test-00000-of-00001.parquet, d/test-00000-of-00002.parquet); expected",
    ),
    "numbers of two sets": (
        ["train_00000_of_00002", "train_00002_of_00003"],
        "several sets (train-00000-of-00002.parquet, train-00002-of-00003.parquet); expected",
    ),
    "the same number with two hashes": (
        [f"train_00000_of_00001_{digit * 16}" for digit in "ab"],
        "holds numbered files of several sets (train-00000-of-00001-aaaaaaaaaaaaaaaa.parquet, ",
    ),
    "two data sets": (["mnist__train", "fashion__train"], "in several folders (fashion, mnist)"),
    "half split": (["train", "other"], "with and without the name of a split (other.parquet, tr"),
}


@pytest.mark.parametrize("case", SETS)
def test_sets_of_files_that_are_not_whole_are_refused(data, refusal, case):
    names, told = SETS[case]
    write(data, **{name: table() for name in names})
    assert told in refusal()


def test_files_with_different_classes_are_refused(data, refusal):
    write(data, train=table([0, 1, 0], ["a", "b"]), test=table([0, 1, 0], ["b", "a"]))
    assert "other columns or class names than test.parquet" in refusal()


@pytest.mark.parametrize("content", [b"", b"PAR1 nothing PAR1", b"PAR1\xff\xff\xff\x7fPAR1"])
def test_other_bytes_are_refused(data, refusal, content):
    made.write(data, "train.parquet", content=content)
    assert "train.parquet cannot be read as Parquet" in refusal()


def test_damage_is_refused_or_changes_nothing_but_bytes(data):
    """Parquet has no checksums: what is damaged in an image is found by who decodes it."""
    write(data, train=table(images=[bytes(range(200))] * 3))
    content = (data / "train.parquet").read_bytes()
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        (data / "train.parquet").write_bytes(damaged)
        try:
            read = made.read(data)
        except base.ReadingError as error:
            assert "; expected " in str(error)
        else:
            assert len(read.items) == len(read.index.ids)


def test_other_tables_are_no_images(data, refusal):
    write(data, train=of(a=[1, 2]))
    assert "1 file of no known form (1 .parquet)" in refusal()


def test_columns_of_one_name_are_refused(data, refusal):
    content = pa.Table.from_arrays([pa.array(IMAGES), pa.array([1, 2, 3])], ["label", "label"])
    write(data, train=content)
    assert "several columns called label" in refusal()


def test_images_without_labels_are_ignored_beside_those_with_some(data):
    write(data, train=table(), test=of(image=IMAGES))
    read = found(data)
    assert list(read.index.ids) == [f"train-{row:08d}" for row in range(3)]
    assert read.reader.ignored[0].startswith("test.parquet: images in the column image, but no lab")


def test_other_bytes_beside_class_folders_are_ignored(data):
    made.write(write(data, embeddings=of(vector=IMAGES)), "a/1.png", "b/1.png")
    assert made.read(data).reader.form == base.Form.CLASS_FOLDERS


def test_a_value_of_every_row_takes_the_memory_of_one(data):
    """Each column would be 50 GB if it were written out."""
    columns = {"image": b"1" * 500_000, "label": "a" * 500_000}
    made.write_repeated(data / "train.parquet", columns, 100_000)
    reader = made.opened(data)
    contents = {path: hash_file(LocalFiles(str(data), False), path) for path in reader.sources()}
    index = reader.index(contents)
    assert len(index.ids) == 100_000
    assert index.values == ("a" * 500_000,)
    first = reader.read(reader.shards(index)[0], contents)
    assert len(next(first).content) == 500_000


def test_more_rows_than_memory_holds_are_refused(data, refusal):
    rows = pa.nulls(10**7 + 1, pa.int8())
    image = pa.nulls(len(rows), pa.binary())
    write(data, train=of(image=image, label=rows))
    message = refusal()
    expected = "expected at least one, at most 10,000,000. Divide the data into spans."
    assert f"10,000,001 rows in train.parquet; {expected}" in message


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["cat", "cat", "dog"], "names several classes alike ('cat', 'cat')"),
        (["cat", " cat", "dog"], "names several classes alike ('cat', ' cat')"),
        (["caf\u00e9", "cafe\u0301", "dog"], "names several classes alike ("),
        (["cat", "", "dog"], "names the classes 1 with an empty text"),
    ],
)
def test_named_classes_that_look_equal_are_refused(data, refusal, names, told):
    """Their images would be merged into one class, or one class be two."""
    write(data, train=table(labels=(0, 1, 2), names=names))
    assert told in refusal()
