"""Data in a bucket: found, its spans resolved, its digests kept; what is wrong with it is told."""

import dataclasses

import pytest

from components.image_schema import ImageSchema
from pipeline.config import Config, SpansConfig
from pipeline.datasets import reading
from pipeline.datasets.bucket import BucketPath
from pipeline.datasets.find import find_source
from pipeline.datasets.reading import read_dataset
from pipeline.errors import DataError, PathError, UnreachableError
from tests.components.example_gen.readers import made

SCHEMA = ImageSchema(4, 4, 1, ("a", "b"))
CONFIG = Config(
    profile="default", split={"validation": 0.2, "test_share": 0.4}, images={"fit": "stretch"}
)


@pytest.fixture
def images(tmp_path):
    """Twenty images of two classes."""
    folder = tmp_path / "images"
    for number in range(20):
        made.write(folder, f"{'ab'[number % 2]}/{number}.png", content=made.PNG + bytes([number]))
    return folder


def read(place, config=CONFIG, **options):
    source = find_source(str(place), print, config.spans, config.data)
    return read_dataset(source, SCHEMA, "5" * 64, config, **options)


def test_data_is_that_of_this_machine(bucket, images):
    bucket.upload(images, "some/images")
    here, there = read(images), read(f"{bucket}/some/images/")
    assert (there.digest, there.counts, there.summary) == (here.digest, here.counts, here.summary)
    assert there.location == f"{bucket}/some/images"


def contents_asked(faults):
    asked = [each.path for each in faults.asked if each.method == "GET" and not each.is_listing]
    faults.asked.clear()
    return len(asked)


def test_an_object_is_read_again_only_where_it_was_written_again(
    bucket, faults, images, monkeypatch
):
    # As if the objects had been there for a while.
    monkeypatch.setattr(reading.time, "time_ns", lambda: 2**62)
    place = f"{bucket}/images"
    bucket.upload(images, "images")
    first = read(place)
    assert contents_asked(faults) == 20
    assert read(place).digest == first.digest
    assert contents_asked(faults) == 0
    bucket.put("images/a/0.png", made.PNG + b"other")
    assert read(place).digest != first.digest
    assert contents_asked(faults) == 1
    read(place, trust_time_stamps=False)
    assert contents_asked(faults) == 20


def test_an_empty_bucket_is_told(bucket):
    with pytest.raises(DataError, match=f"--data: {bucket} holds no objects; expected"):
        read(bucket)


def test_spans_are_found_and_taken(bucket, images, tmp_path):
    for folder in (tmp_path / "spans", images):
        for number in (2, 10):
            (folder / f"span-{number}").mkdir(parents=True, exist_ok=True)
    spans = tmp_path / "spans"
    for path in sorted(images.glob("*/*.png")):
        number = 2 if int(path.stem) < 12 else 10
        made.write(spans, f"span-{number}/{path.relative_to(images)}", content=path.read_bytes())
    bucket.upload(spans, "spans")
    config = CONFIG.model_copy(update={"spans": SpansConfig(window=2)})
    here, there = read(spans, config), read(f"{bucket}/spans", config)
    assert there.digest == here.digest
    assert [span.number for span in there.window.train] == [2, 10]
    assert there.request == dataclasses.replace(here.request)


def test_a_span_that_is_none_is_refused(bucket, images):
    bucket.upload(images, "spans/span-1")
    bucket.upload(images, "spans/Span_2")
    with pytest.raises(DataError, match=r"spans/Span_2 is no span; expected a folder called"):
        find_source(f"{bucket}/spans", print)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("s3://key:hunter2@bucket/data", "has a password or a query"),
        ("s3://bucket/data?versionId=hunter2", "has a password or a query"),
        ("s3://", "names no folder in a bucket"),
        ("s3:///data", "names no folder in a bucket"),
        ("s3://Bucket/data", "names no folder in a bucket"),
        ("s3://bucket//data", "an empty name between two slashes"),
        ("s3://bucket/../data", "a name that is `.` or `..`"),
        ("s3://bucket/da\nta", "a line break"),
        ("s3:/bucket/data", "or s3://BUCKET/FOLDER in this spelling"),
        ("S3://bucket/data", "or s3://BUCKET/FOLDER in this spelling"),
    ],
)
def test_an_address_that_names_nothing_is_refused_unasked(address, told):
    with pytest.raises(PathError) as caught:
        find_source(address, print)
    assert told in str(caught.value) and "; expected " in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_folder_that_is_not_there_is_refused(bucket):
    with pytest.raises(DataError, match="holds no objects; expected a folder with data"):
        find_source(f"{bucket}/nothing", print)


def test_a_store_that_does_not_answer_is_no_bad_input(bucket, faults, images):
    """A schedule tries again later."""
    bucket.upload(images, "images")
    faults.refuse("GET", "images/b/1.png", 500, "InternalError")
    with pytest.raises(UnreachableError, match=r"b/1\.png cannot be read \(InternalError\)"):
        read(f"{bucket}/images")
    faults.refuse("GET", "", 500, "InternalError")
    with pytest.raises(UnreachableError, match="cannot be listed"):
        find_source(f"{bucket}/images", print)


def test_a_malformed_endpoint_is_bad_input(bucket, faults, monkeypatch):
    """A schedule tells of it, and does not try again."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:54100")
    with pytest.raises(DataError, match=r"AWS_ENDPOINT_URL: found 'localhost:54100'; expected"):
        find_source(f"{bucket}/images", print)


def test_how_far_it_is_is_told(bucket, images, monkeypatch):
    monkeypatch.setattr(reading, "_SECONDS_IN_SILENCE", -1)
    bucket.upload(images, "images")
    lines = []
    read(f"{bucket}/images", notify=lines.append)
    assert lines[0] == f"Read 1 of 20 objects of {bucket}/images for their digests"
    assert len(lines) == 20


def test_a_path_in_a_bucket_is_like_others(bucket):
    bucket.put("data/x.csv")
    bucket.put("data/b/1.png")
    path = BucketPath(f"{bucket}/data")
    assert [each.name for each in path.iterdir()] == ["b", "x.csv"]
    assert (path / "x.csv").is_file() and not (path / "x.csv").is_dir()
    assert (path / "b").is_dir() and not (path / "b").is_file()
    assert (path / "b").parent == path
    assert [str(each) for each in path.glob("*.csv")] == [f"{bucket}/data/x.csv"]
