"""What a run on a cluster hands to the next: the served model, and what is kept of it."""

import pytest
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.kubeflow import served_model
from components.pusher import versions

EXPORT = "Format-Serving"


@pytest.fixture
def serving(tmp_path):
    return tmp_path / "serving"


@pytest.fixture
def make_model(tmp_path):
    """A model artifact with an export and files beside it."""

    def make(name):
        model = standard_artifacts.Model()
        model.uri = str(tmp_path / name)
        export = tmp_path / name / EXPORT
        (export / "variables").mkdir(parents=True)
        (export / "saved_model.pb").write_text(f"graph of {name}")
        (export / "variables" / "data").write_text(f"weights of {name}")
        (tmp_path / name / "statistics").write_text(f"statistics of {name}")
        return model

    return make


@pytest.fixture
def push(serving):
    """Pushes a model, where it is blessed; returns the artifact that tells of it."""

    def run(model, blessed=True):
        blessing = standard_artifacts.ModelBlessing()
        blessing.set_int_custom_property("blessed", int(blessed))
        pushed = standard_artifacts.PushedModel()
        filesystem = pusher_pb2.PushDestination.Filesystem(base_directory=str(serving))
        destination = pusher_pb2.PushDestination(filesystem=filesystem)
        served_model.KeepingPusher().Do(
            {"model": [model], "model_blessing": [blessing]},
            {"pushed_model": [pushed]},
            {"push_destination": proto_utils.proto_to_json(destination)},
        )
        return pushed

    return run


@pytest.fixture
def ask(serving, tmp_path):
    """Runs the node that finds the served model; returns what it made."""

    def run(name="found"):
        model = standard_artifacts.Model()
        model.uri = str(tmp_path / name)
        served_model.Executor().Do({}, {"model": [model]}, {"serving": str(serving)})
        return model

    return run


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_where_nothing_is_served_it_says_so(ask, tmp_path):
    assert ask().get_int_custom_property(served_model.ABSENT) == 1
    assert not (tmp_path / "found").exists()


def test_what_was_pushed_is_found_with_what_lay_beside_its_export(make_model, push, ask, tmp_path):
    push(make_model("first"))
    pushed = push(make_model("second"))
    found = ask()
    assert files(tmp_path / "found") == files(tmp_path / "second")
    version = pushed.get_string_custom_property("pushed_version")
    assert found.get_string_custom_property("served_version") == version
    assert not found.has_custom_property(served_model.ABSENT)


def test_a_model_that_is_not_blessed_is_neither_pushed_nor_kept(make_model, push, ask, serving):
    push(make_model("first"), blessed=False)
    assert not serving.exists()
    assert ask().has_custom_property(served_model.ABSENT)


def test_readers_of_the_folder_see_versions_alone(make_model, push, serving):
    version = push(make_model("first")).get_string_custom_property("pushed_version")
    assert versions.served_versions(serving) == [int(version)]
    assert not [path for path in serving.iterdir() if path.name[0] not in f".{version[0]}"]


def test_a_version_of_which_nothing_was_kept_is_found_by_its_export(
    make_model, push, ask, serving, tmp_path
):
    """As after a rollback, or where a push was cut short before the rest was copied."""
    push(make_model("first"))
    versions.publish(tmp_path / "first" / EXPORT, serving)
    ask()
    expected = {
        f"{EXPORT}/{name}": text for name, text in files(tmp_path / "first" / EXPORT).items()
    }
    assert files(tmp_path / "found") == expected


def test_it_keeps_files_as_long_as_their_version_is_served(
    make_model, push, serving, ask, tmp_path
):
    first = push(make_model("first")).get_string_custom_property("pushed_version")
    second = push(make_model("second")).get_string_custom_property("pushed_version")
    versions.withdraw(serving, int(second))
    ask()
    assert files(tmp_path / "found") == files(tmp_path / "first")
    versions.withdraw(serving, int(first))
    third = push(make_model("third")).get_string_custom_property("pushed_version")
    assert [path.name for path in (serving / ".kept").iterdir()] == [third]
