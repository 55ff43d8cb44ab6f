"""The push: only with both blessings, and only once per model."""

import json

import pytest
from google.protobuf import json_format
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts

from components.object_store import ObjectStoreError
from components.pusher import bucket as served_bucket
from components.pusher import guard, rollbacks, versions
from components.pusher.executor import Executor, ServedModelChangedError, WithdrawnModelError
from tests.made_models import write_keras


@pytest.fixture
def push(tmp_path, base, make_export):
    """Pushes a model like the Pusher node; returns its output artifact."""
    numbers = iter(range(1, 100))

    def pushed(
        weights=b"weights",
        blessed=True,
        infra_blessed=True,
        lost=False,
        served=None,
        locked=None,
        bucket=None,
        withdrawn=None,
        compared=None,
        golden=None,
        trained=None,
    ):
        number = next(numbers)
        model = standard_artifacts.Model()
        model.uri = str(tmp_path / f"model{number}")
        make_export(tmp_path / f"model{number}" / "Format-Serving", weights)
        if golden is not None:
            (tmp_path / f"model{number}" / "golden.npz").write_bytes(golden)
        if trained is not None:
            write_keras(tmp_path / f"model{number}", kernel=trained)
        blessing = standard_artifacts.ModelBlessing()
        blessing.set_int_custom_property("blessed", int(blessed))
        if served is None:
            # On a cluster, Blessing says what it compared with.
            told = versions.identity(base) if compared is None else compared
            blessing.set_string_custom_property(versions.SERVED_IDENTITY, told)
        infra = standard_artifacts.InfraBlessing()
        infra.set_int_custom_property("blessed", int(infra_blessed))
        export = tmp_path / f"model{number}" / "Format-Serving"
        infra.set_string_custom_property(versions.CHECKED_EXPORT, versions.content_digest(export))
        if lost:
            next(path for path in sorted(export.rglob("*")) if path.is_file()).unlink()
        output = standard_artifacts.PushedModel()
        output.uri = str(tmp_path / f"pushed{number}")
        destination = pusher_pb2.PushDestination()
        destination.filesystem.base_directory = str(base)
        inputs = {"model": [model], "model_blessing": [blessing], "infra_blessing": [infra]}
        parameters = {"push_destination": json_format.MessageToJson(destination)}
        given = {"served": served, "locked": locked, "bucket": bucket}
        given["withdrawn"] = withdrawn
        if custom := {key: value for key, value in given.items() if value is not None}:
            parameters["custom_config"] = json.dumps(custom)
        Executor().Do(inputs, {"pushed_model": [output]}, parameters)
        return output

    return pushed


def test_a_model_with_both_blessings_is_pushed(push, base, tmp_path):
    output = push()
    (version,) = versions.served_versions(base)
    assert output.get_int_custom_property("pushed") == 1
    assert output.get_string_custom_property("pushed_version") == str(version)
    assert output.get_string_custom_property("pushed_destination") == str(base / str(version))
    served = versions.content_digest(base / str(version))
    assert served == versions.content_digest(tmp_path / "model1" / "Format-Serving")


@pytest.mark.parametrize(
    ("blessed", "infra_blessed"), [(False, True), (True, False), (False, False)]
)
def test_a_model_that_lacks_a_blessing_is_not_pushed(push, base, blessed, infra_blessed):
    output = push(blessed=blessed, infra_blessed=infra_blessed)
    assert output.get_int_custom_property("pushed") == 0
    assert not output.get_string_custom_property("pushed_version")
    assert versions.served_versions(base) == []


def test_an_export_that_is_no_longer_the_one_that_was_checked_is_not_pushed(push, base):
    """Its nodes came from the cache, and a file of it was lost in between."""
    push(b"first")
    before = versions.served_versions(base)
    with pytest.raises(versions.ChangedExportError, match="Train again: run with --no-cache"):
        push(b"second", lost=True)
    assert versions.served_versions(base) == before
    assert versions.unfinished(base) == []


def test_a_model_that_was_rolled_back_is_not_pushed_again(push, base, tmp_path, make_export):
    push(b"first")
    before = versions.served_versions(base)
    digest = versions.content_digest(make_export(tmp_path / "same", b"second"))
    withdrawn = {digest: "version 7 was rolled back by ada on Monday"}
    with pytest.raises(WithdrawnModelError, match="version 7 was rolled back by ada"):
        push(b"second", served=versions.identity(base), withdrawn=withdrawn)
    assert versions.served_versions(base) == before
    push(b"third", served=versions.identity(base), withdrawn=withdrawn)
    assert len(versions.served_versions(base)) == 2


def test_a_model_that_was_rolled_back_and_trained_again_is_not_pushed_again(push, base, tmp_path):
    """Its export has other bytes, and the answers to the reference images are the same."""
    push(b"first")
    before = versions.served_versions(base)
    (tmp_path / "golden.npz").write_bytes(b"answers")
    withdrawn = {rollbacks.answers_digest(tmp_path): "version 7 was rolled back by ada on Monday"}
    with pytest.raises(WithdrawnModelError, match="version 7 was rolled back by ada"):
        push(b"again", served=versions.identity(base), withdrawn=withdrawn, golden=b"answers")
    assert versions.served_versions(base) == before
    push(b"again", served=versions.identity(base), withdrawn=withdrawn, golden=b"others")
    assert len(versions.served_versions(base)) == 2


def test_a_model_that_was_rolled_back_is_known_by_its_weights(push, base, tmp_path):
    """A test image got another label: other reference images, and the same weights."""
    push(b"first")
    before = versions.served_versions(base)
    write_keras(tmp_path, kernel=[1.0, 2.0])
    digest = rollbacks.kept_digests(tmp_path).weights
    run = {
        "served": versions.identity(base),
        "withdrawn": {digest: "version 7 was rolled back by ada on Monday"},
        "golden": b"others",
    }
    with pytest.raises(WithdrawnModelError, match="version 7 was rolled back by ada"):
        push(b"again", trained=[1.0, 2.0], **run)
    assert versions.served_versions(base) == before
    push(b"again", trained=[1.0, 2.1], **run)
    assert len(versions.served_versions(base)) == 2


def test_on_a_cluster_a_model_that_was_rolled_back_is_not_pushed_again(push, base, go_back):
    """Nobody tells Pusher there: it reads the records beside the versions."""
    push(b"first")
    push(b"second")
    first, second = versions.served_versions(base)
    go_back(first)
    before = versions.served_versions(base)
    with pytest.raises(WithdrawnModelError, match=f"version {second} .* by ada .* rollback --to"):
        push(b"second")
    assert versions.served_versions(base) == before
    push(b"third")
    # The way out of it.
    go_back(second)
    push(b"fourth")
    output = push(b"second")
    newest = versions.served_versions(base)[-1]
    assert output.get_string_custom_property("pushed_version") == str(newest)


def test_on_a_cluster_a_model_that_was_rolled_back_is_known_by_its_weights(push, base, go_back):
    push(b"first", trained=[1.0])
    push(b"second", trained=[2.0])
    first, second = versions.served_versions(base)
    go_back(first)
    before = versions.served_versions(base)
    with pytest.raises(WithdrawnModelError, match=f"version {second} .* by ada"):
        push(b"again", trained=[2.0])
    assert versions.served_versions(base) == before
    push(b"third", trained=[3.0])


def test_a_model_that_a_person_forced_is_no_longer_withdrawn(push, base, go_back):
    """Trained again for other test images, it comes back to nobody: it is served."""
    push(b"first", trained=[1.0])
    push(b"second", trained=[2.0])
    go_back(versions.served_versions(base)[0])
    push(b"second", trained=[2.0], served=versions.identity(base))
    assert rollbacks.withdrawn(base) == {}
    push(b"again", trained=[2.0])
    assert len(versions.served_versions(base)) == 5


def test_on_one_machine_only_the_run_says_what_was_rolled_back(push, base, go_back):
    """A person who forces a run wants the model in spite of its rollback."""
    push(b"first")
    push(b"second")
    go_back(versions.served_versions(base)[0])
    push(b"second", served=versions.identity(base))
    assert len(versions.served_versions(base)) == 4


def test_a_refused_model_leaves_the_served_one(push, base):
    push(b"first")
    before = versions.served_versions(base)
    push(b"second", blessed=False)
    assert versions.served_versions(base) == before


def test_the_served_model_is_not_pushed_again(push, base):
    first, second = push(), push()
    assert len(versions.served_versions(base)) == 1
    for name in ("pushed_version", "pushed_destination"):
        found = second.get_string_custom_property(name)
        assert found == first.get_string_custom_property(name)
    assert second.get_int_custom_property("pushed") == 1


def test_another_model_gets_a_higher_version(push, base):
    found = [int(push(w).get_string_custom_property("pushed_version")) for w in (b"a", b"b", b"c")]
    assert found == sorted(set(found)) == versions.served_versions(base)


def test_an_earlier_model_is_pushed_again_where_another_is_served(push, base):
    first, _, third = push(b"a"), push(b"b"), push(b"a")
    assert len(versions.served_versions(base)) == 3
    pushed = [base / each.get_string_custom_property("pushed_version") for each in (first, third)]
    assert versions.content_digest(pushed[0]) == versions.content_digest(pushed[1])


def test_a_model_that_was_published_in_the_meantime_is_not_replaced(
    push, base, make_export, tmp_path
):
    """The new model was not compared with it. For example, its disk was mounted again."""
    at_the_beginning = versions.identity(base)
    other = versions.publish(make_export(tmp_path / "other", b"other"), base)
    with pytest.raises(ServedModelChangedError, match=rf"version {other} \(digest .* no model"):
        push(served=at_the_beginning)
    assert versions.served_versions(base) == [other]


@pytest.mark.parametrize("first", [None, b"first"])
def test_on_a_cluster_a_model_that_was_not_compared_with_is_not_replaced(
    push, base, make_export, tmp_path, first
):
    if first:
        push(first)
    compared = versions.identity(base)
    other = versions.publish(make_export(tmp_path / "other", b"other"), base)
    before = versions.served_versions(base)
    with pytest.raises(ServedModelChangedError, match=f"version {other} .* Start a new run"):
        push(b"second", compared=compared)
    assert versions.served_versions(base) == before
    push(b"second", compared=versions.identity(base))
    assert len(versions.served_versions(base)) == len(before) + 1


def test_on_a_cluster_a_rollback_during_the_run_stands(push, base, go_back):
    push(b"first")
    push(b"second")
    compared = versions.identity(base)
    go_back(versions.served_versions(base)[0])
    before = versions.served_versions(base)
    with pytest.raises(ServedModelChangedError, match=f"expected version {before[1]}"):
        push(b"third", compared=compared)
    assert versions.served_versions(base) == before


def test_on_a_cluster_a_push_that_is_tried_again_finds_its_version(push, base):
    """Its container was killed after it had published."""
    push(b"first", compared="")
    output = push(b"first", compared="")
    (version,) = versions.served_versions(base)
    assert output.get_string_custom_property("pushed_version") == str(version)


def test_other_content_under_the_same_number_is_not_replaced(push, base):
    push(b"first")
    before = versions.identity(base)
    (version,) = versions.served_versions(base)
    (base / str(version) / "saved_model.pb").write_bytes(b"another graph")
    with pytest.raises(ServedModelChangedError, match=f"expected version {version}"):
        push(b"second", served=before)
    assert versions.served_versions(base) == [version]


def test_the_model_that_was_compared_with_is_replaced(push, base):
    push(b"first", served="")
    push(b"second", served=versions.identity(base))
    assert len(versions.served_versions(base)) == 2


class LostError(Exception):
    """The lock of the run is gone."""


def test_a_lock_that_is_held_lets_the_model_through(push, base):
    asked = []
    with guard.guarded(lambda: asked.append(versions.served_versions(base))):
        push(served="", locked=True)
    # Before anything is touched, and when only the last step is left.
    assert asked == [[], []]
    assert len(versions.served_versions(base)) == 1


@pytest.mark.parametrize("lost_at", [1, 2])
def test_nothing_is_pushed_once_the_lock_is_lost(push, base, lost_at):
    asked = []

    def check():
        asked.append(lost_at)
        if len(asked) == lost_at:
            # Another run, which has the lock by now, is about to publish.
            (base / ".incoming-9-9").mkdir(parents=True)
            raise LostError

    with guard.guarded(check), pytest.raises(LostError):
        push(served="", locked=True)
    assert versions.served_versions(base) == []
    assert [path.name for path in base.iterdir() if path.name != ".kept"] == [".incoming-9-9"]


def test_a_process_that_holds_no_lock_pushes_nothing(push, base):
    with pytest.raises(guard.UnguardedError, match=r"not held by this process"):
        push(served="", locked=True)
    assert versions.served_versions(base) == []


def test_a_pushed_version_is_copied_to_the_bucket(push, base, bucket):
    output = push(bucket=f"{bucket}/served")
    (version,) = versions.served_versions(base)
    assert served_bucket.whole_versions(f"{bucket}/served") == [version]
    assert output.get_string_custom_property("pushed_destination") == str(base / str(version))
    push(b"second", blessed=False, bucket=f"{bucket}/served")
    assert served_bucket.whole_versions(f"{bucket}/served") == [version]


def test_a_copy_that_fails_fails_the_push_and_the_same_model_completes_it(
    push, base, faults, bucket
):
    address = f"{bucket}/served"
    faults.refuse("PUT", "saved_model.pb", 500, "InternalError")
    with pytest.raises(ObjectStoreError, match="cannot be written"):
        push(bucket=address)
    (version,) = versions.served_versions(base)
    assert served_bucket.whole_versions(address) == []
    faults.rule = lambda asked: None
    push(bucket=address)
    assert versions.served_versions(base) == [version]
    assert served_bucket.whole_versions(address) == [version]


def test_nothing_is_pushed_where_another_machine_was_quicker(push, base, bucket):
    address = f"{bucket}/served"
    push(bucket=address)
    (version,) = versions.served_versions(base)
    bucket.put(f"served/.whole/{version + 100}.json", b"{}")
    with pytest.raises(ServedModelChangedError, match=f"version {version + 100} was published in"):
        push(b"second", bucket=address)
    assert versions.served_versions(base) == [version]
