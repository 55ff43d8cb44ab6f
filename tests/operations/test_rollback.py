"""Rollback: what is gone back to, what is refused, and what the next run compares with."""

import datetime
import json
import os
import shutil
import subprocess
import sys

import pytest

from components.pusher import rollbacks, versions
from operations import rollback
from pipeline import lock
from pipeline.errors import LockHeldError, OutputError, UnknownRunError, UsageError
from pipeline.records import baseline


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """What ServingCheck is asked, in place of loading exports that are none: all are sound."""
    questions = []
    monkeypatch.setattr(rollback, "check_export", lambda *asked: questions.append(asked) or [])
    return questions


@pytest.fixture
def pushed(past):
    """Pushes these models in turn; returns their versions."""

    def push(*models):
        return [
            past.run(f"2026010{day}-120000", model).pushed_version
            for day, model in enumerate(models, 1)
        ]

    return push


def content(locations, version):
    return (locations.serving / str(version) / "saved_model.pb").read_text()


def served(locations):
    return versions.served_versions(locations.serving)


def kept(locations, version):
    return versions.kept_folder(locations.serving, version)


def resolved(past):
    """What the next run compares with."""
    baseline.register_served(past.store, "clothes", past.locations)
    context = past.store.get_context_by_type_and_name("pipeline", "clothes")
    return baseline.latest_blessed(past.store, context.id).model.uri


def test_nothing_is_checked_where_no_higher_number_is_left(pushed, locations, asked):
    pushed("a", "b")
    (locations.serving / "1764324848123456789").mkdir()
    with pytest.raises(UsageError, match="1764324848123456789 has so high a number"):
        rollback.rollback(locations, None)
    assert asked == []


def test_the_version_before_is_served_again_under_a_higher_number(pushed, locations):
    first, second = pushed("a", "b")
    done = rollback.rollback(locations, None)
    assert (done.rolled_back_from, done.rolled_back_to) == (second, first)
    assert served(locations) == [first, second, done.new_version]
    assert content(locations, done.new_version) == "a"


def test_the_target_is_checked_with_its_golden_questions(pushed, past, locations, asked):
    first, _ = pushed("a", "b")
    rollback.rollback(locations, None)
    ((export, golden, names),) = asked
    assert export == str(locations.serving / str(first))
    assert golden == str(kept(locations, first) / "golden.npz")
    assert names == ("[bold]x", "Boot")


def test_the_next_run_compares_with_what_is_served_then(pushed, past, locations):
    pushed("a", "b")
    assert resolved(past) == str(past.model("b"))
    rollback.rollback(locations, None)
    assert resolved(past) == str(past.model("a"))


def test_neither_artifacts_nor_ml_metadata_are_needed(pushed, locations):
    first, second = pushed("a", "b")
    shutil.rmtree(locations.artifacts)
    locations.metadata.unlink()
    done = rollback.rollback(locations, None)
    assert (done.rolled_back_from, done.rolled_back_to) == (second, first)
    assert rollbacks.recorded(locations.serving) == [done]
    assert not locations.metadata.exists()


def test_what_was_rolled_back_is_withdrawn_until_it_is_served_again(pushed, locations):
    first, second = pushed("a", "b")
    assert rollbacks.withdrawn(locations.serving) == {}
    rollback.rollback(locations, None)
    (digest, words), (answers, same) = rollbacks.withdrawn(locations.serving).items()
    assert digest == versions.content_digest(locations.serving / str(second))
    assert answers == rollbacks.answers_digest(kept(locations, second))
    assert words == same
    assert words.startswith(f"version {second} was rolled back by ")
    rollback.rollback(locations, second)
    assert list(rollbacks.withdrawn(locations.serving)) == [
        versions.content_digest(locations.serving / str(first)),
        rollbacks.answers_digest(kept(locations, first)),
    ]


def test_a_model_that_was_only_trained_again_is_no_earlier_version(pushed, locations):
    """Its export has other bytes, and it answers the reference images alike."""
    first, second, third = pushed("a", "b", "c")
    golden = (kept(locations, second) / "golden.npz").read_bytes()
    (kept(locations, third) / "golden.npz").write_bytes(golden)
    known = {version.number: version for version in rollback.read_versions(locations)}
    assert known[second].obstacle == "it is the same model as the served version"
    assert rollback.rollback(locations, None).rolled_back_to == first


def test_what_was_rolled_back_is_known_by_its_weights(pushed, past, locations):
    """Its reference images are test images, which may change; they have no part in the weights."""
    past.weights |= {"a": [1.0], "b": [2.0]}
    first, second = pushed("a", "b")
    weights = {
        version: rollbacks.kept_digests(kept(locations, version)).weights
        for version in (first, second)
    }
    rollback.rollback(locations, None)
    withdrawn = rollbacks.withdrawn(locations.serving)
    assert withdrawn[weights[second]].startswith(f"version {second} was rolled back by ")
    assert weights[first] not in withdrawn
    rollback.rollback(locations, second)
    withdrawn = rollbacks.withdrawn(locations.serving)
    assert weights[first] in withdrawn
    assert weights[second] not in withdrawn


def test_a_model_of_the_same_weights_is_no_earlier_version(pushed, past, locations):
    past.weights |= {"a": [1.0], "b": [2.0], "c": [2.0]}
    first, _, _ = pushed("a", "b", "c")
    assert rollback.rollback(locations, None).rolled_back_to == first


def test_another_export_of_the_same_weights_is_served_where_a_person_asks_for_it(
    pushed, past, locations
):
    past.weights |= {"b": [2.0], "c": [2.0]}
    _, second, _ = pushed("a", "b", "c")
    assert rollback.rollback(locations, second).rolled_back_to == second


def test_a_damaged_file_of_weights_does_not_keep_from_a_rollback(pushed, locations, caplog):
    first, second = pushed("a", "b")
    damaged = kept(locations, second) / "model.keras"
    damaged.write_text("damaged")
    assert rollback.rollback(locations, None).rolled_back_to == first
    assert f"{damaged} cannot be read" in caplog.text


def test_a_record_without_weights_is_read(pushed, locations):
    _, second = pushed("a", "b")
    done = rollback.rollback(locations, None)
    path = locations.serving / ".rollbacks" / f"{done.new_version}.json"
    record = json.loads(path.read_text())
    del record["withdrawn_weights"], record["restored_weights"]
    path.write_text(json.dumps(record))
    assert versions.content_digest(locations.serving / str(second)) in rollbacks.withdrawn(
        locations.serving
    )


def test_no_run_needs_to_be_known(pushed, locations, output_dir):
    first, second = pushed("a", "b")
    shutil.rmtree(locations.runs)
    listed = rollback.read_versions(rollback.find_serving(output_dir, None, None))
    assert [(version.number, version.run) for version in listed] == [(first, None), (second, None)]
    done = rollback.rollback(locations, None)
    assert (done.rolled_back_from, done.rolled_back_to) == (second, first)


def test_what_is_kept_goes_along(pushed, locations):
    first, _ = pushed("a", "b")
    done = rollback.rollback(locations, None)
    for version in (first, done.new_version):
        assert (kept(locations, version) / "golden.npz").read_text() == "questions for a"


def test_a_record_that_is_damaged_is_left_out_with_a_warning(pushed, locations, caplog):
    pushed("a", "b")
    done = rollback.rollback(locations, None)
    path = locations.serving / ".rollbacks" / f"{done.new_version}.json"
    for content in ("", "[]", "{", '{"user": "me"}'):
        path.write_text(content)
        assert rollbacks.recorded(locations.serving) == []
        assert str(path) in caplog.text


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_record_that_is_a_pipe_or_a_device_is_left_out_unopened(locations, caplog, make):
    path = locations.serving / ".rollbacks" / "17.json"
    path.parent.mkdir(parents=True)
    make(path)
    assert rollbacks.recorded(locations.serving) == []
    assert "it is not a regular file" in caplog.text


def test_a_version_can_be_named(pushed, locations):
    first, _, _ = pushed("a", "b", "c")
    done = rollback.rollback(locations, first)
    assert content(locations, done.new_version) == "a"


def test_versions_of_the_same_content_are_passed_over(pushed, past, locations):
    """Somebody published the served model a second time."""
    first, second = pushed("a", "b")
    again = versions.publish(locations.serving / str(second), locations.serving)
    done = rollback.rollback(locations, None)
    assert (done.rolled_back_from, done.rolled_back_to) == (again, first)


def test_a_second_rollback_goes_further_back_and_not_to_what_was_left(pushed, locations):
    first, second, _ = pushed("a", "b", "c")
    assert rollback.rollback(locations, None).rolled_back_to == second
    assert rollback.rollback(locations, None).rolled_back_to == first
    with pytest.raises(UnknownRunError, match="nothing was served"):
        rollback.rollback(locations, None)


def test_what_was_rolled_back_from_can_be_named(pushed, locations):
    _, second = pushed("a", "b")
    rollback.rollback(locations, None)
    assert content(locations, rollback.rollback(locations, second).new_version) == "b"


def test_a_model_that_is_pushed_after_a_rollback_can_be_rolled_back(pushed, past, locations):
    pushed("a", "b")
    back = rollback.rollback(locations, None)
    past.run("20260109-120000", "c")
    assert rollback.rollback(locations, None).rolled_back_to == back.new_version


def refuses(locations, to, words):
    before = served(locations)
    with pytest.raises(UsageError, match=words) as caught:
        rollback.rollback(locations, to)
    assert "\n" not in str(caught.value)
    assert served(locations) == before
    assert rollbacks.recorded(locations.serving) == []
    assert caught.value.exit_code == 2


def test_an_unknown_version_is_refused_with_those_that_are_known(pushed, locations):
    first, second = pushed("a", "b")
    refuses(locations, 17, f"no version 17 .* newest first: {second}, {first}")


def test_a_single_version_has_none_before_it(pushed, locations):
    (first,) = pushed("a")
    refuses(locations, None, f"nothing was served below .* before version {first}")


def test_what_is_served_is_no_target(pushed, locations):
    _, second = pushed("a", "b")
    refuses(locations, second, "it is served now")


def test_a_target_that_fails_its_check_is_refused(pushed, locations, monkeypatch):
    pushed("a", "b")
    monkeypatch.setattr(rollback, "check_export", lambda *_: ["it is off", "and odd"])
    refuses(locations, None, "cannot be rolled back to: it is off; and odd. Expected")


SPOILED = {
    "files": (
        lambda export, kept: (export / "saved_model.pb").write_text("other"),
        r"the files in .*\d are not those that were published",
    ),
    "no questions": (lambda export, kept: shutil.rmtree(kept), "reference images are gone"),
    "questions": (
        lambda export, kept: (kept / "golden.npz").write_text("others"),
        r"golden\.npz was changed since it was published",
    ),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_target_that_is_not_as_it_was_published_is_refused(pushed, locations, asked, case):
    spoil, words = SPOILED[case]
    first, _ = pushed("a", "b")
    spoil(locations.serving / str(first), kept(locations, first))
    refuses(locations, None, words)
    assert asked == []


def test_a_served_model_that_is_damaged_can_be_rolled_back_from(pushed, locations):
    first, second = pushed("a", "b")
    (locations.serving / str(second) / "saved_model.pb").write_text("damaged")
    assert rollback.rollback(locations, first).rolled_back_to == first


def test_where_nothing_is_served_there_is_nothing_to_roll_back(past, locations, output_dir):
    past.run("20260101-120000", "a", push=False)
    with pytest.raises(UnknownRunError, match="no model has been pushed"):
        rollback.find_serving(output_dir, None, None)
    with pytest.raises(UnknownRunError, match="no model has been pushed"):
        rollback.rollback(locations, None)


def gone(serving):
    serving.rename(serving.with_name("elsewhere"))


def linked_to_nowhere(serving):
    gone(serving)
    serving.symlink_to(serving.with_name("unmounted"))


def emptied(serving):
    gone(serving)
    serving.mkdir()


def replaced_by_a_file(serving):
    gone(serving)
    serving.touch()


@pytest.mark.parametrize("lose", [gone, linked_to_nowhere, emptied, replaced_by_a_file])
def test_where_the_served_versions_are_gone_no_other_model_is_asked_for(
    pushed, locations, output_dir, light_command, lose
):
    """A new model would be pushed without a comparison."""
    _, second = pushed("a", "b")
    lose(locations.serving)
    is_folder = lose in (gone, emptied)
    loss = f"version {second} was served when run 20260102-120000 began or ended, and "
    missing = f"{loss}{locations.serving} holds none now"
    told = missing if is_folder else f"{locations.serving} is no folder"
    line = f"error: {told}; expected the folder of the served versions. Mount it, or put it back"
    by_name = ("--pipeline", locations.root.name)
    for words in (
        ("rollback", "--list"),
        ("rollback", "--list", *by_name),
        ("rollback", "--dry-run", *by_name),
        ("rollback", *by_name),
        ("predict", "image.png"),
        ("predict", "image.png", *by_name),
    ):
        answer = light_command(*words, "--output-dir", output_dir)
        assert (answer.code, answer.errors.count("\n")) == (2, 1), words
        assert answer.errors.startswith(line), words


def test_a_model_that_was_given_up_is_not_missed(pushed, past, locations, output_dir):
    """A run by hand, to its end, said that none is to be there."""
    pushed("a")
    gone(locations.serving)
    past.run("20260102-120000", "b", push=False)
    with pytest.raises(UnknownRunError, match="no model has been pushed"):
        rollback.find_serving(output_dir, None, None)


def test_a_copy_that_fails_changes_nothing(pushed, locations, monkeypatch):
    pushed("a", "b")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(versions, "publish", full)
    before = served(locations)
    with pytest.raises(OutputError, match=r"No space left on device.* Nothing was changed"):
        rollback.rollback(locations, None)
    assert served(locations) == before
    assert rollbacks.recorded(locations.serving) == []


def test_it_waits_for_nobody(pushed, locations):
    pushed("a", "b")
    with lock.exclusive(locations.lock, "run"), pytest.raises(LockHeldError):
        rollback.rollback(locations, None)


def test_checking_a_version_changes_nothing(pushed, locations, asked):
    first, second = pushed("a", "b")
    assert rollback.check(locations, None).version == first
    assert len(asked) == 1
    assert served(locations) == [first, second]


def test_each_version_says_whether_it_can_be_taken(pushed, past, locations):
    first, second, third = pushed("a", "b", "c")
    shutil.rmtree(kept(locations, second))
    found = rollback.read_versions(locations)
    assert [(version.number, version.obstacle) for version in found] == [
        (first, None),
        (second, "its reference images are gone, so it cannot be checked"),
        (third, "it is served now"),
    ]
    assert found[0].run.run_id == "20260101-120000"
    assert found[0].accuracy == past.template.evaluation.accuracy
    assert found[0].digest == versions.content_digest(locations.serving / str(first))


def test_a_damaged_version_has_the_digest_of_what_is_there(pushed, locations):
    first, _ = pushed("a", "b")
    export = locations.serving / str(first)
    (export / "saved_model.pb").write_text("other")
    damaged = rollback.read_versions(locations)[0]
    assert damaged.digest == versions.content_digest(export)
    assert damaged.obstacle == f"the files in {export} are not those that were published"


def test_a_version_that_a_rollback_made_has_the_run_of_its_content(pushed, locations):
    pushed("a", "b")
    done = rollback.rollback(locations, None)
    newest = rollback.read_versions(locations)[-1]
    assert (newest.number, newest.run.run_id) == (done.new_version, "20260101-120000")
    assert newest.published == done.time


def test_a_version_was_published_when_its_number_says_and_not_when_its_run_began(
    past, locations, monkeypatch
):
    moment = datetime.datetime(2026, 1, 1, 12, 34, 56, tzinfo=datetime.UTC)
    monkeypatch.setattr(versions.time, "time", moment.timestamp)
    past.run("20260101-120000", "a")
    (found,) = rollback.read_versions(locations)
    assert found.published == "2026-01-01T12:34:56+00:00"


def test_a_version_that_is_no_time_is_read(past, locations):
    (locations.serving / "20260101120000").mkdir(parents=True)
    past.run("20260101-120000", "a")
    found = rollback.read_versions(locations)
    assert [version.published for version in found] == [None, None]


def test_two_pipelines_that_serve_something_must_be_told_apart(pushed, locations, output_dir):
    first, _ = pushed("a", "b")
    other = output_dir / "shoes"
    (other / "runs").mkdir(parents=True)
    (other / "serving" / "5").mkdir(parents=True)
    with pytest.raises(UsageError, match="clothes, shoes serve models"):
        rollback.find_serving(output_dir, None, None)
    assert rollback.find_serving(output_dir, None, first) == locations
    assert rollback.find_serving(output_dir, "shoes", None).root == other
    with pytest.raises(UnknownRunError, match="no pipeline 'hats'"):
        rollback.find_serving(output_dir, "hats", None)


def test_no_other_pipeline_goes_back_where_the_disk_of_one_is_gone(pushed, locations, output_dir):
    pushed("a", "b")
    (output_dir / "shoes" / "runs").mkdir(parents=True)
    (output_dir / "shoes" / "serving" / "5").mkdir(parents=True)
    shutil.rmtree(locations.serving)
    with pytest.raises(UsageError, match="clothes, shoes serve models, or served some before"):
        rollback.find_serving(output_dir, None, None)


# Writes two models that answer with a number each, then loads the newest version again and again.
READER = """
import pathlib, sys
import tensorflow as tf

class Model(tf.Module):
    def __init__(self, number):
        self.number = tf.Variable(number)

    @tf.function(input_signature=[])
    def __call__(self):
        return self.number

exports, serving = map(pathlib.Path, sys.argv[1:])
for name, number in (("a", 1.0), ("b", 2.0)):
    tf.saved_model.save(Model(number), str(exports / name))
print("written", flush=True)
while not serving.is_dir():
    pass
while True:
    numbers = [int(entry.name) for entry in serving.iterdir() if entry.name.isdigit()]
    if numbers:
        answer = tf.saved_model.load(str(serving / str(max(numbers))))()
        print(max(numbers), float(answer), flush=True)
"""


@pytest.fixture
def reader(past, locations, tmp_path):
    """A process that loads the newest version in a loop and says what it answers."""
    for name in "ab":
        past.exports[name] = tmp_path / "exports" / name
    arguments = [tmp_path / "exports", locations.serving]
    with (tmp_path / "errors.txt").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", READER, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    with process:
        assert process.stdout.readline() == "written\n", (tmp_path / "errors.txt").read_text()
        yield process
        process.kill()


@pytest.mark.slow
def test_a_reader_of_the_newest_version_never_fails(reader, past, locations, tmp_path):
    """Through 25 pushes and 25 rollbacks."""

    def is_read(version, number):
        for line in reader.stdout:
            read, answer = line.split()
            if int(read) == version:
                assert float(answer) == number
                return
        pytest.fail((tmp_path / "errors.txt").read_text())

    is_read(past.run("20260101-000000", "a").pushed_version, 1.0)
    for step in range(25):
        pushed = past.run(f"20260102-0000{step:02d}", "b").pushed_version
        is_read(pushed, 2.0)
        done = rollback.rollback(locations, None)
        assert done.rolled_back_from == pushed
        is_read(done.new_version, 1.0)
    assert len(served(locations)) == 51


@pytest.mark.parametrize(
    "change", [{"rolled_back_to": 99999999999}, {"rolled_back_to": [1]}, {"user": 7}]
)
def test_a_damaged_record_is_left_out_with_one_line(pushed, locations, caplog, change):
    """One that led to itself would make a chain of rollbacks without an end."""
    pushed("a", "b")
    done = rollback.rollback(locations, None)
    (path,) = versions.rollback_files(locations.serving)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert rollbacks.recorded(locations.serving) == []
    assert (
        rollbacks.origin(done.new_version, rollbacks.recorded(locations.serving))
        == done.new_version
    )
    assert len({record.getMessage() for record in caplog.records}) == 1
