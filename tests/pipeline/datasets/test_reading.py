"""What is read of a folder, and that nothing unsound is taken."""

import functools
import gzip
import hashlib
import os

import pytest

from components.example_gen import idx
from components.image_schema import ImageSchema
from pipeline.config import SpansConfig
from pipeline.datasets import sample
from pipeline.datasets.dataset import Source
from pipeline.datasets.find import find_source
from pipeline.datasets.reading import check_split, read_dataset
from pipeline.errors import DataError

SCHEMA = ImageSchema(4, 4, 1, ("a", "b"))
NAMES = [name for half in idx.FILES.values() for name in half]


def read(folder, sample=False):
    return read_dataset(Source(folder, sample), SCHEMA, "5" * 64)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_plain_and_gzipped_files_are_read_alike(tmp_path, ending, write, contents):
    found = read(write(tmp_path / "mine", ending))
    assert (found.train_count, found.test.count) == (6, 2)
    assert (found.train_per_class, found.test_per_class) == ((3, 3), (1, 1))
    assert [pair.name for pair in (*found.train, found.test)] == ["train", "t10k"]
    assert found.sha256s == {
        name: hashlib.sha256(content).hexdigest() for name, content in contents.items()
    }
    assert found.name == found.description == str(tmp_path / "mine")
    assert found.schema_sha256 == "5" * 64


def test_plain_and_gzipped_files_may_be_mixed(tmp_path, write):
    folder = write(tmp_path / "mine")
    plain = folder / NAMES[0]
    (folder / f"{NAMES[0]}.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert read(folder).train_count == 6


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
    found = read_dataset(find_source("sample", lines.append), schema, "5" * 64)
    assert (found.name, found.sample) == ("sample", True)
    assert (found.train_count, found.test.count) == (30, 20)


def test_a_sample_that_cannot_be_written_is_told_in_words(cache):
    (cache / "sample").mkdir(parents=True)
    (cache / "sample" / "notes.txt").write_text("of someone else")
    with pytest.raises(DataError, match="Set XDG_CACHE_HOME"):
        read(cache / "sample", sample=True)


def read_spans(folder, **asked):
    source = find_source(str(folder), [].append, SpansConfig(**asked))
    return read_dataset(source, SCHEMA, "5" * 64)


def refusal(folder, **asked):
    with pytest.raises(DataError) as caught:
        read_spans(folder, **asked)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_of_spans_the_newest_is_read_and_the_reference_is_tested_on(spans):
    found = read_spans(spans)
    assert [pair.name for pair in found.train] == ["span-10-train"]
    assert found.train[0].images == str(spans / "span-10" / NAMES[0])
    assert (found.test.name, found.test.images) == (
        "span-1-t10k",
        str(spans / "span-1" / NAMES[2]),
    )
    assert found.name == str(spans)
    assert found.description == f"{spans} (span 10; tested on span 1)"


def test_a_window_of_spans_is_read_with_a_digest_for_each_file(spans):
    (spans / "span-10").rename(spans / "span-010")
    found = read_spans(spans, window=2)
    assert [pair.name for pair in found.train] == ["span-2-train", "span-10-train"]
    assert found.train_count == 12
    assert found.train_per_class == (6, 6)
    assert found.sha256s == {
        f"{file.parent.name}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest()
        for file in (
            *(spans / span / name for span in ("span-2", "span-010") for name in NAMES[:2]),
            *(spans / "span-1" / name for name in NAMES[2:]),
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
    assert read_spans(spans).train_count == 6


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
    read_pair = idx.read_pair

    def slowly(name, *rest):
        if name == "span-10-train":
            try:
                return read_pair(name, *rest)
            finally:
                change_file(path, change)
        return read_pair(name, *rest)

    monkeypatch.setattr(idx, "read_pair", slowly)
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
    found = read(write(tmp_path / "mine"))
    check_split(found, SCHEMA.class_names, 2)
    with pytest.raises(DataError) as caught:
        check_split(found, SCHEMA.class_names, 3)
    message = str(caught.value)
    assert message.startswith("2 classes have too few training images: a (label 0) 3, b (label 1)")
    assert str(caught.value).endswith("Set a smaller split.validation_per_class.")


def test_the_images_of_all_spans_of_a_window_count(spans):
    check_split(read_spans(spans, window=2), SCHEMA.class_names, 5)
    with pytest.raises(DataError, match=r"Or take more spans, with spans\.window"):
        check_split(read_spans(spans), SCHEMA.class_names, 5)
