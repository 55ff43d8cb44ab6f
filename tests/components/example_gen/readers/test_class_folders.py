"""Class folders: where classes and splits are found, what is ignored, and what is refused."""

import codecs
import re
import unicodedata

import pytest

from components.example_gen.readers import base
from tests.components.example_gen.readers import made

NO_SPLIT = -1


def found(data, *paths, **arguments):
    read = made.read(made.write(data, *paths), **arguments)
    assert read.reader.form == base.Form.CLASS_FOLDERS
    splits = read.index.splits.tolist()
    return read, dict(zip(read.index.ids, zip(read.labels, splits, strict=True), strict=True))


def test_a_folder_is_a_class_however_deep_its_images_lie(data):
    read, examples = found(data, "cat/1.png", "cat/old/2/3.JPEG", "dog/1.webp", "dog/2.Tif")
    assert examples == {
        "cat/1.png": ("cat", NO_SPLIT),
        "cat/old/2/3.JPEG": ("cat", NO_SPLIT),
        "dog/1.webp": ("dog", NO_SPLIT),
        "dog/2.Tif": ("dog", NO_SPLIT),
    }
    assert read.reader.summary == "class folders with 2 classes"
    assert read.reader.ignored == ()
    assert read.index.contents == [read.contents[path] for path in read.index.ids]
    assert all(item.sha256 == read.contents[item.name] for item in read.items)


@pytest.mark.parametrize("val", ["val", "Valid", "VALIDATION"])
def test_folders_of_splits_are_recognised_in_any_case(data, val):
    read, examples = found(data, "Train/a/1.png", "Train/b/2.png", f"{val}/a/3.png", "TEST/b/4.png")
    assert examples["Train/a/1.png"] == ("a", 0)
    assert examples[f"{val}/a/3.png"] == ("a", 1)
    assert examples["TEST/b/4.png"] == ("b", 2)
    assert "Train/" in read.reader.summary


def test_folders_around_the_classes_are_passed(data):
    _, examples = found(data, "flowers/flowers/rose/1.png", "flowers/flowers/tulip/2.png")
    assert examples["flowers/flowers/rose/1.png"] == ("rose", NO_SPLIT)


def test_folders_around_the_splits_are_passed(data):
    _, examples = found(data, "xray/train/a/1.png", "xray/train/b/2.png", "xray/test/a/3.png")
    assert examples["xray/test/a/3.png"] == ("a", 2)


def test_a_class_may_be_called_like_a_split(data):
    _, examples = found(data, "train/1.png", "car/2.png")
    assert examples == {"train/1.png": ("train", NO_SPLIT), "car/2.png": ("car", NO_SPLIT)}


IGNORED = {
    "unlabelled test": (["test/1.png", "test/2.png"], "2 images in test/: not in a class folder"),
    "one unknown test folder": (["test/test/1.png"], "1 image in test/: not in a class folder"),
    "images of no class": (["1.png"], "1 image in the data folder itself: not in a class folder"),
    "images beside classes": (["train/1.png"], "1 image in train/: not in a class folder"),
    "a folder beside splits": (["test/a/1.png", "more/a/1.png"], "1 image in more/: not in a"),
    "a text": (["notes.txt"], "notes.txt: not part of the data"),
    "several texts": (["train/a/1.txt", "train/a/2.txt"], "2 .txt files (train/a/1.txt, "),
    "no suffix": (["LICENSE", "train/README"], "2 files without a suffix"),
    "a hidden file": ([".hidden.png"], "1 hidden or temporary file or folder"),
    "a hidden folder": ([".git/a.png", ".git/b.png"], "1 hidden or temporary file or folder"),
    "what systems leave": (
        ["train/a/.DS_Store", "train/Thumbs.db", "desktop.ini", "__MACOSX/train/a/._1.png"],
        "4 hidden or temporary files and folders",
    ),
    "what a NAS leaves": (
        ["train/a/@eaDir/1.png/T.jpg", "#recycle/x/1.png", "@Recycle/1.png", "#snapshot/a/1.png"],
        "4 hidden or temporary files and folders",
    ),
    "what disks of Windows and Linux hold": (
        ["$RECYCLE.BIN/S-1/1.png", "System Volume Information/1.png", "lost+found/1.png"],
        "3 hidden or temporary files and folders",
    ),
    "an unfinished copy": (["train/a/2.png.partial"], "1 hidden or temporary file or folder"),
}


@pytest.mark.parametrize("case", IGNORED)
def test_what_is_not_read_is_told(data, case):
    paths, told = IGNORED[case]
    read, examples = found(data, "train/a/1.png", "train/b/2.png", *paths)
    assert [line for line in read.reader.ignored if line.startswith(told)]
    assert {"train/a/1.png", "train/b/2.png"} <= set(examples)
    assert len(examples) == (3 if "test/a/1.png" in paths else 2)


def test_many_kinds_of_files_are_told_in_few_lines(data):
    made.write(data, *(f"train/a/x.{number:03d}" for number in range(100)))
    made.write(data, *(f"more{number}/1.png" for number in range(100)), "test/a/1.png")
    read, _ = found(data, "train/a/1.png", "train/b/2.png")
    assert len(read.reader.ignored) == 42
    assert read.reader.ignored.count("and 80 more kinds of files") == 2


def test_a_class_folder_without_images_is_told(data):
    (data / "train" / "c").mkdir(parents=True)
    read, _ = found(data, "train/a/1.png", "train/b/2.png")
    assert read.reader.ignored == ("train/c/: no images",)


def test_classes_toml_maps_folders_to_classes(data):
    made.text(data, "classes.toml", '"tshirt" = "T-shirt/top"', '"T-Shirt 2" = "T-shirt/top"')
    read, examples = found(data, "tshirt/1.png", "T-Shirt 2/1.png", "bag/1.png")
    assert read.index.values == ("T-shirt/top", "bag")
    assert examples["T-Shirt 2/1.png"] == ("T-shirt/top", NO_SPLIT)
    assert "classes.toml" in read.reader.sources()
    assert read.reader.ignored == ()


def test_classes_toml_may_begin_with_a_byte_order_mark(data):
    made.write(data, "classes.toml", content=codecs.BOM_UTF8 + b'"a" = "Apple"\r\n')
    read, _ = found(data, "a/1.png", "b/1.png")
    assert read.index.values == ("Apple", "b")


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_classes_toml_names_folders_in_any_unicode_form(data, forms):
    """macOS decomposes the names of folders."""
    line, folder = (unicodedata.normalize(form, "Käse") for form in forms)
    made.text(data, "classes.toml", f'"{line}" = "Cheese"')
    read, _ = found(data, f"{folder}/1.png", "dog/1.png")
    assert read.index.values == ("Cheese", "dog")


def test_changed_names_of_classes_are_other_data(data):
    made.text(data, "classes.toml", 'a = "x"')
    first, _ = found(data, "a/1.png", "b/1.png")
    made.text(data, "classes.toml", 'a = "y"')
    second, _ = found(data)
    lines = [read.reader.digest_lines(read.contents) for read in (first, second)]
    assert lines[0] != lines[1]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'tshrt = "T-shirt"', "names the folder tshrt, .* Did you mean tshirt"),
        (b"tshirt = ", "is not valid TOML"),
        (b'tshirt = "\xff"', "is not valid TOML"),
        (b"tshirt = " + b"[" * 100_000, "is not valid TOML"),
        (b"tshirt = " + b"9" * 5000, "is not valid TOML"),
        (b"[tshirt]\nname = 1", "tshirt has no name of a class"),
        (b'tshirt = " "', "tshirt has no name of a class"),
    ],
)
def test_an_unsound_classes_toml_is_refused(data, refusal, content, told):
    made.write(data, "tshirt/1.png", "bag/1.png")
    made.write(data, "classes.toml", content=content)
    assert re.search(told, refusal())


REFUSED = {
    "one class": (["cat/1.png", "cat/2.png"], "images of one class, cat; expected"),
    "one class in a split": (["train/cat/1.png"], "images of one class, cat; expected"),
    "no folders": (["1.png", "2.png"], "2 images directly in .*; expected a folder per class"),
    "unlabelled splits": (["train/1.png", "test/2.png"], "2 images directly in .*test and .*train"),
    "a split twice": (
        ["train/a/1.png", "train/b/1.png", "val/a/1.png", "valid/a/1.png"],
        "val/, valid/, which all mean the split val; expected one folder",
    ),
    "a split or a class": (["train/steam/1.png", "car/red/1.png"], "train/, which looks like a sp"),
    "like splits": (["seg_train/x/a/1.png", "seg_test/x/a/1.png"], "which look like splits"),
    "no training images": (["test/a/1.png", "val/b/1.png"], "test/, val/, but no train/"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_folders_that_say_no_classes_are_refused(data, refusal, case):
    paths, told = REFUSED[case]
    made.write(data, *paths)
    assert re.search(told, refusal())


def test_empty_folders_are_named_where_one_class_is_left(data, refusal):
    (data / "dog").mkdir()
    made.write(data, "cat/1.png")
    assert "cat (dog/: no images)" in refusal()


def test_a_span_may_hold_one_class_or_test_images_alone(data):
    _, examples = found(data, "test/cat/1.png", is_span=True)
    assert examples == {"test/cat/1.png": ("cat", 2)}


def test_ten_thousand_classes_are_read(data):
    paths = [f"{number}/1.png" for number in range(10_000)]
    read, _ = found(data, *paths)
    assert read.reader.summary == "class folders with 10000 classes"
    assert read.index.values[:4] == ("0", "1", "10", "100")


TWO_LEVELS = {
    "folds": (["fold1/cat", "fold1/dog", "fold2/cat", "fold2/dog"], "cat/fold1/*, or give one"),
    "masks": (["images/a", "images/b", "masks/a", "masks/b"], "alone, such as images/."),
    "in splits": (["train/x/a", "train/x/b", "train/y/a", "train/y/b"], "as a/x/*, or"),
    "splits": (["cat/test", "cat/train", "dog/test", "dog/train"], "If they are the splits, turn"),
}


@pytest.mark.parametrize("case", TWO_LEVELS)
def test_the_same_folders_in_all_class_folders_are_told(data, case):
    folders, told = TWO_LEVELS[case]
    made.write(data, *(f"{folder}/{number}.png" for folder in folders for number in range(3)))
    (doubt,) = made.read(data).reader.doubts
    assert told in doubt


@pytest.mark.parametrize(
    "paths",
    [
        ["cat/1.png", "dog/1.png"],
        ["cat/a/1.png", "dog/a/1.png"],
        ["cat/a/1.png", "cat/b/1.png", "dog/a/1.png", "dog/c/1.png"],
        # What lies in the class folder itself shows that it is one.
        ["cat/1.png", "cat/a/1.png", "cat/b/1.png", "dog/1.png", "dog/a/1.png", "dog/b/1.png"],
    ],
)
def test_other_folders_in_class_folders_are_fine(data, paths):
    assert made.read(made.write(data, *paths)).reader.doubts == ()


def test_class_folders_that_look_equal_are_refused(data, refusal):
    made.write(data, "caf\u00e9/1.png", "cafe\u0301/2.png", "b/3.png")
    assert "several classes look alike ('cafe\\u0301', 'caf\\xe9')" in refusal()
    line = '"cafe\u0301" = "caf\u00e9"'
    made.text(data, "classes.toml", line)
    assert made.read(data).index.values == ("b", "caf\u00e9")


@pytest.mark.parametrize(
    "other",
    [
        *("dress  shirt", "dress\u00a0shirt", "dress\u3000shirt", " dress shirt"),
        *("dress\u200b shirt", "dress shirt\ufeff", "dre\u00adss shirt", "dress \u200fshirt"),
        *("\uff44\uff52\uff45\uff53\uff53 shirt", "dress\u2009shirt\ufe0f"),
    ],
)
def test_class_folders_that_nobody_can_tell_apart_are_refused(data, refusal, other):
    made.write(data, "dress shirt/1.png", "coat/2.png", f"{other}/3.png")
    assert "several classes look alike ('" in refusal()


@pytest.mark.parametrize(
    "names",
    [
        *(("Cat", "cat"), ("A", "a"), ("m2", "m\u00b2"), ("1", "\u2460"), ("a b", "ab")),
        *(("\u0130", "I"), ("e", "\u00e9"), ("ss", "\u00df")),
        # The flags of England and Scotland.
        ("\U0001f3f4\U000e0065\U000e007f", "\U0001f3f4\U000e0073\U000e007f"),
    ],
)
def test_class_folders_that_differ_visibly_are_read(data, names):
    made.write(data, *(f"{name}/1.png" for name in names))
    assert sorted(made.read(data).labels) == sorted(names)


def test_a_name_that_could_command_a_terminal_is_refused_or_mapped(data, refusal):
    made.write(data, "a/1.png", "b\x1b[2J/1.png")
    told = r"the class of the folder b\x1b[2J is called b\x1b[2J, with control characters; expected"
    assert told in refusal()
    made.text(data, "classes.toml", r'"b\u001b[2J" = "b"')
    assert made.read(data).labels == ["a", "b"]
