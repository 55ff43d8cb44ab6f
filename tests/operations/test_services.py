"""What the doctor tells of the engine, the database and the bucket of a configuration file."""

import pytest

from operations import services
from operations.services import Answer
from pipeline.database import binding
from pipeline.database.address import parse
from pipeline.exclusion import exclusive
from pipeline.locations import Locations

NAME = "fashion-mnist"


@pytest.fixture
def answers(tmp_path):
    """Checks a configuration file of this text; returns the answers by name."""

    def check(text, data=None):
        file = tmp_path / "pipeline.toml"
        file.write_text(text)
        found = services.check(file, tmp_path / "outputs", data)
        return {answer.name: answer for answer in found}

    return check


def test_without_services_there_is_nothing_to_tell(answers):
    assert answers('name = "shoes"\n') == {}


@pytest.mark.parametrize(
    ("settings", "status", "told"),
    [
        ('runner = "portable"\njob_endpoint = "embed"', "ok", "portable: settings, programs"),
        ('runner = "portable"', "fail", "expected beam.job_endpoint"),
        ('runner = "prism"\nprism_location = "/no/prism"', "fail", "/no/prism is not there"),
        ('options = ["--parallelism=2"]', "fail", "is set by a key"),
    ],
)
def test_the_engine_is_that_of_a_run(answers, settings, status, told):
    answer = answers(f"[beam]\n{settings}\n")["engine"]
    assert answer.status == status
    assert told in answer.message


@pytest.mark.parametrize(
    ("data", "profile", "folder"),
    [
        (None, "default", "served"),
        (None, "smoke", f"served/{NAME}-smoke"),
        ("sample", "smoke", f"served/{NAME}-sample-smoke"),
    ],
)
def test_the_bucket_is_that_of_the_run_and_stays_as_it_is(answers, bucket, data, profile, folder):
    text = f'profile = "{profile}"\n[serving]\nbucket = "{bucket}/served"\n'
    told = f"{bucket}/{folder} can be read, and has no version yet; writing is not tried"
    assert answers(text, data) == {"bucket": Answer("bucket", "ok", told)}
    assert bucket.listed() == []
    # Published from elsewhere.
    bucket.put(f"{folder}/.whole/7.json", b"{}")
    answer = answers(text, data)["bucket"]
    assert answer.status == "fail"
    assert f"{bucket}/{folder} holds version 7" in answer.message


def test_the_bucket_of_another_pipeline_or_without_access_is_a_problem(answers, bucket, faults):
    text = f'[serving]\nbucket = "{bucket}/served"\n'
    bucket.put("served/.pipeline", b"roses\n")
    answer = answers(text)["bucket"]
    assert answer.status == "fail"
    assert "has the versions of the pipeline roses; expected" in answer.message
    faults.rule = lambda asked: (403, b"")
    assert "access was denied" in answers(text)["bucket"].message


def test_the_database_is_asked_as_by_a_run(answers, postgresql, database, tmp_path):
    uri = postgresql.uri(database)
    text = f'[metadata]\nuri = "{uri}"\n'
    answer = answers(text)["metadata"]
    assert (answer.status, "can be used" in answer.message) == ("ok", True)
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    assert list(postgresql.query(tables, database)) == []
    assert not (tmp_path / "outputs").exists()
    assert answers(text.replace(database, "absent"))["metadata"].status == "fail"
    locations = Locations(tmp_path / "outputs" / NAME)
    locations.root.mkdir(parents=True)
    with exclusive(locations, "run", parse(uri)):
        answer = answers(text)["metadata"]
    assert (answer.status, "is in use by" in answer.message) == ("warn", True)


def test_a_pipeline_that_is_in_a_database_stays_there(answers, tmp_path):
    locations = Locations(tmp_path / "outputs" / NAME)
    locations.root.mkdir(parents=True)
    binding.write(locations, parse("postgresql://ada@127.0.0.1:9/ml"))
    answer = answers("")["metadata"]
    assert answer.status == "fail"
    assert "the configuration asks for a file; expected the same place" in answer.message
