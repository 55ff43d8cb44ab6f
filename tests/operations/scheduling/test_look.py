"""A look ahead of a run says whether one is due; the bucket has to have what is served."""

import dataclasses
import json

import pytest

from components.pusher import bucket as served_bucket
from components.pusher import versions
from operations import changes, rollback
from operations.preparation import Progress, prepare
from operations.scheduling.look import look
from operations.scheduling.plan import Target
from pipeline.errors import UnreachableError
from pipeline.locations import Locations
from pipeline.records import served_version
from tests.made_data import made_request
from tests.made_runs import Past

PIPELINE = "flowers-sample-smoke"


@pytest.fixture
def config_file(tmp_path):
    """A configuration file of the sample, without a bucket."""
    path = tmp_path / "pipeline.toml"
    path.write_text('name = "flowers"\ndata = "sample"\n')
    return path


@pytest.fixture
def address(bucket):
    """The folder that gets the versions of the sample."""
    return f"{bucket}/served/{PIPELINE}"


@pytest.fixture
def with_bucket(config_file, bucket):
    """Sets the bucket in the configuration file."""

    def configure():
        config_file.write_text(f'{config_file.read_text()}serving.bucket = "{bucket}/served"\n')

    return configure


@pytest.fixture
def serving(config_file, tmp_path, pushed_receipt, sound_versions):
    """The places of a pipeline with two versions, of which its last run pushed the newer one."""
    output_dir = tmp_path / "outputs"
    target = Target(config_file, None, None, "local", (), None, output_dir, None)
    request = dataclasses.replace(
        made_request(output_dir),
        profile=None,
        data="sample",
        assignments=target.settings().assignments,
        seed=None,
    )
    prepared = prepare(request, Progress())
    past = Past(Locations(output_dir / PIPELINE), pushed_receipt)
    description = {"image_shape": [28, 28, 1], "class_names": list(prepared.schema.class_names)}
    export = tmp_path / "export" / "assets.extra"
    export.mkdir(parents=True)
    (export / "image_schema.json").write_text(json.dumps(description))
    past.exports |= dict.fromkeys("ab", export.parent)
    digest = changes.input_digest(prepared)
    past.run("20260101-120000", "a", input_digest=digest)
    past.run("20260102-120000", "b", input_digest=digest)
    return past.locations


@pytest.fixture
def standing(config_file, serving):
    """Looks, and returns the run that still stands."""

    def run():
        folder = serving.root.parent
        target = Target(config_file, None, None, "local", (), None, folder, None)
        return look(target, PIPELINE).standing_run

    return run


def test_no_run_is_due_where_nothing_changed_and_there_is_no_bucket(standing):
    assert standing() == "20260102-120000"


def test_a_run_is_due_until_a_bucket_that_was_set_has_the_served_version(
    standing, serving, address, with_bucket
):
    with_bucket()
    assert standing() is None
    assert served_bucket.whole_versions(address) == []
    served_version.copy_to_bucket(serving, address)
    assert standing() == "20260102-120000"


def test_a_run_is_due_until_a_rollback_has_reached_the_bucket(
    standing, serving, address, with_bucket, faults
):
    """Readers of the bucket kept the model that was withdrawn, without an alarm."""
    with_bucket()
    served_version.copy_to_bucket(serving, address)
    faults.refuse("PUT", "saved_model.pb", 500, "InternalError")
    with pytest.raises(UnreachableError):
        rollback.rollback(serving, None)
    assert standing() is None
    faults.rule = lambda asked: None
    served_version.copy_to_bucket(serving, address)
    assert standing() == "20260102-120000"


def test_a_run_is_due_where_the_bucket_does_not_answer_so_that_it_tells(
    standing, serving, address, with_bucket, faults
):
    with_bucket()
    served_version.copy_to_bucket(serving, address)
    faults.rule = lambda asked: (500, b"")
    assert standing() is None


def test_a_run_is_due_until_a_bucket_that_is_no_longer_set_is_forgotten(standing, serving, address):
    """A rollback would still be copied there."""
    served_version.copy_to_bucket(serving, address)
    assert standing() is None
    served_version.copy_to_bucket(serving, None)
    assert standing() == "20260102-120000"


def test_a_schedule_that_runs_on_changes_copies_what_the_bucket_lacks(
    light_command, serving, address, config_file, with_bucket
):
    with_bucket()
    options = ("--once", "--on-change", "--config", config_file)
    first, second = (
        light_command("schedule", *options, "--output-dir", serving.root.parent) for _ in range(2)
    )
    assert (first.code, second.code) == (0, 0), first.output + first.errors
    newest = versions.served_versions(serving.serving)[-1]
    assert served_bucket.whole_versions(address) == [newest]
    assert "skipped: nothing changed since the last completed run" in first.output
    assert "skipped: nothing changed since run 20260102-120000" in second.output
