"""Manifests: columns, paths, splits, and what is refused with its rows."""

import re
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.example_gen.readers import base, tables
from tests.components.example_gen.readers import made

IMAGES = ("i/1.png", "i/2.png", "i/3.png")
SOUND = ("path,label", "i/1.png,a", "i/2.png,b", "i/3.png,a")


@pytest.fixture
def images(data):
    return made.write(data, *IMAGES)


def found(data, **arguments):
    read = made.read(data, **arguments)
    assert read.reader.form == base.Form.MANIFEST
    return read


@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv"])
@pytest.mark.parametrize("is_file", [False, True])
def test_text_is_read_from_a_folder_or_a_file(images, name, is_file):
    delimiter = "," if name.endswith("csv") else "\t"
    made.text(images, name, *(line.replace(",", delimiter) for line in SOUND))
    read = found(images / name if is_file else images)
    assert read.labels == ["a", "b", "a"]
    assert list(read.index.ids) == list(IMAGES)
    assert read.index.splits.tolist() == [-1, -1, -1]
    assert read.index.columns is None
    assert read.index.contents == [read.contents[path] for path in IMAGES]
    assert "labels." in read.reader.summary


def test_parquet_is_read(images):
    table = pa.table({"path": IMAGES, "label": [3, 4, 3], "age": [1.5, None, 2.5]})
    pq.write_table(table, images / "labels.parquet")
    read = found(images)
    assert read.labels == ["3", "4", "3"]
    assert read.index.columns.to_pydict() == {"age": [1.5, None, 2.5]}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("\ufeff" + "\n".join(SOUND), id="byte order mark, no end of line"),
        pytest.param("\r\n".join(SOUND) + "\r\n", id="Windows"),
        pytest.param("\n".join(SOUND).replace(",", ";"), id="semicolons"),
        pytest.param("\n".join(SOUND).replace("i/1.png", '"./i//1.png"'), id="quoted"),
        pytest.param("\n".join(SOUND).replace("path,label", "FileName, Class"), id="other names"),
        pytest.param("\n".join(SOUND).replace(",a", ", a "), id="spaces"),
    ],
)
def test_the_same_table_in_other_words(images, content):
    made.write(images, "labels.csv", content=content.encode())
    read = found(images)
    assert (read.labels, list(read.index.ids)) == (["a", "b", "a"], list(IMAGES))


def test_columns_are_what_they_are_set_to(images):
    made.text(images, "x.csv", "path,p,l,label,i,s", "x,i/1.png,NA,no,7,Dev", "y,i/2.png,,no,8,")
    names = {"path_column": "p", "label_column": "l", "id_column": "i", "split_column": "s"}
    with pytest.raises(base.ReadingError, match="no l in row 3"):
        found(images, **names)
    made.text(images, "x.csv", "path,p,l,label,i,s", "x,i/1.png,NA,no,7,Dev", "y,i/2.png,1,no,8,")
    read = found(images, **names)
    assert (read.labels, list(read.index.ids)) == (["NA", "1"], ["7", "8"])
    assert read.index.splits.tolist() == [1, -1]
    assert read.index.columns.to_pydict() == {"path": ["x", "y"], "label": ["no", "no"]}


def test_further_columns_are_carried_along_as_they_are(images):
    made.text(images, "x.csv", 'path,label,age,"a, b"', "i/1.png,a,01,NA", 'i/2.png,b,,"x\ny"')
    columns = found(images).index.columns
    assert columns.to_pydict() == {"age": ["01", ""], "a, b": ["NA", "x\ny"]}


@pytest.mark.parametrize(
    ("value", "split"),
    [("train", 0), ("Training", 0), ("VAL", 1), ("valid", 1), ("dev", 1), ("t10k", 2), ("", -1)],
)
def test_splits_go_by_many_names(images, value, split):
    made.text(images, "x.csv", "path,label,subset", f"i/1.png,a,{value}", "i/2.png,b,test")
    assert found(images).index.splits.tolist() == [split, 2]


def test_a_manifest_wins_over_class_folders(data):
    made.write(data, "a/1.png", "b/1.png", "b/2.png")
    made.text(data, "x.csv", "file,class", "a/1.png,x", "b/1.png,y")
    read = found(data)
    assert read.labels == ["x", "y"]
    assert read.reader.ignored == ("1 image (b/2.png): x.csv does not name them",)


@pytest.mark.parametrize("start", ["", "{data}/", "../{name}/", "a/../"])
def test_an_image_is_named_however_its_path_is_written(data, start):
    made.write(data, "a/1.png", "b/1.png", "b/2.png")
    start = start.format(data=data, name=data.name)
    made.text(data, "x.csv", "path,label", f"{start}a/1.png,x", f"{start}b/1.png,y")
    read = found(data, outside_files=True)
    assert (read.labels, read.bad) == (["x", "y"], {})
    assert read.reader.ignored == ("1 image (b/2.png): x.csv does not name them",)


@pytest.mark.parametrize("typed", ["real", "link"])
@pytest.mark.parametrize("read_at", ["real", "link"])
def test_an_image_is_named_through_whatever_link(data, typed, read_at):
    made.write(data, "a/1.png", "b/1.png", "b/2.png")
    link = data.parent / "link"
    link.symlink_to(data)
    places = {"real": data, "link": link}
    rows = [f"{places[typed]}/{path}" for path in ("a/1.png,x", "b/1.png,y")]
    made.text(data, "x.csv", "path,label", *rows)
    read = found(places[read_at], outside_files=True)
    assert read.labels == ["x", "y"]
    assert read.reader.ignored == ("1 image (b/2.png): x.csv does not name them",)


def test_a_table_with_the_line_ends_of_old_macs_is_refused(images, refusal):
    (images / "x.csv").write_bytes(b"path,label\ri/1.png,a\ri/2.png,b\r")
    told = refusal(images)
    assert "its lines end as on old Macs (CR); expected the line ends of Unix" in told
    assert "Convert them: tr '\\r' '\\n' <OLD >NEW." in told


def test_a_table_about_other_files_is_no_manifest(data, refusal):
    made.write(data, "a/1.png", "b/1.png")
    made.text(data, "x.csv", "path,label", "c/1.png,x")
    read = made.read(data)
    assert read.reader.form == base.Form.CLASS_FOLDERS
    assert read.reader.ignored[0].startswith("x.csv: the column path names no image that is there")
    (data / "a" / "1.png").unlink()
    assert "x.csv: the column path names no image that is there (the first is c/1.png)" in refusal()


def test_one_manifest_for_each_split(data):
    made.write(data, "i/1.png", "i/2.png")
    made.text(data, "test.csv", "path,label", "i/2.png,b")
    made.text(data, "train.csv", "path,label", "i/1.png,a")
    read = found(data)
    assert (read.labels, read.index.splits.tolist()) == (["a", "b"], [0, 2])


@pytest.mark.parametrize("value", ["", " ", "test"])
def test_an_empty_split_is_that_of_the_file(images, value):
    made.text(images, "train.csv", "path,label,split", "i/1.png,a,", "i/3.png,b,val")
    made.text(images, "test.csv", "path,label,split", f"i/2.png,b,{value}")
    assert found(images).index.splits.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("name", "value"), [("test", "train"), ("train", "test"), ("val", "test")])
def test_a_split_that_contradicts_the_name_of_the_file_is_refused(images, refusal, name, value):
    other = "train" if name == "test" else "test"
    made.text(images, f"{other}.csv", "path,label", "i/1.png,a")
    made.text(images, f"{name}.csv", "path,label,split", "i/2.png,b,", f"i/3.png,b,{value}")
    told = f"{name}.csv: a split that contradicts the name of the file ({value}, say) in row 3; "
    assert told in refusal()


def test_a_single_file_is_divided_by_its_column_whatever_its_name(images):
    made.text(images, "train.csv", "path,label,split", "i/1.png,a,", "i/2.png,b,test")
    assert found(images).index.splits.tolist() == [-1, 2]


def test_manifests_inside_the_folders_of_splits(data):
    made.write(data, "train/1.png", "test/1.png")
    made.text(data, "train/metadata.csv", "file_name,label", "1.png,a")
    made.text(data, "test/metadata.csv", "file_name,label", "1.png,b")
    read = found(data)
    assert list(read.index.ids) == ["train/1.png", "test/1.png"]
    assert read.index.splits.tolist() == [0, 2]


def test_missing_images_are_bad(images):
    made.text(images, "x.csv", *SOUND, "i/4.png,a", "i\\1.png,b")
    read = found(images)
    assert list(read.bad) == ["i/4.png", "i\\1.png"]
    assert "there is no such file; expected one" in read.bad["i/4.png"]
    assert "Write / instead of \\" in read.bad["i\\1.png"]
    assert "i/4.png" not in read.reader.sources()
    assert read.index.contents[3:] == ["", ""]


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/passwd", "i/../../secret.png", "i/../i/1.png"]
)
def test_paths_that_leave_the_folder_are_bad(images, path):
    made.write(images.parent, "secret.png")
    made.text(images, "x.csv", *SOUND, f"{path},a")
    read = found(images)
    assert list(read.bad) == [path]
    assert "data.outside_files=true" in read.bad[path]
    allowed = found(images, outside_files=True)
    assert not allowed.bad
    assert len(allowed.bytes) == 4


def test_paths_may_be_hostile(images):
    long, odd = "x" * 1_000_000, "i/\x1b[31m\x00<b>.png"
    made.text(images, "x.csv", *SOUND, f"{long},a", f"{odd},=cmd()", "http://host/1.png,<script>")
    read = found(images)
    assert len(read.bad) == 3
    assert all(name.isprintable() and len(name) < 400 for name in read.bad)
    assert all(reason.isprintable() and len(reason) < 400 for reason in read.bad.values())
    assert read.labels[3:] == ["a", "=cmd()", "<script>"]


@pytest.mark.parametrize("start", ["", "/", "../"])
@pytest.mark.parametrize("outside_files", [False, True])
def test_a_path_of_many_folders_is_bad_at_once(images, start, outside_files):
    """Following its links would take minutes."""
    made.text(images, "x.csv", *SOUND, f"{start}{'a/' * 2_000_000},a")
    read = found(images, outside_files=outside_files)
    (reason,) = read.bad.values()
    assert ("expected at most 4,095 bytes" in reason) == (outside_files or not start)


def test_a_path_counts_as_too_long_by_its_bytes(images):
    for letter, is_long in (("a", False), ("\u00e9", True)):
        made.text(images, "x.csv", *SOUND, f"{letter * 3000}.png,a")
        (reason,) = found(images).bad.values()
        assert ("the path is too long" in reason) == is_long


REFUSED = {
    "a path twice": ([*SOUND, "./i//1.png,a"], "the same path (i/1.png, say) in rows 2, 5; "),
    "an id twice": (
        ["path,label,id", "i/1.png,a,7", "i/2.png,b,7"],
        "the same id (7, say) in",
    ),
    "no id at all": (
        ["path,label,id", "i/1.png,a,7", "i/2.png,b,7"],
        "If the column is no id, rename it, or name another one as data.id_column.",
    ),
    "no label": ([*SOUND, "i/4.png,"], "no label in row 5; expected a value in each row"),
    "a blank label": ([*SOUND, "i/4.png,  "], "no label in row 5; "),
    "no path": ([*SOUND, ",a"], "no path in row 5; "),
    "no id": (["path,label,id", "i/1.png,a,"], "no id in row 2; "),
    "an optional id": (["path,label,id", "i/1.png,a,"], "name another one as data.id_column."),
    "a value short": ([*SOUND, "i/4.png"], "Row #5: Expected 2 columns, got 1"),
    "a value more": ([*SOUND, "i/4.png,a,b"], "Row #5: Expected 2 columns, got 3"),
    "an unknown split": (
        ["path,label,split", "i/1.png,a,foo"],
        "an unknown split (foo, say)",
    ),
    "no split at all": (
        ["path,label,set", "i/1.png,a,3"],
        "If the column is no split, rename it, or name another one as data.split_column.",
    ),
    "an open quotation mark": (
        [*SOUND, 'i/4.png,"a', "i/5.png,b"],
        "mark is not closed",
    ),
    "a line break in a label": ([*SOUND, 'i/4.png,"a\nb"'], "a line break in label in row 5"),
    "two columns of a name": (["path,path,label", "i/1.png,a,b"], "several columns called path"),
    "a very long row": ([*SOUND, "x" * 4 * 10**7 + ",a"], "a row is longer than 16 MiB"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unsound_rows_are_refused_with_their_number(images, refusal, case):
    lines, told = REFUSED[case]
    made.text(images, "labels.csv", *lines)
    message = refusal()
    assert "labels.csv" in message
    assert told in message


def test_paths_of_windows_have_an_answer(images, refusal):
    made.text(images, "x.csv", *(line.replace("/", "\\") for line in SOUND))
    assert r"(the first is i\1.png); expected" in (message := refusal())
    assert message.endswith("Write / instead of \\ in paths.")


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ([[[0, 1], [2, 3]]] * 3, "of type list<element: list<element: "),
        ([b"four"] * 3, "of type fixed_size_binary[4]"),
        ([7] * 3, "of type int64"),
    ],
)
def test_a_column_of_parquet_that_holds_no_paths_is_told_with_its_type(
    images, refusal, cells, told
):
    kind = pa.binary(4) if isinstance(cells[0], bytes) else None
    table = pa.table({"image": pa.array(cells, kind), "label": ["a", "b", "a"]})
    pq.write_table(table, images / "x.parquet")
    message = refusal()
    assert told in message
    assert "expected paths of image files, or the bytes of image files (binary" in message


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
@pytest.mark.parametrize("name", ["", "x.parquet"])
def test_paths_of_parquet_that_are_bytes_are_not_taken_for_images(images, refusal, name, kind):
    paths = pa.array([None, *(path.encode() for path in IMAGES)], kind)
    pq.write_table(pa.table({"path": paths, "label": ["a", "b", "a", "b"]}), images / "x.parquet")
    message = refusal(name)
    assert f"x.parquet: the column path is of type {kind} and does not hold images; " in message
    assert message.endswith("Convert the column to text.")


@pytest.mark.parametrize(
    "content", [b"path,label\ni/1.png,caf\xe9\n", b"caf\xe9,path,label\n1,i/1.png,a\n"]
)
def test_text_that_is_not_utf8_is_refused(images, refusal, content):
    made.write(images, "x.csv", content=content)
    assert "x.csv is not UTF-8 text; expected UTF-8" in refusal()


def test_utf16_is_refused(images, refusal):
    made.write(images, "x.csv", content="\n".join(SOUND).encode("utf-16"))
    assert "x.csv is not UTF-8 text" in refusal()


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"path": IMAGES, "label": [1.0, 2.0, 3.0]}, "the column label is of type double"),
        ({"path": IMAGES, "label": [[1], [2], [3]]}, "the column label is of type list"),
        ({"path": IMAGES, "label": ["a", None, "b"]}, "no label in row 1; "),
        ({"path": ["i/1.png", None, "i/2.png"], "label": [1, 2, 3]}, "no path in row 1; "),
    ],
)
def test_parquet_of_other_types_is_refused(images, refusal, columns, told):
    pq.write_table(pa.table(columns), images / "x.parquet")
    assert told in refusal()


@pytest.mark.parametrize("column", ["path", "label", "note"])
def test_parquet_with_text_that_is_not_utf8_is_refused(images, refusal, column):
    columns = {"path": IMAGES, "label": ["a", "b", "a"], "note": ["c", "d", "e"]}
    spoilt = pa.array([b"a", b"\xfe", b"b"]).view(pa.string())
    pq.write_table(pa.table({**columns, column: spoilt}), images / "x.parquet")
    told = refusal()
    assert "x.parquet cannot be read as Parquet" in told and "UTF8" in told


def test_a_dictionary_that_is_asked_for_more_than_it_has_is_refused():
    places = pa.array([0, 9], pa.int32())
    column = pa.DictionaryArray.from_arrays(places, pa.array(["a"]), safe=False)
    with pytest.raises(pa.ArrowInvalid):
        tables.check_sound(column)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("a.csv", "b.csv", r"several manifests \(a.csv, b.csv\)"),
        ("a.csv", "train.csv", r"several manifests \(a.csv, train.csv\)"),
        ("test.csv", "train.csv", r"the same path in several of them \(i/1.png\)"),
    ],
)
def test_several_manifests_that_contradict_are_refused(images, refusal, first, second, told):
    for name in (first, second):
        made.text(images, name, "path,label", "i/1.png,a")
    assert re.search(told, refusal())


def test_ids_that_begin_anew_in_each_manifest_have_an_answer(images, refusal):
    for number, name in enumerate(("train.csv", "test.csv"), 1):
        made.text(images, name, "id,path,label", f"0,i/{number}.png,a")
    message = refusal()
    assert "the same id in several of them (0)" in message
    assert message.endswith("rename it, or name another one as data.id_column.")


def test_columns_that_are_set_but_not_there_are_refused(images, refusal):
    made.text(images, "x.csv", *SOUND)
    assert "names that are set (p)" in refusal(path_column="p")
    assert "has no further column p" in refusal(id_column="p")


def test_a_manifest_that_changes_after_it_was_opened_is_refused(images):
    made.text(images, "x.csv", *SOUND)
    reader = made.opened(images)
    made.text(images, "x.csv", *reversed(SOUND[1:]))
    with pytest.raises(base.ReadingError, match="changed while the run was reading it"):
        reader.index(made.hashed(reader))


def test_text_that_would_fill_the_memory_is_refused(data, refusal):
    """A dictionary holds it once, and each row again if it were written out."""
    made.write(data, "1.png")
    table = {"path": "1.png", "label": "a", "note": "a" * 500_000}
    made.write_repeated(data / "x.parquet", table, 10_000)
    message = refusal()
    assert "holds 5,000,060,000 bytes of text; expected at most 1,073,741,824" in message
    assert message.endswith("Use a smaller table, or divide the data into spans.")


READS = """
import sys
from components.example_gen.readers import base, opening
try:
    opening.open_data(sys.argv[1], base.Options())
except base.ReadingError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (b"i/2.png,caf\xe9", "is not UTF-8 text; expected UTF-8"),
        pytest.param(
            b"i/2.png," + b"x" * 5 * 10**7, "a row is longer than 16 MiB", marks=pytest.mark.slow
        ),
    ],
)
def test_a_refusal_does_not_abort_the_program(images, row, told):
    """Threads of pyarrow may outlive the refusal."""
    made.write(images, "x.csv", content=b"path,label\ni/1.png,a\n" + row + b"\n")
    command = [sys.executable, "-c", READS, str(images)]
    for _ in range(2):
        finished = subprocess.run(command, capture_output=True, text=True, check=True)
        assert told in finished.stdout
        assert not finished.stderr


def test_a_cell_of_ten_megabytes_is_read(images):
    made.text(images, "x.csv", "path,label,note", f"i/1.png,a,{'x' * 10**7}", "i/2.png,b,")
    assert found(images).labels == ["a", "b"]


def test_a_table_may_have_line_breaks_in_quotes_wherever_its_beginning_ends(images):
    note = '"' + "line\n" * 10_000 + '"'
    rows = [f"i/{number}.png,a,{note}" for number in range(2, 60)]
    made.text(images, "x.csv", "path,label,note", f"i/1.png,b,{note}", *rows)
    assert len(found(images).labels) == 59


def test_labels_that_look_equal_are_refused(images, refusal):
    made.text(images, "x.csv", "path,label", "i/1.png,caf\u00e9", "i/2.png,cafe\u0301")
    assert "several classes look alike (" in refusal()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.csv", "path\tlabel\ni/1.png\ta\n", "separated by tabs; expected commas in a .csv"),
        ("x.tsv", "path,label\ni/1.png,a\n", "separated by commas; expected tabs in a .tsv"),
        ("x.csv", "path|label\ni/1.png|a\n", "separated by bars; expected commas"),
        ("x.csv", "\npath,label\ni/1.png,a\n", "x.csv: the first row is blank; expected the"),
        ("x.csv", "", "The table x.csv is no manifest: it is empty; expected the names of"),
        ("x.csv", "i/1.png,a\n", "x.csv is no manifest: its first row is i/1.png, a; expected"),
        ("x.csv", "photo,kind\ni/1.png,a\n", "first row is photo, kind; expected the names"),
    ],
)
def test_a_table_that_is_no_manifest_is_named_with_the_reason(images, refusal, name, content, told):
    made.write(images, name, content=content.encode())
    assert told in refusal()
    made.write(images, "j/1.png")
    read = made.read(images)
    assert read.reader.form == base.Form.CLASS_FOLDERS
    assert any(line.startswith(f"{name}: ") for line in read.reader.ignored)


@pytest.mark.parametrize("path", ["/etc/a.png", "../a.png"])
def test_a_manifest_of_images_elsewhere_names_the_setting_that_allows_it(images, refusal, path):
    made.text(images, "x.csv", "path,label", f"{path},a")
    assert "or set data.outside_files=true to read images elsewhere" in refusal()
    assert "outside_files" not in refusal(outside_files=True)
    made.text(images, "x.csv", "path,label", "a.png,a")
    assert "outside_files" not in refusal()


SWALLOWED = {
    "last column": ["path,label,note", 'i/1.png,a,"bright', "i/2.png,b,", 'i/3.png,a,"dark'],
    "next row": ["path,note,label", 'i/1.png,"bright,a', 'i/2.png,"dark,b', "i/3.png,,a"],
    "first column": ["note,label,path", '"bright,a,i/1.png', '"dark,b,i/2.png', "x,a,i/3.png"],
    "semicolons": ["path;label;note", 'i/1.png;a;"bright', 'i/2.png;b;"dark', "i/3.png;a;"],
}


@pytest.mark.parametrize("is_file", [False, True])
@pytest.mark.parametrize("case", SWALLOWED)
def test_rows_between_two_stray_quotation_marks_are_not_lost(images, refusal, case, is_file):
    """They would be part of a value, and their images ignored."""
    made.text(images, "x.csv", *SWALLOWED[case])
    message = refusal("x.csv" if is_file else "")
    assert "x.csv: rows of other images in note (i/" in message
    assert "in row 2; expected a closing quotation mark in the same row" in message


def test_images_without_a_suffix_are_not_lost_either(data, refusal):
    made.write(data, "i/1", "i/2", "i/3")
    made.text(data, "x.csv", "path,label,note", 'i/1,a,"bright', "i/2,b,", 'i/3,a,"dark')
    assert "x.csv: rows of other images in note (i/2, say) in row 2" in refusal()


def test_a_note_of_several_lines_may_name_an_image_of_the_table(images):
    made.text(
        images, "x.csv", "path,label,note", 'i/1.png,a,"as\ni/2.png, or\nx.csv"', "i/2.png,b,"
    )
    assert found(images).labels == ["a", "b"]


SPACED = {
    "label": ["path,label,shop", 'i/1.png, "a",n', "i/2.png,a,n", 'i/3.png,  "b",n'],
    "shop": ["path,label,shop", 'i/1.png,a, "n"', "i/2.png,b,n", 'i/3.png,a, "n"'],
    "split": ["path,label,split", 'i/1.png,a, "test"', "i/2.png,b,", 'i/3.png,a, "train"'],
    "id": ["path,label,id", 'i/1.png,a, "x"', "i/2.png,b,y", 'i/3.png,a, "z"'],
}


@pytest.mark.parametrize("column", SPACED)
def test_a_space_before_a_quotation_mark_is_refused(images, refusal, column):
    """The mark would be part of the value: of the name of a class, say."""
    made.text(images, "x.csv", *SPACED[column])
    told = f"a space before the quotation mark that opens {column} in rows 2, 4; expected none. "
    assert f"x.csv: {told}" in refusal()


@pytest.mark.parametrize("first", ["label,path", 'label, "path"'])
def test_spaces_before_the_quotation_marks_of_paths_have_an_answer(images, refusal, first):
    made.text(images, "x.csv", first, 'a, "i/1.png"', 'b, "i/2.png"')
    assert refusal().endswith("Remove the spaces before quotation marks.")


FORMS = ("caf\u00e9/1.png", "cafe\u0301/1.png")


@pytest.mark.parametrize(("written", "there"), [FORMS, FORMS[::-1]])
def test_a_path_in_another_unicode_form_names_the_file_that_is_there(data, written, there):
    """Archives of macOS hold names in the long form."""
    made.write(data, there, "2.png")
    made.text(data, "x.csv", "path,label", f"{written},a", "2.png,b")
    read = found(data)
    assert (read.labels, read.bad) == (["a", "b"], {})
    assert list(read.index.ids) == [written, "2.png"]
    assert read.reader.ignored == ()


def test_a_path_in_the_form_of_a_file_names_that_file(data):
    for form, content in zip(FORMS, (b"short", b"long"), strict=True):
        made.write(data, form, content=content)
    made.text(data, "x.csv", "path,label", *(f"{form},a" for form in FORMS))
    assert found(data).bytes == [b"short", b"long"]


def test_a_file_that_is_named_in_both_forms_is_refused(data, refusal):
    made.write(data, FORMS[0])
    made.text(data, "x.csv", "path,label", *(f"{form},a" for form in FORMS))
    assert "the same path (" in refusal()
