"""Data in a bucket is read as on this machine, or refused; never a part of it."""

import numpy as np
import pytest
import s3fs

from components import object_store
from components.example_gen.readers import base
from components.object_store import ObjectStoreError
from tests import s3
from tests.components.example_gen.readers import made
from tests.components.example_gen.readers.test_remote import WRITERS
from tests.ports import free_port


def place_of(bucket):
    return f"{bucket}/data"


def refused(place):
    with pytest.raises(base.ReadingError) as caught:
        made.read(place, remote=True)
    return str(caught.value)


@pytest.fixture
def classes(bucket, data):
    """Class folders in a bucket."""
    made.write(data, "a/1.png", "a/2.png", "b/1.png")
    bucket.upload(data, "data")
    return place_of(bucket)


@pytest.mark.parametrize("form", WRITERS)
def test_each_form_is_read_as_on_this_machine(bucket, data, form):
    images = np.arange(6 * 16, dtype=np.uint8).reshape(6, 4, 4, 1)
    labels = [str(number % 3) for number in range(6)]
    WRITERS[form](data, [made.Part(split, images, labels) for split in ("train", "test")])
    made.write(data, ".hidden", "__MACOSX/1.png", "notes.txt", "deep/.er/1.txt")
    bucket.upload(data, "data")
    # As programs write them that show a bucket as folders; another data set is beside it.
    for marker in ("data/", "data/deep/", "data-2/a/1.png", "datum"):
        bucket.put(marker)
    here, there = made.read(data), made.read(place_of(bucket), remote=True)
    assert there.reader.summary == here.reader.summary
    assert there.reader.ignored == here.reader.ignored
    assert there.contents == here.contents
    assert list(there.index.ids) == list(here.index.ids)
    assert there.bytes == here.bytes
    assert there.shards == here.shards
    assert not there.bad


def test_a_file_is_read(bucket, data):
    made.write_arrays(data, [made.Part("data", np.zeros((2, 4, 4, 1), np.uint8), ["1", "2"])])
    bucket.upload(data, "data")
    assert made.read(f"{bucket}/data/arrays.npz", remote=True).labels == ["1", "2"]


def test_what_a_manifest_names_outside_or_not_there_is_bad(bucket, data):
    made.write(data, "1.png")
    made.text(data, "x.csv", "path,label", "1.png,a", "../2.png,b", "/etc/passwd,c", "3.png,d")
    bucket.upload(data, "data")
    bucket.put("2.png", made.PNG)
    read = made.read(place_of(bucket), remote=True, outside_files=True)
    assert list(read.bad) == ["../2.png", "/etc/passwd", "3.png"]


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("a//3.png", "an empty name between two slashes"),
        ("../a/3.png", "a name that is `.` or `..`"),
        ("a/./3.png", "a name that is `.` or `..`"),
        ("/3.png", "an empty name"),
        ("c/", "a slash at its end, and content"),
    ],
)
def test_a_key_that_is_no_name_of_a_file_is_refused(bucket, classes, key, told):
    """To leave it out in silence would train on less than is there."""
    bucket.put(f"data/{key}", made.PNG)
    message = refused(classes)
    assert told in message and "expected the name of a file" in message


def test_names_of_any_other_kind_are_read(bucket, classes):
    odd = ["a/x y+z%2F&?.png", "b/\u00fc \u6f22.png", "b/#1;2.png"]
    for name in odd:
        bucket.put(f"data/{name}", made.PNG)
    assert set(odd) < set(made.read(classes, remote=True).index.ids)


def changed_reader(place):
    reader = made.opened(place, remote=True)
    contents = made.hashed(reader)
    (shard,) = reader.shards(reader.index(contents))
    return lambda: list(reader.read(shard, contents))


@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_an_object_that_changes_after_the_list_is_refused(bucket, classes, change):
    read = changed_reader(classes)
    bucket.remove("data/a/2.png")
    if change == "replaced":
        bucket.put("data/a/2.png", made.PNG + b"more")
    with pytest.raises(ObjectStoreError, match=r"a/2\.png was replaced or removed since"):
        read()


def test_an_object_that_changes_amid_its_reading_is_refused(bucket, data, monkeypatch):
    monkeypatch.setattr(object_store, "_BLOCK_BYTES", 100)
    bucket.put("data/x.bin", bytes(10**5))
    folder = object_store.Folder(place_of(bucket))
    (listed,) = folder.list()
    with folder.open(listed) as stream:
        assert len(stream.read(10**4)) == 10**4
        bucket.put("data/x.bin", b"1" * 10**5)
        with pytest.raises(ObjectStoreError, match="was replaced or removed since"):
            stream.read()


FAULTS = {
    "access denied": ("GET", "a/2.png", 403, "AccessDenied", "access was denied (AccessDenied)"),
    "a wrong key": ("GET", "a/2.png", 403, "SignatureDoesNotMatch", "access was denied"),
    "a fault of the store": ("GET", "a/2.png", 500, "InternalError", "(InternalError)"),
    "a list that is denied": ("GET", "", 403, "AccessDenied", "cannot be listed: access was"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_and_never_leaves_an_image_out(classes, faults, fault):
    *rule, told = FAULTS[fault]
    faults.refuse(*rule)
    with pytest.raises(ObjectStoreError) as caught:
        made.read(classes, remote=True)
    message = str(caught.value)
    assert told in message and "; expected " in message and classes in message
    assert s3.SECRET not in message and "AKIA" not in message
    assert caught.value.is_passing == (rule[2] == 500)


def test_a_fault_that_passes_is_tried_again(classes, faults):
    faults.refuse("GET", "a/2.png", 503, "SlowDown", times=1)
    assert len(made.read(classes, remote=True).index.ids) == 3


@pytest.mark.parametrize(("times", "whole"), [(2, True), (10**6, False)])
def test_an_answer_that_breaks_off_is_no_shorter_file(bucket, faults, times, whole):
    content = bytes(range(256)) * 400
    bucket.put("data/x.bin", content)
    folder = object_store.Folder(place_of(bucket))
    (listed,) = folder.list()
    left = [times]

    def rule(asked):
        if asked.method != "GET" or asked.is_listing or not left[0]:
            return None
        left[0] -= 1
        return s3.CUT, b""

    faults.rule = rule
    if whole:
        assert folder.read(listed) == content
    else:
        with pytest.raises(ObjectStoreError, match=r"x\.bin cannot be read") as caught:
            folder.read(listed)
        assert caught.value.is_passing


def test_a_list_without_an_end_is_refused(classes, faults):
    page = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated>"
        b"<NextContinuationToken>again</NextContinuationToken></ListBucketResult>"
    )
    faults.rule = lambda asked: (200, page) if asked.is_listing else None
    with pytest.raises(ObjectStoreError, match="does not end; expected at most"):
        made.opened(classes, remote=True)


def test_a_list_of_several_pages_is_whole(bucket, monkeypatch):
    keys = [f"data/{number}.png" for number in range(9)]
    for key in keys:
        bucket.put(key)
    found = object_store.Folder(place_of(bucket))
    assert [f"data/{each.path}" for each in found.list()] == keys
    monkeypatch.setattr(object_store, "_MOST_PAGES", 2)
    with pytest.raises(ObjectStoreError, match="does not end"):
        list(found.list())


MALFORMED = "expected an address with http:// or https://"
ENDPOINTS = {
    "no scheme": ("localhost:54100", f"found 'localhost:54100'; {MALFORMED}"),
    "another scheme": ("ftp://localhost:54100", f"found 'ftp://localhost:54100'; {MALFORMED}"),
    "no port": ("http://localhost:abc", f"found 'http://localhost:abc'; {MALFORMED}"),
    "a query": (f"http://host:9/?a={s3.SECRET}", f"found 'http://host:9/?***'; {MALFORMED}"),
    "a password": (f"http://key:{s3.SECRET}@host:9", f"found 'http://***@host:9'; {MALFORMED}"),
    "a password alone": (f"key:{s3.SECRET}@host/?a={s3.SECRET}", "found '***@host/?***'; expected"),
}


@pytest.fixture
def listed_at(bucket, monkeypatch):
    """Lists a folder of the bucket at another endpoint; returns the error."""

    def refusal(address):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        # This process keeps its connection.
        s3fs.S3FileSystem.clear_instance_cache()
        with pytest.raises(ObjectStoreError) as caught:
            list(object_store.Folder(place_of(bucket)).list())
        assert s3.SECRET not in str(caught.value)
        return caught.value

    yield refusal
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_malformed_endpoint_is_told_and_does_not_pass(bucket, listed_at, endpoint):
    """A schedule would try again for ever."""
    address, told = ENDPOINTS[endpoint]
    error = listed_at(address)
    assert f"{place_of(bucket)} cannot be listed: AWS_ENDPOINT_URL: {told}" in str(error)
    assert not error.is_passing


def test_a_malformed_endpoint_of_a_profile_is_told(listed_at, monkeypatch, tmp_path):
    config = tmp_path / "config"
    config.write_text("[default]\nendpoint_url = localhost:54100\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    error = listed_at("")
    assert "endpoint_url in ~/.aws/config: found 'localhost:54100'" in str(error)
    assert not error.is_passing


def test_an_endpoint_that_is_not_reached_is_named(listed_at):
    address = f"http://127.0.0.1:{free_port()}"
    error = listed_at(f"{address}/below")
    assert f"cannot be listed (no connection to {address}); expected" in str(error)
    assert error.is_passing


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_PROFILE"])
def test_missing_credentials_are_told(classes, python, variable):
    """In a process of its own: this one has its connection."""
    code = (
        "from components.object_store import *\n"
        "try: list(Folder({place!r}).list())\n"
        "except ObjectStoreError as error: print(error)"
    )
    changes = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    if variable == "AWS_PROFILE":
        changes = {"AWS_PROFILE": "none-of-this-name"}
    ended = python("-c", code.format(place=classes), **changes)
    assert "cannot be listed" in ended.stdout and "; expected" in ended.stdout
    assert ("without credentials" in ended.stdout) == (variable != "AWS_PROFILE")


def test_a_bucket_that_does_not_exist_is_told(bucket):
    with pytest.raises(ObjectStoreError, match="there is no bucket none-of-this-name"):
        made.opened("s3://none-of-this-name/data", remote=True)


def test_a_folder_without_objects_holds_nothing(bucket):
    assert "holds nothing" in refused(place_of(bucket))


def test_nobody_without_a_bucket_imports_what_reads_buckets(data, python):
    made.write(data, "a/1.png", "b/1.png")
    code = (
        "import sys; from components.example_gen.readers import opening, base\n"
        f"opening.open_data({str(data)!r}, base.Options())\n"
        "print({'s3fs', 'fsspec', 'botocore', 'aiohttp'} & set(sys.modules))"
    )
    assert python("-c", code).stdout.strip() == "set()"


def test_the_reading_error_of_a_bucket_is_none_of_a_file():
    assert not issubclass(ObjectStoreError, OSError | base.ReadingError)
