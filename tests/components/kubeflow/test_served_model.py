"""What a run on a cluster passes to the next: the served model and its kept files."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.image_schema import ImageSchema
from components.images import Fit, Preparation
from components.kubeflow import served_model
from components.kubeflow.component import ServedModel
from components.pusher import versions
from components.pusher.executor import Executor
from components.pusher.served import UnreadableModelError

EXPORT = "Format-Serving"
SCHEMA = ImageSchema(28, 28, 1, ("Shirt", "Boot"))
CROPPED = Preparation(28, 28, 1, Fit.CROP, 0)


@pytest.fixture
def serving(tmp_path):
    return tmp_path / "serving"


@pytest.fixture
def make_model(tmp_path):
    """A model artifact with an export and further files."""

    def make(name, **description):
        model = standard_artifacts.Model()
        model.uri = str(tmp_path / name)
        export = tmp_path / name / EXPORT
        (export / "variables").mkdir(parents=True)
        (export / "assets.extra").mkdir()
        (export / "saved_model.pb").write_text(f"graph of {name}")
        description |= {"image_shape": SCHEMA.shape, "class_names": SCHEMA.class_names}
        (export / "assets.extra" / "image_schema.json").write_text(json.dumps(description))
        (export / "variables" / "data").write_text(f"weights of {name}")
        (tmp_path / name / "statistics").write_text(f"statistics of {name}")
        return model

    return make


@pytest.fixture
def push(serving):
    """Pushes a model if it is blessed; returns the output artifact."""

    def run(model, blessed=True):
        blessing = standard_artifacts.ModelBlessing()
        blessing.set_int_custom_property("blessed", int(blessed))
        blessing.set_string_custom_property(versions.SERVED_IDENTITY, versions.identity(serving))
        infra = standard_artifacts.InfraBlessing()
        infra.set_int_custom_property("blessed", 1)
        digest = versions.content_digest(Path(model.uri) / "Format-Serving")
        infra.set_string_custom_property(versions.CHECKED_EXPORT, digest)
        pushed = standard_artifacts.PushedModel()
        filesystem = pusher_pb2.PushDestination.Filesystem(base_directory=str(serving))
        destination = pusher_pb2.PushDestination(filesystem=filesystem)
        Executor().Do(
            {"model": [model], "model_blessing": [blessing], "infra_blessing": [infra]},
            {"pushed_model": [pushed]},
            {"push_destination": proto_utils.proto_to_json(destination)},
        )
        return pushed

    return run


@pytest.fixture
def ask(serving, tmp_path):
    """Runs the node that reads the served model; returns its output."""

    def run(name="found", schema=SCHEMA, preparation=None):
        model = standard_artifacts.Model()
        model.uri = str(tmp_path / name)
        parameters = ServedModel(str(serving), schema, preparation).exec_properties
        served_model.Executor().Do({}, {"model": [model]}, parameters)
        return model

    return run


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_model_is_absent_if_none_is_served(ask, tmp_path):
    assert ask().get_int_custom_property(served_model.ABSENT) == 1
    assert not (tmp_path / "found").exists()


def test_a_pushed_model_is_found_with_its_kept_files(make_model, push, ask, tmp_path):
    push(make_model("first"))
    pushed = push(make_model("second"))
    found = ask()
    assert files(tmp_path / "found") == files(tmp_path / "second")
    version = pushed.get_string_custom_property("pushed_version")
    assert found.get_string_custom_property("served_version") == version
    assert not found.has_custom_property(served_model.ABSENT)


def test_the_model_says_which_version_it_is(make_model, push, ask, serving):
    push(make_model("first"))
    told = ask().get_string_custom_property(versions.SERVED_IDENTITY)
    assert told == versions.identity(serving) != ""


def test_a_model_that_is_not_blessed_is_neither_pushed_nor_kept(make_model, push, ask, serving):
    push(make_model("first"), blessed=False)
    assert not serving.exists()
    assert ask().has_custom_property(served_model.ABSENT)


def test_readers_of_the_folder_see_only_versions(make_model, push, serving):
    version = push(make_model("first")).get_string_custom_property("pushed_version")
    assert versions.served_versions(serving) == [int(version)]
    assert not [path for path in serving.iterdir() if path.name[0] not in f".{version[0]}"]


def test_a_version_without_kept_files_is_found(make_model, push, ask, serving, tmp_path):
    """For example, one that somebody put there by hand."""
    push(make_model("first"))
    version = versions.publish(tmp_path / "first" / EXPORT, serving)
    shutil.rmtree(versions.kept_folder(serving, version))
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


def test_a_served_model_that_was_damaged_is_refused(make_model, push, ask, serving):
    push(make_model("first"))
    (export,) = (serving / str(version) for version in versions.served_versions(serving))
    (export / "saved_model.pb").write_text("damaged")
    with pytest.raises(UnreadableModelError, match="not those that were published"):
        ask()


@pytest.mark.parametrize("change", [{"height": 14}, {"class_names": ("Shirt", "Bag")}])
def test_a_served_model_for_another_task_is_refused(make_model, push, ask, change):
    push(make_model("first"))
    with pytest.raises(served_model.OtherTaskError, match=r"is for .*; the schema is for .*-dir"):
        ask(schema=dataclasses.replace(SCHEMA, **change))


def test_a_served_model_that_prepares_image_files_otherwise_is_refused(make_model, push, ask):
    push(make_model("first", fit="pad", background=0))
    with pytest.raises(served_model.OtherPreparationError, match=r"images\.fit=pad, .*=crop"):
        ask(preparation=CROPPED)


@pytest.mark.parametrize(
    ("description", "asked"),
    [
        ({"fit": "crop", "background": 0}, CROPPED),
        # An export of old does not say it, and data of pixels has no image files.
        ({}, CROPPED),
        ({"fit": "pad", "background": 0}, None),
    ],
)
def test_a_served_model_is_found_if_image_files_are_prepared_alike(
    make_model, push, ask, description, asked
):
    push(make_model("first", **description))
    assert not ask(preparation=asked).has_custom_property(served_model.ABSENT)
