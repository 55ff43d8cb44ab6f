"""The bucket of a pipeline follows its serving folder: after a rollback, a clean, a lost push."""

import errno
import json
import os

import pytest

from components.pusher import bucket as served_bucket
from components.pusher import rollbacks, versions
from operations import clean, fetch, rollback
from operations.clean import Policy
from pipeline.errors import (
    LockHeldError,
    LockLostError,
    OutputError,
    PathError,
    ServedModelError,
    UnreachableError,
)
from pipeline.locations import Locations
from pipeline.lock import exclusive
from pipeline.records import served_version


@pytest.fixture
def address(bucket):
    return f"{bucket}/served"


@pytest.fixture
def two(past, sound_versions, locations, address):
    """Two versions, of which the bucket has both."""
    numbers = []
    for day in (1, 2):
        numbers.append(past.run(f"2026010{day}-120000", "ab"[day - 1]).pushed_version)
        assert served_version.copy_to_bucket(locations, address) == numbers[-1]
    return numbers


def test_a_rollback_reaches_the_bucket(two, locations, address):
    done = rollback.rollback(locations, None)
    assert served_bucket.whole_versions(address) == [*two, done.new_version]


def test_a_rollback_that_does_not_reach_the_bucket_says_so_and_the_next_run_brings_it(
    two, locations, address, faults
):
    faults.refuse("PUT", "saved_model.pb", 500, "InternalError")
    with pytest.raises(UnreachableError) as caught:
        rollback.rollback(locations, None)
    newest = versions.served_versions(locations.serving)[-1]
    assert f"version {newest} is served from {locations.serving}, but not yet" in str(caught.value)
    assert newest > two[-1]
    assert served_bucket.whole_versions(address) == two
    faults.rule = lambda asked: None
    assert served_version.copy_to_bucket(locations, address) == newest
    assert served_bucket.whole_versions(address) == [*two, newest]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_note_of_the_address_that_is_no_file_is_told_in_a_line(
    two, locations, address, light_command, make
):
    """A pipe was waited for, with the lock held."""
    note, place = locations.serving / ".bucket", ("--output-dir", locations.root.parent)
    note.unlink()
    make(note)
    for words in (("rollback", "--dry-run"), ("rollback",), ("clean", "--keep-last", 1, "--apply")):
        told = light_command(*words, *place)
        assert (told.code, told.errors.count("\n")) == (2, 1), words
        assert f"error: {note} cannot be read (it is not a regular file)" in told.errors
    for asked in (address, None):
        with pytest.raises(ServedModelError, match="expected the file with the address"):
            served_version.copy_to_bucket(locations, asked)
        assert not served_version.is_copied(locations, asked)
    assert versions.served_versions(locations.serving) == two


@pytest.fixture
def cut_off(past, two, locations, faults, address):
    """A third version, and a rollback from it that did not reach the bucket; returns its record."""
    past.run("20260103-120000", "c")
    served_version.copy_to_bucket(locations, address)
    faults.refuse("PUT", "saved_model.pb", 500, "InternalError")
    with pytest.raises(UnreachableError, match="The next run or rollback copies it"):
        rollback.rollback(locations, None)
    faults.rule = lambda asked: None
    (record,) = rollbacks.recorded(locations.serving)
    assert record.rolled_back_to == two[-1]
    return record


@pytest.mark.parametrize("asked", ["", "new_version", "rolled_back_to"])
def test_a_rollback_that_is_repeated_completes_the_one_that_was_cut_off(
    cut_off, locations, address, caplog, asked
):
    """It went back once more, and readers never got the version that was asked for."""
    served = versions.served_versions(locations.serving)
    to = getattr(cut_off, asked) if asked else None
    assert rollback.without_copy(locations, to) == cut_off
    assert rollback.rollback(locations, to) == cut_off
    assert f"the bucket lacked version {cut_off.new_version}, and has it now" in caplog.text
    assert versions.served_versions(locations.serving) == served
    assert served_bucket.whole_versions(address)[-1] == cut_off.new_version
    assert rollback.without_copy(locations, to) is None


def test_the_rollback_after_one_that_was_completed_goes_back_further(cut_off, two, locations):
    rollback.rollback(locations, None)
    assert rollback.rollback(locations, None).rolled_back_to == two[0]


def test_another_version_than_that_of_the_rollback_that_was_cut_off_can_be_named(
    cut_off, two, locations, address
):
    done = rollback.rollback(locations, two[0])
    assert (done.rolled_back_from, done.rolled_back_to) == (cut_off.new_version, two[0])
    assert served_bucket.whole_versions(address)[-1] == done.new_version


def test_with_two_versions_a_rollback_that_was_cut_off_is_completed(
    two, locations, address, faults
):
    faults.refuse("PUT", "saved_model.pb", 500, "InternalError")
    with pytest.raises(UnreachableError):
        rollback.rollback(locations, None)
    faults.rule = lambda asked: None
    assert rollback.rollback(locations, None).rolled_back_to == two[0]
    assert served_bucket.whole_versions(address) == versions.served_versions(locations.serving)


def test_a_rollback_is_not_repeated_while_nobody_knows_whether_the_bucket_has_it(
    cut_off, two, locations, faults
):
    served = versions.served_versions(locations.serving)
    faults.rule = lambda asked: (500, b"")
    with pytest.raises(UnreachableError, match=r"not known whether .* Nothing was changed"):
        rollback.rollback(locations, None)
    assert versions.served_versions(locations.serving) == served
    with pytest.raises(UnreachableError, match=r"is served from .*, but not yet from"):
        rollback.rollback(locations, two[0])
    assert versions.served_versions(locations.serving)[:-1] == served


def test_a_rollback_that_was_cut_off_covers_no_version_of_somebody_else(cut_off, locations, bucket):
    bucket.put(f"served/.whole/{cut_off.new_version + 5}.json", b"{}")
    with pytest.raises(ServedModelError, match=f"holds version {cut_off.new_version + 5}, and"):
        rollback.rollback(locations, None)


def test_a_rollback_does_not_cover_the_version_of_somebody_else(two, locations, address, bucket):
    bucket.put(f"served/.whole/{two[-1] + 5}.json", b"{}")
    with pytest.raises(ServedModelError, match=f"holds version {two[-1] + 5}, and .*fetch s3://"):
        rollback.rollback(locations, None)
    assert versions.served_versions(locations.serving) == two


def test_a_rollback_without_the_bucket_serves_from_the_folder(two, locations, address, faults):
    faults.rule = lambda asked: (500, b"")
    with pytest.raises(UnreachableError, match=r"is served from .*, but not yet from"):
        rollback.rollback(locations, None)
    assert versions.served_versions(locations.serving)[-1] > two[-1]


def test_clean_leaves_readers_of_the_bucket_a_version(two, output_dir, locations, address, faults):
    """The newest one, of a rollback that did not reach the bucket, is copied first."""
    faults.refuse("PUT", "saved_model.pb", 500, "InternalError")
    with pytest.raises(UnreachableError):
        rollback.rollback(locations, None)
    policy = Policy(None, None, keep_versions=1)
    with pytest.raises(UnreachableError):
        clean.clean(policy, None, output_dir, apply=True)
    assert served_bucket.whole_versions(address) == two
    faults.rule = lambda asked: None
    clean.clean(policy, None, output_dir, apply=True)
    kept = versions.served_versions(locations.serving)
    newest = kept[-1]
    assert newest > two[-1]
    assert newest in served_bucket.whole_versions(address)
    assert set(served_bucket.whole_versions(address)) <= set(kept)


def test_a_version_that_clean_withdraws_is_withdrawn_from_the_bucket(
    two, output_dir, address, bucket
):
    policy = Policy(None, None, keep_versions=1)
    clean.clean(policy, None, output_dir, apply=False)
    assert served_bucket.whole_versions(address) == two
    clean.clean(policy, None, output_dir, apply=True)
    assert served_bucket.whole_versions(address) == two[1:]
    assert not [key for key in bucket.listed() if f"/{two[0]}/" in key]


def test_a_version_that_cannot_be_withdrawn_from_the_bucket_stays(
    two, output_dir, locations, faults
):
    faults.refuse("POST", "", 403, "AccessDenied")
    with pytest.raises(ServedModelError, match="cannot be removed: access was denied"):
        clean.clean(Policy(None, None, keep_versions=1), None, output_dir, apply=True)
    assert versions.served_versions(locations.serving) == two


def test_a_pipeline_that_no_longer_has_a_bucket_leaves_it_alone(two, locations, address):
    assert served_version.copy_to_bucket(locations, None) is None
    rollback.rollback(locations, None)
    assert served_bucket.whole_versions(address) == two


def test_a_lost_serving_folder_comes_back_from_the_bucket(two, locations, address, tmp_path):
    locations.serving.rename(tmp_path / "lost")
    with pytest.raises(ServedModelError, match=f"holds version {two[-1]}, and .* holds none"):
        served_version.copy_to_bucket(locations, address)
    fetched = fetch.fetch(address, locations.serving)
    assert (fetched.version, fetched.is_new) == (two[-1], True)
    assert served_version.copy_to_bucket(locations, address) is None
    assert served_version.read(locations).version == two[-1]
    assert served_version.read(locations).kept


def test_the_model_of_another_pipeline_is_not_fetched_to_be_served(two, locations, address):
    """It would be what the next model is compared with."""
    other = Locations(locations.root.parent / "flowers")
    other.serving.mkdir(parents=True)
    other.lock.touch()
    with pytest.raises(ServedModelError, match="has the versions of the pipeline clothes"):
        fetch.fetch(address, other.serving)
    assert versions.served_versions(other.serving) == []


def test_a_bucket_that_is_none_is_told_and_not_noted(two, locations):
    with pytest.raises(ServedModelError, match="there is no bucket none-of-this-name"):
        served_version.copy_to_bucket(locations, "s3://none-of-this-name/x")
    assert served_bucket.address_of(locations.serving) != "s3://none-of-this-name/x"


def test_fetch_is_a_command(two, address, light_command, tmp_path):
    there = tmp_path / "there"
    asked = light_command("fetch", address, there)
    assert (asked.code, asked.output) == (0, f"Fetched   {there / str(two[-1])}\n")
    again = light_command("fetch", f"{address}/", there, "--json")
    assert json.loads(again.output)["is_new"] is False


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("s3://key:hunter2@models/x", "has a password or a query"),
        ("models/x", "names no folder in a bucket"),
    ],
)
def test_fetch_refuses_what_is_no_address(place, told, tmp_path):
    with pytest.raises(PathError) as caught:
        fetch.fetch(place, tmp_path / "there")
    assert told in str(caught.value) and "hunter2" not in str(caught.value)
    assert not (tmp_path / "there").exists()


def test_fetch_into_a_file_names_what_fetch_has(two, address, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"it is no folder, .*Name another FOLDER\.$"):
        fetch.fetch(address, tmp_path / "file")


def test_the_serving_folder_of_a_pipeline_at_work_is_left_alone(two, locations, address):
    """What is on its way into it would be removed."""
    with exclusive(locations.lock, "run"), pytest.raises(LockHeldError, match="in use by run"):
        fetch.fetch(address, locations.serving)
    assert not fetch.fetch(address, locations.serving).is_new


def linked_serving(locations, tmp_path):
    """The serving folder lies on another disk; the ways to it that a person may write."""
    disk = tmp_path / "disk" / "models"
    disk.parent.mkdir()
    locations.serving.rename(disk)
    locations.serving.symlink_to(disk)
    (tmp_path / "handy").symlink_to(os.path.relpath(locations.serving, tmp_path))
    (tmp_path / "all").symlink_to(locations.root.parent)
    name = locations.root.name
    return [
        locations.serving,
        locations.runs / ".." / "serving",
        tmp_path / "handy",
        tmp_path / "all" / name / "serving",
    ]


def test_a_serving_folder_that_is_a_link_is_that_of_its_pipeline(
    two, locations, address, bucket, tmp_path
):
    """A push in progress lost what it had copied so far."""
    locations.runs.mkdir(exist_ok=True)
    ways = linked_serving(locations, tmp_path)
    with exclusive(locations.lock, "run"):
        for way in ways:
            with pytest.raises(LockHeldError, match="in use by run"):
                fetch.fetch(address, way)
    for way in ways:
        assert not fetch.fetch(address, way).is_new
    bucket.put("served/.pipeline", b"flowers")
    for way in ways:
        with pytest.raises(ServedModelError, match="has the versions of the pipeline flowers"):
            fetch.fetch(address, way)


def test_a_link_to_a_folder_of_no_pipeline_has_a_lock_of_its_own(two, address, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    (tmp_path / "serving").symlink_to(there)
    with exclusive(there / ".fetch.lock", "fetch"), pytest.raises(LockHeldError):
        fetch.fetch(address, tmp_path / "serving")
    assert fetch.fetch(address, tmp_path / "serving").is_new


def test_a_fetch_into_the_folder_of_a_pipeline_whose_lock_is_lost_changes_nothing(
    two, locations, address, tmp_path, monkeypatch
):
    locations.serving.rename(tmp_path / "lost")
    copy_tree = versions.shutil.copytree

    def lost(*arguments):
        locations.lock.unlink(missing_ok=True)
        return copy_tree(*arguments)

    locations.lock.touch()
    monkeypatch.setattr(versions.shutil, "copytree", lost)
    with pytest.raises(LockLostError, match=r"was removed or replaced.*give the command again"):
        fetch.fetch(address, locations.serving)
    assert versions.served_versions(locations.serving) == []


def test_two_that_fetch_into_one_folder_do_not_meet(two, address, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    with exclusive(there / ".fetch.lock", "fetch"), pytest.raises(LockHeldError):
        fetch.fetch(address, there)
    assert fetch.fetch(address, there).is_new


def test_an_address_that_cannot_be_noted_is_told(two, locations, address, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (locations.serving / ".bucket").unlink()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ServedModelError, match=r"No space left.*; expected a serving folder"):
        served_version.copy_to_bucket(locations, address)
    assert served_bucket.address_of(locations.serving) is None
