"""Which spans a run takes, and that none is overlooked."""

import pathlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from pipeline.config import DataConfig, SpansConfig
from pipeline.datasets import spans
from pipeline.errors import DataError
from tests.components.example_gen.readers import made

TRAIN = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
TEST = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
NUMBERS = strategies.sets(strategies.integers(0, 120), min_size=1, max_size=12)


def deliver(folder, *numbers, tested=()):
    """Makes a folder of spans, whose files are empty: what they hold does not matter here."""
    for number in numbers:
        span = folder / f"span-{number}"
        span.mkdir(parents=True)
        for name in (*TRAIN, *(TEST if number in tested else ())):
            (span / name).touch()
    return folder


def resolve(folder, notices=None, data=None, **asked):
    notify = [].append if notices is None else notices.append
    return spans.resolve(folder, SpansConfig(**asked), data or DataConfig(), notify)


def numbers_of(window):
    return [span.number for span in window.train]


def refusal(folder, **asked):
    with pytest.raises(DataError) as caught:
        resolve(folder, **asked)
    message = str(caught.value)
    assert "\n" not in message
    assert "; expected" in message
    return message


@hypothesis.given(NUMBERS, strategies.integers(1, 15), strategies.data())
def test_the_newest_are_trained_on_and_the_oldest_with_test_files_is_tested_on(
    tmp_path_factory, numbers, window, data
):
    tested = data.draw(strategies.sets(strategies.sampled_from(sorted(numbers)), min_size=1))
    folder = deliver(tmp_path_factory.mktemp("spans"), *numbers, tested=tested)
    notices = []
    found = resolve(folder, notices, window=window)
    assert numbers_of(found) == sorted(numbers)[-window:]
    assert found.reference.number == min(tested)
    assert any(f"of the {window} spans" in line for line in notices) == (len(numbers) < window)
    unused = tested & set(numbers_of(found)) - {min(tested)}
    assert any("are not used" in line for line in notices) == bool(unused)


@hypothesis.given(NUMBERS, strategies.integers(1, 15), strategies.data())
def test_any_window_can_be_taken_again_when_newer_spans_have_come(
    tmp_path_factory, numbers, window, data
):
    newest, reference = (data.draw(strategies.sampled_from(sorted(numbers))) for _ in range(2))
    folder = deliver(tmp_path_factory.mktemp("spans"), *numbers, tested=numbers)
    found = resolve(folder, window=window, newest=newest, reference=reference)
    assert numbers_of(found) == sorted(n for n in numbers if n <= newest)[-window:]
    assert found.reference.number == reference


def test_numbers_order_the_spans_and_not_their_names(tmp_path):
    deliver(tmp_path, 9, 10, 100, tested=[9])
    (tmp_path / "span-10").rename(tmp_path / "span-0010")
    found = resolve(tmp_path, window=2)
    assert [span.folder.name for span in found.train] == ["span-0010", "span-100"]
    assert [span.name for span in found.train] == ["span-10", "span-100"]


def test_without_anything_asked_the_newest_alone_is_taken(tmp_path):
    found = resolve(deliver(tmp_path, 1, 2, 3, tested=[1]))
    assert numbers_of(found) == [3]
    assert found.description == "span 3; tested on span 1"


def test_the_description_names_all_spans(tmp_path):
    found = resolve(deliver(tmp_path, 1, 3, 4, 5, tested=[1]), window=3)
    assert found.description == "spans 3, 4, 5; tested on span 1"


def test_test_files_of_a_newer_span_are_told_to_be_unused(tmp_path):
    notices = []
    resolve(deliver(tmp_path, 1, 2, 3, tested=[1, 2, 3]), notices, window=2)
    assert notices == [
        "Test files of span 2, 3 are not used: the test split stays that of span 1 "
        "(spans.reference)"
    ]


def test_an_older_reference_that_is_stated_is_taken_silently(tmp_path):
    notices = []
    found = resolve(deliver(tmp_path, 1, 2, 3, tested=[1, 2]), notices, reference=2)
    assert found.reference.number == 2
    assert notices == []


def test_a_reference_with_one_of_its_test_files_is_not_passed_over(tmp_path):
    """Another test split would be taken in silence, and accuracies would no longer compare."""
    deliver(tmp_path, 1, 2, tested=[1, 2])
    (tmp_path / "span-1" / TEST[0]).unlink()
    assert resolve(tmp_path).reference.number == 1


def test_a_folder_of_idx_files_has_no_spans(tmp_path):
    for name in TRAIN + TEST:
        (tmp_path / name).touch()
    assert resolve(tmp_path) is None


@pytest.mark.parametrize("name", [".span-4", "incoming", "spanish", "notes.txt", "span-4.zip"])
def test_what_is_not_meant_as_a_span_is_left_alone(name, tmp_path):
    deliver(tmp_path, 3, tested=[3])
    if "." in name[1:]:
        (tmp_path / name).touch()
    else:
        (tmp_path / name).mkdir()
    found = resolve(tmp_path)
    assert numbers_of(found) == [3]
    told = () if name.startswith(".") else (f"{name}: beside the spans, in none of them",)
    assert found.ignored == told


BESIDE = {
    "cat/1.PNG": "class folders (cat)",
    "train/cat/1.png": "class folders (train)",
    "test/1.jpg": "class folders (test)",
    "classes.toml": "names of class folders (classes.toml)",
    "labels.csv": "a table (labels.csv)",
    "labels.TSV": "a table (labels.TSV)",
    "train.parquet": "a table (train.parquet)",
    "images.npz": "arrays (images.npz)",
}


@pytest.mark.parametrize("name", BESIDE)
def test_data_beside_spans_is_refused(name, tmp_path):
    """It would be left out without a word."""
    deliver(tmp_path, 3, tested=[3])
    made.write(tmp_path, name)
    message = refusal(tmp_path)
    assert f"both spans (span-3) and {BESIDE[name]}; expected one or the other" in message


@pytest.mark.parametrize(
    "name", ["spans-3/cat/1.png", "incoming/cat/1.png", "1.png", "notes/a.txt"]
)
def test_what_is_no_data_beside_spans_is_told_of(name, tmp_path):
    deliver(tmp_path, 3, tested=[3])
    made.write(tmp_path, name, ".span-4/cat/1.png", ".hidden.csv")
    told = name.partition("/")[0]
    assert resolve(tmp_path).ignored == (f"{told}: beside the spans, in none of them",)


@pytest.mark.parametrize(
    "name", ["span4", "Span-4", "SPAN_4", "span-4b", "span-4.part", "span-four", "span-", "span--4"]
)
def test_what_may_be_meant_as_a_span_is_not_overlooked(name, tmp_path):
    deliver(tmp_path, 3, tested=[3])
    (tmp_path / name).mkdir()
    message = refusal(tmp_path)
    assert f"{tmp_path / name} is no span" in message
    assert "Rename it" in message


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_a_span_that_is_no_folder_is_refused(kind, tmp_path):
    deliver(tmp_path, 3, tested=[3])
    if kind == "file":
        (tmp_path / "span-4").touch()
    else:
        (tmp_path / "span-4").symlink_to(tmp_path / "gone")
    assert "span-4 is no span" in refusal(tmp_path)


def test_a_span_may_be_a_link_to_its_folder(tmp_path):
    deliver(tmp_path / "store", 7, tested=[7])
    (tmp_path / "spans").mkdir()
    (tmp_path / "spans" / "span-2").symlink_to(tmp_path / "store" / "span-7")
    assert numbers_of(resolve(tmp_path / "spans")) == [2]


def test_two_folders_of_one_number_are_refused(tmp_path):
    deliver(tmp_path, 3, 4, tested=[3])
    (tmp_path / "span-04").mkdir()
    message = refusal(tmp_path)
    assert "span-4" in message and "span-04" in message
    assert "both span 4" in message


def test_spans_beside_idx_files_are_refused(tmp_path):
    deliver(tmp_path, 3, tested=[3])
    (tmp_path / TRAIN[1]).touch()
    message = refusal(tmp_path)
    assert f"both spans (span-3) and IDX files ({TRAIN[1]})" in message
    assert "a span of their own" in message


@pytest.mark.parametrize("key", ["newest", "reference"])
def test_a_span_that_does_not_exist_is_refused(key, tmp_path):
    message = refusal(deliver(tmp_path, 1, 3, tested=[1, 3]), **{key: 2})
    assert f"no span 2, which spans.{key}=2 asks for" in message
    assert "expected one of 1, 3" in message


def test_spans_without_any_test_files_are_refused(tmp_path):
    assert f"no span of {tmp_path} has test files" in refusal(deliver(tmp_path, 1, 2))


@pytest.mark.parametrize("asked", [{"window": 2}, {"newest": 0}, {"reference": 3}])
def test_spans_that_are_asked_for_must_be_there(asked, tmp_path):
    """Such a setting stands there for a reason: perhaps the folder is the wrong one."""
    ((key, value),) = asked.items()
    message = refusal(tmp_path, **asked)
    assert f"holds no spans, but spans.{key}={value} asks for them" in message


def test_a_folder_that_cannot_be_listed_is_told_in_words(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(pathlib.Path, "iterdir", refuse)
    assert "cannot be listed (Permission denied)" in refusal(tmp_path)


WRITERS = {
    "arrays": made.write_arrays,
    "pixel table": made.write_pixel_table,
    "Parquet": made.write_parquet,
    "class folders": made.write_class_folders,
    "manifest": made.write_manifest,
    "IDX": made.write_idx,
}


def deliver_form(folder, form, number, *splits):
    """A span of another form than files that tell the splits by their names alone."""
    images = np.arange(4 * 16, dtype=np.uint8).reshape(4, 4, 4, 1)
    parts = [made.Part(split, images, ["0", "1", "0", "1"]) for split in splits]
    WRITERS[form](folder / f"span-{number}", parts)


@pytest.mark.parametrize("form", WRITERS)
def test_the_oldest_span_whose_data_gives_a_test_split_is_the_reference(tmp_path, form):
    deliver_form(tmp_path, form, 1, "train")
    deliver_form(tmp_path, form, 2, "train", "test")
    deliver_form(tmp_path, form, 3, "train")
    assert resolve(tmp_path).reference.number == 2


def test_the_splits_of_a_span_are_found_as_the_configuration_says(tmp_path):
    deliver_form(tmp_path, "manifest", 1, "train")
    deliver_form(tmp_path, "manifest", 2, "train", "test")
    for table in tmp_path.glob("span-*/labels.csv"):
        table.write_text(table.read_text("utf-8").replace("split", "fold"), "utf-8")
    assert resolve(tmp_path).reference.number == 1
    assert resolve(tmp_path, data=DataConfig(split_column="fold")).reference.number == 2


def test_a_damaged_span_is_not_passed_over(tmp_path):
    """Another test split would be taken in silence, and accuracies would no longer compare."""
    deliver_form(tmp_path, "arrays", 1, "train", "test")
    deliver_form(tmp_path, "arrays", 2, "train", "test")
    damaged = tmp_path / "span-1" / "arrays.npz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert "span-1/arrays.npz cannot be read" in refusal(tmp_path)
    assert resolve(tmp_path, reference=2).reference.number == 2
