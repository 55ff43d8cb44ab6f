"""Which folder a run reads; what is downloaded, and that nothing unsound of it is kept."""

import gzip
import hashlib
import http.client
import io
import urllib.error

import pytest

from components.example_gen import idx
from pipeline.config import SpansConfig
from pipeline.datasets import download
from pipeline.datasets.dataset import Source
from pipeline.datasets.find import DIRECTORY_VARIABLE, cache_folder, find_source
from pipeline.errors import DataError

NAMES = [name for half in idx.FILES.values() for name in half]


@pytest.fixture
def server(monkeypatch, contents):
    """What the official sources answer, by the last part of the address; they publish its MD5."""
    answers = {f"{name}.gz": gzip.compress(content) for name, content in contents.items()}
    asked = []

    def urlopen(address, timeout):
        assert timeout
        asked.append(address)
        answer = answers[address.rpartition("/")[2]]
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer)

    sums = {name: hashlib.md5(content).hexdigest() for name, content in answers.items()}
    monkeypatch.setattr(download, "_MD5", sums)
    monkeypatch.setattr(download.urllib.request, "urlopen", urlopen)
    answers["asked"] = asked
    return answers


@pytest.fixture
def unreachable(monkeypatch):
    def urlopen(address, timeout):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(download.urllib.request, "urlopen", urlopen)


def is_sample(found, cache):
    return found.sample and found.place.parent == cache and found.place.name.startswith("sample")


def test_a_folder_that_is_given_is_taken(tmp_path, lines, write):
    found = find_source(str(write(tmp_path / "mine")), lines.append)
    assert found == Source(tmp_path / "mine", sample=False)


def test_a_given_folder_goes_before_the_variable(tmp_path, monkeypatch, lines, write):
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(write(tmp_path / "variable")))
    assert find_source(str(write(tmp_path / "mine")), lines.append).place == tmp_path / "mine"


def test_a_folder_may_be_given_relative_to_the_home(tmp_path, monkeypatch, lines, write):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "mine")
    assert find_source("~/mine", lines.append).place == tmp_path / "mine"


def test_a_given_folder_that_is_missing_is_refused(tmp_path, lines):
    with pytest.raises(DataError) as caught:
        find_source(str(tmp_path / "absent"), lines.append)
    message = str(caught.value)
    assert message.startswith(f"--data: {tmp_path / 'absent'} does not exist; expected")
    assert all(form in message for form in ("per class", "CSV", "Parquet", ".npz", "IDX", "span-N"))


def test_auto_takes_the_folder_that_the_variable_names(
    tmp_path, monkeypatch, lines, unreachable, write
):
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(write(tmp_path / "mine")))
    found = find_source("auto", lines.append)
    assert found == Source(tmp_path / "mine", sample=False)
    assert lines == []


def test_auto_refuses_a_variable_that_names_no_folder(tmp_path, monkeypatch, lines, unreachable):
    """Someone named data: taking other data instead would go unnoticed."""
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(DataError, match=f"^{DIRECTORY_VARIABLE}: .* does not exist"):
        find_source("auto", lines.append)


def test_auto_takes_what_the_cache_holds_and_asks_nobody(cache, lines, server, write):
    write(cache / "fashion-mnist", ".gz")
    assert find_source("auto", lines.append) == Source(cache / "fashion-mnist", sample=False)
    assert server["asked"] == []


def test_auto_downloads_once_and_keeps_it(cache, lines, server):
    found = find_source("auto", lines.append)
    assert found == Source(cache / "fashion-mnist", sample=False)
    assert {path.name for path in found.place.iterdir()} == {f"{name}.gz" for name in NAMES}
    assert "Downloading" in lines[0]
    count = len(server["asked"])
    assert find_source("auto", lines.append) == found
    assert len(server["asked"]) == count


def test_auto_downloads_only_what_the_cache_lacks(cache, lines, server, write):
    write(cache / "fashion-mnist", ".gz")
    (cache / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    assert not find_source("auto", lines.append).sample
    assert [address.rpartition("/")[2] for address in server["asked"]] == [
        "t10k-labels-idx1-ubyte.gz"
    ]


def test_a_download_with_another_checksum_is_not_kept(cache, lines, server):
    name = "train-labels-idx1-ubyte.gz"
    server[name] = gzip.compress(b"something else")
    found = find_source("auto", lines.append)
    assert found.sample
    assert not (cache / "fashion-mnist" / name).exists()
    assert all(path.suffix == ".gz" for path in (cache / "fashion-mnist").iterdir())
    refused = [line for line in lines if "does not have the published checksum" in line]
    assert len(refused) == 2
    assert all(name in line for line in refused)


def test_the_second_source_is_asked_where_the_first_fails(cache, lines, server, monkeypatch):
    whole = download.urllib.request.urlopen

    def first_fails(address, timeout):
        if address.startswith(download._SOURCES[0]):
            raise urllib.error.URLError("gone")
        return whole(address, timeout)

    monkeypatch.setattr(download.urllib.request, "urlopen", first_fails)
    assert not find_source("auto", lines.append).sample
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
    assert is_sample(find_source("auto", lines.append), cache)
    assert sum("cannot be used" in line for line in lines) == 2


def test_auto_falls_back_to_the_sample_where_the_cache_cannot_be_made(cache, lines, server):
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")
    assert find_source("auto", lines.append).sample


def test_the_sample_is_taken_when_asked_for(cache, lines, tmp_path, monkeypatch, write):
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(write(tmp_path / "mine")))
    assert is_sample(find_source("sample", lines.append), cache)
    assert lines == []


def test_without_a_cache_variable_the_home_has_the_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "image-pipeline"


def test_the_variable_may_name_a_folder_of_spans(spans, monkeypatch, lines):
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(spans))
    found = find_source("auto", lines.append, SpansConfig(window=5))
    assert [span.number for span in found.window.train] == [1, 2, 10]
    assert len(lines) == 1 and "3 of the 5 spans" in lines[0]


def test_spans_are_not_asked_for_of_the_sample(lines):
    with pytest.raises(DataError, match="holds no spans"):
        find_source("sample", lines.append, SpansConfig(newest=2))
