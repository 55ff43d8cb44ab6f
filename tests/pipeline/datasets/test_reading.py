"""What is read of a folder, and that nothing unsound is taken."""

import functools
import gzip
import hashlib
import json
import os
import time

import pytest
from PIL import Image

from components import slices
from components.example_gen import idx
from components.example_gen.readers.class_folders import ClassFolders
from components.example_gen.readers.idx_files import IdxFiles
from components.image_schema import ImageSchema
from pipeline.config import load_config
from pipeline.datasets import digest_cache, sample
from pipeline.datasets.dataset import Source
from pipeline.datasets.find import find_source
from pipeline.datasets.reading import read_dataset
from pipeline.errors import DataError

SCHEMA = ImageSchema(4, 4, 1, ("a", "b"))
NAMES = [name for half in idx.FILES.values() for name in half]


ONE = "split.validation=1"


def read(folder, *assignments, sample=False, **options):
    config = load_config("default", [ONE, *assignments])
    return read_dataset(Source(folder, sample), SCHEMA, "5" * 64, config, **options)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_plain_and_gzipped_files_are_read_alike(tmp_path, ending, write, contents):
    found = read(write(tmp_path / "mine", ending))
    assert found.counts == {"train": (2, 2), "val": (1, 1), "test": (1, 1)}
    assert found.count("train") == 4
    assert (found.form, found.ignored) == ("IDX", ())
    assert found.sha256s == {
        name: hashlib.sha256(content).hexdigest() for name, content in contents.items()
    }
    assert found.name == found.description == str(tmp_path / "mine")
    assert found.schema_sha256 == "5" * 64


def test_a_run_is_told_of_files_that_hold_images_on_their_side(tmp_path, write):
    folder = write(tmp_path / "mine")
    assert read(folder).doubts == ()
    for name in NAMES:
        (folder / name).rename(folder / f"emnist-letters-{name}")
    (doubt,) = read(folder).doubts
    assert "rows and columns exchanged" in doubt


def test_a_class_without_validation_images_is_warned_of(tmp_path):
    for first, name in ((0, "a"), (100, "b")):
        (tmp_path / name).mkdir()
        for number in range(24):
            Image.new("L", (4, 4), first + number).save(tmp_path / name / f"{name}{number}.png")
    shares = ["split.test_share=0.2", "split.validation=0.05"]
    found = read(tmp_path, *shares, "seed=6")
    assert found.counts["val"] == (1, 0)
    (doubt,) = found.doubts
    assert doubt.startswith("No validation image is of b: ")
    found = read(tmp_path, "split.test_share=0.2", "split.validation=0.3")
    assert min(found.counts["val"]) and found.doubts == ()


@pytest.mark.parametrize(
    ("group", "told"),
    [("^", "makes 1 group of the images"), ("^.", "makes 2 groups of the images")],
)
def test_too_few_groups_are_told_as_such(tmp_path, group, told):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(9):
            Image.new("L", (4, 4), number).save(tmp_path / name / f"{number}.png")
    with pytest.raises(DataError) as caught:
        read(tmp_path, f"split.group={group}", "split.validation=0.3")
    message = str(caught.value)
    assert f"split.group={group} {told} to divide into train, test, val; expected at least 3" in (
        message
    )
    assert "split.validation" not in message


def test_pictures_of_one_object_in_two_spans_are_one_group(tmp_path):
    """The second span has another picture of each object: none may be trained on if tested on."""
    for span in (1, 2):
        for name, first in (("a", 0), ("b", 100)):
            folder = tmp_path / f"span-{span}" / name
            folder.mkdir(parents=True)
            for number in range(40):
                image = Image.new("L", (4, 4), first + 50 * span + number)
                image.save(folder / f"{name}{number}_{span}.png")
    found = {
        span: read_spans(tmp_path, 0.2, window=span, newest=span, group="^[^_]*").counts
        for span in (1, 2)
    }
    assert found[2]["test"] == found[1]["test"]
    for split in ("train", "val"):
        assert sum(found[2][split]) == 2 * sum(found[1][split])


def test_plain_and_gzipped_files_may_be_mixed(tmp_path, write):
    folder = write(tmp_path / "mine")
    plain = folder / NAMES[0]
    (folder / f"{NAMES[0]}.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert read(folder).counts["train"] == (2, 2)


@pytest.mark.parametrize("name", NAMES)
def test_each_of_the_four_files_is_needed(tmp_path, name, write):
    folder = write(tmp_path / "mine")
    (folder / name).unlink()
    with pytest.raises(DataError) as caught:
        read(folder)
    assert f"{folder} holds neither {name} nor {name}.gz; expected all four" in str(caught.value)


def test_a_file_that_is_unsound_is_refused_as_the_reader_says(tmp_path, write, contents):
    folder = write(tmp_path / "mine")
    (folder / NAMES[2]).write_bytes(contents[NAMES[2]][:-1])
    with pytest.raises(DataError, match=f"{NAMES[2]} is empty, truncated or damaged"):
        read(folder)


def test_the_sample_is_drawn_when_it_is_read(cache, lines, monkeypatch):
    small = functools.partial(sample.write_sample, train_per_class=3, test_per_class=2)
    monkeypatch.setattr(sample, "write_sample", small)
    schema = ImageSchema(28, 28, 1, tuple("abcdefghij"))
    source = find_source("sample", lines.append)
    found = read_dataset(source, schema, "5" * 64, load_config("default", [ONE]))
    assert (found.name, found.sample) == ("sample", True)
    assert [found.count(name) for name in ("train", "val", "test")] == [20, 10, 20]


def test_a_sample_that_cannot_be_written_is_told_in_words(cache):
    (cache / "sample").mkdir(parents=True)
    (cache / "sample" / "notes.txt").write_text("of someone else")
    with pytest.raises(DataError, match="Set XDG_CACHE_HOME"):
        read(cache / "sample", sample=True)


def read_spans(folder, validation=1, group=None, **asked):
    assignments = [f"spans.{key}={value}" for key, value in asked.items()]
    assignments += [f"split.group={group}"] if group else []
    config = load_config("default", [f"split.validation={validation}", *assignments])
    source = find_source(str(folder), [].append, config.spans)
    return read_dataset(source, SCHEMA, "5" * 64, config)


def refusal(folder, **asked):
    with pytest.raises(DataError) as caught:
        read_spans(folder, **asked)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_of_spans_the_newest_is_read_and_the_reference_is_tested_on(spans):
    found = read_spans(spans)
    parts = [(part.name, part.path, part.use) for part in found.request.parts]
    assert parts == [("span-10", "span-10", "train"), ("span-1", "span-1", "test")]
    assert found.location == str(spans)
    assert found.name == str(spans)
    assert found.description == f"{spans} (span 10; tested on span 1)"


def test_a_window_of_spans_is_read_with_a_digest_for_each_file(spans):
    (spans / "span-10").rename(spans / "span-010")
    found = read_spans(spans, window=2)
    assert [part.name for part in found.request.parts] == ["span-2", "span-10", "span-1"]
    assert found.counts["train"] == (5, 5)
    assert found.sha256s == {
        f"{file.parent.name}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest()
        for file in (
            *(spans / span / name for span in ("span-2", "span-010") for name in NAMES[:2]),
            *(spans / "span-1" / name for name in NAMES),
        )
    }


@pytest.mark.parametrize("name", NAMES[:2])
def test_a_newest_span_that_is_incomplete_is_refused_and_not_passed_over(spans, name):
    (spans / "span-10" / name).unlink()
    message = refusal(spans)
    assert (
        f"{spans / 'span-10'} holds neither {name} nor {name}.gz; expected a whole span" in message
    )
    assert "still being copied" in message


@pytest.mark.parametrize("name", NAMES[2:])
def test_a_reference_span_that_is_incomplete_is_refused(spans, name):
    (spans / "span-1" / name).unlink()
    assert f"{spans / 'span-1'} holds neither {name}" in refusal(spans)


def test_a_span_outside_of_the_window_may_be_incomplete(spans):
    (spans / "span-2" / NAMES[1]).unlink()
    assert read_spans(spans).count("train") == 4


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "half of it there"])
@pytest.mark.parametrize("change", ["grows", "is written anew", "is replaced", "goes"])
def test_a_file_that_changes_while_it_is_read_is_refused(spans, monkeypatch, change, whole):
    """As does that of a span which is still being copied, whatever of it is there by now."""
    path = spans / "span-10" / NAMES[1]
    content = path.read_bytes()
    if not whole:
        path.write_bytes(content[:-1])
    # Long ago: the clock of a file system may not tell two changes in quick succession apart.
    os.utime(path, (1e9, 1e9))
    hash_source = IdxFiles.hash_source

    def slowly(self, name):
        try:
            return hash_source(self, name)
        finally:
            if name == path.name and "span-10" in self._files.shown(""):
                change_file(path, change)

    monkeypatch.setattr(IdxFiles, "hash_source", slowly)
    message = refusal(spans)
    assert message.startswith(f"{path} changed while it was read; expected files at rest")
    assert "still being copied" in message


def change_file(path, change):
    content = path.read_bytes()
    if change == "grows":
        path.write_bytes(content + b"more")
    elif change == "is written anew":
        path.write_bytes(content)
    elif change == "is replaced":
        path.with_suffix(".new").write_bytes(content)
        path.with_suffix(".new").replace(path)
    else:
        path.unlink()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_copy_that_stalled_is_told_to_be_perhaps_one(spans, share):
    path = spans / "span-10" / NAMES[0]
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    message = refusal(spans)
    assert str(path) in message
    assert "truncated" in message
    assert "run again when it is whole, if it is still being copied" in message


def test_spans_that_are_asked_for_of_a_folder_without_any_are_refused(tmp_path, write):
    assert "holds no spans" in refusal(write(tmp_path / "mine"), window=2)


def test_each_class_keeps_images_to_train_on_beside_those_of_validation(tmp_path, write):
    """Labels alternate: three images of each class."""
    folder = write(tmp_path / "mine")
    read(folder, "split.validation=2")
    with pytest.raises(DataError) as caught:
        read(folder, "split.validation=3")
    message = str(caught.value)
    assert message.startswith(
        "2 classes have too few training or validation images: a (label 0) 3, b (label 1)"
    )
    assert "no validation split, a smaller value than split.validation=3 may do." in message


def test_a_class_without_training_images_beside_a_given_validation_split_needs_images(tmp_path):
    for number, folder in enumerate(("train/a", "val/a", "val/b", "test/a", "test/b")):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("L", (4, 4), number).save(tmp_path / folder / "one.png")
    with pytest.raises(DataError, match=r"class b .label 1. has 1 .*\. Add training images; where"):
        read(tmp_path)


def test_the_images_of_all_spans_of_a_window_count(spans):
    read_spans(spans, window=2, validation=5)
    with pytest.raises(DataError, match=r"Or take more spans, with spans\.window"):
        read_spans(spans, validation=5)


def test_a_class_that_the_reference_span_lacks_needs_another_reference(tmp_path):
    for span, classes in (("span-1", "a"), ("span-2", "ab")):
        for number, name in enumerate(classes * 10):
            path = tmp_path / span / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), number).save(path)
    for window in (1, 2):
        with pytest.raises(DataError, match=r"class b .* no test images.*set spans\.reference"):
            read_spans(tmp_path, window=window, validation=2)
    assert read_spans(tmp_path, reference=2, validation=2).count("test")


def write_folders(folder, count=40):
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"image %d" % number)
    return folder


def test_many_files_have_one_digest_in_the_record(tmp_path):
    found = read(write_folders(tmp_path / "photos"), "split.validation=0.3")
    assert found.sha256s == {"40 files": found.digest}
    assert (found.form, found.summary) == ("class folders", "class folders with 2 classes")
    assert sum(map(found.count, found.counts)) == 40
    # Too many for a parameter of the node.
    assert found.request.contents == ()


def test_spans_may_be_class_folders(tmp_path):
    spans = tmp_path / "spans"
    for number in (1, 2):
        write_folders(spans / f"span-{number}", 60)
    for path in (spans / "span-2").rglob("*.png"):
        path.write_bytes(path.read_bytes() + b", again")
    (spans / "notes.txt").touch()
    found = read_spans(spans, validation=2)
    assert found.window.reference.number == 1
    assert found.ignored == ("notes.txt: beside the spans, in none of them",)
    # The whole newer span is trained on, and the drawn test split is that of the older one.
    assert found.count("train") + found.count("val") == 60
    alone = read(spans / "span-1", "split.validation=2")
    assert found.count("test") > 0
    assert alone.count("test") > 0


@pytest.fixture
def hashed(monkeypatch):
    """The names of the class folders' files that are read for their digest."""
    names = []
    hash_source = ClassFolders.hash_source

    def counted(self, path):
        names.append(path)
        return hash_source(self, path)

    monkeypatch.setattr(ClassFolders, "hash_source", counted)
    return names


def aged(folder):
    """Class folders whose files were written long ago, as far as anybody can tell."""
    write_folders(folder)
    for path in folder.rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    return folder


@pytest.fixture
def later(monkeypatch):
    """Any change is long ago."""
    monkeypatch.setattr(digest_cache, "_RACY_NANOSECONDS", -1)


@pytest.mark.usefixtures("later")
def test_files_that_have_not_changed_are_not_read_again(tmp_path, hashed):
    folder = aged(tmp_path / "photos")
    first = read(folder, "split.validation=0.3")
    assert len(hashed) == 40
    hashed.clear()
    assert read(folder, "split.validation=0.3").digest == first.digest
    assert hashed == []
    again = read(folder, "split.validation=0.3", trust_time_stamps=False)
    assert (len(hashed), again.digest) == (40, first.digest)


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("change", ["grows", "is written anew", "is replaced"])
def test_a_file_that_may_have_changed_is_read_again(tmp_path, hashed, change):
    folder = aged(tmp_path / "photos")
    read(folder, "split.validation=0.3")
    hashed.clear()
    path = folder / "a" / "00.png"
    change_file(path, change)
    # Whoever sets the old time back changes the time of the inode.
    os.utime(path, (1e9, 1e9))
    read(folder, "split.validation=0.3")
    assert hashed == ["a/00.png"]


@pytest.mark.parametrize("newest", ["time of the inode", "time of the content"])
def test_a_digest_is_not_kept_of_a_file_that_was_changed_just_now(
    tmp_path, hashed, monkeypatch, newest
):
    """A second change within the resolution of its time stamp would go unseen."""
    folder = aged(tmp_path / "photos")
    files = list(folder.rglob("*.png"))
    changed = min(path.stat().st_ctime_ns for path in files)
    if newest == "time of the content":
        changed += 100 * 10**9
        for path in files:
            os.utime(path, ns=(changed, changed))
    monkeypatch.setattr(time, "time_ns", lambda: changed + 2 * 10**9)
    read(folder, "split.validation=0.3")
    hashed.clear()
    read(folder, "split.validation=0.3")
    assert len(hashed) == 40


@pytest.fixture(params=["nfs", "smb2", "fuseblk", "UNKNOWN (0x5a5a)", None])
def foreign(request, tmp_path, monkeypatch):
    """Files are on a file system of this type, or nobody can tell."""
    programs = tmp_path / "programs"
    programs.mkdir()
    if request.param is not None:
        (programs / "stat").write_text(f"#!/bin/sh\necho '{request.param}'\n")
        (programs / "stat").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))


@pytest.mark.usefixtures("later", "foreign")
def test_nothing_is_kept_of_file_systems_that_are_not_of_this_machine(tmp_path, hashed):
    folder = aged(tmp_path / "photos")
    for _ in range(2):
        hashed.clear()
        read(folder, "split.validation=0.3")
        assert len(hashed) == 40


@pytest.mark.usefixtures("later")
def test_a_cache_that_cannot_be_used_only_costs_time(tmp_path, hashed, cache):
    folder = aged(tmp_path / "photos")
    first = read(folder, "split.validation=0.3")
    for file in (cache / "digests").iterdir():
        file.write_bytes(b"no database")
    hashed.clear()
    assert read(folder, "split.validation=0.3").digest == first.digest
    assert len(hashed) == 40
    # It was replaced: the next time, nothing is read again.
    hashed.clear()
    assert read(folder, "split.validation=0.3").digest == first.digest
    assert hashed == []


@pytest.mark.usefixtures("later")
def test_a_reading_that_is_cut_off_goes_on_there_the_next_time(tmp_path, monkeypatch, hashed):
    folder = aged(tmp_path / "photos")
    monkeypatch.setattr(digest_cache, "_SAVE_SECONDS", 0)
    counted = ClassFolders.hash_source

    def cut_off(self, path):
        if len(hashed) == 24:
            raise KeyboardInterrupt
        return counted(self, path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ClassFolders, "hash_source", cut_off)
        read(folder, "split.validation=0.3")
    read(folder, "split.validation=0.3")
    assert len(hashed) == len(set(hashed)) == 40


@pytest.fixture
def shelf(tmp_path):
    """A manifest with shops of twelve images, four of which are test images."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    rows = ["path,label,split,shop,camera"]
    for number in range(12):
        Image.new("L", (4, 4), number).save(folder / f"{number}.png")
        split = "test" if number % 3 == 2 else ""
        rows.append(f"{number}.png,{'ab'[number % 2]},{split},{number % 2:02d},cam{number}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder


def sliced(asked, *more):
    return f"gates.slices={json.dumps(asked)}", *more


def test_slices_that_the_data_has_change_nothing_of_it(shelf):
    assert read(shelf, *sliced({"shop": {"min_images": 4}, "camera": {"min_images": 1}})) == read(
        shelf
    )


@pytest.mark.parametrize(
    ("asked", "fragment"),
    [
        ({"town": {}}, "the column town, which the data does not have: its further columns are"),
        # It is the split that the data gives.
        ({"split": {}}, "the column split, which the data does not have"),
        ({"shop": {"min_images": 5}}, "min_images=5 for the column shop, but the test split has 4"),
        ({"shop": {"accuracy": 0.5}}, "expected at most that many. Lower min_images, or add test"),
    ],
)
def test_slices_that_the_data_does_not_have_are_refused(shelf, asked, fragment):
    with pytest.raises(DataError) as caught:
        read(shelf, *sliced(asked))
    assert str(caught.value).startswith(f"{shelf}: gates.slices: found ")
    assert fragment in str(caught.value)


def test_a_column_that_no_test_image_has_a_value_of_is_refused(shelf):
    table = shelf / "labels.csv"
    rows = [row.split(",") for row in table.read_text().splitlines()]
    emptied = [[*row[:3], "", *row[4:]] if row[2] == "test" else row for row in rows]
    table.write_text("\n".join(map(",".join, emptied)))
    with pytest.raises(DataError, match="found no value of the column shop in any of 4 test im"):
        read(shelf, *sliced({"shop": {}}))


def test_slices_that_are_only_shown_need_no_images(shelf):
    assert read(shelf, *sliced({"shop": {}})).doubts == ()


def test_what_will_not_be_judged_or_refuses_every_model_is_told(shelf):
    asked = {
        "shop": {"accuracy": 0.5, "min_images": 3},
        "camera": {"accuracy": 0.5, "min_images": 2},
    }
    required = 'gates.required_slices=["shop=00", "shop=north"]'
    found = read(shelf, *sliced(asked, required)).doubts
    assert [doubt.partition(";")[0] for doubt in found] == [
        "the required slice shop=00 has 2 test images",
        "the required slice shop=north has 0 test images",
        "no slice by shop has 3 test images (the largest, 00, has 2)",
        "no slice by camera has 2 test images (the largest, cam11, has 1)",
    ]
    asked["shop"]["min_images"] = 2
    assert len(read(shelf, *sliced(asked)).doubts) == 1


def test_a_column_with_a_value_for_each_image_is_refused(shelf, monkeypatch):
    monkeypatch.setattr(slices, "MOST_VALUES", 11)
    with pytest.raises(DataError, match="camera has 12 different values; expected at most 11"):
        read(shelf, *sliced({"camera": {"min_images": 1}}))


def test_data_without_a_manifest_has_no_slices(tmp_path, write):
    with pytest.raises(DataError, match="it has no further columns; expected a column of a manif"):
        read(write(tmp_path / "mine"), *sliced({"shop": {"min_images": 1}}))
