"""Which data a run takes, and that nothing unsound is taken or kept."""

import functools
import gzip
import hashlib
import http.client
import io
import os
import struct
import urllib.error

import numpy as np
import pytest

from components.example_gen import idx
from components.image_schema import ImageSchema
from pipeline.config import SpansConfig
from pipeline.datasets import data, sample
from pipeline.errors import ConfigurationError, DataError

SCHEMA = ImageSchema(4, 4, 1, ("a", "b"))
NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_bytes(values):
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


CONTENTS = dict(
    zip(
        NAMES,
        (
            idx_bytes(np.arange(96).reshape(6, 4, 4)),
            idx_bytes(np.arange(6) % 2),
            idx_bytes(np.arange(32).reshape(2, 4, 4)),
            idx_bytes(np.arange(2)),
        ),
        strict=True,
    )
)


def write(folder, ending=""):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENTS.items():
        (folder / f"{name}{ending}").write_bytes(gzip.compress(content) if ending else content)
    return folder


@pytest.fixture
def lines():
    return []


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """A cache of the test's own; no data is named."""
    monkeypatch.delenv(data.DIRECTORY_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "image-pipeline"


@pytest.fixture
def server(monkeypatch):
    """What the official sources answer, by the last part of the address; they publish its MD5."""
    answers = {f"{name}.gz": gzip.compress(content) for name, content in CONTENTS.items()}
    asked = []

    def urlopen(address, timeout):
        assert timeout
        asked.append(address)
        answer = answers[address.rpartition("/")[2]]
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer)

    sums = {name: hashlib.md5(content).hexdigest() for name, content in answers.items()}
    monkeypatch.setattr(data, "_MD5", sums)
    monkeypatch.setattr(data.urllib.request, "urlopen", urlopen)
    answers["asked"] = asked
    return answers


@pytest.fixture
def unreachable(monkeypatch):
    def urlopen(address, timeout):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(data.urllib.request, "urlopen", urlopen)


def is_sample(found, cache):
    return found.sample and found.folder.parent == cache and found.folder.name.startswith("sample")


def test_a_folder_that_is_given_is_taken(tmp_path, lines):
    found = data.find(str(write(tmp_path / "mine")), lines.append)
    assert found == data.Source(tmp_path / "mine", sample=False)


def test_a_given_folder_goes_before_the_variable(tmp_path, monkeypatch, lines):
    monkeypatch.setenv(data.DIRECTORY_VARIABLE, str(write(tmp_path / "variable")))
    assert data.find(str(write(tmp_path / "mine")), lines.append).folder == tmp_path / "mine"


def test_a_folder_may_be_given_relative_to_the_home(tmp_path, monkeypatch, lines):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "mine")
    assert data.find("~/mine", lines.append).folder == tmp_path / "mine"


def test_a_given_folder_that_is_missing_is_refused(tmp_path, lines):
    with pytest.raises(DataError) as caught:
        data.find(str(tmp_path / "absent"), lines.append)
    message = str(caught.value)
    assert message.startswith(f"--data: {tmp_path / 'absent'} is no folder; expected")
    assert all(name in message for name in NAMES)


def test_auto_takes_the_folder_that_the_variable_names(tmp_path, monkeypatch, lines, unreachable):
    monkeypatch.setenv(data.DIRECTORY_VARIABLE, str(write(tmp_path / "mine")))
    found = data.find("auto", lines.append)
    assert found == data.Source(tmp_path / "mine", sample=False)
    assert lines == []


def test_auto_refuses_a_variable_that_names_no_folder(tmp_path, monkeypatch, lines, unreachable):
    """Someone named data: taking other data instead would go unnoticed."""
    monkeypatch.setenv(data.DIRECTORY_VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(DataError, match=f"^{data.DIRECTORY_VARIABLE}: .* is no folder"):
        data.find("auto", lines.append)


def test_auto_takes_what_the_cache_holds_and_asks_nobody(cache, lines, server):
    write(cache / "fashion-mnist", ".gz")
    assert data.find("auto", lines.append) == data.Source(cache / "fashion-mnist", sample=False)
    assert server["asked"] == []


def test_auto_downloads_once_and_keeps_it(cache, lines, server):
    found = data.find("auto", lines.append)
    assert found == data.Source(cache / "fashion-mnist", sample=False)
    assert {path.name for path in found.folder.iterdir()} == {f"{name}.gz" for name in NAMES}
    assert "Downloading" in lines[0]
    count = len(server["asked"])
    assert data.find("auto", lines.append) == found
    assert len(server["asked"]) == count


def test_auto_downloads_only_what_the_cache_lacks(cache, lines, server):
    write(cache / "fashion-mnist", ".gz")
    (cache / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    assert not data.find("auto", lines.append).sample
    assert [address.rpartition("/")[2] for address in server["asked"]] == [
        "t10k-labels-idx1-ubyte.gz"
    ]


def test_a_download_with_another_checksum_is_not_kept(cache, lines, server):
    name = "train-labels-idx1-ubyte.gz"
    server[name] = gzip.compress(b"something else")
    found = data.find("auto", lines.append)
    assert found.sample
    assert not (cache / "fashion-mnist" / name).exists()
    assert not list((cache / "fashion-mnist").glob("*.partial"))
    refused = [line for line in lines if "does not have the published checksum" in line]
    assert len(refused) == 2
    assert all(name in line for line in refused)


def test_the_second_source_is_asked_where_the_first_fails(cache, lines, server, monkeypatch):
    whole = data.urllib.request.urlopen

    def first_fails(address, timeout):
        if address.startswith(data._SOURCES[0]):
            raise urllib.error.URLError("gone")
        return whole(address, timeout)

    monkeypatch.setattr(data.urllib.request, "urlopen", first_fails)
    assert not data.find("auto", lines.append).sample
    assert len(lines) == 2


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("no route to host"),
        TimeoutError("timed out"),
        http.client.IncompleteRead(b"half"),
        http.client.BadStatusLine("?"),
        ConnectionResetError("reset"),
    ],
)
def test_auto_falls_back_to_the_sample_where_no_source_answers(error, cache, lines, server):
    server["train-images-idx3-ubyte.gz"] = error
    assert is_sample(data.find("auto", lines.append), cache)
    assert sum("cannot be used" in line for line in lines) == 2


def test_auto_falls_back_to_the_sample_where_the_cache_cannot_be_made(cache, lines, server):
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")
    assert data.find("auto", lines.append).sample


def test_the_sample_is_taken_when_asked_for(cache, lines, tmp_path, monkeypatch):
    monkeypatch.setenv(data.DIRECTORY_VARIABLE, str(write(tmp_path / "mine")))
    assert is_sample(data.find("sample", lines.append), cache)
    assert lines == []


def test_without_a_cache_variable_the_home_has_the_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.cache_folder() == tmp_path / ".cache" / "image-pipeline"


def read(folder, sample=False):
    return data.read(data.Source(folder, sample), SCHEMA, "5" * 64)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_plain_and_gzipped_files_are_read_alike(tmp_path, ending):
    found = read(write(tmp_path / "mine", ending))
    assert (found.train_count, found.test.count) == (6, 2)
    assert [pair.name for pair in (*found.train, found.test)] == ["train", "t10k"]
    assert found.sha256s == {
        name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()
    }
    assert found.name == found.description == str(tmp_path / "mine")
    assert found.schema_sha256 == "5" * 64


def test_plain_and_gzipped_files_may_be_mixed(tmp_path):
    folder = write(tmp_path / "mine")
    plain = folder / NAMES[0]
    (folder / f"{NAMES[0]}.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert read(folder).train_count == 6


@pytest.mark.parametrize("name", NAMES)
def test_each_of_the_four_files_is_needed(tmp_path, name):
    folder = write(tmp_path / "mine")
    (folder / name).unlink()
    with pytest.raises(DataError) as caught:
        read(folder)
    assert f"{folder} holds neither {name} nor {name}.gz; expected all four" in str(caught.value)


def test_a_file_that_is_unsound_is_refused_as_the_reader_says(tmp_path):
    folder = write(tmp_path / "mine")
    (folder / NAMES[2]).write_bytes(CONTENTS[NAMES[2]][:-1])
    with pytest.raises(DataError, match=f"{NAMES[2]} is empty, truncated or damaged"):
        read(folder)


def test_the_sample_is_drawn_when_it_is_read(cache, lines, monkeypatch):
    small = functools.partial(sample.write_sample, train_per_class=3, test_per_class=2)
    monkeypatch.setattr(sample, "write_sample", small)
    schema = ImageSchema(28, 28, 1, tuple("abcdefghij"))
    found = data.read(data.find("sample", lines.append), schema, "5" * 64)
    assert (found.name, found.sample) == ("sample", True)
    assert (found.train_count, found.test.count) == (30, 20)


def test_a_sample_that_cannot_be_written_is_told_in_words(cache):
    (cache / "sample").mkdir(parents=True)
    (cache / "sample" / "notes.txt").write_text("of someone else")
    with pytest.raises(DataError, match="Set XDG_CACHE_HOME"):
        read(cache / "sample", sample=True)


@pytest.fixture
def spans(tmp_path):
    """Three spans, of which the first alone has test files; their images differ."""
    for number in (1, 2, 10):
        folder = write(tmp_path / "spans" / f"span-{number}")
        (folder / NAMES[0]).write_bytes(idx_bytes(np.full((6, 4, 4), number)))
        for name in NAMES[2:] if number > 1 else ():
            (folder / name).unlink()
    return tmp_path / "spans"


def read_spans(folder, **asked):
    source = data.find(str(folder), [].append, SpansConfig(**asked))
    return data.read(source, SCHEMA, "5" * 64)


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
    assert found.sha256s == {
        f"{file.parent.name}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest()
        for file in (
            *(spans / span / name for span in ("span-2", "span-010") for name in NAMES[:2]),
            *(spans / "span-1" / name for name in NAMES[2:]),
        )
    }


def test_the_variable_may_name_a_folder_of_spans(spans, monkeypatch, lines):
    monkeypatch.setenv(data.DIRECTORY_VARIABLE, str(spans))
    found = data.find("auto", lines.append, SpansConfig(window=5))
    assert [span.number for span in found.window.train] == [1, 2, 10]
    assert len(lines) == 1 and "3 of the 5 spans" in lines[0]


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
    check_pair = idx.check_pair

    def slowly(name, *rest):
        if name == "span-10-train":
            try:
                return check_pair(name, *rest)
            finally:
                change_file(path, change)
        return check_pair(name, *rest)

    monkeypatch.setattr(idx, "check_pair", slowly)
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


def test_spans_that_are_asked_for_of_a_folder_without_any_are_refused(tmp_path):
    assert "holds no spans" in refusal(write(tmp_path / "mine"), window=2)


def test_spans_are_not_asked_for_of_the_sample(lines):
    with pytest.raises(DataError, match="holds no spans"):
        data.find("sample", lines.append, SpansConfig(newest=2))


def test_each_class_keeps_images_to_train_on_beside_those_of_validation(tmp_path):
    """Labels alternate: three images of each class."""
    found = read(write(tmp_path / "mine"))
    data.check_split(found, SCHEMA.class_names, 2)
    with pytest.raises(DataError) as caught:
        data.check_split(found, SCHEMA.class_names, 3)
    message = str(caught.value)
    assert message.startswith("2 classes have too few training images: a (label 0) 3, b (label 1)")
    assert str(caught.value).endswith("Set a smaller split.validation_per_class.")


def test_the_images_of_all_spans_of_a_window_count(spans):
    data.check_split(read_spans(spans, window=2), SCHEMA.class_names, 5)
    with pytest.raises(DataError, match=r"Or take more spans, with spans\.window"):
        data.check_split(read_spans(spans), SCHEMA.class_names, 5)


def test_labels_that_are_gone_by_then_are_told_in_words(tmp_path):
    found = read(write(tmp_path / "mine"))
    (tmp_path / "mine" / NAMES[1]).unlink()
    with pytest.raises(DataError, match="cannot be read"):
        data.check_split(found, SCHEMA.class_names, 2)


def test_a_schema_file_is_read_with_its_digest(tmp_path):
    path = tmp_path / "schema.pbtxt"
    path.write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"schema\.pbtxt gives the decoded image"):
        data.read_schema(str(path))


def test_a_schema_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        data.read_schema(str(tmp_path / "absent.pbtxt"))
    assert f"{tmp_path / 'absent.pbtxt'} cannot be read (No such file" in str(caught.value)
    assert "--set schema_file=PATH" in str(caught.value)


def test_a_schema_file_that_is_no_text_is_refused_by_its_name(tmp_path):
    path = tmp_path / "schema.pbtxt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError) as caught:
        data.read_schema(str(path))
    assert str(path) in str(caught.value)
    assert "expected" in str(caught.value)
