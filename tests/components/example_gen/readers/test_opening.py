"""What is no data set: each has a clear answer."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.example_gen.readers import base
from tests.components.example_gen.readers import made

FILES = {
    "an archive": ("a.zip", "is an archive; expected a folder with data. Unpack it"),
    "a compressed archive": ("a.tar.gz", "is an archive"),
    "an image": ("a.PNG", "is a single image; expected a data set with labels"),
    "a video": ("a.mp4", "is a video; expected images. Extract frames"),
    "a text": ("a.txt", "is a file of another kind; expected class folders"),
    "nothing": ("a", "is a file of another kind"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_single_file_is_refused_with_what_it_is(data, refusal, case):
    name, told = FILES[case]
    made.write(data, name)
    assert told in refusal(name)


@pytest.mark.parametrize("name", ["nothing", "nothing.csv", "nothing.parquet", "a\x1bb"])
def test_what_is_not_there_is_refused(refusal, name):
    message = refusal(name)
    assert "does not exist" in message or "there is no such file" in message


FOLDERS = {
    "empty": ([], "holds nothing; expected class folders"),
    "hidden files": ([".DS_Store", ".git/x"], "holds nothing but 2 hidden or temporary files"),
    "videos": (["a/1.mp4", "b/2.MOV"], "holds 2 videos and no images; expected images"),
    "archives": (
        ["a.zip", "b.tgz"],
        "holds no data but archives (a.zip, b.tgz); expected",
    ),
    "texts": (["a.txt", "b/c.txt", "LICENSE"], "3 files of no known form (2 .txt, 1 without a su"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_without_data_is_refused_with_what_it_holds(data, refusal, case):
    paths, told = FOLDERS[case]
    made.write(data, *paths)
    assert told in refusal()


def test_empty_folders_are_no_data(data, refusal):
    (data / "cat").mkdir()
    assert "holds nothing but empty folders" in refusal()


@pytest.mark.parametrize("name", ["x.csv", "x.npz", "x.parquet", "x"])
def test_a_pipe_is_never_opened(data, refusal, name):
    os.mkfifo(data / name)
    message = refusal(name)
    assert "named pipe" in message or "is a pipe or a device" in message


def test_a_pipe_beside_the_data_is_ignored(data):
    made.write(data, "a/1.png", "b/1.png")
    os.mkfifo(data / "notes.txt")
    assert made.read(data).reader.ignored == ("notes.txt: not part of the data",)
    os.mkfifo(data / "labels.csv")
    told = made.read(data).reader.ignored
    assert told[1].startswith("labels.csv: it is a named pipe; expected a regular file")


LATIN = "caf\xe9,label\n".encode("latin-1")
STRAY = {
    "notes.csv": (LATIN, "it is not UTF-8 text; expected UTF-8"),
    "a/notes.tsv": (LATIN, "it is not UTF-8 text"),
    "rows.csv": (b'"path,label\n1', "the first row cannot be read"),
    "broken.parquet": (b"PAR1", "it cannot be read as Parquet"),
    "a/b/broken.PARQUET": (b"PAR1", "it cannot be read as Parquet"),
    "broken.npz": (b"PK", "it cannot be read (File is not a zip file)"),
}
SOUND = {
    "class folders": made.write_class_folders,
    "manifest": made.write_manifest,
    "pixel table": made.write_pixel_table,
    "Parquet of images": made.write_parquet,
    "IDX": made.write_idx,
}


def write_sound(data, form):
    images = np.arange(4 * 16, dtype=np.uint8).reshape(4, 4, 4, 1)
    parts = [made.Part(split, images, ["0", "1", "0", "1"]) for split in ("train", "test")]
    SOUND[form](data, parts)


@pytest.mark.parametrize("name", STRAY)
@pytest.mark.parametrize("form", SOUND)
def test_an_unreadable_file_beside_sound_data_is_ignored(data, form, name):
    content, reason = STRAY[name]
    write_sound(data, form)
    made.write(data, name, content=content)
    reader = made.read(data).reader
    assert reader.form == form
    (line,) = [line for line in reader.ignored if line.startswith(name)]
    assert reason in line or line == f"{name}: not part of the data"


@pytest.mark.parametrize("name", STRAY)
def test_an_unreadable_file_alone_is_refused(data, refusal, name):
    content, reason = STRAY[name]
    made.write(data, name, content=content)
    message = refusal()
    assert reason.removeprefix("it ") in message
    assert message.startswith(str(data / name))


# The forms that are recognised after a look at all tables of text.
LATER = ("class folders", "manifest", "pixel table")


@pytest.mark.parametrize("form", LATER)
def test_a_broken_table_may_have_been_meant_unless_the_form_is_set(data, form):
    write_sound(data, form)
    made.write(data, "notes.csv", content=LATIN)
    (doubt,) = made.read(data).reader.doubts
    assert doubt.startswith(f"{data / 'notes.csv'} is not read, and the data is taken as ")
    assert "The reason: it is not UTF-8 text; expected UTF-8" in doubt
    assert doubt.endswith(f'set data.form="{form}".')
    assert made.read(data, form=form).reader.doubts == ()


def test_other_tables_are_doubted_beside_class_folders_alone(data):
    made.write(data, "a/1.png", "b/1.png")
    made.text(data, "notes.csv", "path,lable", "a/1.png,x")
    (doubt,) = made.read(data).reader.doubts
    assert "its first row is path, lable; expected the names of the columns" in doubt
    made.text(data, "x.csv", "path,label", "a/1.png,x")
    assert made.read(data).reader.doubts == ()


@pytest.mark.parametrize("form", SOUND)
def test_data_of_another_form_than_the_one_that_is_set_is_refused(data, refusal, form):
    write_sound(data, form)
    assert made.read(data, form=form).reader.form == form
    other = "arrays"
    message = refusal(form=other)
    assert f"expected the form {other}, as data.form says" in message


LOST = {
    "a table of the test split": ("pixel table", "made_test.csv", LATIN),
    "a manifest of the test split": ("manifest", "test.csv", LATIN),
    "Parquet of the test split": ("Parquet of images", "data/test-00000-of-00001.parquet", b"P"),
}


@pytest.mark.parametrize("case", LOST)
def test_an_unreadable_part_of_the_data_is_refused(data, refusal, case):
    """To leave it out would leave out the test split."""
    form, name, content = LOST[case]
    write_sound(data, form)
    made.write(data, name, content=content)
    assert refusal().startswith(str(data / name))


IMAGE_NAMES = [f"images/{split}-{row:08d}.png" for split in ("train", "test") for row in range(4)]
UNREAD = {
    "tabs": ("manifest", "test.csv", ["path\tlabel", f"{IMAGE_NAMES[4]}\t1"]),
    "images that are not there": ("manifest", "test.csv", ["path,label", "nowhere.png,1"]),
    "a renamed column": ("manifest", "test.csv", ["image_name,label", f"{IMAGE_NAMES[4]},1"]),
    "a file of validation images": ("manifest", "valid.csv", ["image_name,label", "x.png,1"]),
    "rows that are no pixels": (
        "pixel table",
        "test.csv",
        [",".join(["label", *map(str, range(16))]), ",".join(["1"] * 16 + ["0.5"])],
    ),
}


def write_train(data, form):
    """Sound data whose name says that it holds the images to train on."""
    write_sound(data, form)
    if form == "manifest":
        (data / "labels.csv").unlink()
        made.text(data, "train.csv", "path,label", *(f"{name},1" for name in IMAGE_NAMES[:4]))
    else:
        (data / "made_test.csv").unlink()


@pytest.mark.parametrize("is_set", [False, True], ids=["no form", "form"])
@pytest.mark.parametrize("case", UNREAD)
def test_an_unread_table_of_a_split_with_labels_is_refused(data, refusal, case, is_set):
    """The test split would be drawn from the images to train on, without a word."""
    form, name, lines = UNREAD[case]
    write_train(data, form)
    made.text(data, name, *lines)
    message = refusal(**({"form": form} if is_set else {}))
    assert message.startswith(f"{data / name} has labels in the column label, but is not read; ")
    assert "which nothing else gives. The reason: " in message


@pytest.mark.parametrize("form", ["manifest", "pixel table"])
def test_a_table_of_a_split_in_another_folder_is_refused(data, refusal, form):
    write_train(data, form)
    made.text(data, "test/test.csv", "path,label", "1.png,1")
    message = refusal(form=form)
    assert message.startswith(f"{data / 'test' / 'test.csv'} has labels in the column label, but ")
    assert "it lies in another folder than " in message


def test_a_table_of_a_split_in_another_folder_is_refused_within_a_wrapper(data, refusal):
    write_train(data / "wrapper", "manifest")
    made.text(data, "wrapper/test/test.csv", "path,label", "1.png,1")
    assert "it lies in another folder than wrapper/train.csv; " in refusal()


# The manifests or pixel tables of two splits; folders of images could be taken as classes, too.
BELOW = {
    "manifest": ["path,label", "a/1.png,x", "b/1.png,y"],
    "pixel table": [",".join(["label", *map(str, range(16))]), "x" + ",1" * 16, "y" + ",1" * 16],
}
UNRELATED = {
    "none": [],
    "licences": ["author,licence", "me,CC0"],
    "numbers": [",".join(map(chr, range(97, 117))), ",".join(["0.5"] * 20)],
}


def write_below(folder, form):
    for split in ("train", "test"):
        if form == "manifest":
            made.write(folder / split, "a/1.png", "b/1.png")
        made.text(folder, f"{split}/{split}.csv", *BELOW[form])


@pytest.mark.parametrize("wrapper", ["", "wrapper", "one/two"])
@pytest.mark.parametrize("beside", UNRELATED)
@pytest.mark.parametrize("form", BELOW)
def test_tables_in_folders_are_found_beside_a_table_about_something_else(
    data, form, beside, wrapper
):
    """The names of folders would become the labels."""
    write_below(data / wrapper, form)
    if beside != "none" and (form, beside) != ("pixel table", "numbers"):
        made.text(data / wrapper, "other.csv", *UNRELATED[beside])
    read = made.read(data)
    assert (read.reader.form, read.labels) == (form, ["x", "y", "x", "y"])
    assert read.index.splits.tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize("is_set", [False, True], ids=["no form", "form"])
@pytest.mark.parametrize(
    "lines", [["path,label", "moved/1.png,x"], ["path\tlabel", "a/1.png\tx"]], ids=["moved", "tabs"]
)
def test_tables_in_folders_do_not_replace_a_manifest_that_breaks(data, refusal, lines, is_set):
    write_below(data, "manifest")
    made.text(data, "labels.csv", *lines)
    if is_set:
        assert f"{data / 'labels.csv'}: the column" in refusal(form="manifest")
    else:
        reader = made.read(data).reader
        assert reader.form == base.Form.CLASS_FOLDERS
        assert reader.doubts[0].startswith(f"{data / 'labels.csv'} is not read, and the data is ")


def test_a_pixel_table_wins_over_manifests_in_folders(data):
    write_below(data, "manifest")
    made.text(data, "digits.csv", *BELOW["pixel table"])
    assert made.read(data).reader.form == base.Form.PIXEL_TABLE


def test_pixel_tables_in_folders_do_not_replace_one_that_breaks(data, refusal):
    write_below(data, "pixel table")
    made.text(data, "digits.csv", *UNRELATED["numbers"])
    assert "digits.csv: numbers in row 2 that are no pixels" in refusal(form="pixel table")


def test_tables_in_folders_beside_one_table_of_all_images_are_left_alone(data):
    made.write(data, "test/1.png", "train/1.png")
    made.text(data, "labels.csv", "path,label", "test/1.png,a", "train/1.png,b")
    made.text(data, "test/test.csv", "path,label", "1.png,a")
    assert made.read(data, form="manifest").reader.doubts == ()


UNLABELLED = {
    "a manifest": ("manifest", ["path", "images/test-00000000.png"]),
    "a pixel table": ("pixel table", [",".join(f"pixel{n}" for n in range(16)), "1," * 15 + "1"]),
    "a pixel table without a header": ("pixel table", ["1," * 15 + "1"]),
    "another table": ("class folders", ["id,label", "1,2"]),
}


@pytest.mark.parametrize("is_set", [False, True], ids=["no form", "form"])
@pytest.mark.parametrize("case", UNLABELLED)
def test_an_unread_table_of_a_split_is_told_of_whatever_the_form(data, case, is_set):
    """As test.csv of Kaggle, which has no labels."""
    form, lines = UNLABELLED[case]
    if form == "class folders":
        made.write(data, "a/1.png", "b/1.png")
    else:
        write_train(data, form)
    made.text(data, "test.csv", *lines)
    (doubt,) = made.read(data, **({"form": form} if is_set else {})).reader.doubts
    assert doubt.startswith(f"{data / 'test.csv'} is called after the split test and is not read, ")
    assert "The reason: " in doubt


def test_an_unread_table_of_a_split_that_is_given_is_not_told_of(data):
    write_sound(data, "manifest")
    made.text(data, "test.csv", "id,label", "1,2")
    assert made.read(data, form="manifest").reader.doubts == ()


PARQUET = {
    "without images": ("data/test-00000-of-00001.parquet", {"label": ["1"], "x": [1]}),
    "in another folder": ("test/test.parquet", {"image": [made.PNG], "label": ["1"]}),
}


@pytest.mark.parametrize("case", PARQUET)
def test_unread_parquet_of_a_split_is_refused(data, refusal, case):
    name, columns = PARQUET[case]
    write_sound(data, "Parquet of images")
    (data / "data" / "test-00000-of-00001.parquet").unlink()
    if case == "in another folder":
        (data / "data" / "train-00000-of-00001.parquet").rename(data / "train.parquet")
    (data / name).parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), data / name)
    message = refusal(form="Parquet of images")
    assert message.startswith(f"{data / name} has labels in the column label, but is not read; ")


def test_an_unreadable_file_of_arrays_beside_another_is_refused(data, refusal):
    made.write_arrays(data, [made.Part("data", np.zeros((2, 4, 4, 1), np.uint8), ["1", "2"])])
    made.write(data, "x.npz", content=b"PK")
    assert "x.npz cannot be read" in refusal()


@pytest.mark.parametrize("option", ["path_column", "label_column", "id_column", "split_column"])
def test_columns_of_data_without_columns_are_refused(data, refusal, option):
    made.write(data, "a/1.png", "b/1.png")
    assert f"data.{option}=x, but the data was recognised as class folders" in refusal(
        **{option: "x"}
    )


def test_a_folder_may_be_called_like_a_file(tmp_path):
    folder = tmp_path / "data.csv"
    assert made.read(made.write(folder, "a/1.png", "b/1.png")).labels == ["a", "b"]


def test_paths_may_be_relative(data, monkeypatch):
    made.write(data, "a/1.png", "b/1.png")
    made.text(data, "x.csv", "path,label", "a/1.png,x")
    monkeypatch.chdir(data)
    assert made.read(".").labels == ["x"]
    assert made.read("x.csv").bytes == [made.PNG]
    monkeypatch.chdir(data.parent)
    assert made.read("data/x.csv").bytes == [made.PNG]


def test_a_folder_that_cannot_be_listed_is_refused(data, refusal, monkeypatch):
    made.write(data, "a/1.png", "b/1.png")

    def denied(place):
        if str(place).rstrip("/").endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return original(place)

    original = os.scandir
    monkeypatch.setattr(os, "scandir", denied)
    assert "b/ cannot be listed (Permission denied); expected a readable folder" in refusal()


def test_opening_loads_neither_tensorflow_nor_tfx(python, data):
    made.write(data, "a/1.png", "b/1.png")
    code = (
        "import sys; from components.example_gen.readers import base, opening; "
        f"opening.open_data({str(data)!r}, base.Options()); "
        "print([name for name in ('tensorflow', 'tfx', 'apache_beam') if name in sys.modules])"
    )
    assert python("-c", code).stdout == "[]\n"


def test_errors_are_of_one_kind():
    from components.example_gen import idx

    assert issubclass(idx.IdxError, base.ReadingError)
