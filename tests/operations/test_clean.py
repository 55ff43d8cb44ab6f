"""Clean: what goes, what stays, how much it frees, and that a crash in between does no harm."""

import datetime
import os
import pathlib
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.pusher import rollbacks, versions
from operations import clean, rollback
from operations.clean import Policy
from pipeline import lock
from pipeline.errors import LockHeldError, OutputError, UnknownRunError, UsageError
from pipeline.locations import Locations
from pipeline.records.metadata import open_store
from pipeline.records.receipt import Receipt

LAST = Policy(keep_last=1, older_than=None, keep_versions=None)


@pytest.fixture
def cleaned(output_dir):
    """Cleans, and returns the figures of the one pipeline."""

    def run(policy=LAST, apply=True):
        cleaned = clean.clean(policy, None, output_dir, apply)
        assert cleaned.applied == apply
        (pipeline,) = cleaned.pipelines
        assert cleaned.freed_bytes == pipeline.freed_bytes == sum(pipeline.frees.values())
        return pipeline

    return run


@pytest.fixture
def used(used_bytes, locations):
    return lambda: used_bytes(locations.root)


@pytest.fixture
def four(past):
    """Two pushed and two refused models; the last is refused."""
    past.run("20260101-120000", "a")
    past.run("20260102-120000", "b", push=False)
    past.run("20260103-120000", "c")
    past.run("20260104-120000", "d", push=False)


def there(past):
    return {name for name in past.made if past.examples(name).exists()}


def test_outdated_artifacts_go_and_those_of_the_last_runs_stay(four, past, cleaned):
    report = cleaned()
    assert report.outdated_runs == ["20260101-120000", "20260102-120000", "20260103-120000"]
    assert report.staying_runs == ["20260104-120000"]
    assert there(past) == {"d"}


def test_served_versions_stay_with_their_questions(four, cleaned, locations, digest_of):
    before = digest_of(locations.serving)
    cleaned()
    assert digest_of(locations.serving) == before
    for version in versions.served_versions(locations.serving):
        assert (versions.kept_folder(locations.serving, version) / "golden.npz").exists()


@pytest.mark.parametrize("metadata", [True, False], ids=["with metadata", "without"])
def test_what_can_be_rolled_back_to_still_can(four, cleaned, locations, sound_versions, metadata):
    if not metadata:
        locations.metadata.unlink()
    cleaned()
    assert rollback.rollback(locations, None).new_version


def test_removed_artifacts_are_deleted_in_ml_metadata_and_no_others(four, past, cleaned):
    cleaned()
    for folder, state in past.states().items():
        assert (state == "LIVE") == folder.exists(), folder


def test_the_model_to_compare_with_stays_though_nothing_serves_it(four, past, cleaned, locations):
    """The last blessed model, which was refused by another gate, say."""
    past.run("20260105-120000", "e", push=False)
    past.run("20260106-120000", "a", push=False)
    cleaned()
    assert past.model("e").exists()


def test_what_a_staying_run_took_from_the_cache_stays(past, cleaned):
    past.run("20260101-120000", "a", push=False)
    past.run("20260102-120000", "b", push=False)
    past.run("20260103-120000", "a", push=False)
    cleaned()
    assert "a" in there(past)
    assert "b" not in there(past)


def test_what_it_frees_is_what_it_promised(four, past, cleaned, locations, used):
    promised = cleaned(apply=False).freed_bytes
    before = used()
    assert cleaned().freed_bytes == promised > 100_000
    assert before - used() == promised


def answers(past, locations, run_id, model):
    """The answers of a run, by two names: in the artifact and beside the page."""
    artifact = past.examples(model) / "predictions.parquet"
    artifact.write_bytes(bytes(70_000))
    os.link(artifact, locations.runs / run_id / "predictions.parquet")


def test_a_file_with_two_names_counts_once(four, past, cleaned, locations, used):
    answers(past, locations, "20260102-120000", "b")
    before = used()
    promised = cleaned().freed_bytes
    assert before - used() == promised
    assert not (locations.runs / "20260102-120000" / "predictions.parquet").exists()


def test_a_file_that_keeps_a_name_frees_nothing(past, cleaned, locations, used):
    """The outdated run's answers are those of the run that stays, too."""
    past.run("20260101-120000", "a", push=False)
    past.run("20260102-120000", "a", push=False)
    answers(past, locations, "20260101-120000", "a")
    before = used()
    assert cleaned().freed_bytes == 0
    assert used() == before
    assert (past.examples("a") / "predictions.parquet").exists()


def test_without_apply_nothing_changes(four, past, cleaned, locations, digest_of):
    before, states = digest_of(locations.artifacts), past.states()
    assert cleaned(apply=False).freed_bytes
    assert digest_of(locations.artifacts) == before
    assert past.states() == states


def test_a_second_clean_finds_nothing(four, cleaned):
    cleaned()
    assert cleaned().freed_bytes == 0


def test_receipts_and_pages_stay(four, cleaned, locations):
    page = locations.runs / "20260102-120000" / "review.html"
    page.write_text("the page")
    cleaned()
    assert page.read_text() == "the page"
    assert len(list(locations.runs.glob("*/receipt.json"))) == 4


LEFTOVERS = (
    "artifacts/Trainer/model/77/half",
    "artifacts/Trainer/.system/executor_execution/8/.temp/file",
    "artifacts/Trainer/.system/stateful_working_dir/1234/file",
    "runs/20260104-120000/tmp/file",
    "serving/.incoming-99-1/file",
    "serving/.outgoing-98/file",
    "serving/.kept/97/file",
)


def leave(locations):
    for name in LEFTOVERS:
        (locations.root / name).parent.mkdir(parents=True)
        (locations.root / name).write_bytes(bytes(9_000))


def test_what_killed_runs_left_goes(four, cleaned, locations, used):
    leave(locations)
    before = used()
    promised = cleaned().freed_bytes
    assert before - used() == promised
    assert not any((locations.root / name).parent.exists() for name in LEFTOVERS)


def test_of_a_link_in_the_place_of_a_folder_the_link_alone_goes(
    four, past, cleaned, locations, tmp_path
):
    """Somebody moved things to another disk, and left links."""
    outdated = past.states()
    model = next(folder for folder in outdated if not folder.is_symlink())
    scratch = locations.runs / "20260102-120000" / "tmp"
    scratch.mkdir()
    elsewhere = {}
    for number, folder in enumerate((model, scratch)):
        elsewhere[folder] = tmp_path / f"disk-{number}"
        folder.rename(elsewhere[folder])
        folder.symlink_to(elsewhere[folder])
    for folder in elsewhere.values():
        (folder / "large").write_bytes(bytes(10**7))
    # What the links lead to stays, and frees nothing.
    assert cleaned().freed_bytes < 10**7
    assert not any(folder.is_symlink() for folder in elsewhere)
    assert all(folder.exists() for folder in elsewhere.values())


def ended(status):
    return {"status": status, "seconds": 1.0, "code_fingerprint": None}


@pytest.mark.parametrize(
    ("last", "stays"),
    [
        # Where ML Metadata knew nothing of a run that was killed.
        ({"status": "interrupted", "nodes": {}}, True),
        ({"status": "interrupted", "nodes": {"Trainer": ended("interrupted")}}, True),
        ({"status": "failed", "nodes": {"Trainer": ended("failed")}}, True),
        ({"status": "failed", "nodes": {"Trainer": ended("not run")}}, False),
        ({"status": "completed"}, False),
    ],
)
def test_the_snapshot_of_a_training_stays_while_a_run_may_go_on_from_it(
    four, past, cleaned, locations, last, stays
):
    """Whatever the clock said: it was set to the future when the snapshot was written."""
    failure = {"node": None, "message": "the run was interrupted", "changes": []}
    past.run("20260105-120000", "e", push=False, **{"failure": failure, "verdict": "none"} | last)
    snapshot = locations.artifacts / "Trainer" / "backups" / "abc" / "snapshot-00001" / "state"
    snapshot.parent.mkdir(parents=True)
    snapshot.write_text("state")
    ahead = datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC).timestamp()
    for path in (snapshot, *snapshot.parents[:3]):
        os.utime(path, (ahead, ahead))
    cleaned()
    assert snapshot.exists() == stays


@pytest.mark.parametrize("age", [None, datetime.timedelta(days=30)])
def test_the_newest_runs_stay_whatever_the_clock_said(past, cleaned, age):
    past.run("20991231-120000", "a", push=False)
    past.run("20260101-120000", "b", push=False)
    assert cleaned(Policy(1, age, None)).staying_runs == ["20260101-120000"]


def test_a_clean_that_was_killed_between_mark_and_removal_is_finished_by_the_next(
    four, past, cleaned, locations, monkeypatch
):
    promised = cleaned(apply=False).freed_bytes
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", interrupted)
        cleaned()
    assert past.states()[past.examples("b")] == "DELETED"
    assert past.examples("b").exists()
    assert cleaned().freed_bytes == promised
    assert there(past) == {"d"}


def interrupted(*_):
    raise KeyboardInterrupt


def test_what_cannot_be_removed_is_told(four, cleaned, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(OutputError, match=r"cannot be removed \(Permission denied\).* clean again"):
        cleaned()


def test_on_a_full_disk_what_ml_metadata_does_not_know_goes_first(
    four, past, cleaned, locations, full_disk
):
    leave(locations)
    answers(past, locations, "20260102-120000", "b")
    older = locations.serving / str(versions.served_versions(locations.serving)[0])
    policy = Policy(1, None, keep_versions=1)

    told = r"metadata\.db cannot note which artifacts go .* expected .* clean again"
    with full_disk(), pytest.raises(OutputError, match=told):
        cleaned(policy)
    assert not any((locations.root / name).parent.exists() for name in LEFTOVERS)
    assert not (locations.runs / "20260102-120000" / "predictions.parquet").exists()
    assert not older.exists()
    # What the cache may still give is there.
    assert all(folder.exists() for folder in past.states())
    cleaned(policy)
    assert there(past) == {"d"}


def test_older_versions_are_withdrawn_on_demand_alone(four, past, cleaned, locations):
    first, second = versions.served_versions(locations.serving)
    report = cleaned(Policy(1, None, keep_versions=1))
    assert report.withdrawn_versions == [first]
    assert versions.served_versions(locations.serving) == [second]
    assert not versions.kept_folder(locations.serving, first).exists()
    assert versions.kept_folder(locations.serving, second).exists()


def test_the_version_that_an_unchanged_run_stands_for_is_not_withdrawn(
    past, cleaned, locations, sound_versions
):
    """It was rolled back from; without it, the next run would push its model again."""
    first = past.run("20260101-120000", "a").pushed_version
    second = past.run("20260102-120000", "b").pushed_version
    third = rollback.rollback(locations, None).new_version
    assert cleaned(Policy(None, None, keep_versions=1)).withdrawn_versions == [first]
    assert versions.served_versions(locations.serving) == [second, third]


def test_the_newest_version_is_never_withdrawn(four, cleaned, locations):
    cleaned(Policy(None, None, keep_versions=5))
    assert len(versions.served_versions(locations.serving)) == 2


def test_artifacts_of_a_copied_folder_are_left_alone(four, locations, tmp_path):
    """ML Metadata knows them by their old place: nothing says that they are not needed."""
    copy = tmp_path / "copy"
    shutil.copytree(locations.root.parent, copy)
    before = sorted((copy / "clothes" / "artifacts").rglob("*"))
    original = sorted(locations.artifacts.rglob("*"))
    clean.clean(LAST, None, copy, True)
    assert sorted((copy / "clothes" / "artifacts").rglob("*")) == before
    assert sorted(locations.artifacts.rglob("*")) == original


def moved(output_dir, big):
    """All results are on another disk now."""
    output_dir.rename(big)
    return big


def linked(output_dir, big):
    """They are, and a link is in their old place."""
    output_dir.rename(big)
    output_dir.symlink_to(big)
    return output_dir


def linked_pipeline(output_dir, big):
    """Runs record where a link of the pipeline leads to."""
    big.mkdir()
    (big / "clothes").symlink_to(output_dir / "clothes")
    return big


@pytest.fixture(params=[moved, linked, linked_pipeline], ids=lambda move: move.__name__)
def move(request, past, output_dir, tmp_path):
    """Moves the results; runs and `clean` find them in the folder that it returns from then on."""

    def moved_to():
        folder = request.param(output_dir, tmp_path / "big")
        past.locations = Locations(folder.resolve() / "clothes")
        past.store = open_store(past.locations.metadata)
        return folder

    return moved_to


def here(past, folder):
    """Where an artifact is now that ML Metadata has in this folder."""
    return past.locations.artifacts.joinpath(*folder.parts[-3:])


def test_where_results_moved_to_the_same_artifacts_go(four, past, cleaned, move, used_bytes):
    promised = cleaned(apply=False)
    folder = move()
    (pipeline,) = clean.clean(LAST, None, folder, False).pipelines
    assert pipeline == promised

    before = used_bytes(past.locations.root.resolve())
    clean.clean(LAST, None, folder, True)
    assert before - used_bytes(past.locations.root.resolve()) == promised.freed_bytes > 100_000
    assert {name for name in past.made if here(past, past.examples(name)).exists()} == {"d"}
    for old, state in past.states().items():
        assert (state == "LIVE") == here(past, old).exists(), old
    assert clean.clean(LAST, None, folder, True).freed_bytes == 0


def test_where_results_moved_to_what_is_needed_stays(past, move, digest_of):
    """The last run took the model of the first from the cache; the served one was made between."""
    past.run("20260101-120000", "a", push=False)
    past.run("20260102-120000", "b")
    past.run("20260103-120000", "c", push=False)
    folder = move()
    past.run("20260104-120000", "a", push=False)
    needed = [past.locations.serving, here(past, past.model("a")), here(past, past.model("c"))]
    before = [digest_of(each) for each in needed]
    (pipeline,) = clean.clean(LAST, None, folder, True).pipelines
    assert [digest_of(each) for each in needed] == before
    assert not here(past, past.model("b")).exists()
    assert "artifacts in other folders" not in pipeline.keeps


def test_the_record_of_the_push_of_a_served_version_stays_where_it_moved_to(four, past, move):
    served = versions.served_versions(past.locations.serving)[-1]
    blessing = past.made["c"][2]
    blessing.custom_properties["pushed_version"].string_value = str(served)
    past.store.put_artifacts([blessing])
    folder = move()
    clean.clean(LAST, None, folder, True)
    assert here(past, pathlib.Path(blessing.uri)).exists()
    assert not here(past, past.model("c")).exists()


def test_a_rollback_is_told_of_after_its_version_was_withdrawn(
    four, past, cleaned, locations, sound_versions
):
    done = rollback.rollback(locations, None)
    past.run("20260105-120000", "e")
    cleaned(Policy(None, None, keep_versions=1))
    assert done.new_version not in versions.served_versions(locations.serving)
    assert rollbacks.recorded(locations.serving) == [done]


def test_a_folder_that_was_renamed_is_not_cleaned(four, output_dir, locations, digest_of):
    """ML Metadata knows its artifacts by the old name: all of them would count as leftovers."""
    renamed = locations.root.rename(output_dir / "renamed")
    before = digest_of(renamed / "artifacts")
    with pytest.raises(UsageError, match=f"has runs of the pipeline {locations.root.name}; exp"):
        clean.clean(LAST, None, output_dir, apply=True)
    assert digest_of(renamed / "artifacts") == before


def unmounted(path):
    """As where a link leads to a disk that is not mounted."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.parent / "not mounted" / path.name)


def emptied(path):
    """As where the place of a disk that is not mounted is a folder."""
    path.rename(path.with_name("elsewhere"))
    path.mkdir()


def a_file(path):
    path.rename(path.with_name("elsewhere"))
    path.touch()


@pytest.mark.parametrize(
    ("name", "lose", "told"),
    [
        ("runs", unmounted, "runs is a link that leads nowhere; expected what it led to"),
        ("runs", emptied, "runs has no run, though ML Metadata knows what runs made; expected"),
        ("runs", a_file, "runs is no folder; expected the folders of the runs"),
        ("metadata.db", unmounted, "metadata.db is a link that leads nowhere; expected"),
    ],
)
def test_without_the_disk_of_the_runs_nothing_is_cleaned(
    four, output_dir, locations, digest_of, name, lose, told
):
    """All artifacts counted as outdated, or as leftovers."""
    lose(locations.root / name)
    before = digest_of(locations.artifacts)
    with pytest.raises(UsageError, match=told):
        clean.clean(LAST, None, output_dir, apply=True)
    assert digest_of(locations.artifacts) == before


def test_a_pipeline_at_work_is_not_cleaned(four, past, output_dir, locations):
    with lock.exclusive(locations.lock, "run"), pytest.raises(LockHeldError):
        clean.clean(LAST, None, output_dir, True)
    assert there(past) == {"a", "b", "c", "d"}


def test_only_the_named_pipeline_is_cleaned(four, past, output_dir):
    (output_dir / "shoes" / "runs").mkdir(parents=True)
    clean.clean(LAST, "shoes", output_dir, True)
    assert there(past) == {"a", "b", "c", "d"}


def test_an_unknown_pipeline_and_an_empty_folder_are_refused(four, output_dir, tmp_path):
    with pytest.raises(UnknownRunError, match="no pipeline 'hats'"):
        clean.clean(LAST, "hats", output_dir, True)
    with pytest.raises(UnknownRunError, match="nothing has run below"):
        clean.clean(LAST, None, tmp_path / "empty", True)


def test_it_says_what_it_frees_and_what_it_keeps_and_why(four, cleaned):
    found = cleaned(apply=False)
    assert found.pipeline == "clothes"
    assert {"artifacts of ExampleGen", "artifacts of Trainer"} <= set(found.frees)
    kept = "served versions", "artifacts of kept runs"
    assert {*kept, "receipts, pages and logs of all runs"} <= set(found.keeps)


@given(
    ages=st.lists(st.integers(0, 100), max_size=8),
    keep=st.none() | st.integers(1, 9),
    days=st.none() | st.integers(0, 100),
)
def test_a_run_is_outdated_where_every_rule_says_so(ages, keep, days):
    now = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
    runs = [
        Receipt.model_construct(run_id=str(number), began=now - datetime.timedelta(days=age))
        for number, age in enumerate(sorted(ages, reverse=True))
    ]
    older = None if days is None else datetime.timedelta(days=days)
    found = Policy(keep, older, None).outdated(runs, now)
    for position, age in enumerate(sorted(ages, reverse=True)):
        beyond = keep is None or len(runs) - position > keep
        old = days is None or age >= days
        ruled = keep is not None or days is not None
        assert (str(position) in found) == (ruled and beyond and old)


@pytest.mark.parametrize(
    ("text", "hours"), [("12h", 12), ("30d", 720), ("2w", 336), ("0d", 0), ("99999w", 16_799_832)]
)
def test_an_age_is_hours_days_or_weeks(text, hours):
    assert clean.make_policy(None, text, None).older_than == datetime.timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "30", "d", "1.5d", "-1d", "30 d", "30m", "999999w", "٣d"])
def test_what_is_no_age_is_refused(text):
    with pytest.raises(UsageError, match="no age; expected hours, days or weeks"):
        clean.make_policy(None, text, None)


def test_a_policy_without_a_rule_is_refused():
    with pytest.raises(UsageError, match="no rule says what is outdated"):
        clean.make_policy(None, None, None)


def test_runs_that_cannot_be_listed_keep_it_from_removing_anything(
    four, cleaned, locations, digest_of, monkeypatch
):
    """Or everything that they need would count as needed by nobody."""
    before = digest_of(locations.artifacts)
    listed = pathlib.Path.iterdir

    def forbidden(folder):
        if folder == locations.runs:
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(pathlib.Path, "iterdir", forbidden)
    with pytest.raises(PermissionError):
        cleaned()
    monkeypatch.undo()
    assert digest_of(locations.artifacts) == before
